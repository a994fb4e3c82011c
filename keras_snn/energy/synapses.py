"""Count the synapses of a model's layer calls, and find the calls whose inputs are spikes."""

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
from keras_snn.hints import Tensor
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

#: Two values of the inputs and of all analog signals. Spikes that another signal scales or shifts differ between them.
_LEVELS = 0.73, 0.41
#: A dt for a test: only the height of spikes in Hz depends on dt.
_TEST_DT = 0.37
#: Minimum number of steps for which averages over the first step, the last step and all steps differ.
_MIN_STEPS = 3
_FIRST, _LAST = (0, 1), (-1, None)


@dataclass(frozen=True)
class Spikes:
    """Height and time step of spikes.

    Attributes:
        unit: A spike has the height ``1 / unit``.
        dt: Time step in seconds.
        in_hertz: Boolean, True for spikes of height ``1 / dt``. Their number in a step is proportional to dt.
    """

    unit: float
    dt: float
    in_hertz: bool


@dataclass(eq=False)
class Synapses:
    """One call of a layer, and the counts that determine its work.

    Attributes:
        call: ``graph.Call``.
        connections: As in ``Work``.
        dense_connections: As in ``Work``.
        neurons: As in ``Work``.
        spiking: Boolean, False for an activation function without spikes.
        known: Boolean, False for a layer of unknown class, whose counts are 0.
        spikes: ``Spikes`` that arrive; None for analog inputs.
        emitter: One of the layers that emit these spikes.
        mixed: Boolean, whether spikes of different heights or dt, or other signals, arrive together. These inputs count
            as analog.
        scale: Number of spikes in an input with the height of a spike: ``1 / c`` if a constant c multiplies the spikes,
            else 1.
        steps: Number or array of the time steps over which an input is an average; 1 without an average.
        fan_out: Array, the number of connections of each input; None for analog inputs.
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
    fan_out: Tensor = None

    def work(self, spikes: np.ndarray | None = None) -> Work:
        """Return the ``Work`` of one inference. ``spikes`` is the float64 number of spikes at each input."""
        counts = (self.connections, self.dense_connections, self.neurons, self.call.runs)
        if spikes is None or self.fan_out is None:
            return Work(None, None, *counts)
        return Work(float(spikes.sum()), float((spikes * self.fan_out).sum()), *counts)


def spike_reach(axis: graph.TimeAxis, dt: float | Tensor | None = None) -> dict[str, Synapses]:
    """Return a dict from the name of each layer call to its ``Synapses``.

    One eager run finds the calls that spikes reach. Its samples differ in the layers and steps that emit spikes, and in
    the value of the inputs and of all analog signals. Spikes reach a call if its inputs depend on them. The result
    depends on the shapes of the samples, and on which weights are zero.

    Args:
        axis: ``graph.TimeAxis`` of the model.
        dt: As in ``probe.scope``.
    """
    synapses_by_call = {name: Synapses(call) for name, call in axis.calls.items()}
    count(synapses_by_call)
    _find_spikes(axis, dt, synapses_by_call)
    count(synapses_by_call)
    return synapses_by_call


@dataclass(frozen=True)
class _Sample:
    """One sample of the run: the layers that emit spikes, their steps, and the value of analog signals."""

    emitter: tuple | None = None
    steps: tuple = (None, None)
    level: float = _LEVELS[0]


def _constant(tensor, values):
    """Return a tensor like ``tensor`` whose rows hold NumPy values. Computed on the host: JAX compiles nothing."""
    rows = np.repeat(values, max(1, tensor.shape[0] // len(values)), axis=0)[: tensor.shape[0]]
    rows = rows.reshape(*rows.shape, *[1] * (len(tensor.shape) - rows.ndim))
    return ops.cast(np.array(np.broadcast_to(rows, tensor.shape)), tensor.dtype)


def count(synapses_by_call: dict[str, Synapses]) -> None:
    """Update the connections and neurons of the calls from the current weights."""
    for synapses in synapses_by_call.values():
        counted, uses = statistics(synapses.call), synapses.call.uses
        counted = {"known": False} if counted is None else counted
        synapses.known = counted.get("known", True)
        synapses.connections = uses * counted.get("connections", 0)
        synapses.dense_connections = uses * counted.get("dense_connections", counted.get("connections", 0))
        synapses.neurons, synapses.spiking = uses * counted.get("neurons", 0), counted.get("spiking", True)
        if synapses.spikes is not None:
            layer, shape = synapses.call.layer, synapses.call.input_shape
            synapses.fan_out = None if registered(layer) else fan_out(layer, shape)
            if synapses.fan_out is None:  # use the mean over the inputs
                synapses.fan_out = np.full(shape[1:], counted.get("connections", 0) / math.prod(shape[1:]))


def _find_spikes(axis, dt, synapses_by_call):
    """Set ``spikes``, ``emitter``, ``mixed``, ``scale`` and ``steps`` of the calls that spikes reach."""
    with probe.scope(dt=dt):
        emitters = {}
        for layer, _, is_masked in axis.emitters.values():  # masks may differ between layers
            emitters.setdefault((_kind(layer, axis.model), layer if is_masked else None), layer)
        for layer in (call.layer for call in axis.calls.values() if isinstance(call.layer, _ENCODERS)):
            emitters.setdefault((_kind(layer, axis.model), None), layer)
    at_all_steps = (_Sample(key, level=level) for key in emitters for level in _LEVELS)
    at_one_step = (_Sample(key, steps) for key in emitters for steps in (_FIRST, _LAST))
    samples = [_Sample(), *at_all_steps, *at_one_step]
    n_steps = axis.n_steps if axis.why_not else min(axis.n_steps, _MIN_STEPS)
    inputs = _inputs(axis, samples, n_steps, dt, synapses_by_call)
    silent = inputs[_Sample()]
    for key, emitter in emitters.items():
        always, other = (inputs[_Sample(key, level=level)] for level in _LEVELS)
        first, last = (inputs[_Sample(key, steps)] for steps in (_FIRST, _LAST))
        for name in (name for name in silent if np.any(always[name] != silent[name])):
            synapses = synapses_by_call[name]
            # Inputs that contain another signal, or are scaled by one, are not spikes.
            only_spikes = not silent[name].any() and np.allclose(always[name], other[name], rtol=1e-4)
            synapses.mixed = synapses.mixed or not only_spikes or synapses.spikes not in (None, key[0])
            synapses.spikes, synapses.emitter = key[0], synapses.emitter or emitter
            if synapses.mixed:
                continue
            call = synapses.call
            if call.time == "axis" and call.runs > 1 and not _is_time(always[name], last[name]):
                call.set_time(None, 1)  # another axis with the length of the time axis
            heights = [arrays[name] * key[0].unit for arrays in (always, first, last)]
            synapses.scale, steps = _scale_and_steps(call, *heights)
            synapses.steps = np.where(steps == n_steps, axis.n_steps, steps) if n_steps > 1 else steps
    for synapses in synapses_by_call.values():
        if synapses.mixed:
            synapses.spikes = synapses.emitter = None


def _inputs(axis, samples, n_steps, dt, synapses_by_call):
    """Return for each sample a dict from the name of each call with connections to the absolute inputs."""
    inputs = {sample: {} for sample in samples}
    batch_size = graph.static_batch_size(axis.model) or len(samples)
    for start in range(0, len(samples), batch_size):
        batch = [*samples[start : start + batch_size], *samples[: max(0, start + batch_size - len(samples))]]
        levels = np.array([sample.level for sample in batch], "float32")

        def emit(layer, outputs, mask=None, batch=batch):
            key = _kind(layer, axis.model), layer if mask is not None else None
            emitted = np.zeros((len(batch), outputs.shape[1]), "float32")
            for row, sample in zip(emitted, batch, strict=True):
                row[slice(*sample.steps)] = (key == sample.emitter) / key[0].unit
            return _constant(outputs, emitted)

        def record(name, layer, x, outputs, batch=batch, levels=levels, emit=emit):
            if synapses_by_call[name].dense_connections:
                rows = np.abs(ops.convert_to_numpy(tree.flatten(x)[0]).astype("float32"))
                for sample, row in zip(batch, rows.reshape(len(batch), -1, *rows.shape[1:]), strict=True):
                    inputs[sample][name] = row
            if isinstance(layer, _ENCODERS):
                return emit(layer, outputs)
            if _keeps_spikes(layer):
                return None
            return tree.map_structure(lambda leaf: _constant(leaf, levels) if ops.is_tensor(leaf) else leaf, outputs)

        first_steps = axis.x if n_steps == axis.n_steps else axis.part(axis.x, 0, n_steps)
        x = tree.map_structure(lambda array, levels=levels: _filled(array, levels), first_steps)
        sample_index = np.arange(len(batch), dtype="int32")
        with graph.calls(axis.model, record):
            axis.run(x, n_steps, probe.Carry(), dt=dt, record=emit, sample_index=sample_index)
    return inputs


def _filled(array, levels):
    """Return an array like the first row of ``array``, repeated and filled with one of ``levels`` in each row."""
    array = np.repeat(ops.convert_to_numpy(array)[:1], len(levels), axis=0)
    kind = array.dtype.kind
    if kind == "f":
        array[:] = levels.reshape(-1, *[1] * (array.ndim - 1))
    elif kind in "iub":
        array[:] = 1
    return array


def _is_time(always, last):
    """Return whether axis 1 is time: spikes at the last step alone reach fewer of its indices than at every step."""
    at_every_step, at_last_step = (x.reshape(*x.shape[:2], -1).any(axis=(0, 2)).sum() for x in (always, last))
    return at_last_step < at_every_step


def _scale_and_steps(call, always, first, last):
    """Return ``scale`` and ``steps`` of ``Synapses``.

    The arguments after ``call`` are its inputs, in units of a spike's height, if all units spike at every step, at the
    first step, or at the last step.
    """
    if call.time is not None:
        return _inverse_scale(always), 1
    always, first, last = (x.reshape(-1, *call.input_shape[1:])[: call.uses] for x in (always, first, last))
    over_time = (first > 0) & (last > 0) & (always > 1.5 * last)
    steps = np.where(over_time, np.round(always / np.where(over_time, last, 1)), 1)
    steps[_is_count(last) & over_time] = 1  # a sum over time
    return _inverse_scale(np.where(over_time, last * steps, always)), steps


def _inverse_scale(heights):
    """Return 1 for whole numbers of spikes and their averages, ``1 / c`` for spikes scaled by a constant c."""
    arrived = heights[heights > 0]
    scaled = arrived.size and np.ptp(arrived) < 1e-4 * arrived.max() and not _is_count(arrived[0])
    return 1 / float(arrived[0]) if scaled else 1.0


def _is_count(height):
    """Return whether a height is a whole number of spikes."""
    return (height > 0.5) & (np.abs(height - np.round(height)) < 1e-3)


def _kind(layer, model):
    """Return the ``Spikes`` of a layer, inside the scope that may override its dt."""
    if isinstance(layer, _ENCODERS):
        # Encoders have no dt: use that of the model's first layer with a dt.
        dt = next((timed.dt for timed in layers_with_dt(model)), default.dt)
        return Spikes(1.0, to_float(dt), in_hertz=False)
    with probe.scope(dt=_TEST_DT):
        in_hertz = np.isclose(to_float(layer.spike_unit), _TEST_DT)
    return Spikes(to_float(layer.spike_unit), to_float(layer.dt), bool(in_hertz))


def _keeps_spikes(layer):
    """Return whether the outputs of a layer for spikes are spikes, or averages of spikes."""
    if isinstance(layer, SequenceLayer):
        return layer.emits_spikes
    if isinstance(layer, keras.layers.Activation):
        return is_linear(layer.activation) or layer.activation is keras.activations.relu
    return not layer.weights and not isinstance(layer, _MIXING)
