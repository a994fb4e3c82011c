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
#: Layers without weights whose outputs are analog.
_MIXING = (
    *(ours.FirstSpikeTime, keras.layers.Softmax, keras.layers.UnitNormalization, keras.layers.LayerNormalization),
    *(keras.layers.GroupNormalization, keras.layers.RMSNormalization, keras.layers.Dot),
)

#: Values of the inputs and of all analog signals in two runs. Spikes that these scale or shift differ between the runs.
_LEVELS = 0.73, 0.41
#: A dt for a test: of all spikes, only those in Hz have a height that depends on dt.
_TEST_DT = 0.37


@dataclass(frozen=True)
class Spikes:
    """A kind of spikes: each has the height ``1 / unit``, and a time step lasts ``dt`` seconds.

    ``in_hertz`` is True for spikes of height 1 / dt, whose number in a step is proportional to dt.
    """

    unit: float
    dt: float
    in_hertz: bool


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
        mixed: Boolean, whether spikes of different heights or dt arrive, or other signals with them. These inputs count
            as analog.
        scale: Number of spikes in an input of the height of a spike: ``1 / c`` if a constant c multiplies the spikes,
            else 1.
        steps: Number or array of the time steps that an input averages over; 1 without an average.
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
    scale: float = 1.0
    steps: int | np.ndarray = 1
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
    spikes, or one at every step, while layers with weights and activation functions give a constant, as do the inputs.
    A call whose inputs differ between these runs receives spikes. Only the shapes and dtypes of ``x`` matter; of the
    weights, only whether they are zero.

    Args:
        model: A built Keras model.
        x: A few samples, an array or a nest of them.
        length: Integer, the length of the time axis of ``x``; see ``graph.study``. Default None.
        **scope: Arguments of ``probe.scope``.
    """
    n_samples = len(tree.flatten(x)[0])
    index = np.arange(n_samples, dtype="int32")

    def run(level, record=None):
        """Call the model on inputs of one value."""
        inputs = tree.map_structure(lambda a: _filled(a, level), x)
        with probe.scope(record=record, **{"sample_index": index, **scope}):
            model(inputs, training=False)

    calls, n_steps = graph.study(model, lambda: run(_LEVELS[0]), n_samples, length)
    found = {name: Anatomy(call) for name, call in calls.items()}
    count(found)
    _find_spikes(model, run, found)
    count(found)
    return found, n_steps


def _filled(array, level):
    """Return an array of the same shape and dtype that holds one value."""
    array = np.asarray(array)
    kind = array.dtype.kind
    return np.full_like(array, level if kind == "f" else 1) if kind in "fiub" else array


def _constant(tensor, values):
    """Return a tensor like ``tensor`` with broadcast NumPy values. Made on the host: JAX compiles no operation."""
    return ops.cast(np.array(np.broadcast_to(np.asarray(values, "float32"), tensor.shape)), tensor.dtype)


def count(found):
    """Update the connections and neurons of calls from the present weights."""
    for anatomy in found.values():
        counted, uses = statistics(anatomy.call), anatomy.call.uses
        counted = {"known": False} if counted is None else counted
        anatomy.known = counted.get("known", True)
        anatomy.connections = uses * counted.get("connections", 0)
        anatomy.dense_connections = uses * counted.get("dense_connections", counted.get("connections", 0))
        anatomy.neurons, anatomy.spiking = uses * counted.get("neurons", 0), counted.get("spiking", True)
        if anatomy.spikes is not None:
            layer, shape = anatomy.call.layer, anatomy.call.input_shape
            anatomy.fan_out = None if registered(layer) else fan_out(layer, shape)
            if anatomy.fan_out is None:  # unknown for each input: the mean
                anatomy.fan_out = np.full(shape[1:], counted.get("connections", 0) / math.prod(shape[1:]))


def _find_spikes(model, run, found):
    """Set ``spikes``, ``emitter``, ``mixed``, ``scale`` and ``steps`` of the calls that spikes reach."""
    emitters = {}

    def inputs_where(emitter, steps=slice(None), level=_LEVELS[0]):
        """Return the absolute inputs of the calls, if one kind of layers spikes at the given steps and others never."""
        inputs = {}

        def emit(layer, outputs, mask=None):
            key = _kind(layer, model), layer if mask is not None else None  # masks may differ between layers
            emitters.setdefault(key, layer)
            emitted = np.zeros((1, outputs.shape[1], *[1] * (len(outputs.shape) - 2)), "float32")
            emitted[:, steps] = (key == emitter) / key[0].unit
            return _constant(outputs, emitted)

        def record(name, layer, x, outputs):
            if found[name].dense_connections:
                inputs[name] = np.abs(ops.convert_to_numpy(tree.flatten(x)[0]).astype("float32"))
            if isinstance(layer, _ENCODERS):
                return emit(layer, outputs)
            if _passes(layer):
                return None
            return tree.map_structure(lambda t: _constant(t, level) if ops.is_tensor(t) else t, outputs)

        with graph.calls(model, record):
            run(level, record=emit)
        return inputs

    silent = inputs_where(None)
    for key, emitter in list(emitters.items()):
        always, other = inputs_where(key), inputs_where(key, level=_LEVELS[1])
        first, last = (inputs_where(key, steps) for steps in (slice(0, 1), slice(-1, None)))
        for name in (name for name in silent if np.any(always[name] != silent[name])):
            anatomy = found[name]
            # Inputs that contain another signal, or that another signal scales, are not spikes.
            alone = not silent[name].any() and np.allclose(always[name], other[name], rtol=1e-4)
            anatomy.mixed = anatomy.mixed or not alone or anatomy.spikes not in (None, key[0])
            anatomy.spikes, anatomy.emitter = key[0], anatomy.emitter or emitter
            if anatomy.call.time == "axis" and anatomy.call.runs > 1 and not _is_time(always[name], last[name]):
                anatomy.call.set_time(None, 1)  # another axis has the length of the time axis
            heights = [inputs[name] * key[0].unit for inputs in (always, first, last)]
            anatomy.scale, anatomy.steps = _scale_and_steps(anatomy.call, *heights)
    for anatomy in found.values():
        if anatomy.mixed:
            anatomy.spikes = anatomy.emitter = None


def _is_time(always, last):
    """Return whether axis 1 is time: then spikes at the last step alone reach fewer places of it than at every step."""
    places = [x.reshape(*x.shape[:2], -1).any(axis=(0, 2)).sum() for x in (always, last)]
    return places[1] < places[0]


def _scale_and_steps(call, always, first, last):
    """Return ``scale`` and ``steps`` of ``Anatomy``.

    The arguments after ``call`` are its inputs, in heights of a spike, where all units spike at every step, at the
    first step, and at the last step.
    """
    if call.time is not None:
        return _inverse_scale(always), 1
    always, first, last = (x.reshape(-1, *call.input_shape[1:])[: call.uses] for x in (always, first, last))
    over_time = (first > 0) & (last > 0) & (always > 1.5 * last)
    steps = np.where(over_time, np.round(always / np.where(over_time, last, 1)), 1)
    steps[_is_count(last) & over_time] = 1  # a sum over time
    return _inverse_scale(np.where(over_time, last * steps, always)), steps


def _inverse_scale(heights):
    """Return 1 for whole numbers of spikes and averages of them, ``1 / c`` for spikes scaled by a constant c."""
    arrived = heights[heights > 0]
    scaled = arrived.size and np.ptp(arrived) < 1e-4 * arrived.max() and not _is_count(arrived[0])
    return 1 / float(arrived[0]) if scaled else 1.0


def _is_count(height):
    """Return whether a height is a whole number of spikes."""
    return (height > 0.5) & (np.abs(height - np.round(height)) < 1e-3)


def _kind(layer, model):
    """Return the ``Spikes`` of a layer, inside the scope that may override its dt."""
    if isinstance(layer, _ENCODERS):  # its steps are those of the model's first layer with a dt
        return Spikes(1.0, to_float(next((timed.dt for timed in layers_with_dt(model)), default.dt)), in_hertz=False)
    with probe.scope(dt=_TEST_DT):
        in_hertz = np.isclose(to_float(layer.spike_unit), _TEST_DT)
    return Spikes(to_float(layer.spike_unit), to_float(layer.dt), bool(in_hertz))


def _passes(layer):
    """Return whether a layer whose inputs are spikes gives spikes, or averages of spikes."""
    if isinstance(layer, SequenceLayer):
        return layer.emits_spikes
    if isinstance(layer, keras.layers.Activation):
        return is_linear(layer.activation) or layer.activation is keras.activations.relu
    return not layer.weights and not isinstance(layer, _MIXING)
