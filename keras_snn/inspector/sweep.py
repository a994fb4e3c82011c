"""``inspect``: run a model at several dt and count its spikes."""

import contextlib
import functools
import numbers
from types import SimpleNamespace

import keras
import numpy as np
from keras import ops, tree

from keras_snn import probe
from keras_snn.inspector.report import DtReport, Examples, LayerReport, Rate, Report
from keras_snn.layers.base.time_step import check_dt, layers_with_dt
from keras_snn.ops.statistics import MOST_SPIKES, summarise

#: The output over time is asked for at no more than this many numbers of steps.
MOST_STEPS = 10

BINS = ("<0", *map(str, range(MOST_SPIKES)), f">={MOST_SPIKES}")


def inspect(model, x, y=None, *, dt=None, n_steps=None, batch_size=None, examples=4, seed=0):
    """Ask a model how accurate it is and how much it spikes, at one time step or at several.

    The model is called as it is, inside a scope that overrides dt: no layer is cloned, and weights, dt and compiled
    functions of the model are as before afterwards. One compiled function serves all dt. Spikes are counted on the
    device a batch at a time, so memory does not grow with the data.

    Initial voltages are drawn by ``seed`` and by each sample's place in the data: the report does not depend on the
    batch size.

    Args:
        model: A built Keras model with at least one spiking layer of this package, at any depth.
        x: Array ``(samples, ...)``, or a nest of them for a model with several inputs.
        y: Array of integer labels ``(samples,)`` or one-hot rows ``(samples, classes)``; None for no accuracy. The
            predicted class is the largest output, averaged over time if the model's output has a time axis.
        dt: Number in seconds or a sequence of them. Default: every layer's own.
        n_steps: Integer, number of steps that ``Repeat`` makes. Default: its own.
        batch_size: Integer. Default: about 128.
        examples: Integer, how many of the first samples to keep whole for plots.
        seed: Integer, for the initial voltages.

    Returns:
        A ``Report``.

    Raises:
        TypeError: If ``model`` is no Keras model, or ``x`` holds something else than arrays.
        ValueError: For an unbuilt model or one without spiking layers, an empty data set, labels that do not fit,
            dt <= 0, ``n_steps`` for a model whose time axis comes with ``x``, or a layer that emits values that are not
            finite (it is named).

    Example:

    ```python
    report = keras_snn.inspect(model, x_test, y_test, dt=[0.001, 0.01, 0.1, 1])
    print(report.table())
    report[0.01].layers["spiking_activation"].rate.mean  # Hz
    report[0.01].plot("examples.png")
    ```
    """
    _check_model(model)
    y = None if y is None else ops.convert_to_numpy(y)
    _check_data(x, y)
    for name, value, least in (
        ("n_steps", n_steps, 1),
        ("batch_size", batch_size, 1),
        ("examples", examples, 0),
        ("seed", seed, 0),
    ):
        _check_integer(name, value, least)
    batch_size = _default_batch_size(_n_samples(x)) if batch_size is None else batch_size
    if dt is None:
        dts = [None]
    else:
        dts = [check_dt(value) for value in np.ravel(dt).tolist()]
        if not dts:
            raise ValueError("`dt` is an empty sequence; give at least one time step in seconds, or None.")
    # The layers' own dt are constants of the compiled function: another dt needs another one.
    own_dts = tuple(layer._dt for layer in layers_with_dt(model)) if dt is None else None
    prober = _prober(model, n_steps, own_dts, seed)
    results = []
    for value in dts:
        with _left_as_it_was(model):
            results.append(_at_dt(prober, x, y, value, batch_size=batch_size, n_examples=examples))
    return Report(results, _n_samples(x))


class _Prober(keras.Model):
    """The model inside a scope, with the statistics of its spikes among its outputs."""

    def __init__(self, model, n_steps, own_dts, seed):
        super().__init__(name="prober")
        self.inspected = model
        self.n_steps = n_steps
        self.seed = seed
        self.dt = keras.Variable(1.0, dtype="float32", trainable=False, name="dt") if own_dts is None else None
        self.seen = SimpleNamespace(layers={})  # in a namespace, where Keras does not take them for its own

    def call(self, inputs):
        statistics = {}

        def record(layer, spikes):
            name = _unique(layer.name, statistics)
            self.seen.layers[name] = (layer, tuple(spikes.shape[2:]))
            statistics[name] = summarise(spikes, layer.dt)

        with self.scope(inputs["index"], record) as scope:
            outputs = self.inspected(inputs["x"], training=False)
        self.seen.makes_time = scope.makes_time
        self.seen.n_classes = None if _class_axis(outputs) is None else outputs.shape[-1]
        return {"class": _predicted_class(outputs), "layers": statistics}

    def statistics(self, x, start, stop):
        """Return what ``call`` gives for the samples from ``start`` to ``stop``."""
        batch = {"x": _rows(x, start, stop), "index": np.arange(start, stop, dtype="int32")}
        strategy = getattr(self, "distribute_strategy", None)  # TensorFlow's
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            # predict_on_batch would give the whole batch to every replica.
            return self.predict(batch, batch_size=stop - start, verbose=0)
        return self.predict_on_batch(batch)

    def scope(self, index, record=None, n_steps=None):
        """Open the scope in which the model is called."""
        dt = None if self.dt is None else ops.convert_to_tensor(self.dt)
        return probe.scope(dt=dt, n_steps=n_steps or self.n_steps, record=record, sample_index=index, seed=self.seed)


# The compiled function of the last model is kept for the next call with the same model.
@functools.lru_cache(maxsize=1)
def _prober(model, n_steps, own_dts, seed):
    prober = _Prober(model, n_steps, own_dts, seed)
    prober.compile(jit_compile="auto")
    return prober


@contextlib.contextmanager
def _left_as_it_was(model):
    """Put back what the calls of a model change: its seeds, and the states of layers that keep one."""
    if hasattr(model, "jax_state_sync"):  # in the middle of `fit`, JAX keeps the values of variables elsewhere
        model.jax_state_sync()
    stateful = (layer for layer in model._flatten_layers() if getattr(layer, "stateful", False))
    states = [state for layer in stateful for state in tree.flatten(layer.states)]  # Keras does not count its RNNs' own
    before = [(v, np.array(ops.convert_to_numpy(v))) for v in (*model.non_trainable_variables, *states)]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _at_dt(prober, x, y, dt, *, batch_size, n_examples):
    if dt is not None:
        prober.dt.assign(dt)
    n_samples = _n_samples(x)
    totals, n_right = {}, 0
    for start in range(0, n_samples, batch_size):
        stop = min(start + batch_size, n_samples)
        result = prober.statistics(x, start, stop)
        if prober.n_steps is not None and not prober.seen.makes_time:
            raise ValueError(
                f"`n_steps` is {prober.n_steps}, but no layer of the model {prober.inspected.name!r} makes a time axis "
                "(as Repeat does): it comes with `x`. Leave `n_steps` out, and give fewer steps in `x`."
            )
        if y is not None:
            n_right += np.sum(result["class"] == _classes(y[start:stop], prober.seen.n_classes))
        for name, row in result["layers"].items():
            if not row["finite"].all():
                raise ValueError(
                    f"The spiking layer {name!r} emits values that are not finite, for samples {start} to {stop - 1}. "
                    "Look for NaN or infinite values in `x`, in the weights, or in the layer's activation."
                )
            totals[name] = _joined(totals.get(name), row)
    if not totals:
        raise ValueError(f"The model {prober.inspected.name!r} calls no spiking layer of keras_snn: nothing to count.")
    accuracy = None if y is None else float(n_right / n_samples)
    layers = {
        name: _layer_report(total, prober.seen.layers[name][1], n_samples, _dt_of(prober.seen.layers[name][0], dt))
        for name, total in totals.items()
    }
    examples = _examples(prober, x, y, min(n_examples, n_samples), dt) if n_examples else None
    return DtReport(dt, accuracy, layers, examples)


def _joined(total, row):
    """Add the statistics of a batch to those before it, in int64."""
    row = {name: value.astype("int64") for name, value in row.items()}
    parts = [row] if total is None else [total, row]
    how = {"least": np.min, "most": np.max}
    return {
        name: how.get(name, np.sum)(np.concatenate([part[name] for part in parts]), axis=0, keepdims=True)
        for name in row
    }


def _layer_report(total, units, n_samples, dt):
    n_steps = round(total["histogram"].sum() / (n_samples * total["spikes"].size))
    duration = n_steps * dt
    per_unit = total["spikes"][0] / (n_samples * duration)
    active = total["active"][0]
    return LayerReport(
        rate=Rate(
            float(total["least"].min() / duration), float(per_unit.mean()), float(total["most"].max() / duration)
        ),
        per_unit=per_unit.reshape(units),
        histogram=dict(zip(BINS, total["histogram"][0].tolist(), strict=True)),
        silent=float(np.mean(active == 0)),
        saturated=float(np.mean(active == n_samples * n_steps)),
        n_steps=n_steps,
    )


def _examples(prober, x, y, n, dt):
    few, labels, index = _rows(x, 0, n), None if y is None else y[:n], np.arange(n, dtype="int32")
    counts = {}

    def record(layer, spikes):
        spikes = ops.convert_to_numpy(spikes).astype("float64")
        counts[_unique(layer.name, counts)] = np.rint(spikes.reshape(*spikes.shape[:2], -1) * _dt_of(layer, dt))

    with prober.scope(index, record) as scope:
        outputs = prober.inspected(few, training=False)
    n_steps = max(layer.shape[1] for layer in counts.values())
    steps = np.arange(1, n_steps + 1)
    if n_steps > MOST_STEPS:
        steps = np.unique(np.geomspace(1, n_steps, MOST_STEPS).round().astype(int))
    cut = None
    if scope.makes_time:
        cut = dict.fromkeys(steps, few)
    elif all(array.shape[1:2] == (n_steps,) for array in tree.flatten(few)):
        cut = {k: tree.map_structure(lambda array, k=k: array[:, :k], few) for k in steps}
    over_time = None
    if cut is not None and _class_axis(outputs) is not None:
        # A layer that joins the steps, as Flatten and Dense do, takes as many as it was built for, and says so in the
        # words of its backend. The counts do not depend on it.
        with contextlib.suppress(Exception):
            over_time = np.stack([_output_after(prober, inputs, index, int(k)) for k, inputs in cut.items()], axis=1)
    return Examples(few, labels, counts, steps, over_time)


def _output_after(prober, inputs, index, n_steps):
    with prober.scope(index, n_steps=n_steps):
        return ops.convert_to_numpy(_over_classes(prober.inspected(inputs, training=False)))


def _dt_of(layer, dt):
    return float(ops.convert_to_numpy(ops.convert_to_tensor(layer.dt))) if dt is None else dt


def _class_axis(outputs):
    """Return the axis of the classes, or None if the outputs are not those of a classifier."""
    if tree.is_nested(outputs) or len(outputs.shape) not in (2, 3) or outputs.shape[-1] < 2:
        return None
    return len(outputs.shape) - 1


def _over_classes(outputs):
    """Return a classifier's output ``(batch, classes)``: averaged over time, if it has a time axis."""
    return ops.mean(outputs, axis=1) if _class_axis(outputs) == 2 else outputs


def _predicted_class(outputs):
    if _class_axis(outputs) is None:
        return ops.zeros((0,), "int32")
    return ops.cast(ops.argmax(_over_classes(outputs), axis=-1), "int32")


def _unique(name, taken):
    """Tell several calls of one layer apart."""
    call = 1
    while (unique := name if call == 1 else f"{name} (call {call})") in taken:
        call += 1
    return unique


def _rows(x, start, stop):
    return tree.map_structure(lambda array: array[start:stop], x)


def _default_batch_size(n_samples):
    """Return 128 or less: a number that leaves no smaller last batch to compile for, if there is one."""
    return next((size for size in range(128, 63, -1) if n_samples % size == 0), 128)


def _n_samples(x):
    return len(tree.flatten(x)[0])


def _classes(y, n_classes):
    """Return labels as class numbers ``(batch,)``."""
    if n_classes is None:
        raise ValueError(
            "`y` was given, but the model's output is not that of a classifier: one tensor (batch, classes) or "
            "(batch, time, classes), with two classes at least. Leave `y` out."
        )
    if y.ndim == 2 and y.shape[1] == n_classes:
        return y.argmax(axis=1)
    if y.shape[1:] not in ((), (1,)) or y.dtype.kind not in "biuf" or not np.isin(y, np.arange(n_classes)).all():
        raise ValueError(
            f"`y` has to hold class numbers from 0 to {n_classes - 1}, (samples,), or one-hot rows "
            f"(samples, {n_classes}); got an array of {y.dtype.name} whose first is {y[0].tolist()!r}."
        )
    return y.reshape(-1)


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` has to be a Keras model; got {type(model).__name__}.")
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built. Call it on a batch first, or begin a Sequential with keras.Input."
        )


def _check_data(x, y):
    for leaf in tree.flatten(x):
        if not getattr(leaf, "shape", ()):
            raise TypeError(
                "`x` has to be an array (samples, ...), or a nest of them for a model with several inputs; it is or "
                f"holds {leaf!r}. np.asarray makes an array of lists of numbers."
            )
    sizes = {len(array) for array in tree.flatten(x)}
    if len(sizes) != 1:
        raise ValueError(f"The arrays of `x` have to hold the same number of samples; got {sorted(sizes)}.")
    if 0 in sizes:
        raise ValueError("`x` is empty: give at least one sample.")
    if y is not None and y.shape[:1] != (min(sizes),):
        raise ValueError(f"`y` needs a label for each of the {min(sizes)} samples of `x`; got shape {y.shape}.")


def _check_integer(name, value, least):
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least):
        raise ValueError(f"`{name}` has to be an integer of at least {least}; got {value!r}.")
