"""``inspect``: run a model at several dt, and count its spikes."""

import datetime
import functools
import warnings

import keras
import numpy as np

from keras_snn import checks, graph, probe
from keras_snn.energy.work import MOST_SAMPLES, spike_numbers
from keras_snn.inspector import inputs as data
from keras_snn.inspector.findings import at_dt
from keras_snn.inspector.metrics import Metrics
from keras_snn.inspector.prober import prober, probers
from keras_snn.inspector.report import DtReport, Examples, Latency, LayerReport, Rate, Report
from keras_snn.layers.base.time_step import check_dt
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import LIMIT, MOST_SPIKES, join_counts

BINS = ("<0", *map(str, range(MOST_SPIKES)), f">={MOST_SPIKES}")

#: The confidences at which an early exit is tried.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def inspect(model, x, y=None, *, dt=None, n_steps=None, batch_size=None, examples=4, seed=0, metrics=()):
    """Measure the accuracy, spikes and energy of a model at one or several time steps.

    The model is called as it is, inside a scope that overrides dt: no layer is cloned, and weights, dt and compiled
    functions of the model are as before afterwards. One compiled function serves all dt. Spikes are counted on the
    device a batch at a time, so memory does not grow with the data.

    Initial voltages are drawn by ``seed`` and by each sample's place in the data: the report does not depend on the
    batch size. With a mask, only the steps that count enter rates, histograms and answers.

    Args:
        model: A built Keras model with at least one spiking layer of this package, at any depth.
        x: Array ``(samples, ...)`` or pandas object, or a nest of them for a model with several inputs.
        y: Array of integer labels ``(samples,)`` or one-hot rows ``(samples, classes)``; None for no accuracy. The
            predicted class is the largest output, averaged over time if the model's output has a time axis. A dict of
            such arrays from the outputs' names for a model with several outputs.
        dt: Number in seconds or a sequence of them. Default: every layer's own. If no layer depends on dt, because
            all count steps, the model runs once, with a warning, and the results differ in their rates in Hz only.
        n_steps: Integer or a sequence of them, number of steps that ``Repeat`` makes; where the time axis comes with
            ``x``, the number of its first steps to use. Default: all. Each dt runs at each number of steps.
        batch_size: Integer. Default: about 128.
        examples: Integer, how many of the first samples to keep whole for plots.
        seed: Integer, for the initial voltages.
        metrics: List of Keras metrics or their names, as in ``compile``, evaluated on ``y`` and the model's output at
            every dt; a dict from the outputs' names for a model with several outputs. With metrics, ``y`` may also hold
            rows ``(samples, classes)`` that are not one-hot; the accuracy is then None.

    Returns:
        A ``Report``.

    Raises:
        TypeError: If ``model`` is no Keras model, or ``x`` holds anything but arrays.
        ValueError: For an unbuilt model or one without spiking layers, an empty data set, labels that do not fit,
            dt <= 0, ``n_steps`` beyond what ``x`` holds, or a layer that emits values that are not finite (it is
            named).

    Example:

    ```python
    report = keras_snn.inspect(model, x_test, y_test, dt=[0.001, 0.01, 0.1, 1])
    print(report.table())
    report[0.01].layers["spiking_activation"].rate.mean  # Hz
    report[0.01].plot("examples.png")
    ```
    """
    data.check_model(model)
    x, y = data.as_arrays(x), data.as_arrays(y)
    labels = data.check_data(x, y)
    n_samples = data.n_samples(x)
    dts, many_steps = _dts(dt), np.ravel(n_steps).tolist()
    if not many_steps:
        raise ValueError("`n_steps` is an empty sequence; give at least one number of steps, or None.")
    many_steps = [checks.integer("n_steps", value, least=1, optional=True) for value in many_steps]
    batch_size = checks.integer("batch_size", batch_size, least=1, optional=True) or data.default_batch_size(n_samples)
    batch_size = min(batch_size, MOST_SAMPLES)
    examples, seed = checks.integer("examples", examples, least=0), checks.integer("seed", seed, least=0)
    arguments = {"dt": None if dt is None else max(dts), "seed": seed, "outputs": bool(metrics)}
    kept = probers(model, own_dt=dt is None)
    first_rows = functools.partial(data.rows, start=0, stop=graph.static_batch_size(model) or 4)
    results = []
    for steps in many_steps:
        cut = x
        with probe.left_as_it_was(model):
            probing = prober(kept, model, first_rows(x), n_steps=steps, **arguments)
            if steps is not None and not probing.seen.makes_time:
                cut = _cut(probing, x, steps)
                probing = prober(kept, model, first_rows(cut), n_steps=None, **arguments)
        runs = dts if probing.seen.reads_dt else dts[:1]
        right = _classes(labels, probing.seen, bool(metrics))
        for value in runs:
            with probe.left_as_it_was(model):
                result = _Sweep(probing, cut, labels, right, batch_size, metrics).at(value, min(examples, n_samples))
            results.append(result)
        results += [at_dt(results[-1], value) for value in dts[len(runs) :]]
    if len(set(dts)) > 1 and not probing.seen.reads_dt:
        warnings.warn(
            f"No layer of the model {model.name!r} depends on dt: its neurons count steps. It runs once, and the "
            f"results at dt = {', '.join(f'{value:g}' for value in dts)} s differ in their rates in Hz only. Compare "
            "`spikes_per_step` of the layers instead.",
            stacklevel=2,
        )
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return Report(results, n_samples, model=model.name, data=data.describe(x), date=now)


class _Sweep:
    """One pass over the data, at one dt."""

    def __init__(self, probing, x, labels, right, batch_size, metrics):
        self.prober, self.x, self.labels, self.right = probing, x, labels, right
        self.n_samples = data.n_samples(x)
        self.starts = range(0, self.n_samples, batch_size)
        self.batch_size = batch_size
        self.metrics = Metrics(metrics, probing.seen.kinds)

    def at(self, dt, n_examples):
        """Return the ``DtReport``."""
        seen = self.prober.seen
        if dt is not None:
            self.prober.dt.assign(dt)
        totals, arrived = {}, {}
        latency = {name: _Latency(seen.steps, self.right.get(name)) for name in seen.classifiers}
        for start in self.starts:
            stop = min(start + self.batch_size, self.n_samples)
            batch = self.prober.on(self.x, start, stop)
            for name, row in batch["layers"].items():
                if not row["finite"].all():
                    raise ValueError(
                        f"The spiking layer {name!r} emits values that are not finite, for samples {start} to "
                        f"{stop - 1}. Look for NaN or infinite values in `x`, in the weights, or in the layer's "
                        "activation."
                    )
                if not row["exact"].all():
                    raise ValueError(
                        f"The spiking layer {name!r} has more spikes than can be counted exactly, for samples {start} "
                        f"to {stop - 1}: the largest number in a step, multiplied by the {seen.n_steps} steps, must be "
                        f"less than {LIMIT:g}, and so must the number of (sample, step, unit) triples in a batch. Use "
                        "a smaller `dt`, fewer steps or a smaller `batch_size`."
                    )
                totals[name] = _joined(totals.get(name), row)
            for name, parts in batch["arrived"].items():
                arrived[name] = arrived.get(name, 0) + spike_numbers(parts)
            answers = self._with_shorter_runs(batch["answers"], start, stop, dt)
            for name, answer in answers.items():
                latency[name].add(answer, start, stop)
            self.metrics.update(data.rows(self.labels, start, stop), batch.get("outputs"))
        # In the order of the calls: JAX sorts the batch's dict.
        layers = {name: self._layer_report(totals[name], *layer, dt) for name, layer in seen.layers.items()}
        latency = {name: sums.result(self.n_samples) for name, sums in latency.items()}
        examples = self._examples(n_examples) if n_examples else None
        return DtReport(
            dt,
            {name: float(of_k.accuracy[-1]) for name, of_k in latency.items() if of_k.accuracy is not None},
            layers,
            examples,
            n_steps=seen.n_steps,
            work={
                name: anatomy.work(arrived[name] / self.n_samples if name in arrived else None)
                for name, anatomy in seen.calls.items()
                if anatomy.dense_connections or anatomy.neurons
            },
            latencies={name: of_k for name, of_k in latency.items() if len(of_k.steps) > 1},
            metrics=self.metrics.results(),
            notes=self._notes(layers),
        )

    def _notes(self, layers):
        seen, silent = self.prober.seen, [name for name, layer in layers.items() if layer.silent == 1]
        notes = [f"No answers after fewer steps: {seen.why_not}."] if seen.why_not else []
        if len(seen.steps) > 1 and not seen.one_pass:
            runs = ", ".join(map(str, seen.steps.tolist()))
            notes.append(f"Answers after fewer steps: the model ran for each of {runs} steps, since {seen.why_runs}.")
        mixed = [name for name, anatomy in seen.calls.items() if anatomy.mixed]
        if mixed:
            notes.append(
                f"Counted as multiply-accumulates: {', '.join(mixed)}. Other signals arrive with the spikes, or "
                "spikes of different heights or dt."
            )
        unknown = [name for name, anatomy in seen.calls.items() if not anatomy.known and anatomy.call.layer.weights]
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

    def _with_shorter_runs(self, answers, start, stop, dt):
        seen = self.prober.seen
        if seen.one_pass or len(seen.steps) == 1:
            return answers
        runs = []
        for k in seen.steps[:-1].tolist():
            shorter = self.prober.shorter(k)
            if dt is not None:
                shorter.dt.assign(dt)
            x = self.prober.cut(data.rows(self.x, start, stop), k)[0]
            runs.append(shorter.on(x, 0, stop - start, first=start)["answers"])
        runs.append(answers)
        return {
            name: {key: np.concatenate([run[name][key] for run in runs], axis=1) for key in ("class", "confidence")}
            for name in answers
        }

    def _layer_report(self, total, layer, units, dt):
        steps = int(total["histogram"].sum()) // total["active"].size  # steps that count, over all samples
        n_steps = round(steps / self.n_samples)
        dt = to_float(layer.dt) if dt is None else dt
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
            spikes_per_inference=float(spikes.sum() / self.n_samples),
        )

    def _examples(self, n):
        x = data.rows(self.x, 0, n)
        counts, outputs = self.prober.examples(x)
        labels = {name: values[:n] for name, values in self.labels.items()}
        return Examples(x, labels, counts, self.prober.seen.steps, outputs)


class _Latency:
    """Sums over the samples of an output's right answers and confidence after the first k steps."""

    def __init__(self, steps, y):
        self.steps, self.y = steps, y
        self.right, self.confidence = np.zeros(len(steps)), np.zeros(len(steps))
        self.exits = dict.fromkeys(THRESHOLDS, (0, 0))

    def add(self, answer, start, stop):
        classes, confidence = answer["class"], answer["confidence"].astype("float64")
        right = np.zeros(classes.shape, bool) if self.y is None else classes == self.y[start:stop, None]
        self.right += right.sum(axis=0)
        self.confidence += confidence.sum(axis=0)
        for threshold, (n_right, n_steps) in self.exits.items():
            sure = confidence >= threshold
            sure[:, -1] = True
            first = sure.argmax(axis=1)
            n_right += right[np.arange(len(first)), first].sum()
            self.exits[threshold] = (n_right, n_steps + self.steps[first].sum())

    def result(self, n_samples):
        known = self.y is not None
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


def _cut(probing, x, n_steps):
    """Return the first ``n_steps`` steps of ``x``."""
    seen = probing.seen
    if not seen.time_in_x or n_steps > seen.n_steps:
        has = seen.n_steps if seen.time_in_x else "no axis of"
        raise ValueError(
            f"`n_steps` is {n_steps}, but no layer of the model {probing.inspected.name!r} makes a time axis (as "
            f"Repeat does), and `x` has {has} steps to cut. Leave `n_steps` out."
        )
    return keras.tree.map_structure(lambda array: array[:, :n_steps], x)


def _classes(labels, seen, measured):
    """Return the class numbers ``(samples,)`` for each output of a classifier that has labels."""
    for name in labels:
        if name not in seen.kinds or not (name in seen.classifiers or measured):
            outputs = ", ".join(repr(known) for known in sorted(seen.kinds) if known)
            raise ValueError(
                f"`y` was given{f' for {name!r}' if name else ''}, but the model's output is not that of a classifier: "
                "one tensor (batch, classes) or (batch, time, classes), with at least two classes. "
                + (f"Give a dict of labels from the outputs' names: {outputs}." if outputs else "Leave `y` out.")
            )
    n_classes = {name: seen.n_classes[name] for name in labels if name in seen.classifiers}
    return {
        name: data.classes(labels[name], n)
        for name, n in n_classes.items()
        if not (measured and data.are_soft(labels[name], n))  # for the metrics alone
    }


def _joined(total, row):
    """Add the statistics of a batch to those before it, in int64 and float64."""
    row = {name: value.astype("float64" if value.dtype.kind == "f" else "int64") for name, value in row.items()}
    parts = [row] if total is None else [total, row]
    how = {"least": np.min, "most": np.max}
    return {
        name: how.get(name, np.sum)(np.concatenate([part[name] for part in parts]), axis=0, keepdims=True)
        for name in row
    }
