"""Text and pictures of results, shared by all experiments."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn.files import save_figure
from keras_snn.inspector.panels import open_axis


def percent(share: float | None) -> str:
    """Return ``share`` in %, "-" for None."""
    return "-" if share is None else f"{100 * share:.2f}"


def spread(shares: Sequence[float] | np.ndarray) -> str:
    """Return mean ± standard deviation of shares in %. A single share has no deviation."""
    if len(shares) == 1:
        return percent(shares[0])
    return f"{percent(float(np.mean(shares)))} ± {100 * np.std(shares, ddof=1):.2f}"


def confusion_matrix(y: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the number of samples of each class (rows) that are predicted as each class (columns)."""
    counts = np.zeros((n_classes, n_classes), int)
    np.add.at(counts, (y, predicted), 1)
    return counts


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Return the standard error of the mean over the seeds; 0 for a single seed."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def hertz(rates: Sequence[float] | None) -> str:
    """Return rates in Hz, separated by slashes, "-" for None."""
    return "-" if rates is None else " / ".join(f"{rate:.3g}" for rate in rates)


def number_of_images(config: Mapping[str, Any], unit: str = "images") -> str:
    """Return the number of training images, or of another ``unit``, of the configuration, in words."""
    return f"{config['n_train']:,} {unit} at most" if config["n_train"] else f"all {unit}"


def parts_by_kind(results: Mapping[str, Any]) -> dict[str, list[dict]]:
    """Return the list of parts, one for each seed, by kind. The parts are named "kind, seed n"."""
    parts: dict[str, list[dict]] = {}
    for name, part in results["parts"].items():
        parts.setdefault(name.rpartition(", seed ")[0], []).append(part)
    return parts


def finish(figure: Any, path: Path) -> None:
    """Remove the top and right frame of a figure's axes, and save the figure."""
    for axis in figure.axes:
        open_axis(axis)
    save_figure(figure, path)


def finish_with_legends(figure: Any, path: Path) -> None:
    """Add a legend to each axis with labels, and save the figure."""
    for axis in figure.axes:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=8)
    finish(figure, path)
