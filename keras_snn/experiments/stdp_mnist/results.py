"""The results as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, number_of_images, percent
from keras_snn.experiments.stdp_mnist.published import PASSES, PUBLISHED
from keras_snn.experiments.unsupervised import draw_network, interval


def network_path(folder: Path, kind: str, seed: int) -> Path:
    """Return the path of a trained network."""
    return folder / f"{kind.replace(', ', '-').replace(' ', '-')}-seed-{seed}.keras"


def pictures_path(folder: Path, kind: str, seed: int) -> Path:
    """Return the path of the arrays from which ``draw`` makes the pictures of a network."""
    return network_path(folder, kind, seed).with_suffix(".npz")


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    rows = [("network", "passes", "accuracy (%)", "95 %", "online (%)", "published (%)", "spikes", "ms")]
    for name, part in results["parts"].items():
        kind = name.rpartition(", seed ")[0]
        n = int(kind.split(maxsplit=1)[0])
        for measured in part["passes"]:
            as_published = kind == f"{n} neurons" and config["n_train"] is None and measured["n_passes"] == PASSES[n]
            low, high = interval(measured)
            rows.append(
                (
                    name if config["n_seeds"] > 1 else kind,
                    str(measured["n_passes"]),
                    percent(measured["accuracy"]),
                    f"{percent(low)} to {percent(high)}",
                    percent(measured["online"]),
                    percent(PUBLISHED[n]) if as_published else "-",
                    f"{measured['spikes']:.1f}",
                    f"{1000 * part['seconds_per_presentation']:.1f}",
                )
            )
    (n_test,) = {measured["n_test"] for part in results["parts"].values() for measured in part["passes"]}
    return "\n".join(
        [
            f"Training: {number_of_images(config)} of MNIST; {n_test:,} test images. Accuracy with labels from",
            f"frozen presentations of {config['n_labels']:,} training images, and its interval of 95 %. Online: labels",
            f"from the last {config['chunk']:,} presentations of the training. Spikes in a test presentation; ms for a",
            "training one",
            *text_table.rst(rows),
            "Published (Diehl and Cook 2015), after passes over 60,000 images: "
            + ", ".join(f"{n} neurons, {PASSES[n]} passes {percent(PUBLISHED[n])} %" for n in PASSES),
        ]
    )


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``, and for each network of the first seed pictures of its weights and its activity."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axis = figure.subplots()
    for name, part in results["parts"].items():
        n_presented, accuracy = np.array(part["curve"]).T
        axis.plot(n_presented, 100 * accuracy, "-" if "fixed" not in name else "--", label=name)
    axis.set(xlabel="presentations", ylabel="test accuracy (%)", ylim=(0, 100))
    axis.legend(frameon=False, fontsize=8)
    finish(figure, folder / "accuracy.png")
    seed = results["config"]["seed"]
    for kind in dict.fromkeys(name.rpartition(", seed ")[0] for name in results["parts"]):
        draw_network(pictures_path(folder, kind, seed), kind)
