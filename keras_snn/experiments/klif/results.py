"""The results beside the published ones, as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import (
    finish,
    finish_with_legends,
    number_of_images,
    parts_by_kind,
    percent,
    spread,
)
from keras_snn.experiments.klif.published import PUBLISHED


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    published = PUBLISHED[config["dataset"]]
    header = ("neuron", "seeds", "after epoch 1", "at the end", "published", "spikes a step", "k at the end")
    lines = [
        (
            neuron,
            str(len(parts)),
            spread([part["accuracy"][0] for part in parts]),
            spread([part["accuracy"][-1] for part in parts]),
            percent(published.get(neuron)),
            " / ".join(f"{rate:.3f}" for rate in _mean(parts, "spikes_per_step")),
            " / ".join(f"{k:.2f}" for k in np.mean([part["k"][-1] for part in parts], axis=0)) or "-",
        )
        for neuron, parts in parts_by_kind(results).items()
    ]
    vgg16 = "; ".join(f"{name} {percent(share)}" for name, share in PUBLISHED["cifar10_vgg16"].items())
    here = "" if config["dataset"] == "cifar10_vgg16" else ", not run here"
    return "\n".join(
        [
            f"{config['dataset']} ({number_of_images(config)}), width {config['width']:g}, T = {config['n_steps']}, "
            f"{config['epochs']} epochs, seeds from {config['seed']}; test accuracy in %, mean ± standard deviation "
            "over the seeds",
            "published: width 1, all images, 100 epochs (cifar10: 200); best or last epoch: not stated",
            *text_table.rst([header, *lines]),
            "Spikes a step and k are means by layer, from the encoder to the votes. Where a gap is smaller than the",
            "deviation, nothing follows from it. On the deep networks the published LIF of chapter 3 is above every",
            "KLIF of chapter 2, whose lead over the LIF of its own chapter is therefore not KLIF's gain.",
            f"Published for VGG-16 on CIFAR-10{here}: {vgg16}.",
        ]
    )


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``, ``k.png`` and ``spikes.png``."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    parts = parts_by_kind(results)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for neuron, runs in parts.items():
        accuracy = 100 * np.array([part["accuracy"] for part in runs])
        epochs = np.arange(1, accuracy.shape[1] + 1)
        mean, deviation = accuracy.mean(axis=0), accuracy.std(axis=0, ddof=min(1, len(runs) - 1))
        axis.errorbar(epochs, mean, deviation, marker="o", capsize=3, label=neuron)
    axis.set(xlabel="epoch", ylabel="test accuracy (%)")
    axis.locator_params(axis="x", integer=True)
    finish_with_legends(figure, folder / "accuracy.png")

    learned = {neuron: runs for neuron, runs in parts.items() if runs[0]["k"][0]}
    if learned:
        n_layers = len(next(iter(learned.values()))[0]["k"][0])
        size = (max(7, 1.8 * len(learned) + 1), max(3.2, 0.2 * n_layers + 1))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(learned), sharey=True, squeeze=False)[0]
        for axis, (neuron, runs) in zip(axes, learned.items(), strict=True):
            k = np.mean([part["k"] for part in runs], axis=0)
            for number, values in enumerate(k.T, start=1):
                color = colormaps["viridis"]((number - 1) / max(1, len(k.T) - 1) * 0.9)
                axis.plot(values, marker="o", color=color, label=f"layer {number}")
            axis.axhline(1, color="0.8", zorder=0)
            axis.set_title(neuron, fontsize=10)
            axis.set(xlabel="epoch")
            axis.locator_params(axis="x", integer=True)
        axes[0].set_ylabel("k")
        lines, labels = axes[0].get_legend_handles_labels()
        figure.legend(lines, labels, frameon=False, fontsize=8, loc="outside right center")
        finish(figure, folder / "k.png")

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(parts)
    for place, (neuron, runs) in enumerate(parts.items()):
        rates, shift = _mean(runs, "spikes_per_step"), width * (place - (len(parts) - 1) / 2)
        axis.bar(np.arange(1, len(rates) + 1) + shift, rates, 0.9 * width, label=neuron)
    axis.set(xlabel="layer, from the encoder to the votes", ylabel="spikes a neuron and step")
    axis.locator_params(axis="x", integer=True)
    finish_with_legends(figure, folder / "spikes.png")


def _mean(parts, name):
    return np.mean([part[name] for part in parts], axis=0)
