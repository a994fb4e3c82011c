"""Sums over the data at one dt and one number of steps: spikes, predictions and metrics."""

from typing import Any

import keras
import numpy as np

from keras_snn.data import labels
from keras_snn.data.batches import Batch
from keras_snn.energy.work import spike_numbers
from keras_snn.hints import Nest
from keras_snn.inspector.advice import advice
from keras_snn.inspector.anatomy import notes_on_work
from keras_snn.inspector.findings import DtReport, Examples, Latency, LayerReport, Rate
from keras_snn.inspector.metrics import Metrics
from keras_snn.inspector.prober import Prober
from keras_snn.inspector.traces import Trace, record
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import LIMIT, MOST_SPIKES, join_counts

#: Bins of the histogram of the number of spikes in a step.
BINS = ("<0", *map(str, range(MOST_SPIKES)), f">={MOST_SPIKES}")

#: Confidence thresholds of early exits.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def first_steps(x: Nest, n_steps: int | None) -> Nest:
    """Return the first ``n_steps`` time steps of ``x``; all if ``n_steps`` is None."""
    return x if n_steps is None else keras.tree.map_structure(lambda array: array[:, :n_steps], x)


class Measurement:
    """Sums over the data at one dt and one number of steps.

    Args:
        prober: ``Prober``.
        cut: Integer, the number of first steps of ``x`` to use; None for all.
        dt: Number in seconds; None if each layer uses its dt.
        metrics: ``Metrics``.
        first_batch: ``Batch`` of the first samples, which include the examples.
    """

    def __init__(self, prober: Prober, cut: int | None, dt: float | None, metrics: Metrics, first_batch: Batch):
        self.prober, self.cut, self.dt, self.metrics, self.first_batch = prober, cut, dt, metrics, first_batch
        self.totals: dict[str, dict[str, np.ndarray]] = {}
        self.arrived: dict[str, Any] = {}
        self.example_parts: list[dict[str, Any]] = []
        self.metric_sums: dict[str, list] = {}
        self.traces: dict[str, Trace] = {}
        self.latency = {name: _LatencySums(prober.steps) for name in prober.anatomy.classifiers}

    def add(self, batch: Batch) -> None:
        """Add a ``Batch``."""
        batch = batch._replace(x=first_steps(batch.x, self.cut))
        class_numbers = self.class_numbers(batch.y)
        results = self.prober.on(batch, self.dt)
        for name, statistics in results["layers"].items():
            self._check(name, statistics, batch)
            self.totals[name] = add_statistics(self.totals.get(name), statistics)
        for name, parts in results["arrived"].items():
            self.arrived[name] = self.arrived.get(name, 0) + spike_numbers(parts)
        for name, predictions in results["predictions"].items():
            self.latency[name].add(predictions, class_numbers.get(name))
        self.metric_sums = self.metrics.update(self.metric_sums, batch.y, results["outputs"])
        if batch.start < self.prober.n_examples:
            self.example_parts.append({name: results[name] for name in ("spikes", "examples")})

    def trace(self) -> None:
        """Run the examples once more and record the states of the layers."""
        self.traces = record(self.prober, self._examples(), self.dt)

    def class_numbers(self, y: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return a dict from each classifier output with labels to the class numbers ``(batch,)``. Check the labels."""
        outputs, classifiers = self.prober.anatomy.outputs, self.prober.anatomy.classifiers
        for name in y:
            if name not in outputs or not (name in classifiers or self.metrics):
                names = ", ".join(repr(known) for known in sorted(outputs) if known)
                raise ValueError(
                    f"`y` was given{f' for {name!r}' if name else ''}, but the model's output is not that of a "
                    "classifier: one tensor (batch, classes) or (batch, time, classes), with at least two classes. "
                    + (f"Give a dict of labels from the outputs' names: {names}." if names else "Omit `y`.")
                )
        return {
            name: labels.classes(y[name], n)
            for name, n in classifiers.items()
            if name in y and not (self.metrics and labels.are_soft(y[name], n))  # soft labels are for metrics only
        }

    def _check(self, name, statistics, batch):
        position = f"for samples {batch.start} to {batch.start + batch.n_samples - 1}"
        if statistics["infinite"].any():
            raise ValueError(
                f"The spiking layer {name!r} emits values that are not finite, {position}. Look for NaN or infinite "
                "values in `x`, in the weights, or in the layer's activation."
            )
        if statistics["too_many"].any():
            raise ValueError(
                f"The spiking layer {name!r} has more spikes than can be counted exactly, {position}. The largest "
                f"number of spikes in a step, multiplied by the {self.prober.anatomy.n_steps} steps, must be less than "
                f"{LIMIT:g}, and so must the number of (sample, step, unit) triples in a batch. Use a smaller `dt`, "
                "fewer steps or a smaller `batch_size`."
            )

    def result(self, n_samples: int) -> DtReport:
        """Return the ``DtReport`` of all samples."""
        anatomy = self.prober.anatomy
        # In the order of the calls: JAX sorts the dicts of a batch.
        layers = {
            name: layer_report(self.totals[name], to_float(layer.dt) if self.dt is None else self.dt, units, n_samples)
            for name, (layer, units, _) in anatomy.time_axis.emitters.items()
        }
        latencies = {name: sums.result(n_samples) for name, sums in self.latency.items()}
        return DtReport(
            self.dt,
            {name: float(curve.accuracy[-1]) for name, curve in latencies.items() if curve.accuracy is not None},
            layers,
            self._examples() if self.example_parts else None,
            n_steps=anatomy.n_steps,
            work={
                name: synapses.work(self.arrived[name] / n_samples if name in self.arrived else None)
                for name, synapses in anatomy.synapses.items()
                if synapses.dense_connections or synapses.neurons
            },
            latencies={name: curve for name, curve in latencies.items() if len(curve.steps) > 1},
            metrics=self.metrics.results(self.metric_sums),
            notes=self._notes(layers),
            traces=self.traces,
        )

    def _notes(self, layers):
        anatomy = self.prober.anatomy
        why_not, notes = anatomy.time_axis.why_not, []
        if why_not and anatomy.n_steps > 1:
            notes.append(f"No predictions after fewer steps: {why_not}.")
        notes += notes_on_work(anatomy.synapses)
        for state in ("silent", "saturated"):
            names = [name for name, layer in layers.items() if getattr(layer, state) == 1]
            if names:
                notes.append(
                    f"{state.capitalize()}: all units of {', '.join(names)}. {advice(state, self.prober.inspected)}"
                )
        return tuple(notes)

    def _examples(self):
        n = self.prober.n_examples
        recorded = keras.tree.map_structure(lambda *rows: np.concatenate(rows)[:n], *self.example_parts)
        spikes = {name: recorded["spikes"][name].astype("float64") for name in self.prober.anatomy.layers}
        samples = self.first_batch._replace(x=first_steps(self.first_batch.x, self.cut)).rows(0, n)
        has_outputs = len(self.prober.steps) > 1 or self.prober.anatomy.n_steps == 1
        outputs = recorded["examples"] if has_outputs else {}
        return Examples(samples.x, samples.y, spikes, self.prober.steps, outputs)


class _LatencySums:
    """Sums over the samples of correct predictions and confidence of an output after the first k steps."""

    def __init__(self, steps):
        self.steps, self.has_labels = steps, True
        self.n_correct, self.confidence = np.zeros(len(steps)), np.zeros(len(steps))
        self.exits: dict[float, tuple[Any, Any]] = dict.fromkeys(THRESHOLDS, (0, 0))

    def add(self, predictions, y):
        """Add the predictions of a batch; ``y`` holds the class numbers ``(batch,)``, or is None."""
        classes, confidence = predictions["class"], predictions["confidence"].astype("float64")
        self.has_labels = self.has_labels and y is not None
        correct = classes == y[:, None] if self.has_labels else np.zeros(classes.shape, bool)
        self.n_correct += correct.sum(axis=0)
        self.confidence += confidence.sum(axis=0)
        for threshold, (n_correct, n_steps) in self.exits.items():
            exits = confidence >= threshold
            exits[:, -1] = True
            first = exits.argmax(axis=1)
            n_correct += correct[np.arange(len(first)), first].sum()
            self.exits[threshold] = (n_correct, n_steps + self.steps[first].sum())

    def result(self, n_samples):
        return Latency(
            steps=self.steps,
            accuracy=self.n_correct / n_samples if self.has_labels else None,
            confidence=self.confidence / n_samples,
            early_exit={
                threshold: (float(n_correct / n_samples) if self.has_labels else None, float(n_steps / n_samples))
                for threshold, (n_correct, n_steps) in self.exits.items()
            },
        )


def layer_report(total: dict[str, np.ndarray], dt: float, units: tuple[int, ...], n_samples: int) -> LayerReport:
    """Return the ``LayerReport`` of a layer.

    Args:
        total: The sum of ``ops.statistics.summarise`` over all batches, from ``add_statistics``.
        dt: Time step in seconds.
        units: Shape of the spikes of one step, without the batch axis.
        n_samples: Integer, number of samples in all batches.
    """
    steps = int(total["histogram"].sum()) // total["active"].size  # unmasked steps of all samples
    n_steps = round(steps / n_samples)
    spikes = join_counts(total["spikes"][0])
    per_unit = spikes / (max(steps, 1) * dt)
    active = total["active"][0]
    # With a mask, "least" and "most" are spikes per step, because samples differ in their steps; else spikes.
    duration = dt if total["least"].dtype.kind == "f" else n_steps * dt
    min_rate, max_rate = float(total["least"].min() / duration), float(total["most"].max() / duration)
    return LayerReport(
        rate=Rate(min_rate, float(per_unit.mean()), max_rate),
        per_unit=per_unit.reshape(units),
        histogram=dict(zip(BINS, total["histogram"][0].tolist(), strict=True)),
        silent=float(np.mean(active == 0)),
        saturated=float(np.mean(active == steps)),
        n_steps=n_steps,
        dt=dt,
        spikes_per_inference=float(spikes.sum() / n_samples),
    )


def add_statistics(total: dict[str, np.ndarray] | None, statistics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add the statistics of a batch to those of earlier batches, in int64 and float64."""
    batch = {
        name: array.astype("float64" if array.dtype.kind == "f" else "int64") for name, array in statistics.items()
    }
    parts = [batch] if total is None else [total, batch]
    reductions = {"least": np.min, "most": np.max}
    return {
        name: reductions.get(name, np.sum)(np.concatenate([part[name] for part in parts]), axis=0, keepdims=True)
        for name in batch
    }
