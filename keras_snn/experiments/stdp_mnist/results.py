"""The results as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, number_of_images, percent
from keras_snn.experiments.stdp_mnist.published import PASSES, PUBLISHED
from keras_snn.models.plots import draw_fields, draw_raster
from keras_snn.robustness.report import Accuracy


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


def interval(measured: Mapping[str, Any]) -> tuple[float, float]:
    """Return the binomial interval of 95 % of an accuracy."""
    n_test = measured["n_test"]
    return Accuracy("clean", 0.0, round(measured["accuracy"] * n_test), n_test).interval


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
        source = pictures_path(folder, kind, seed)
        if source.is_file():
            _draw_network(dict(np.load(source)), kind, source)


def _draw_network(arrays, kind, source):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6.2), layout="constrained")
    draw_fields(figure.subplots(), arrays["kernel"], arrays["image"].shape, arrays["labels"])
    figure.suptitle(f"{kind}: input weights, and the label of each neuron", fontsize=10)
    finish(figure, source.with_name(f"{source.stem}-fields.png"))

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    (image, raster), (theta, rates) = figure.subplots(2, 2, width_ratios=(1, 2))
    image.imshow(arrays["image"], cmap="gray")
    image.set(xticks=[], yticks=[])
    image.set_title("test image", fontsize=10)
    draw_raster(raster, arrays["spikes"], float(arrays["dt"]))
    raster.set_title("spikes of the excitatory neurons", fontsize=10)
    theta.hist(arrays["theta"], bins=20, color="C0")
    theta.set(xlabel="theta (mV)", ylabel="neurons")
    rates.hist(arrays["rates"], bins=40, color="C1")
    rates.set(xlabel="mean rate of a neuron over the test images (Hz)", ylabel="neurons")
    finish(figure, source.with_name(f"{source.stem}-activity.png"))
