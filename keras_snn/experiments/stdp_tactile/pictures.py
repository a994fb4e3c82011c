"""The pictures of figures 6.6 and 6.8: an image and its spikes, and the features by class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_snn.experiments.figures import finish
from keras_snn.experiments.stdp_tactile.features import FEATURES
from keras_snn.experiments.stdp_tactile.recordings import TouchSet


def draw_spike_maps(image: np.ndarray, counts: np.ndarray, durations: Sequence[float], path: Path) -> None:
    """Write an image and the spikes of its pixels after growing durations (figure 6.6).

    Args:
        image: Array ``(height, width)`` from 0 to 255.
        counts: Spike counts, an array ``(durations, height, width)``.
        durations: Sequence of durations in ms.
        path: Path of the picture.

    Raises:
        ValueError: If the shapes do not fit.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    image, counts = np.asarray(image), np.asarray(counts)
    if counts.shape != (len(durations), *image.shape):
        raise ValueError(
            f"`counts` must have the shape (durations, height, width), {(len(durations), *image.shape)}; got "
            f"{counts.shape}."
        )
    n = len(counts) + 1
    width = min(9.0, 1.8 * n)
    figure = Figure(figsize=(width, width / n * image.shape[0] / image.shape[1] + 1.1), layout="constrained")
    axes = figure.subplots(1, n)
    largest = max(1, counts.max())
    drawn = [axes[0].imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")]
    axes[0].set_title("image", fontsize=9)
    for axis, duration, spikes in zip(axes[1:], durations, counts, strict=True):
        drawn.append(axis.imshow(spikes, cmap="gray", vmin=0, vmax=largest, interpolation="nearest"))
        axis.set_title(f"after {duration:g} ms", fontsize=9)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    bars = {"intensity": (drawn[0], axes[:1]), "spikes of a pixel": (drawn[-1], axes[1:])}
    for label, (shown, below) in bars.items():
        bar = figure.colorbar(shown, ax=below, location="bottom", aspect=12 * len(below), pad=0.04, shrink=0.9)
        bar.ax.xaxis.set_major_locator(MaxNLocator(3 * len(below), integer=True))
        bar.set_label(label, fontsize=9)
    finish(figure, path)


def draw_features(touch: TouchSet, path: Path, names: Sequence[str] = ("standard deviation", "energy")) -> None:
    """Write features of both sensors by class: each slide as a point, the median of a class as a bar (figure 6.8).

    Args:
        touch: ``TouchSet``.
        path: Path of the picture.
        names: Names of ``FEATURES``, a row of panels for each.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    n_classes = len(touch.classes)
    figure = Figure(figsize=(9, 2.4 * len(names) + 0.9), layout="constrained")
    axes = figure.subplots(len(names), 2, sharex=True, squeeze=False)
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(touch.labels))
    axes[0, 0].set_title(touch.sensors[0], fontsize=10)
    axes[0, 1].set_title(touch.sensors[1], fontsize=10)
    for row, name in zip(axes, names, strict=True):
        for axis, signals in zip(row, touch.signals, strict=True):
            values = np.array([FEATURES[name](signal) for signal in signals])
            axis.plot(touch.labels + jitter, values, ".", ms=3, color="C0", alpha=0.5)
            medians = [np.median(values[touch.labels == label]) for label in range(n_classes)]
            axis.hlines(medians, np.arange(n_classes) - 0.35, np.arange(n_classes) + 0.35, color="C1", lw=2)
            axis.set(yscale="log", ylabel=f"{name} ({touch.unit}{'²' if name == 'energy' else ''})")
            axis.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_xticks(
                range(n_classes), touch.classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=8
            )
    figure.suptitle(f"{touch.name}: {len(touch.labels)} slides (points) and medians (bars)", fontsize=10)
    finish(figure, path)
