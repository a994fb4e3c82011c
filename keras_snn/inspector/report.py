"""What the inspector found, as objects, a table, JSON and pictures."""

import json
import pathlib
from dataclasses import dataclass, field

import numpy as np

from keras_snn.files import replacing, write_text
from keras_snn.inspector import plots


@dataclass(frozen=True)
class Rate:
    """Firing rates in Hz over all samples and units: a rate is one unit's spikes in one sample over its duration."""

    min: float
    mean: float
    max: float


@dataclass(frozen=True)
class LayerReport:
    """The spikes of one layer (of one call of it, where a layer is called several times) at one dt.

    Attributes:
        rate: ``Rate``, Hz.
        per_unit: Array of the units' mean rates, Hz, in the shape of one step.
        histogram: Dict from "<0", "0", "1", ... ">=10" to the number of (sample, step, unit) triples with so many
            spikes.
        silent: Share of the units without a spike in all the data.
        saturated: Share of the units with a spike at every step of all the data.
        n_steps: Number of time steps.
    """

    rate: Rate
    per_unit: np.ndarray
    histogram: dict
    silent: float
    saturated: float
    n_steps: int

    def to_dict(self):
        """Return what fits a JSON file; ``per_unit`` is left out."""
        return {
            "rate_hz": {"min": self.rate.min, "mean": self.rate.mean, "max": self.rate.max},
            "spikes_per_step": self.histogram,
            "silent": self.silent,
            "saturated": self.saturated,
            "n_steps": self.n_steps,
        }


@dataclass(frozen=True)
class Examples:
    """The first few samples, kept whole for plots.

    Attributes:
        x: Their inputs.
        y: Their labels, or None.
        counts: Dict from layer name to an array ``(sample, time, units)`` of spikes in each step.
        steps: Array of the numbers of steps k at which the model was asked.
        outputs: Array ``(sample, len(steps), classes)``: the output when given the first k steps only. None for a model
            that is no classifier, or that takes one number of steps only.
    """

    x: np.ndarray
    y: np.ndarray | None
    counts: dict
    steps: np.ndarray
    outputs: np.ndarray | None


@dataclass(frozen=True)
class DtReport:
    """The findings at one dt. ``accuracy`` is None without labels."""

    dt: float | None
    accuracy: float | None
    layers: dict
    examples: Examples | None = field(default=None, repr=False)

    def to_dict(self):
        """Return what fits a JSON file."""
        layers = {name: layer.to_dict() for name, layer in self.layers.items()}
        return {"dt": self.dt, "accuracy": self.accuracy, "layers": layers}

    def plot(self, path=None, *, class_names=None):
        """Draw the examples: input, spikes of each unit at each step, output over time. Return the figure."""
        return _finish(plots.examples(self, class_names=class_names), path)


class Report:
    """The findings of one ``inspect`` call; ``report[dt]`` is a ``DtReport``."""

    def __init__(self, results, n_samples):
        self.results = list(results)
        self.n_samples = n_samples

    def __iter__(self):
        return iter(self.results)

    def __len__(self):
        return len(self.results)

    def __getitem__(self, dt):
        for result in self.results:
            if result.dt == dt or (None not in (result.dt, dt) and np.isclose(result.dt, dt, rtol=1e-6, atol=0)):
                return result
        raise KeyError(f"no result for dt = {dt!r}; there are {[result.dt for result in self.results]}")

    def table(self):
        """Return a text table with a line for each dt and layer."""
        header = ("dt (s)", "accuracy", "layer", "rate min", "mean", "max (Hz)", "silent", "saturated")
        rows = [header]
        for result in self.results:
            first = ("own" if result.dt is None else f"{result.dt:g}", _percent(result.accuracy))
            for name, layer in result.layers.items():
                rates = (f"{rate:.4g}" for rate in (layer.rate.min, layer.rate.mean, layer.rate.max))
                rows.append((*first, name, *rates, _percent(layer.silent), _percent(layer.saturated)))
                first = ("", "")
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(lines)

    __str__ = table

    def to_dict(self):
        """Return the report as nested dicts of plain numbers."""
        return {"n_samples": self.n_samples, "results": [result.to_dict() for result in self.results]}

    def save(self, path):
        """Write the report to ``path``, as JSON or as a PNG or PDF picture by its ending; whole or not at all.

        Raises:
            ValueError: For another ending.
            OSError: If the folder cannot be written.
        """
        ending = pathlib.Path(path).suffix
        if ending == ".json":
            write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")
        elif ending in (".png", ".pdf"):
            self.plot(path)
        else:
            raise ValueError(f"`path` has to end in .json, .png or .pdf; got {str(path)!r}.")

    def plot(self, path=None):
        """Draw accuracy and firing rates against dt, and write the picture to ``path`` if given. Return the figure."""
        return _finish(plots.sweep(self), path)


def _finish(figure, path):
    if path is not None:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
    return figure


def _percent(share):
    return "-" if share is None else f"{100 * share:.2f}%"
