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


@dataclass(frozen=True, eq=False)
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
        dt: Time step in seconds, the layer's own where none was asked for.
    """

    rate: Rate
    per_unit: np.ndarray
    histogram: dict
    silent: float
    saturated: float
    n_steps: int
    dt: float | None = None

    @property
    def temporal_sparsity(self):
        """Share of the (sample, step, unit) triples without a spike."""
        return self.histogram["0"] / max(1, sum(self.histogram.values()))

    def quantiles(self, q=(0.05, 0.25, 0.5, 0.75, 0.95)):
        """Return the quantiles ``q`` of the units' mean rates: a dict to Hz."""
        return dict(zip(q, np.quantile(self.per_unit, q).tolist(), strict=True))

    def to_dict(self):
        """Return what fits a JSON file; ``per_unit`` is left out."""
        return {
            "dt": self.dt,
            "rate_hz": {"min": self.rate.min, "mean": self.rate.mean, "max": self.rate.max},
            "rate_quantiles_hz": {f"{q:g}": rate for q, rate in self.quantiles().items()},
            "spikes_per_step": self.histogram,
            "temporal_sparsity": self.temporal_sparsity,
            "silent": self.silent,
            "saturated": self.saturated,
            "n_steps": self.n_steps,
        }


@dataclass(frozen=True, eq=False)
class Latency:
    """What an output says when given the first k steps only.

    Attributes:
        steps: Array of the numbers of steps k.
        accuracy: Array, the share of right answers after each k; None without labels.
        confidence: Array, the mean of the largest probability after each k.
        early_exit: Dict from a threshold to the pair (accuracy or None, mean number of steps used) of an inference that
            stops as soon as the largest probability reaches the threshold.
    """

    steps: np.ndarray
    accuracy: np.ndarray | None
    confidence: np.ndarray
    early_exit: dict

    def to_dict(self):
        """Return what fits a JSON file."""
        return {
            "steps": self.steps.tolist(),
            "accuracy": None if self.accuracy is None else self.accuracy.tolist(),
            "confidence": self.confidence.tolist(),
            "early_exit": [
                {"threshold": threshold, "accuracy": accuracy, "mean_steps": steps}
                for threshold, (accuracy, steps) in self.early_exit.items()
            ],
        }


@dataclass(frozen=True, eq=False)
class Examples:
    """The first few samples, kept whole for plots.

    Attributes:
        x: Their inputs.
        y: Their labels, or None.
        counts: Dict from layer name to an array ``(sample, time, units)`` of spikes in each step.
        steps: Array of the numbers of steps k at which the model was asked.
        outputs: Array ``(sample, len(steps), classes)``: the output when given the first k steps only; a dict of them
            for several outputs. None for a model that is no classifier, or that takes one number of steps only.
    """

    x: np.ndarray
    y: np.ndarray | None
    counts: dict
    steps: np.ndarray
    outputs: np.ndarray | None


@dataclass(frozen=True, eq=False)
class DtReport:
    """The findings at one dt and one number of steps.

    Attributes:
        dt: Time step in seconds; None for every layer's own.
        accuracy: Share of right answers, None without labels; a dict of them for several outputs.
        layers: Dict from layer name to ``LayerReport``.
        examples: ``Examples``, or None.
        n_steps: Number of time steps.
        latency: ``Latency``, None for a model that is no classifier or takes one number of steps only; a dict of them
            for several outputs.
        metrics: Dict from a metric's name to its value.
        notes: What could not be found out, and why: a tuple of sentences.
    """

    dt: float | None
    accuracy: float | None
    layers: dict
    examples: Examples | None = field(default=None, repr=False)
    n_steps: int | None = None
    latency: Latency | dict | None = None
    metrics: dict = field(default_factory=dict)
    notes: tuple = ()

    def to_dict(self):
        """Return what fits a JSON file."""
        latency = self.latency
        if latency is not None:
            several = isinstance(latency, dict)
            latency = {name: one.to_dict() for name, one in latency.items()} if several else latency.to_dict()
        return {
            "dt": self.dt,
            "n_steps": self.n_steps,
            "accuracy": self.accuracy,
            "metrics": self.metrics,
            "layers": {name: layer.to_dict() for name, layer in self.layers.items()},
            "latency": latency,
            "notes": list(self.notes),
        }

    def plot(self, path=None, *, class_names=None):
        """Draw the examples: input, spikes of each unit at each step, output over time. Return the figure."""
        return _finish(plots.examples(self, class_names=class_names), path)


class Report:
    """The findings of one ``inspect`` call; ``report[dt]`` or ``report[dt, n_steps]`` is a ``DtReport``."""

    def __init__(self, results, n_samples):
        self.results = list(results)
        self.n_samples = n_samples

    def __iter__(self):
        return iter(self.results)

    def __len__(self):
        return len(self.results)

    def __getitem__(self, key):
        dt, n_steps = key if isinstance(key, tuple) else (key, None)
        for result in self.results:
            if n_steps in (None, result.n_steps) and _same_dt(result.dt, dt):
                return result
        known = [(result.dt, result.n_steps) for result in self.results]
        raise KeyError(f"no result for (dt, n_steps) = {dt, n_steps}; there are {known}")

    def table(self):
        """Return a text table with a line for each dt and layer."""
        header = ("dt (s)", "steps", "accuracy", "layer", "rate min", "mean", "max (Hz)", "silent", "saturated")
        rows = [header]
        for result in self.results:
            of_result = (_or_dash(result.n_steps), _accuracy(result.accuracy))
            for name, layer in result.layers.items():
                first = f"{result.dt:g}" if result.dt is not None else f"own {_or_dash(layer.dt)}"
                rates = (f"{rate:.4g}" for rate in (layer.rate.min, layer.rate.mean, layer.rate.max))
                silent, saturated = _percent(layer.silent), _percent(layer.saturated)
                shown = (first, *of_result) if name == next(iter(result.layers)) or result.dt is None else ("",) * 3
                rows.append((*shown, name, *rates, silent, saturated))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines += dict.fromkeys(note for result in self.results for note in result.notes)
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


def _same_dt(a, b):
    return a == b or (None not in (a, b) and bool(np.isclose(a, b, rtol=1e-6, atol=0)))


def _or_dash(value):
    return "-" if value is None else f"{value:g}"


def _accuracy(accuracy):
    if isinstance(accuracy, dict):
        return ", ".join(f"{name} {_percent(share)}" for name, share in accuracy.items())
    return _percent(accuracy)


def _percent(share):
    return "-" if share is None else f"{100 * share:.2f}%"
