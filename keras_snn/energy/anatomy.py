"""The layer calls inside a model: their operations, and which of them spikes reach."""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops, tree

from keras_snn import graph, probe
from keras_snn import layers as ours
from keras_snn.config import default
from keras_snn.energy.connections import fan_out, is_linear
from keras_snn.energy.statistics import registered, statistics
from keras_snn.energy.work import Work
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.layers.base.time_step import layers_with_dt
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops.precision import to_float

_ENCODERS = (StillEncoder, ours.Delta)


@dataclass(frozen=True)
class Spikes:
    """A kind of spikes: each has the height ``1 / unit``, and a time step lasts ``dt`` seconds."""

    unit: float
    dt: float


@dataclass(eq=False)
class Anatomy:
    """One call of a layer, with the counts from which its work follows.

    Attributes:
        call: ``graph.Call``.
        connections: As in ``Work``.
        dense_connections: As in ``Work``.
        neurons: As in ``Work``.
        spiking: Boolean, False for an activation function without spikes.
        known: Boolean, False for a layer of unknown class, which counts as nothing.
        spikes: ``Spikes`` that arrive; None for analog inputs.
        emitter: One of the layers that emit these spikes.
        mixed: Boolean, whether spikes of different heights or dt arrive. They count as analog inputs.
        steps_in_one: Number of time steps whose spikes an input stands for: more than 1 for an average over time.
        fan_out: Array, the connections of each input; None for analog inputs.
    """

    call: graph.Call
    connections: int = 0
    dense_connections: int = 0
    neurons: int = 0
    spiking: bool = True
    known: bool = True
    spikes: Spikes | None = None
    emitter: keras.layers.Layer | None = None
    mixed: bool = False
    steps_in_one: int = 1
    fan_out: np.ndarray | None = None

    def work(self, spikes=None):
        """Return the ``Work`` for a float64 array of the spikes that arrive in one inference at each input."""
        counts = (self.connections, self.dense_connections, self.neurons, self.call.runs)
        if spikes is None:
            return Work(None, None, *counts)
        return Work(float(spikes.sum()), float((spikes * self.fan_out).sum()), *counts)


def study(model, x, *, length=None, **scope):
    """Return the ``Anatomy`` of every call of a layer, by its name, and the number of time steps of the model.

    The calls come from one eager run. Further runs find the calls that spikes reach: in them, spiking layers emit no
    spikes, or one at every step, while layers with weights and activation functions give ones, as do float inputs. A
    call whose inputs differ between these runs receives spikes. No result depends on the values in ``x`` or in the
    weights, except that a weight of zero is no connection.

    Args:
        model: A built Keras model.
        x: A few samples, an array or a nest of them.
        length: Integer, the length of the time axis of ``x``; see ``graph.study``. Default None.
        **scope: Arguments of ``probe.scope``.
    """
    n_samples = len(tree.flatten(x)[0])
    x = tree.map_structure(lambda a: np.ones_like(a) if np.issubdtype(a.dtype, np.floating) else a, x)
    scope = {"sample_index": np.arange(n_samples, dtype="int32"), **scope}

    def run(record=None):
        with probe.scope(record=record, **scope):
            model(x, training=False)

    calls, n_steps = graph.study(model, run, n_samples, length)
    found = {name: Anatomy(call) for name, call in calls.items()}
    count(found)
    _find_spikes(model, run, found, n_steps)
    count(found)
    return found, n_steps


def count(found):
    """Update the connections and neurons of calls from the present weights."""
    for anatomy in found.values():
        counted = statistics(anatomy.call)
        anatomy.known, counted = counted is not None, counted or {}
        anatomy.connections = counted.get("connections", 0)
        anatomy.dense_connections = counted.get("dense_connections", anatomy.connections)
        anatomy.neurons, anatomy.spiking = counted.get("neurons", 0), counted.get("spiking", True)
        if anatomy.spikes is not None:
            layer, shape = anatomy.call.layer, anatomy.call.input_shape
            anatomy.fan_out = None if registered(layer) else fan_out(layer, shape)
            if anatomy.fan_out is None:  # unknown for each input: the mean
                anatomy.fan_out = np.full(shape[1:], anatomy.connections / math.prod(shape[1:]))


def _find_spikes(model, run, found, n_steps):
    """Set ``spikes``, ``emitter``, ``mixed`` and ``steps_in_one`` of the calls that spikes reach."""
    emitters = {}

    def inputs_where(kind, *, only_last=False):
        """Return the absolute inputs of the calls, where layers of one kind spike at every step and others never."""
        inputs = {}

        def emit(layer, outputs, mask=None):
            spikes = _kind(layer, model)
            emitters.setdefault(spikes, layer)
            n_samples, n_steps, *units = outputs.shape
            counts = np.ones((n_samples, n_steps), bool) if mask is None else ops.convert_to_numpy(mask)
            if only_last:
                counts = counts & (np.cumsum(counts, axis=1) == counts.sum(axis=1, keepdims=True))
            height = counts * (spikes == kind) / spikes.unit
            height = ops.cast(height.reshape(n_samples, n_steps, *[1] * len(units)), outputs.dtype)
            return ops.ones_like(outputs) * height

        def record(name, layer, x, outputs):
            if found[name].dense_connections:
                inputs[name] = np.abs(ops.convert_to_numpy(ops.cast(tree.flatten(x)[0], "float32")))
            if isinstance(layer, _ENCODERS):
                return emit(layer, outputs)
            return None if _passes(layer) else tree.map_structure(ops.ones_like, outputs)

        with graph.calls(model, record):
            run(record=emit)
        return inputs

    silent = inputs_where(None)
    for kind, emitter in list(emitters.items()):
        spiking, last = inputs_where(kind), None
        for name in (name for name in silent if np.any(spiking[name] != silent[name])):
            anatomy = found[name]
            anatomy.mixed = anatomy.spikes is not None
            anatomy.spikes, anatomy.emitter = kind, emitter
            if anatomy.call.time is None and n_steps > 1:
                last = inputs_where(kind, only_last=True) if last is None else last
                arrived, at_last_step = ((x[name] - silent[name]).sum() for x in (spiking, last))
                anatomy.steps_in_one = round(arrived / at_last_step) if at_last_step else n_steps
    for anatomy in found.values():
        if anatomy.mixed:
            anatomy.spikes = anatomy.emitter = None


def _kind(layer, model):
    """Return the ``Spikes`` of a layer, inside the scope that may override its dt."""
    if isinstance(layer, _ENCODERS):  # its steps are those of the model's first layer with a dt
        return Spikes(1.0, to_float(next((timed.dt for timed in layers_with_dt(model)), default.dt)))
    return Spikes(to_float(layer.spike_unit), to_float(layer.dt))


def _passes(layer):
    """Return whether a layer whose inputs are spikes gives spikes, or averages of spikes."""
    if isinstance(layer, SequenceLayer):
        return layer.emits_spikes
    if isinstance(layer, keras.layers.Activation):
        return is_linear(layer.activation) or layer.activation is keras.activations.relu
    return not layer.weights and not isinstance(layer, (ours.FirstSpikeTime, keras.layers.Softmax))
