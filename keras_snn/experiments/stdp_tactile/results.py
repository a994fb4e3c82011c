"""The results as tables and as pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, finish_with_legends, parts_by_kind, percent
from keras_snn.experiments.stdp_tactile.features import over_splits
from keras_snn.experiments.stdp_tactile.published import BY_NEURONS, DATA_SET, PUBLISHED
from keras_snn.experiments.unsupervised import draw_network

#: The part with the classifiers without spikes, of a set.
BASELINES = "without spikes"

CLASSIFIERS = ("kNN", "SVM-RBF", "ridge")


@dataclass(frozen=True)
class Network:
    """One network of the experiment.

    Attributes:
        touch: Name of the set.
        sensors: "sensor 1", "sensor 2" or "both".
        n_neurons: Number of excitatory neurons. Default 400.
        augmented: Whether the training signals are recombined. Default True.
        plastic: Whether the weights learn. Default True.
        reading: How a signal becomes an image, an argument of ``as_images``. Default "rectified".
    """

    touch: str
    sensors: str
    n_neurons: int = 400
    augmented: bool = True
    plastic: bool = True
    reading: Literal["rectified", "waveform"] = "rectified"

    @property
    def label(self) -> str:
        """The description without the name of the set."""
        changes = {
            "not augmented": not self.augmented,
            "fixed weights": not self.plastic,
            "waveform": self.reading == "waveform",
        }
        return ", ".join([self.sensors, f"{self.n_neurons} neurons", *(name for name in changes if changes[name])])

    @property
    def kind(self) -> str:
        """The name of the part."""
        return f"{self.touch}, {self.label}"


#: The panels of the curves (figure 6.7): title and networks.
_PANELS = {
    "sensors": ("sensor 1, 400 neurons", "sensor 2, 400 neurons", "both, 400 neurons"),
    "augmentation and learning": (
        "sensor 1, 400 neurons",
        "sensor 1, 400 neurons, not augmented",
        "sensor 1, 400 neurons, fixed weights",
    ),
    "images": ("sensor 1, 400 neurons", "sensor 1, 400 neurons, waveform", "both, 400 neurons, waveform"),
    "number of neurons": ("sensor 1, 100 neurons", "sensor 1, 400 neurons", "sensor 1, 1600 neurons"),
}


def network_path(folder: Path, kind: str) -> Path:
    """Return the path of the arrays from which ``draw`` makes the pictures of a network."""
    return folder / f"{kind.replace(', ', '-').replace(' ', '-')}.npz"


def by_set(results: Mapping[str, Any]) -> dict[str, dict[str, list]]:
    """Return the parts of each set: lists with a part for each split, by label."""
    found: dict[str, dict[str, list]] = {}
    for kind, parts in parts_by_kind(results).items():
        name, _, label = kind.partition(", ")
        found.setdefault(name, {})[label] = parts
    return found


def table(results: Mapping[str, Any]) -> str:
    """Return the text tables of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    lines = [
        f"Passes over the augmented samples: {config['epochs']}. Accuracy on test slides in %: mean ± standard",
        "deviation over the splits, and the 95 % interval of all test slides together. Online: labels from the",
        "training; otherwise from frozen presentations of the training samples.",
    ]
    for name, kinds in by_set(results).items():
        kinds = dict(kinds)
        baselines = kinds.pop(BASELINES, None)
        if kinds:
            lines += ["", name, *text_table.rst([_NETWORK_TITLES, *map(_network_row, kinds.items())])]
        if baselines:
            n = len(baselines)
            title = f"{name}, {BASELINES}, {n} split{'s' if n > 1 else ''}"
            lines += ["", title, *text_table.rst([_BASELINE_TITLES, *_baseline_rows(baselines)])]
    by_film = ", ".join(f"{film} {percent(share)}" for film, share in PUBLISHED.items())
    by_size = ", ".join(f"{n}: {percent(share)}" for n, share in BY_NEURONS.items())
    return "\n".join(
        [
            *lines,
            "",
            f"Published (%), {DATA_SET}:",
            f"400 neurons {by_film}; PVDF1 by number of neurons {by_size}.",
        ]
    )


_NETWORK_TITLES = ("network", "splits", "accuracy", "95 %", "online", "ties", "spikes", "ms")
_BASELINE_TITLES = ("sensors", "input", "samples", *CLASSIFIERS)


def mean_and_deviation(row: Mapping[str, Any]) -> str:
    """Return mean ± standard deviation in % of a row of ``over_splits``."""
    deviation = row["deviation"]
    return percent(row["mean"]) + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def _network_row(item):
    label, parts = item
    (row,) = over_splits([part["rows"] for part in parts])
    rows = [row for part in parts for row in part["rows"]]
    low, high = row["interval"]
    return (
        label,
        str(len(parts)),
        mean_and_deviation(row),
        f"{percent(low)} to {percent(high)}",
        percent(float(np.mean([each["online"] for each in rows]))),
        percent(float(np.mean([each["ties"] for each in rows]))),
        f"{np.mean([each['spikes'] for each in rows]):.1f}",
        f"{1000 * np.mean([part['seconds_per_presentation'] for part in parts]):.1f}",
    )


def _baseline_rows(parts):
    rows: dict[tuple, dict] = {}
    for row in over_splits([part["rows"] for part in parts]):
        key = row["sensors"], row["input"], row["samples"]
        rows.setdefault(key, {})[row["classifier"]] = mean_and_deviation(row)
    return [(*key, *(found[name] for name in CLASSIFIERS)) for key, found in rows.items()]


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write pictures of each set: accuracy of compared networks, confusion matrices, and each network of one split."""
    for name, kinds in by_set(results).items():
        _draw_curves(name, kinds, folder / f"{name}-accuracy.png")
        if "both, 400 neurons" in kinds:
            _draw_confusion(name, kinds, folder / f"{name}-confusion.png")
        for label in kinds:
            draw_network(network_path(folder, f"{name}, {label}"), f"{name}, {label}")


def _draw_curves(name, kinds, path):
    from matplotlib.figure import Figure

    present = {title: [label for label in labels if label in kinds] for title, labels in _PANELS.items()}
    compared = {title: labels for title, labels in present.items() if len(labels) > 1}
    if not compared:
        return
    figure = Figure(figsize=(9, 0.6 + 3 * -(-len(compared) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(compared) // 2), 2, sharex=True, sharey=True).flat
    for axis, (title, labels) in zip(panels, compared.items(), strict=False):
        for label in labels:
            curves = np.array([part["curve"] for part in kinds[label]])
            axis.plot(curves[0, :, 0], 100 * curves[:, :, 1].mean(axis=0), "o-", ms=3, label=label)
        axis.set(xlabel="presentations", ylabel="test accuracy (%)", ylim=(0, 105))
        axis.set_title(title, fontsize=10)
    for axis in list(panels)[len(compared) :]:
        axis.remove()
    figure.suptitle(f"{name}: mean of the splits, labels from the training", fontsize=10)
    finish_with_legends(figure, path)


def _draw_confusion(name, kinds, path):
    """Draw the confusion of the network on both sensors, and of the SVM on the same signals."""
    from matplotlib.figure import Figure

    found = {"network, 400 neurons": over_splits([part["rows"] for part in kinds["both, 400 neurons"]])[0]}
    for row in over_splits([part["rows"] for part in kinds.get(BASELINES, ())]):
        if [row[key] for key in ("sensors", "input", "classifier", "samples")] == _COMPARED:
            found["SVM on the resampled signals"] = row
    figure = Figure(figsize=(4.5 * len(found), 4.6), layout="constrained")
    for axis, (title, row) in zip(np.atleast_1d(figure.subplots(1, len(found))), found.items(), strict=True):
        counts = np.array(row["confusion"])
        shown = axis.imshow(100 * counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=100)
        axis.set(xlabel="predicted class", ylabel="class")
        for side in (axis.xaxis, axis.yaxis):
            side.get_major_locator().set_params(integer=True)
        axis.set_title(f"{title}: {percent(row['mean'])} %", fontsize=10)
    figure.colorbar(shown, ax=figure.axes, label="test slides of a class (%)", location="bottom", aspect=40, shrink=0.6)
    figure.suptitle(f"{name}: both sensors, test slides of all splits", fontsize=10)
    finish(figure, path)


_COMPARED = ["both", "signal", "SVM-RBF", "augmented"]
