"""The results as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, number_of_images, percent


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    steps = config["steps"]
    header = ("network", "conversion", *(f"T = {n}" for n in steps), "ANN")
    lines, amounts, clipped = [], [], []
    for network, part in results["parts"].items():
        for kind, figures in part["kinds"].items():
            lines.append((network, kind, *map(percent, figures["accuracy"]), percent(part["accuracy"])))
            spikes = (
                f"{n / 1e3:,.1f} / {m / 1e6:,.2f}"
                for n, m in zip(figures["spikes"], figures["synaptic_operations"], strict=True)
            )
            amounts.append((network, kind, *spikes))
            clipped.append((network, kind, " / ".join(percent(fit["clipped"]) for fit in figures["report"].values())))
    images = "the embedded sample" if config["data"] == "sample" else number_of_images(config)
    return "\n".join(
        [
            f"{config['dataset']} ({images}), {config['epochs']} epochs, seed {config['seed']}; test accuracy in %",
            *text_table.rst([header, *lines]),
            "Spikes (thousands) / synaptic operations (millions) for one image:",
            *text_table.rst([header[:-1], *amounts]),
            "Activations above what the neurons can represent, in % of each layer's; more steps do not help them:",
            *text_table.rst([("network", "conversion", "clipped, by layer"), *clipped]),
            "There are no published figures for these networks.",
        ]
    )


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png`` and ``spikes.png``."""
    from matplotlib.figure import Figure

    steps, parts = results["config"]["steps"], results["parts"]
    for name, label, file_name in (
        ("accuracy", "test accuracy (%)", "accuracy.png"),
        ("synaptic_operations", "synaptic operations\nfor one image (millions)", "spikes.png"),
    ):
        figure = Figure(figsize=(3.6 * max(2, len(parts)), 3.4), layout="constrained")
        axes = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
        for axis, (network, part) in zip(axes, parts.items(), strict=True):
            for kind, figures in part["kinds"].items():
                values = np.array(figures[name]) * (100 if name == "accuracy" else 1e-6)
                axis.plot(steps, values, marker="o", markersize=4, label=kind)
            if name == "accuracy":
                axis.axhline(100 * part["accuracy"], color="0.6", linestyle="--", label="ANN")
            else:
                axis.set_yscale("log")
            axis.set_xscale("log", base=2)
            axis.set_xticks(steps, [str(n) for n in steps])
            axis.set(title=network, xlabel="time steps")
        axes[0].set_ylabel(label)
        if name == "accuracy":  # accuracies far below the ANN are not of interest
            accuracies = [100 * part["accuracy"] for part in parts.values()]
            axes[0].set_ylim(max(0, min(accuracies) - 30), min(100, max(accuracies) + 3))
        axes[-1].legend(frameon=False, fontsize=8)
        finish(figure, folder / file_name)
