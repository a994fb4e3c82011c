"""The inspector's findings at one dt, and their form in a JSON file."""

from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from keras_snn.energy import DEVICES, Work, joules
from keras_snn.files import save_figure
from keras_snn.inspector import plots
from keras_snn.inspector.json_arrays import arrays, listed, numbers
from keras_snn.inspector.traces import Trace


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
        histogram: Dict from a number of spikes, "<0", "0", "1", ... ">=10", to the number of (sample, step, unit)
            triples with that number.
        silent: Share of the units without a spike in all the data.
        saturated: Share of the units with a spike at every step of all the data.
        n_steps: Number of time steps.
        dt: Time step in seconds: the one given to ``inspect``, else that of the layer.
        spikes_per_inference: Mean number of spikes of all units in one sample. Negative spikes count as negative, as
            in the rates.
    """

    rate: Rate
    per_unit: np.ndarray
    histogram: dict
    silent: float
    saturated: float
    n_steps: int
    dt: float | None = None
    spikes_per_inference: float | None = None

    @property
    def spikes_per_step(self):
        """Mean number of spikes of a unit in a step; None without a dt."""
        return None if self.dt is None else self.rate.mean * self.dt

    @property
    def temporal_sparsity(self):
        """Share of the (sample, step, unit) triples without a spike."""
        return self.histogram["0"] / max(1, sum(self.histogram.values()))

    def quantiles(self, q=(0.05, 0.25, 0.5, 0.75, 0.95)):
        """Return the quantiles ``q`` of the units' mean rates: a dict to Hz."""
        return dict(zip(q, np.quantile(self.per_unit, q).tolist(), strict=True))

    def to_dict(self):
        """Return what fits a JSON file; ``per_unit`` to six digits."""
        per_unit = numbers(self.per_unit)
        quantiles = replace(self, per_unit=np.array(per_unit)).quantiles()  # of what a reader of the file has
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
    def from_dict(cls, values):
        """Return the object of which ``to_dict`` gave ``values``."""
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
        accuracy: Array, the accuracy after each k; None without labels.
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

    @classmethod
    def from_dict(cls, values):
        """Return the object of which ``to_dict`` gave ``values``."""
        return cls(
            steps=np.array(values["steps"]),
            accuracy=None if values["accuracy"] is None else np.array(values["accuracy"]),
            confidence=np.array(values["confidence"]),
            early_exit={of["threshold"]: (of["accuracy"], of["mean_steps"]) for of in values["early_exit"]},
        )


@dataclass(frozen=True, eq=False)
class Examples:
    """The first few samples, kept whole for plots.

    Attributes:
        x: Their inputs.
        labels: Dict from an output's name, "" for an only output, to its labels. Empty without labels.
        counts: Dict from layer name to an array ``(sample, time, units)`` of spikes in each step.
        steps: Array of the numbers of steps k of ``outputs``.
        outputs: Dict from an output's name, "" for an only output, to an array ``(sample, len(steps), classes)``: the
            output after the first k steps. Empty for a model that is no classifier, or that runs with one number of
            steps only.
    """

    x: np.ndarray
    labels: dict
    counts: dict
    steps: np.ndarray
    outputs: dict

    @property
    def y(self):
        """The labels of the only output; None without labels; for a model with several outputs, ``labels``."""
        return only(self.labels)

    @property
    def output(self):
        """The array of the only output; None without one; for a model with several outputs, ``outputs``."""
        return only(self.outputs)

    def to_dict(self):
        """Return what fits a JSON file: lists, and beside them the dtype; numbers to six digits."""
        return {of.name: listed(getattr(self, of.name)) for of in fields(self)}

    @classmethod
    def from_dict(cls, values):
        """Return the object of which ``to_dict`` gave ``values``."""
        return cls(**{of.name: arrays(values[of.name]) for of in fields(cls)})


@dataclass(frozen=True, eq=False)
class DtReport:
    """The findings at one dt and one number of steps.

    Attributes:
        dt: Time step in seconds; None for every layer's own.
        accuracies: Dict from an output's name, "" for an only output, to its accuracy in [0, 1]. Empty without labels.
        layers: Dict from layer name to ``LayerReport``.
        examples: ``Examples``, or None.
        n_steps: Number of time steps.
        latencies: Dict from an output's name, "" for an only output, to its ``Latency``. Empty for a model that is no
            classifier, or that runs with one number of steps only.
        metrics: Dict from a metric's name to its value.
        work: Dict from the name of each layer that computes, by its calls, to its ``keras_snn.energy.Work``.
        notes: Tuple of sentences: results that are missing, and how others were obtained.
        traces: Dict from the name of each call of a layer with a state to its ``Trace``. Empty without ``states=True``.
    """

    dt: float | None
    accuracies: dict
    layers: dict
    examples: Examples | None = field(default=None, repr=False)
    n_steps: int | None = None
    latencies: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    work: dict = field(default_factory=dict)
    notes: tuple = ()
    traces: dict = field(default_factory=dict, repr=False)

    def to_dict(self):
        """Return what fits a JSON file."""
        return {
            "dt": self.dt,
            "n_steps": self.n_steps,
            "accuracies": self.accuracies,
            "metrics": self.metrics,
            "layers": {name: layer.to_dict() for name, layer in self.layers.items()},
            "work": {name: asdict(work) for name, work in self.work.items()},
            "energy_j": {name: self.energy(name) for name in DEVICES} if self.work else {},
            "latencies": {name: latency.to_dict() for name, latency in self.latencies.items()},
            "notes": list(self.notes),
            "examples": None if self.examples is None else self.examples.to_dict(),
            "traces": {name: trace.to_dict() for name, trace in self.traces.items()},
        }

    @classmethod
    def from_dict(cls, values):
        """Return the object of which ``to_dict`` gave ``values``."""
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
    def accuracy(self):
        """The accuracy of the only output; None without labels; for a model with several outputs, ``accuracies``."""
        return only(self.accuracies)

    @property
    def latency(self):
        """The ``Latency`` of the only output; None without one; for a model with several outputs, ``latencies``."""
        return only(self.latencies)

    @property
    def spikes_per_inference(self):
        """Mean number of spikes of all layers in one sample; None where that of a layer is unknown."""
        spikes = [layer.spikes_per_inference for layer in self.layers.values()]
        return None if None in spikes else sum(spikes)

    @property
    def synapses(self):
        """The entries of ``work`` of layers with synapses."""
        return {name: work for name, work in self.work.items() if work.dense_connections}

    @property
    def synaptic_operations(self):
        """Number of synaptic operations of one inference, in the layers that spikes reach."""
        return sum(work.operations for work in self._reached())

    @property
    def ann_macs(self):
        """Number of multiply-accumulates of the same layers in an ANN, without connections of weight zero."""
        return sum(work.connections for work in self._reached())

    @property
    def ann_dense_macs(self):
        """Number of multiply-accumulates of the same layers in an ANN, with connections of weight zero."""
        return sum(work.dense_connections for work in self._reached())

    def _reached(self):
        return [work for work in self.work.values() if work.operations is not None]

    def energy(self, name, *, as_ann=False):
        """Return the estimated energy of one inference in J on a device of ``keras_snn.energy.DEVICES``.

        A device with spikes pays for synaptic operations, for the multiply-accumulates of a layer with analog inputs
        each time that it runs, and for neuron updates. A device without spikes runs each layer once; so does every
        device with ``as_ann=True``. ``ModelEnergy(model, x, inputs="analog")`` gives the same figure.
        """
        return sum(sum(joules(work, name, as_ann=as_ann)) for work in self.work.values())

    def plot(self, path=None, *, class_names=None):
        """Draw the examples: input, spikes of each unit at each step, output over time. Return the figure.

        Wrong answers are red and have the word "wrong".

        Args:
            path: Path of a picture to write. Default: none.
            class_names: As in ``Report.to_html``.

        Raises:
            ValueError: If the report holds no examples.
            OSError: If the folder of ``path`` cannot be written.
        """
        return finish(plots.examples(self, class_names=class_names), path)

    def plot_traces(self, path=None, *, layer=None, sample=0):
        """Draw ``traces`` of one example: inputs, membrane with threshold, and spikes of each layer. Return the figure.

        Args:
            path: File to write the picture to. Default: none.
            layer: Name of the layer call to draw. Default: all.
            sample: Integer, the place of the example, from 0.

        Raises:
            ValueError: Without traces (see ``states`` of ``inspect``), for an unknown layer, or for a sample that is no
                example.
        """
        return finish(plots.traces(self, layer=layer, sample=sample), path)


def only(by_output):
    """Return the value of a model's only output, whose name is ""; None without any; for several outputs, the dict."""
    return by_output.get("") if by_output.keys() <= {""} else by_output


class Results:
    """A sequence of results that are looked up by dt, or by (dt, number of steps)."""

    def __init__(self, results):
        self.results = list(results)

    def __iter__(self):
        return iter(self.results)

    def __len__(self):
        return len(self.results)

    def __getitem__(self, key):
        dt, n_steps = key if isinstance(key, tuple) else (key, None)
        for result in self.results:
            if n_steps in (None, result.n_steps) and same_dt(result.dt, dt):
                return result
        raise KeyError(f"no result for (dt, n_steps) = {dt, n_steps}; there are {self.settings()}")

    def settings(self):
        """Return the list of the pairs (dt, n_steps)."""
        return [(result.dt, result.n_steps) for result in self.results]


def same_dt(a, b):
    """Return whether two dt are equal up to float32 rounding; None, each layer's own dt, equals None only."""
    return a == b or (None not in (a, b) and bool(np.isclose(a, b, rtol=1e-6, atol=0)))


def at_dt(result, dt):
    """Return ``result`` at another dt, for a model that does not depend on dt: only rates in Hz change."""

    def rescaled(layer):
        per_second = layer.dt / dt
        rate = Rate(*(per_second * rate for rate in (layer.rate.min, layer.rate.mean, layer.rate.max)))
        return replace(layer, rate=rate, per_unit=per_second * layer.per_unit, dt=dt)

    layers = {name: rescaled(layer) for name, layer in result.layers.items()}
    traces = {name: replace(trace, dt=dt) for name, trace in result.traces.items()}
    return replace(result, dt=dt, layers=layers, traces=traces)


def finish(figure, path):
    """Write a figure to ``path`` atomically, unless ``path`` is None; return the figure."""
    if path is not None:
        save_figure(figure, path)
    return figure
