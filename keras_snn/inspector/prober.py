"""The inspected model inside a scope, as one function that is compiled once for all dt."""

import functools

import keras
import numpy as np
from keras import ops

from keras_snn import graph
from keras_snn.energy.synapses import count
from keras_snn.energy.work import arriving, spikes_of_samples
from keras_snn.fingerprint import fingerprint
from keras_snn.inspector.anatomy import named, study
from keras_snn.layers import TemporalAveragePooling
from keras_snn.layers.base.time_step import layers_with_dt
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import summarise, tally
from keras_snn.probe import unique
from keras_snn.streaming import over_parts

#: Largest number of parts of the time axis, after each of which there is an answer, where it is not given.
MOST_PARTS = 32
#: Spikes of the examples are returned in int16.
_MOST_SPIKES = 2**15 - 1


class Prober(keras.Model):
    """A model whose outputs are the spike statistics and the answers of another one, after each part of its time axis.

    Args:
        anatomy: ``Anatomy`` of the inspected model, which is not cloned.
        steps_at_once: Integer, the number of time steps of a part.
        own_dt: Boolean. True: each layer uses its dt. False: all use that of the inputs.
        seed: Integer, for the initial voltages.
        n_examples: Integer, the number of samples of a batch whose spikes are returned one by one.
        with_outputs: Boolean, whether to return the model's outputs too.
    """

    def __init__(self, anatomy, steps_at_once, *, own_dt, seed, n_examples, with_outputs):
        super().__init__(name="prober", dtype="float32", autocast=False)  # whatever the global dtype policy
        self.inspected = anatomy.time_axis.model
        self.anatomy = anatomy
        self.steps_at_once = steps_at_once
        self.own_dt = own_dt
        self.seed = seed
        self.n_examples = n_examples
        self.with_outputs = with_outputs
        self.average = TemporalAveragePooling(dtype="float32")
        self.average.built = self.built = True  # Keras would call the model once more to build it

    @property
    def steps(self):
        """The numbers of steps after which there is an answer: an array."""
        return np.cumsum(self.anatomy.time_axis.parts(self.steps_at_once))

    def call(self, inputs):
        part = functools.partial(self._part, inputs)
        sums, last, results = over_parts(self.anatomy.time_axis, part, self.steps_at_once)
        results["layers"] = {name: summarise(found) for name, found in sums["layers"].items()}
        counted = {self.anatomy.layers[name]: found.get("counted") for name, found in sums["layers"].items()}
        results["arrived"] = {}
        for name, arrived in {**sums["arrived"], **last["arrived"]}.items():
            synapses = self.anatomy.synapses[name]
            results["arrived"][name] = spikes_of_samples(synapses, arrived, counted.get(synapses.emitter))
        results["outputs"] = {**results["outputs"], **last["outputs"]}
        return results

    def _part(self, inputs, start, n_steps, carry):
        """Run a part of the time axis; see ``over_parts``."""
        axis, few = self.anatomy.time_axis, self.n_examples
        sums, last, emitted = {"arrived": {}}, {"arrived": {}, "outputs": {}}, {}
        each = {"answers": {}, "examples": {}, "spikes": {}, "outputs": {}}
        units, n_samples = {}, ops.shape(inputs["index"])[0]

        def record(layer, spikes, mask=None):
            name = unique(layer.name, emitted)
            units[layer] = ops.cast(ops.convert_to_tensor(layer.spike_unit), "float32")
            emitted[name] = layer.in_hertz(spikes), layer.dt, mask
            if few:
                each["spikes"][name] = spike_counts(spikes[:few], units[layer])

        def watch(name, layer, x, outputs):
            synapses = self.anatomy.synapses[name]
            if synapses.spikes is not None:
                arrived = arriving(synapses, x, units.get(synapses.emitter, 1), n_samples)
                if synapses.call.time is None:
                    last["arrived"][name] = arrived
                else:
                    sums["arrived"][name] = ops.sum(arrived, axis=1, keepdims=True)

        scope = {
            "dt": None if self.own_dt else ops.max(inputs["dt"]),  # of equal numbers, or none in a replica
            "record": record,
            "sample_index": inputs["index"],
            "seed": self.seed,
        }
        with graph.calls(self.inspected, watch), axis.scope(n_steps, carry, **scope):
            outputs = named(self.inspected, self.inspected(axis.part(inputs["x"], start, n_steps), training=False))
            for name, tensor in outputs.items():
                output = self.anatomy.outputs[name]
                if output.kind == "sequence":  # the answer is the mean over time
                    tensor = self.average(tensor)  # a layer: Keras passes the mask of the outputs to it
                if self.with_outputs:
                    (last if output.ended or output.kind == "sequence" else each)["outputs"][name] = tensor
                if output.kind != "other":
                    each["answers"][name] = {
                        "class": ops.cast(ops.argmax(tensor, axis=-1), "int32")[:, None],
                        "confidence": ops.max(probabilities(tensor), axis=-1)[:, None],
                    }
                    if few:
                        each["examples"][name] = tensor[:few, None]
            sums["layers"] = tally(emitted, axis.n_steps)  # of the dt of this scope
        return sums, last, each

    def on(self, batch, dt):
        """Return the results of ``call`` for a ``Batch`` at one dt."""
        inputs = {"x": batch.x, "index": batch.indices}
        if not self.own_dt:
            inputs["dt"] = np.full(batch.n_samples, dt, "float32")
        strategy = getattr(self, "distribute_strategy", None)  # TensorFlow's
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            # predict_on_batch would give the whole batch to every replica.
            return self.predict(inputs, batch_size=batch.n_samples, verbose=0)
        return self.predict_on_batch(inputs)


def probers(model, *, own_dt):
    """Return the dict of a model's ``Prober`` objects. It is empty if the model has changed since the last call."""
    return _kept(model, _settings(model, own_dt=own_dt))


def prober(kept, model, x, *, dt, n_steps, causal, steps_at_once, batch_size, **options):
    """Return the ``Prober`` for these arguments from the dict ``kept`` of ``probers``, to which a new one is added."""
    shapes = tuple((a.shape[1:], str(a.dtype)) for a in keras.tree.flatten(x))
    key = (n_steps, causal, steps_at_once, batch_size, dt is None, shapes, *options.items())
    if key in kept:
        count(kept[key].anatomy.synapses)  # weights may have become zero since
    else:
        anatomy = study(model, x, n_steps=n_steps, dt=dt, causal=causal)
        at_once = _steps_at_once(anatomy, steps_at_once, batch_size)
        kept[key] = Prober(anatomy, at_once, own_dt=dt is None, **options)
        kept[key].compile(jit_compile="auto")
    return kept[key]


def _steps_at_once(anatomy, wanted, batch_size):
    axis = anatomy.time_axis
    if wanted is not None:
        axis.check()
        return min(wanted, axis.n_steps)
    if axis.why_not is not None:
        return axis.n_steps
    most = -(-axis.n_steps // MOST_PARTS) if anatomy.classifiers else axis.n_steps
    return min(most, axis.steps_at_once(batch_size))


# Cached for the next call with the same model: compilation takes seconds.
@functools.lru_cache(maxsize=1)
def _kept(model, settings):
    del model, settings
    return {}


def _settings(model, *, own_dt):
    """Return the values that a compiled function holds as constants: it is valid as long as they are equal."""
    own = tuple(to_float(layer.dt) for layer in layers_with_dt(model)) if own_dt else None
    return fingerprint(model, leave_out=None if own_dt else "_dt"), own


def spike_counts(spikes, unit):
    """Return the numbers of spikes, int16 ``(batch, time, units)``, of ``spikes (batch, time, ...)`` times ``unit``."""
    spikes = ops.reshape(ops.cast(spikes, "float32") * unit, (*ops.shape(spikes)[:2], -1))
    return ops.cast(ops.clip(ops.round(spikes), -_MOST_SPIKES, _MOST_SPIKES), "int16")


def probabilities(outputs):
    """Return ``outputs (..., classes)`` where they are probabilities, else their softmax."""
    outputs = ops.cast(outputs, "float32")
    total = ops.sum(outputs, axis=-1, keepdims=True)
    already = ops.logical_and(ops.min(outputs, axis=-1, keepdims=True) >= 0, ops.abs(total - 1) < 1e-3)
    return ops.where(already, outputs, ops.softmax(outputs, axis=-1))
