"""``inspect``: run a model at several dt, and count its spikes."""

import contextlib
import datetime
import itertools
import warnings

import keras
import numpy as np

from keras_snn import checks, graph, probe
from keras_snn.data import labels
from keras_snn.data.arrays import as_array
from keras_snn.data.batches import Batches
from keras_snn.energy.work import MOST_SAMPLES, spike_numbers
from keras_snn.inspector.findings import at_dt
from keras_snn.inspector.inputs import check_model, describe, with_progress
from keras_snn.inspector.metrics import Metrics
from keras_snn.inspector.prober import prober, probers
from keras_snn.inspector.report import DtReport, Examples, Latency, LayerReport, Rate, Report
from keras_snn.inspector.traces import record
from keras_snn.layers.base.time_step import check_dt
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import LIMIT, MOST_SPIKES, join_counts

BINS = ("<0", *map(str, range(MOST_SPIKES)), f">={MOST_SPIKES}")

#: The confidences at which an early exit is tried.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def inspect(
    model,
    x,
    y=None,
    *,
    dt=None,
    n_steps=None,
    batch_size=None,
    steps=None,
    steps_at_once=None,
    causal=False,
    examples=4,
    states=False,
    seed=0,
    metrics=(),
    verbose="auto",
):
    """Measure the accuracy, spikes and energy of a model at one or several time steps.

    The model is called as it is, inside a scope that overrides dt: no layer is cloned, and weights, dt and compiled
    functions of the model are as before afterwards. One compiled function serves all dt. Spikes are counted on the
    device a batch at a time, so memory does not grow with the data.

    Initial voltages are drawn by ``seed`` and by each sample's place in the data: the report does not depend on the
    batch size. With a mask, only the steps that count enter rates, histograms and answers.

    Args:
        model: A built Keras model with at least one spiking layer of this package, at any depth.
        x: Array ``(samples, ...)`` or pandas object, or a nest of them for a model with several inputs; or data in
            batches ``(x, y)``: a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a PyTorch ``DataLoader`` or a
            generator. It is read once.
        y: Array of integer labels ``(samples,)`` or one-hot rows ``(samples, classes)``; None for no accuracy. The
            predicted class is the largest output, averaged over time if the model's output has a time axis. A dict of
            such arrays from the outputs' names for a model with several outputs.
        dt: Number in seconds or a sequence of them. Default: every layer's own. If no layer depends on dt, because
            all count steps, the model runs once, with a warning, and the results differ in their rates in Hz only.
        n_steps: Integer or a sequence of them, number of steps that ``Repeat`` makes; where the time axis comes with
            ``x``, the number of its first steps to use. Default: all. Each dt runs at each number of steps.
        batch_size: Integer. Default: about 128. Must be None for data in batches.
        steps: Integer, number of batches to use, for endless data. Default: all.
        steps_at_once: Integer, number of time steps that are in memory together. The model gives an answer after each
            such part of its time axis. Default: 1, more for a model of many time steps, or as many as fit in memory for
            one that is no classifier.
        causal: Boolean. True promises that each output depends on no later time step; see ``keras_snn.predict``.
        examples: Integer, how many of the first samples to keep whole for plots.
        states: Boolean, whether to record the membrane and other states of up to three units of each layer in the
            examples, at every step; see ``DtReport.traces`` and ``DtReport.plot_traces``. The model then runs over its
            time axis step by step once more for each result, with the examples alone. Default False.
        seed: Integer, for the initial voltages.
        metrics: List of Keras metrics or their names, as in ``compile``, evaluated on ``y`` and the model's output at
            every dt; a dict from the outputs' names for a model with several outputs. With metrics, ``y`` may also hold
            rows ``(samples, classes)`` that are not one-hot; the accuracy is then None.

        verbose: As in ``keras.Model.evaluate``: "auto", 0, 1 or 2. 1 and "auto" show a progress bar.

    Returns:
        A ``Report``.

    Raises:
        TypeError: If ``model`` is no Keras model, or ``x`` holds anything but arrays.
        ValueError: For an unbuilt model or one without spiking layers, an empty data set, labels that do not fit,
            dt <= 0, ``n_steps`` beyond what ``x`` holds, ``steps_at_once`` or ``states=True`` for a model that cannot
            run over parts of its time axis, ``states=True`` without examples, or a layer that emits values that are not
            finite (it is named).

    Example:

    ```python
    report = keras_snn.inspect(model, x_test, y_test, dt=[0.001, 0.01, 0.1, 1])
    print(report.table())
    report[0.01].layers["spiking_activation"].rate.mean  # Hz
    report[0.01].plot("examples.png")
    ```
    """
    check_model(model)
    batches = Batches(x, y, batch_size=batch_size, steps=steps, most=MOST_SAMPLES)
    dts, many_steps = _dts(dt), np.ravel(n_steps).tolist()
    if not many_steps:
        raise ValueError("`n_steps` is an empty sequence; give at least one number of steps, or None.")
    many_steps = [checks.integer("n_steps", value, least=1, optional=True) for value in many_steps]
    examples = checks.integer("examples", examples, least=1 if states else 0)
    seed = checks.integer("seed", seed, least=0)
    few = batches.first(max(examples, graph.static_batch_size(model) or 1))
    options = {
        "dt": None if dt is None else max(dts),
        "causal": causal,
        "steps_at_once": checks.integer("steps_at_once", steps_at_once, least=1, optional=True),
        "batch_size": few.n_samples if batches.n_samples is None else min(batches.n_samples, 128),
        "seed": seed,
        "n_examples": min(examples, few.n_samples),
        "with_outputs": bool(metrics),
    }
    kept = probers(model, own_dt=dt is None)
    with probe.left_as_it_was(model):
        runs = [_prober_and_cut(kept, model, few.x, n_steps=value, **options) for value in many_steps]
        if states:
            runs[0][0].anatomy.time_axis.check()
    with probe.left_as_it_was(model) as before:
        measured = Metrics(metrics, runs[0][0].anatomy.outputs)
        sweeps = [
            [_Sweep(probing, cut, value, measured, few) for value in (dts if _reads_dt(probing) else dts[:1])]
            for probing, cut in runs
        ]
        if not batches.in_batches:  # errors come before the work
            sweeps[0][0].class_numbers({name: as_array(values) for name, values in labels.by_output(y).items()})
        every, turns = list(itertools.chain(*sweeps)), probe.Turns(before)
        for batch in with_progress(batches, verbose):
            for sweep in every:
                with turns.turn(sweep) if len(every) > 1 else contextlib.nullcontext():
                    sweep.add(batch)
        if states:
            for sweep in every:
                sweep.trace()
    results = []
    for of_steps in sweeps:
        results += [sweep.result(batches.n_samples) for sweep in of_steps]
        results += [at_dt(results[-1], value) for value in dts[len(of_steps) :]]
    if len(set(dts)) > 1 and not _reads_dt(runs[0][0]):
        warnings.warn(
            f"No layer of the model {model.name!r} depends on dt: its neurons count steps. It runs once, and the "
            f"results at dt = {', '.join(f'{value:g}' for value in dts)} s differ in their rates in Hz only. Compare "
            "`spikes_per_step` of the layers instead.",
            stacklevel=2,
        )
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return Report(results, batches.n_samples, model=model.name, data=describe(few.x, batches.n_samples), date=now)


def _prober_and_cut(kept, model, x, *, n_steps, **options):
    """Return the ``Prober`` for a number of steps, and how many of the first steps of ``x`` it takes; None for all."""
    probing = prober(kept, model, x, n_steps=n_steps, **options)
    axis = probing.anatomy.time_axis
    if n_steps is None or axis.is_made:
        return probing, None
    with_time = all(a.shape[1:2] == (axis.n_steps,) for a in keras.tree.flatten(x))
    if not with_time or n_steps > axis.n_steps:
        raise ValueError(
            f"`n_steps` is {n_steps}, but no layer of the model {model.name!r} makes a time axis (as Repeat does), and "
            f"`x` has {axis.n_steps if with_time else 'no axis of'} steps to cut. Leave `n_steps` out."
        )
    return prober(kept, model, _first_steps(x, n_steps), n_steps=None, **options), n_steps


def _first_steps(x, n_steps):
    return x if n_steps is None else keras.tree.map_structure(lambda array: array[:, :n_steps], x)


def _reads_dt(probing):
    return probing.anatomy.time_axis.reads_dt


class _Sweep:
    """The sums over the data at one dt and one number of steps.

    Args:
        probing: ``Prober``.
        cut: Integer, the number of the first steps of ``x`` to use; None for all.
        dt: Number in seconds; None for each layer's own.
        metrics: ``Metrics``.
        few: ``Batch`` of the first samples, the examples among them.
    """

    def __init__(self, probing, cut, dt, metrics, few):
        self.prober, self.cut, self.dt, self.metrics, self.few = probing, cut, dt, metrics, few
        self.totals, self.arrived, self.shown, self.sums, self.traces = {}, {}, [], {}, {}
        self.latency = {name: _Latency(probing.steps) for name in probing.anatomy.classifiers}

    def add(self, batch):
        """Add a ``Batch``."""
        batch = batch._replace(x=_first_steps(batch.x, self.cut))
        numbers = self.class_numbers(batch.y)
        found = self.prober.on(batch, self.dt)
        for name, row in found["layers"].items():
            self._check(name, row, batch)
            self.totals[name] = _joined(self.totals.get(name), row)
        for name, parts in found["arrived"].items():
            self.arrived[name] = self.arrived.get(name, 0) + spike_numbers(parts)
        for name, answer in found["answers"].items():
            self.latency[name].add(answer, numbers.get(name))
        self.sums = self.metrics.update(self.sums, batch.y, found["outputs"])
        if batch.start < self.prober.n_examples:
            self.shown.append({name: found[name] for name in ("spikes", "examples")})

    def trace(self):
        """Run the examples once more, and record the states of their layers."""
        self.traces = record(self.prober, self._examples(), self.dt)

    def class_numbers(self, of_y):
        """Return the class numbers ``(batch,)`` for each output of a classifier that has labels, or raise an error."""
        outputs, classifiers = self.prober.anatomy.outputs, self.prober.anatomy.classifiers
        for name in of_y:
            if name not in outputs or not (name in classifiers or self.metrics):
                names = ", ".join(repr(known) for known in sorted(outputs) if known)
                raise ValueError(
                    f"`y` was given{f' for {name!r}' if name else ''}, but the model's output is not that of a "
                    "classifier: one tensor (batch, classes) or (batch, time, classes), with at least two classes. "
                    + (f"Give a dict of labels from the outputs' names: {names}." if names else "Leave `y` out.")
                )
        return {
            name: labels.classes(of_y[name], n)
            for name, n in classifiers.items()
            if name in of_y and not (self.metrics and labels.are_soft(of_y[name], n))  # for the metrics alone
        }

    def _check(self, name, row, batch):
        where = f"for samples {batch.start} to {batch.start + batch.n_samples - 1}"
        if row["infinite"].any():
            raise ValueError(
                f"The spiking layer {name!r} emits values that are not finite, {where}. Look for NaN or infinite "
                "values in `x`, in the weights, or in the layer's activation."
            )
        if row["too_many"].any():
            raise ValueError(
                f"The spiking layer {name!r} has more spikes than can be counted exactly, {where}: the largest number "
                f"in a step, multiplied by the {self.prober.anatomy.n_steps} steps, must be less than {LIMIT:g}, and "
                "so must the number of (sample, step, unit) triples in a batch. Use a smaller `dt`, fewer steps or a "
                "smaller `batch_size`."
            )

    def result(self, n_samples):
        """Return the ``DtReport`` of all samples."""
        anatomy = self.prober.anatomy
        # In the order of the calls: JAX sorts the batch's dict.
        layers = {
            name: self._layer_report(self.totals[name], layer, units, n_samples)
            for name, (layer, units, _) in anatomy.time_axis.emitters.items()
        }
        latency = {name: sums.result(n_samples) for name, sums in self.latency.items()}
        return DtReport(
            self.dt,
            {name: float(of_k.accuracy[-1]) for name, of_k in latency.items() if of_k.accuracy is not None},
            layers,
            self._examples() if self.shown else None,
            n_steps=anatomy.n_steps,
            work={
                name: synapses.work(self.arrived[name] / n_samples if name in self.arrived else None)
                for name, synapses in anatomy.synapses.items()
                if synapses.dense_connections or synapses.neurons
            },
            latencies={name: of_k for name, of_k in latency.items() if len(of_k.steps) > 1},
            metrics=self.metrics.results(self.sums),
            notes=self._notes(layers),
            traces=self.traces,
        )

    def _notes(self, layers):
        anatomy, silent = self.prober.anatomy, [name for name, layer in layers.items() if layer.silent == 1]
        why_not, notes = anatomy.time_axis.why_not, []
        if why_not and anatomy.n_steps > 1:
            notes.append(f"No answers after fewer steps: {why_not}.")
        mixed = [name for name, synapses in anatomy.synapses.items() if synapses.mixed]
        if mixed:
            notes.append(
                f"Counted as multiply-accumulates: {', '.join(mixed)}. Other signals arrive with the spikes, or "
                "spikes of different heights or dt."
            )
        unknown = [name for name, of in anatomy.synapses.items() if not of.known and of.call.layer.weights]
        if unknown:
            notes.append(
                f"Operations not counted: {', '.join(unknown)}. Register the class with ModelEnergy.register_layer."
            )
        if silent:
            causes = ["inputs too small for the threshold", "too few steps"]
            parts = self.prober.inspected._flatten_layers()
            if any(isinstance(part, keras.layers.BatchNormalization) for part in parts):
                causes.append(
                    "moving statistics of a BatchNormalization that lag behind (after few batches, train with "
                    "momentum=0.9)"
                )
            notes.append(f"Silent for all samples: {', '.join(silent)}. Possible causes: {'; '.join(causes)}.")
        return tuple(notes)

    def _layer_report(self, total, layer, units, n_samples):
        steps = int(total["histogram"].sum()) // total["active"].size  # steps that count, over all samples
        n_steps = round(steps / n_samples)
        dt = to_float(layer.dt) if self.dt is None else self.dt
        spikes = join_counts(total["spikes"][0])
        per_unit = spikes / (max(steps, 1) * dt)
        active = total["active"][0]
        # With a mask, samples differ in their number of steps: min and max are spikes per step, else spikes.
        duration = dt if total["least"].dtype.kind == "f" else n_steps * dt
        least, most = float(total["least"].min() / duration), float(total["most"].max() / duration)
        return LayerReport(
            rate=Rate(least, float(per_unit.mean()), most),
            per_unit=per_unit.reshape(units),
            histogram=dict(zip(BINS, total["histogram"][0].tolist(), strict=True)),
            silent=float(np.mean(active == 0)),
            saturated=float(np.mean(active == steps)),
            n_steps=n_steps,
            dt=dt,
            spikes_per_inference=float(spikes.sum() / n_samples),
        )

    def _examples(self):
        n, few = self.prober.n_examples, self.few
        shown = keras.tree.map_structure(lambda *rows: np.concatenate(rows)[:n], *self.shown)
        spikes = {name: shown["spikes"][name].astype("float64") for name in self.prober.anatomy.layers}
        few = few._replace(x=_first_steps(few.x, self.cut)).rows(0, n)
        several = len(self.prober.steps) > 1 or self.prober.anatomy.n_steps == 1
        return Examples(few.x, few.y, spikes, self.prober.steps, shown["examples"] if several else {})


class _Latency:
    """Sums over the samples of an output's right answers and confidence after the first k steps."""

    def __init__(self, steps):
        self.steps, self.has_labels = steps, True
        self.right, self.confidence = np.zeros(len(steps)), np.zeros(len(steps))
        self.exits = dict.fromkeys(THRESHOLDS, (0, 0))

    def add(self, answer, y):
        """Add the answers of a batch; ``y`` are the class numbers ``(batch,)``, or None."""
        classes, confidence = answer["class"], answer["confidence"].astype("float64")
        self.has_labels = self.has_labels and y is not None
        right = classes == y[:, None] if self.has_labels else np.zeros(classes.shape, bool)
        self.right += right.sum(axis=0)
        self.confidence += confidence.sum(axis=0)
        for threshold, (n_right, n_steps) in self.exits.items():
            sure = confidence >= threshold
            sure[:, -1] = True
            first = sure.argmax(axis=1)
            n_right += right[np.arange(len(first)), first].sum()
            self.exits[threshold] = (n_right, n_steps + self.steps[first].sum())

    def result(self, n_samples):
        known = self.has_labels
        return Latency(
            steps=self.steps,
            accuracy=self.right / n_samples if known else None,
            confidence=self.confidence / n_samples,
            early_exit={
                threshold: (float(n_right / n_samples) if known else None, float(n_steps / n_samples))
                for threshold, (n_right, n_steps) in self.exits.items()
            },
        )


def _dts(dt):
    if dt is None:
        return [None]
    dts = [check_dt(value) for value in np.ravel(dt).tolist()]
    if not dts:
        raise ValueError("`dt` is an empty sequence; give at least one time step in seconds, or None.")
    return dts


def _joined(total, row):
    """Add the statistics of a batch to those before it, in int64 and float64."""
    row = {name: value.astype("float64" if value.dtype.kind == "f" else "int64") for name, value in row.items()}
    parts = [row] if total is None else [total, row]
    how = {"least": np.min, "most": np.max}
    return {
        name: how.get(name, np.sum)(np.concatenate([part[name] for part in parts]), axis=0, keepdims=True)
        for name in row
    }
