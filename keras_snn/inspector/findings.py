"""The inspector's results at one dt, and their form in a JSON file."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from keras_snn.energy import DEVICES, Work, energy_range
from keras_snn.energy.work import Totals
from keras_snn.files import save_figure
from keras_snn.hints import Nest
from keras_snn.inspector import plots
from keras_snn.inspector.json_arrays import from_lists, rounded_lists, to_lists
from keras_snn.inspector.panels import Figure
from keras_snn.inspector.samples import ClassNames
from keras_snn.inspector.traces import Trace

Path = str | os.PathLike

#: The properties of ``DtReport`` for the operations and the memory traffic of one inference.
OPERATIONS = ("macs", "accumulates", "neuron_updates", "memory_traffic")


@dataclass(frozen=True)
class Rate:
    """Firing rates in Hz over all samples and units. A rate is the spikes of a unit per second of a sample."""

    min: float
    mean: float
    max: float


@dataclass(frozen=True, eq=False)
class LayerReport:
    """The spikes of a layer at one dt; of one call, if the layer is called several times.

    Attributes:
        rate: ``Rate``, Hz.
        per_unit: Array of the mean rate of each unit, Hz, in the shape of one step.
        histogram: Dict from a number of spikes, "<0", "0", "1", ... ">=10", to the number of (sample, step, unit)
            triples with this number.
        silent: Fraction of the units without a spike in all data.
        saturated: Fraction of the units with a spike at every step of all data.
        n_steps: Number of time steps.
        dt: Time step in seconds: the one given to ``inspect``, else that of the layer.
        spikes_per_inference: Mean number of spikes of all units in one sample. Negative spikes are subtracted, as in
            the rates.
    """

    rate: Rate
    per_unit: np.ndarray
    histogram: dict[str, int]
    silent: float
    saturated: float
    n_steps: int
    dt: float | None = None
    spikes_per_inference: float | None = None

    @property
    def spikes_per_step(self) -> float | None:
        """Mean number of spikes of a unit in a step; None without a dt."""
        return None if self.dt is None else self.rate.mean * self.dt

    @property
    def temporal_sparsity(self) -> float:
        """Fraction of the (sample, step, unit) triples without a spike."""
        return self.histogram["0"] / max(1, sum(self.histogram.values()))

    def quantiles(self, q: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> dict[float, float]:
        """Return a dict from each quantile in ``q`` to its value in Hz, over the mean rates of the units."""
        return dict(zip(q, np.quantile(self.per_unit, q).tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for a JSON file; ``per_unit`` has six digits."""
        per_unit = rounded_lists(self.per_unit)
        # Quantiles of the rounded values, which a reader of the file has.
        quantiles = replace(self, per_unit=np.array(per_unit)).quantiles()
        return {
            "dt": self.dt,
            "rate_hz": asdict(self.rate),
            "quantiles_hz": {f"{q:g}": rate for q, rate in quantiles.items()},
            "per_unit_hz": per_unit,
            "histogram": self.histogram,
            "spikes_per_step": self.spikes_per_step,
            "spikes_per_inference": self.spikes_per_inference,
            "temporal_sparsity": self.temporal_sparsity,
            "silent": self.silent,
            "saturated": self.saturated,
            "n_steps": self.n_steps,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LayerReport":
        """Return the object for the result of ``to_dict``."""
        return cls(
            rate=Rate(**values["rate_hz"]),
            per_unit=np.array(values["per_unit_hz"], "float64"),
            histogram=dict(values["histogram"]),
            **{name: values[name] for name in ("silent", "saturated", "n_steps", "dt", "spikes_per_inference")},
        )


@dataclass(frozen=True, eq=False)
class Latency:
    """Accuracy and confidence of an output after the first k steps.

    Attributes:
        steps: Array of the numbers of steps k.
        accuracy: Array of the accuracies after k steps; None without labels.
        confidence: Array of the means of the largest probability after k steps.
        early_exit: Dict from each threshold to the pair (accuracy or None, mean number of steps) of inferences that
            stop as soon as the largest probability reaches the threshold.
    """

    steps: np.ndarray
    accuracy: np.ndarray | None
    confidence: np.ndarray
    early_exit: dict[float, tuple[float | None, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for a JSON file."""
        return {
            "steps": self.steps.tolist(),
            "accuracy": None if self.accuracy is None else self.accuracy.tolist(),
            "confidence": self.confidence.tolist(),
            "early_exit": [
                {"threshold": threshold, "accuracy": accuracy, "mean_steps": steps}
                for threshold, (accuracy, steps) in self.early_exit.items()
            ],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Latency":
        """Return the object for the result of ``to_dict``."""
        return cls(
            steps=np.array(values["steps"]),
            accuracy=None if values["accuracy"] is None else np.array(values["accuracy"]),
            confidence=np.array(values["confidence"]),
            early_exit={entry["threshold"]: (entry["accuracy"], entry["mean_steps"]) for entry in values["early_exit"]},
        )


@dataclass(frozen=True, eq=False)
class Examples:
    """The first samples of the data, with all their spikes and outputs.

    Attributes:
        x: Inputs.
        labels: Dict from the name of each output, "" for a single output, to its labels. Empty without labels.
        counts: Dict from layer name to an array ``(sample, time, units)`` of the number of spikes.
        steps: Array of the numbers of steps k of ``outputs``.
        outputs: Dict from the name of each output, "" for a single output, to an array ``(sample, len(steps),
            classes)``: the output after the first k steps. Empty for a model without classifier output, or if the
            output is known after all steps only.
    """

    x: Nest
    labels: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    steps: np.ndarray
    outputs: dict[str, np.ndarray]

    @property
    def y(self) -> Nest:
        """The labels of a single output; None without labels. For several outputs, the dict ``labels``."""
        return single_value(self.labels)

    @property
    def output(self) -> Nest:
        """The array of a single output; None without one. For several outputs, the dict ``outputs``."""
        return single_value(self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for a JSON file: lists with their dtypes; numbers have six digits."""
        return {attribute.name: to_lists(getattr(self, attribute.name)) for attribute in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Examples":
        """Return the object for the result of ``to_dict``."""
        return cls(**{attribute.name: from_lists(values[attribute.name]) for attribute in fields(cls)})


@dataclass(frozen=True, eq=False)
class DtReport(Totals):
    """The results at one dt and one number of steps.

    Attributes:
        dt: Time step in seconds; None if each layer uses its dt.
        accuracies: Dict from the name of each output, "" for a single output, to its accuracy in [0, 1]. Empty without
            labels.
        layers: Dict from layer name to ``LayerReport``.
        examples: ``Examples``, or None.
        n_steps: Number of time steps.
        latencies: Dict from the name of each output, "" for a single output, to its ``Latency``. Empty for a model
            without classifier output, or if the output is known after all steps only.
        metrics: Dict from the name of each metric to its value.
        work: Dict from the name of each layer call with connections or neurons to its ``keras_snn.energy.Work``.
        notes: Tuple of sentences on missing results and on the methods of others.
        traces: Dict from the name of each call of a layer with a state to its ``Trace``. Empty without ``states=True``.
    """

    dt: float | None
    accuracies: dict[str, float]
    layers: dict[str, LayerReport]
    examples: Examples | None = field(default=None, repr=False)
    n_steps: int | None = None
    latencies: dict[str, Latency] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    traces: dict[str, Trace] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for a JSON file."""
        return {
            "dt": self.dt,
            "n_steps": self.n_steps,
            "accuracies": self.accuracies,
            "metrics": self.metrics,
            "layers": {name: layer.to_dict() for name, layer in self.layers.items()},
            "work": {name: asdict(work) for name, work in self.work.items()},
            "operations": {name: getattr(self, name) for name in OPERATIONS} if self.work else {},
            "energy_j": {name: self.energy(name) for name in DEVICES} if self.work else {},
            "latencies": {name: latency.to_dict() for name, latency in self.latencies.items()},
            "notes": list(self.notes),
            "examples": None if self.examples is None else self.examples.to_dict(),
            "traces": {name: trace.to_dict() for name, trace in self.traces.items()},
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DtReport":
        """Return the object for the result of ``to_dict``."""
        return cls(
            layers={name: LayerReport.from_dict(layer) for name, layer in values["layers"].items()},
            examples=None if values["examples"] is None else Examples.from_dict(values["examples"]),
            latencies={name: Latency.from_dict(latency) for name, latency in values["latencies"].items()},
            work={name: Work(**work) for name, work in values["work"].items()},
            notes=tuple(values["notes"]),
            traces={name: Trace.from_dict(trace) for name, trace in values.get("traces", {}).items()},
            **{name: values[name] for name in ("dt", "n_steps", "accuracies", "metrics")},
        )

    @property
    def accuracy(self) -> Any:
        """The accuracy of a single output; None without labels. For several outputs, the dict ``accuracies``."""
        return single_value(self.accuracies)

    @property
    def latency(self) -> Any:
        """The ``Latency`` of a single output; None without one. For several outputs, the dict ``latencies``."""
        return single_value(self.latencies)

    @property
    def spikes_per_inference(self) -> float | None:
        """Mean number of spikes of all layers in one sample; None if it is unknown for a layer."""
        numbers = [layer.spikes_per_inference for layer in self.layers.values()]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None

    @property
    def synapses(self) -> dict[str, Work]:
        """The entries of ``work`` for layers with synapses."""
        return {name: work for name, work in self.work.items() if work.dense_connections}

    @property
    def synaptic_operations(self) -> float:
        """Number of synaptic operations of one inference, in the layers that spikes reach; same as ``accumulates``."""
        return self.accumulates

    @property
    def ann_macs(self) -> int:
        """Number of multiply-accumulates of the same layers in an ANN, without connections of weight zero."""
        return sum(work.connections for work in self._with_spikes())

    @property
    def ann_dense_macs(self) -> int:
        """Number of multiply-accumulates of the same layers in an ANN, with connections of weight zero."""
        return sum(work.dense_connections for work in self._with_spikes())

    def _with_spikes(self):
        return [work for work in self.work.values() if work.operations is not None]

    def energy(self, name: str, *, as_ann: bool = False) -> float:
        """Return the estimated energy of one inference in J on a device of ``keras_snn.energy.DEVICES``.

        The energy on a device with spikes is that of the synaptic operations, of the multiply-accumulates in each run
        of a layer with analog inputs, and of neuron updates. A device without spikes runs each layer once; so does
        every device with ``as_ann=True``. ``ModelEnergy(model, x, inputs="analog")`` gives the same energy.
        """
        return self.energy_range(name, as_ann=as_ann)[0]

    def energy_range(self, name: str, *, as_ann: bool = False) -> tuple[float, float, float]:
        """Return ``energy``, and its minimum and maximum over the range of each constant."""
        return energy_range(self.work.values(), name, as_ann=as_ann)

    def plot(self, path: Path | None = None, *, class_names: ClassNames = None) -> Figure:
        """Draw the examples: input, spikes of each unit at each step, output over time. Return the figure.

        Wrong predictions are red and marked "wrong".

        Args:
            path: Path of the image file. Default: no file.
            class_names: As in ``Report.to_html``.

        Raises:
            ValueError: If the report has no examples.
            OSError: If the folder of ``path`` cannot be written.
        """
        return finish(plots.examples(self, class_names=class_names), path)

    def plot_traces(self, path: Path | None = None, *, layer: str | None = None, sample: int = 0) -> Figure:
        """Draw ``traces`` of one example: inputs, membrane with threshold, and spikes of each layer. Return the figure.

        Args:
            path: Path of the image file. Default: no file.
            layer: Name of the layer call to draw. Default: all layer calls.
            sample: Integer, the index of the example, from 0.

        Raises:
            ValueError: Without traces (see ``states`` of ``inspect``), for an unknown layer, or for an index without an
                example.
        """
        return finish(plots.traces(self, layer=layer, sample=sample), path)


def single_value(by_output: Mapping[str, Any]) -> Any:
    """Return the value of a single output, named ""; None for an empty dict. For several outputs, return the dict."""
    return by_output.get("") if by_output.keys() <= {""} else by_output


class Results:
    """A sequence of results with access by dt, or by (dt, number of steps)."""

    def __init__(self, results: Iterable):
        self.results = list(results)

    def __iter__(self) -> Iterator:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, key: Any) -> Any:
        dt, n_steps = key if isinstance(key, tuple) else (key, None)
        for result in self.results:
            if n_steps in (None, result.n_steps) and same_dt(result.dt, dt):
                return result
        raise KeyError(f"The report has no result for (dt, n_steps) = {dt, n_steps}. It has {self.settings()}.")

    def settings(self) -> list[tuple[float | None, int | None]]:
        """Return the list of the pairs (dt, n_steps)."""
        return [(result.dt, result.n_steps) for result in self.results]


def same_dt(a: float | None, b: float | None) -> bool:
    """Return whether two dt are equal up to float32 rounding. None equals None only."""
    return a == b or (a is not None and b is not None and bool(np.isclose(a, b, rtol=1e-6, atol=0)))


def at_dt(result: DtReport, dt: float) -> DtReport:
    """Return ``result`` at another dt, for a model that does not depend on dt: only rates in Hz change."""

    def rescale(layer):
        scale = layer.dt / dt
        rate = Rate(*(scale * rate for rate in (layer.rate.min, layer.rate.mean, layer.rate.max)))
        return replace(layer, rate=rate, per_unit=scale * layer.per_unit, dt=dt)

    layers = {name: rescale(layer) for name, layer in result.layers.items()}
    traces = {name: replace(trace, dt=dt) for name, trace in result.traces.items()}
    return replace(result, dt=dt, layers=layers, traces=traces)


def finish(figure: Figure, path: Path | None) -> Figure:
    """Write a figure to ``path`` atomically, unless ``path`` is None. Return the figure."""
    if path is not None:
        save_figure(figure, path)
    return figure
