"""The synapses of a model: the counts of its layer calls, and which of them spikes reach."""

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
#: Fewest steps with which the first step, the last step and all steps differ in their averages.
_STEPS = 3
_FIRST, _LAST = (0, 1), (-1, None)


@dataclass(frozen=True)
class Spikes:
    """A kind of spikes: each has the height ``1 / unit``, and a time step lasts ``dt`` seconds.

    ``in_hertz`` is True for spikes of height 1 / dt, whose number in a step is proportional to dt.
    """

    unit: float
    dt: float
    in_hertz: bool


@dataclass(eq=False)
class Synapses:
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


def spike_reach(axis, dt=None):
    """Return the ``Synapses`` of every call of a layer, by its name.

    One eager run finds the calls that spikes reach. Its samples differ in which layers emit spikes and at which steps,
    and in the value of the inputs and of all analog signals. A call whose inputs depend on spikes receives them. Of the
    samples only shapes matter; of the weights, only whether they are zero.

    Args:
        axis: ``graph.TimeAxis`` of the model.
        dt: As in ``probe.scope``.
    """
    found = {name: Synapses(call) for name, call in axis.calls.items()}
    count(found)
    _find_spikes(axis, dt, found)
    count(found)
    return found


@dataclass(frozen=True)
class _Sample:
    """What one sample of the run holds: which layers emit spikes at which steps, and the value of analog signals."""

    emitter: tuple | None = None
    steps: tuple = (None, None)
    level: float = _LEVELS[0]


def _constant(tensor, values):
    """Return a tensor like ``tensor`` with NumPy values in its rows. Made on the host: JAX compiles no operation."""
    rows = np.repeat(values, max(1, tensor.shape[0] // len(values)), axis=0)[: tensor.shape[0]]
    rows = rows.reshape(*rows.shape, *[1] * (len(tensor.shape) - rows.ndim))
    return ops.cast(np.array(np.broadcast_to(rows, tensor.shape)), tensor.dtype)


def count(found):
    """Update the connections and neurons of calls from the present weights."""
    for synapses in found.values():
        counted, uses = statistics(synapses.call), synapses.call.uses
        counted = {"known": False} if counted is None else counted
        synapses.known = counted.get("known", True)
        synapses.connections = uses * counted.get("connections", 0)
        synapses.dense_connections = uses * counted.get("dense_connections", counted.get("connections", 0))
        synapses.neurons, synapses.spiking = uses * counted.get("neurons", 0), counted.get("spiking", True)
        if synapses.spikes is not None:
            layer, shape = synapses.call.layer, synapses.call.input_shape
            synapses.fan_out = None if registered(layer) else fan_out(layer, shape)
            if synapses.fan_out is None:  # unknown for each input: the mean
                synapses.fan_out = np.full(shape[1:], counted.get("connections", 0) / math.prod(shape[1:]))


def _find_spikes(axis, dt, found):
    """Set ``spikes``, ``emitter``, ``mixed``, ``scale`` and ``steps`` of the calls that spikes reach."""
    with probe.scope(dt=dt):
        emitters = {}
        for layer, _, is_masked in axis.emitters.values():  # masks may differ between layers
            emitters.setdefault((_kind(layer, axis.model), layer if is_masked else None), layer)
    few = (_Sample(key, level=level) for key in emitters for level in _LEVELS)
    samples = [_Sample(), *few, *(_Sample(key, steps) for key in emitters for steps in (_FIRST, _LAST))]
    n_steps = axis.n_steps if axis.why_not else min(axis.n_steps, _STEPS)
    inputs = _inputs(axis, samples, n_steps, dt, found)
    silent = inputs[_Sample()]
    for key, emitter in emitters.items():
        always, other = (inputs[_Sample(key, level=level)] for level in _LEVELS)
        first, last = (inputs[_Sample(key, steps)] for steps in (_FIRST, _LAST))
        for name in (name for name in silent if np.any(always[name] != silent[name])):
            synapses = found[name]
            # Inputs that contain another signal, or that another signal scales, are not spikes.
            alone = not silent[name].any() and np.allclose(always[name], other[name], rtol=1e-4)
            synapses.mixed = synapses.mixed or not alone or synapses.spikes not in (None, key[0])
            synapses.spikes, synapses.emitter = key[0], synapses.emitter or emitter
            if synapses.mixed:
                continue
            call = synapses.call
            if call.time == "axis" and call.runs > 1 and not _is_time(always[name], last[name]):
                call.set_time(None, 1)  # another axis has the length of the time axis
            heights = [of[name] * key[0].unit for of in (always, first, last)]
            synapses.scale, steps = _scale_and_steps(call, *heights)
            synapses.steps = np.where(steps == n_steps, axis.n_steps, steps) if n_steps > 1 else steps
    for synapses in found.values():
        if synapses.mixed:
            synapses.spikes = synapses.emitter = None


def _inputs(axis, samples, n_steps, dt, found):
    """Return for each sample the absolute inputs of the calls that have connections, by the calls' names."""
    inputs = {sample: {} for sample in samples}
    at_once = graph.static_batch_size(axis.model) or len(samples)
    for start in range(0, len(samples), at_once):
        part = [*samples[start : start + at_once], *samples[: max(0, start + at_once - len(samples))]]
        levels = np.array([sample.level for sample in part], "float32")

        def emit(layer, outputs, mask=None, part=part):
            key = _kind(layer, axis.model), layer if mask is not None else None
            emitted = np.zeros((len(part), outputs.shape[1]), "float32")
            for row, sample in zip(emitted, part, strict=True):
                row[slice(*sample.steps)] = (key == sample.emitter) / key[0].unit
            return _constant(outputs, emitted)

        def record(name, layer, x, outputs, part=part, levels=levels, emit=emit):
            if found[name].dense_connections:
                rows = np.abs(ops.convert_to_numpy(tree.flatten(x)[0]).astype("float32"))
                for sample, row in zip(part, rows.reshape(len(part), -1, *rows.shape[1:]), strict=True):
                    inputs[sample][name] = row
            if isinstance(layer, _ENCODERS):
                return emit(layer, outputs)
            if _passes(layer):
                return None
            return tree.map_structure(lambda t: _constant(t, levels) if ops.is_tensor(t) else t, outputs)

        few = axis.x if n_steps == axis.n_steps else axis.part(axis.x, 0, n_steps)
        x = tree.map_structure(lambda a, levels=levels: _filled(a, levels), few)
        index = np.arange(len(part), dtype="int32")
        with graph.calls(axis.model, record):
            axis.run(x, n_steps, probe.Carry(), dt=dt, record=emit, sample_index=index)
    return inputs


def _filled(array, levels):
    """Return an array like ``array`` that holds in each row one value."""
    array = np.repeat(ops.convert_to_numpy(array)[:1], len(levels), axis=0)
    kind = array.dtype.kind
    if kind == "f":
        array[:] = levels.reshape(-1, *[1] * (array.ndim - 1))
    elif kind in "iub":
        array[:] = 1
    return array


def _is_time(always, last):
    """Return whether axis 1 is time: then spikes at the last step alone reach fewer places of it than at every step."""
    places = [x.reshape(*x.shape[:2], -1).any(axis=(0, 2)).sum() for x in (always, last)]
    return places[1] < places[0]


def _scale_and_steps(call, always, first, last):
    """Return ``scale`` and ``steps`` of ``Synapses``.

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
