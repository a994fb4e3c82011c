"""Run the inspected model inside a scope, as one function that is compiled once for all dt."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import graph
from keras_snn.data.batches import Batch
from keras_snn.energy.synapses import count
from keras_snn.energy.work import arriving, spikes_of_samples
from keras_snn.fingerprint import cache_of_models, fingerprint
from keras_snn.hints import Nest, Tensor
from keras_snn.inspector.anatomy import Anatomy, outputs_by_name, study
from keras_snn.layers import TemporalAveragePooling
from keras_snn.layers.base.time_step import layers_with_dt
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import summarise, tally
from keras_snn.probe import unique
from keras_snn.streaming import over_parts

#: Maximum number of parts of the time axis without ``steps_at_once``. There is a prediction after each part.
MOST_PARTS = 32
#: Spikes of the examples are returned in int16.
_MOST_SPIKES = 2**15 - 1


class Prober(keras.Model):
    """A model whose outputs are the spike statistics and predictions of another model after each part of its time axis.

    Args:
        anatomy: ``Anatomy`` of the inspected model. The model is not cloned.
        steps_at_once: Integer, the number of time steps of a part.
        own_dt: Boolean. True: each layer uses its dt. False: all layers use the dt of the inputs.
        seed: Integer, for the initial voltages.
        n_examples: Integer, the number of samples at the start of a batch whose spikes are returned at every step.
        with_outputs: Boolean, whether to return the model's outputs too.
    """

    def __init__(
        self, anatomy: Anatomy, steps_at_once: int, *, own_dt: bool, seed: int, n_examples: int, with_outputs: bool
    ):
        super().__init__(name="prober", dtype="float32", autocast=False)  # not the global dtype policy
        self.inspected = anatomy.time_axis.model
        self.anatomy = anatomy
        self.steps_at_once = steps_at_once
        self.own_dt = own_dt
        self.seed = seed
        self.n_examples = n_examples
        self.with_outputs = with_outputs
        self.average = TemporalAveragePooling(dtype="float32")
        self.average.built = self.built = True  # avoids a further call of the model by Keras

    @property
    def steps(self) -> np.ndarray:
        """Array of the numbers of steps with a prediction."""
        return np.cumsum(self.anatomy.time_axis.parts(self.steps_at_once))

    def call(self, inputs):
        part = functools.partial(self._part, inputs)
        sums, last, results = over_parts(self.anatomy.time_axis, part, self.steps_at_once)
        results["layers"] = {name: summarise(statistics) for name, statistics in sums["layers"].items()}
        counted = {self.anatomy.layers[name]: layer.get("counted") for name, layer in sums["layers"].items()}
        results["arrived"] = {}
        for name, arrived in {**sums["arrived"], **last["arrived"]}.items():
            synapses = self.anatomy.synapses[name]
            results["arrived"][name] = spikes_of_samples(synapses, arrived, counted.get(synapses.emitter))
        results["outputs"] = {**results["outputs"], **last["outputs"]}
        return results

    def _part(self, inputs, start, n_steps, carry):
        """Run a part of the time axis, as in ``over_parts``."""
        axis, n_examples = self.anatomy.time_axis, self.n_examples
        sums, last, emitted = {"arrived": {}}, {"arrived": {}, "outputs": {}}, {}
        each = {"predictions": {}, "examples": {}, "spikes": {}, "outputs": {}}
        units, n_samples = {}, ops.shape(inputs["index"])[0]

        def record(layer, spikes, mask=None):
            name = unique(layer.name, emitted)
            units[layer] = ops.cast(ops.convert_to_tensor(layer.spike_unit), "float32")
            emitted[name] = layer.in_hertz(spikes), layer.dt, mask
            if n_examples:
                each["spikes"][name] = spike_counts(spikes[:n_examples], units[layer])

        def watch(name, layer, x, outputs):
            synapses = self.anatomy.synapses[name]
            if synapses.spikes is not None:
                arrived = arriving(synapses, x, units.get(synapses.emitter, 1), n_samples)
                if synapses.call.time is None:
                    last["arrived"][name] = arrived
                else:
                    sums["arrived"][name] = ops.sum(arrived, axis=1, keepdims=True)

        scope = {
            "dt": None if self.own_dt else ops.max(inputs["dt"]),  # all are equal; a replica may have none
            "record": record,
            "sample_index": inputs["index"],
            "seed": self.seed,
        }
        with graph.calls(self.inspected, watch), axis.scope(n_steps, carry, **scope):
            outputs = outputs_by_name(
                self.inspected, self.inspected(axis.part(inputs["x"], start, n_steps), training=False)
            )
            for name, tensor in outputs.items():
                output = self.anatomy.outputs[name]
                if output.kind == "sequence":  # predictions are of the mean over time
                    tensor = self.average(tensor)  # Keras passes the mask of the outputs to a layer
                if self.with_outputs:
                    (last if output.ended or output.kind == "sequence" else each)["outputs"][name] = tensor
                if output.kind != "other":
                    each["predictions"][name] = {
                        "class": ops.cast(ops.argmax(tensor, axis=-1), "int32")[:, None],
                        "confidence": ops.max(probabilities(tensor), axis=-1)[:, None],
                    }
                    if n_examples:
                        each["examples"][name] = tensor[:n_examples, None]
            sums["layers"] = tally(emitted, axis.n_steps)  # inside the scope, which sets dt
        return sums, last, each

    def on(self, batch: Batch, dt: float | None) -> Nest:
        """Return the results of ``call`` for a ``Batch`` at one dt."""
        inputs = {"x": batch.x, "index": batch.indices}
        if not self.own_dt:
            inputs["dt"] = np.full(batch.n_samples, dt, "float32")
        strategy = getattr(self, "distribute_strategy", None)  # TensorFlow's
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            # predict_on_batch would run the whole batch on every replica.
            return self.predict(inputs, batch_size=batch.n_samples, verbose=0)
        return self.predict_on_batch(inputs)


def probers(model: keras.Model, *, own_dt: bool) -> dict[tuple, Prober]:
    """Return the dict of a model's ``Prober`` objects. It is empty if the model has changed since the last call."""
    return _cached_probers(model, _settings(model, own_dt=own_dt))


def prober(
    cache: dict[tuple, Prober],
    model: keras.Model,
    x: Nest,
    *,
    dt: float | None,
    n_steps: int | None,
    causal: bool,
    steps_at_once: int | None,
    batch_size: int,
    **options: Any,
) -> Prober:
    """Return the ``Prober`` for these arguments from ``cache``, a dict of ``probers``; add a new one if needed."""
    shapes = tuple((array.shape[1:], str(array.dtype)) for array in keras.tree.flatten(x))
    key = (n_steps, causal, steps_at_once, batch_size, dt is None, shapes, *options.items())
    if key in cache:
        count(cache[key].anatomy.synapses)  # weights may have changed to zero
    else:
        anatomy = study(model, x, n_steps=n_steps, dt=dt, causal=causal)
        part_length = _steps_at_once(anatomy, steps_at_once, batch_size)
        cache[key] = Prober(anatomy, part_length, own_dt=dt is None, **options)
        cache[key].compile(jit_compile="auto")
    return cache[key]


def _steps_at_once(anatomy, steps_at_once, batch_size):
    axis = anatomy.time_axis
    if steps_at_once is not None:
        axis.check()
        return min(steps_at_once, axis.n_steps)
    if axis.why_not is not None:
        return axis.n_steps
    max_length = -(-axis.n_steps // MOST_PARTS) if anatomy.classifiers else axis.n_steps
    return min(max_length, axis.steps_at_once(batch_size))


_cached_probers = cache_of_models(1)


def _settings(model, *, own_dt):
    """Return the values that are constants of a compiled function: it is valid as long as they are equal."""
    dts = tuple(to_float(layer.dt) for layer in layers_with_dt(model)) if own_dt else None
    return fingerprint(model, leave_out=None if own_dt else "_dt"), dts


def spike_counts(spikes: Tensor, unit: Tensor) -> Tensor:
    """Return the numbers of spikes, int16 ``(batch, time, units)``, of ``spikes (batch, time, ...)`` times ``unit``."""
    spikes = ops.reshape(ops.cast(spikes, "float32") * unit, (*ops.shape(spikes)[:2], -1))
    return ops.cast(ops.clip(ops.round(spikes), -_MOST_SPIKES, _MOST_SPIKES), "int16")


def probabilities(outputs: Tensor) -> Tensor:
    """Return the rows of ``outputs (..., classes)`` that are probabilities, and the softmax of the others."""
    outputs = ops.cast(outputs, "float32")
    total = ops.sum(outputs, axis=-1, keepdims=True)
    normalized = ops.logical_and(ops.min(outputs, axis=-1, keepdims=True) >= 0, ops.abs(total - 1) < 1e-3)
    return ops.where(normalized, outputs, ops.softmax(outputs, axis=-1))
