"""Values from spike trains: what the functions of ``keras_snn.ops.encoding`` did, undone up to their resolution.

Spikes come as ``(batch, time, ...)`` in any dtype, and values leave in float32 or wider.
"""

from keras import ops

from keras_snn import checks
from keras_snn.ops import masks
from keras_snn.ops.backend import cumsum
from keras_snn.ops.encoding import LATENCY_CODES, check_periods, receptive_fields
from keras_snn.ops.precision import mean, wide
from keras_snn.ops.statistics import largest_over


def first_spike_time(spikes, mask=None):
    """Return the step of the first spike of each unit, ``(batch, ...)``; the number of steps where there is none.

    With a mask, only the steps that count are numbered. A unit with a NaN gives NaN. There is no gradient.
    """
    spikes = wide(spikes)
    if mask is None:
        n_steps, to_come = _n_steps(spikes), _n_steps(spikes) - _steps(spikes)
    else:
        spikes = masks.only_counted(spikes, mask)
        n = ops.cast(masks.along(masks.n_so_far(mask), spikes), spikes.dtype)
        n_steps, to_come = n[:, -1], n[:, -1:] - n + 1
    times = n_steps - largest_over(ops.where(spikes != 0, to_come, 0), axis=1)
    return ops.where(ops.any(ops.isnan(spikes), axis=1), float("nan"), times)


def rate(spikes, scale):
    """Return the spikes a step, divided by ``scale``: the inverse of ``poisson`` in expectation."""
    return mean(wide(spikes), axis=1) / scale


def latency(spikes, code):
    """Return ``1 - t / (T - 1)`` of the first spike's step t for the code "linear", and for the code "log" ::

        (exp(-t) - exp(1 - T)) / (1 - exp(1 - T))

    A unit without a spike gives 0.
    """
    checks.choice("code", code, LATENCY_CODES)
    spikes = wide(spikes)
    times, last = first_spike_time(spikes), ops.maximum(_n_steps(spikes) - 1, 1)
    if code == "linear":
        return ops.relu(1 - times / last)
    slowest = ops.exp(-last)
    return ops.relu((ops.exp(-times) - slowest) / (1 - slowest))


def phase(spikes, bits):
    """Return the sum of the weights ``2^-(1 + t mod bits)`` of the spikes, averaged over the periods."""
    if spikes.shape[1] is not None:
        check_periods(spikes.shape[1], bits)
    spikes = wide(spikes)
    weights = ops.power(ops.cast(2.0, spikes.dtype), -1 - ops.mod(_steps(spikes), bits))
    return ops.sum(spikes * weights, axis=1) / (_n_steps(spikes) / bits)


def population(spikes, low, high, beta):
    """Return the value at which the activations of the neurons point, ``(batch, ...)`` from ``(batch, time, ..., m)``.

    The first spike at step t gives the activation ``g = 1 - t / (T - 1)`` back. By the Gaussian,
    ``ln g_i + c_i^2 / (2 width^2)`` is linear in the centres c_i, with the slope ``x / width^2``; x comes from the
    straight line that fits best with the weights ``g_i^2``, since a step more or less changes ``ln g_i`` by 1 / g_i.

    Values are limited to [low, high]. One spike alone gives the centre of its neuron, and no spike NaN.
    """
    centres, width = receptive_fields(spikes.shape[-1], low, high, beta)
    activation = latency(spikes, "linear")
    centres = ops.cast(centres, activation.dtype)
    weights = ops.square(activation)
    # From the weighted mean of the centres, where float32 is finest.
    mean = ops.sum(weights * centres, axis=-1, keepdims=True) / ops.sum(weights, axis=-1, keepdims=True)
    offsets = (centres - mean) / width
    y = ops.log(ops.clip(activation, 1e-9, 1)) + ops.square(offsets) / 2
    spread = ops.sum(weights * ops.square(offsets), axis=-1)
    slope = ops.sum(weights * offsets * y, axis=-1) / ops.where(spread > 0, spread, 1)
    return ops.clip(mean[..., 0] + width * slope, low, high)


def rank_order(spikes):
    """Return ``1 - t / T`` of the first spike's step t: the relative rank ``1 - r / N``, or up to 1 / T above it."""
    spikes = wide(spikes)
    return 1 - first_spike_time(spikes) / _n_steps(spikes)


def interval(spikes, shortest, longest):
    """Return the value of the mean interval, ``(longest - interval) / (longest - shortest)``.

    The mean interval is the number of steps to the end of the last spike's, divided by the number of spikes: of one
    spike alone, its own. A unit without a spike gives 0.
    """
    spikes = wide(spikes)
    count = ops.sum(spikes, axis=1)
    passed = largest_over(ops.where(spikes != 0, _steps(spikes) + 1, 0), axis=1)
    mean = ops.where(count == 0, longest, passed / ops.where(count == 0, 1, count))
    return (longest - mean) / (longest - shortest)


def delta(spikes, initial, threshold):
    """Return ``initial + threshold`` times the sum of the spikes so far, ``(batch, time, ...)``.

    Args:
        spikes: Tensor ``(batch, time, ...)``.
        initial: Tensor ``(batch, ...)``, the first value of the signal.
        threshold: Number > 0.
    """
    return ops.add(ops.expand_dims(wide(initial), 1), threshold * cumsum(wide(spikes)))


def vote(spikes, n_votes):
    """Return the mean of each ``n_votes`` contiguous units of the last axis, ``(..., units / n_votes)``."""
    spikes = wide(spikes)
    *axes, units = ops.shape(spikes)
    return mean(ops.reshape(spikes, (*axes, units // n_votes, n_votes)), axis=-1)


def _n_steps(spikes):
    return ops.cast(ops.shape(spikes)[1], spikes.dtype)


def _steps(spikes):
    """Return the steps 0, 1, ..., T - 1 as ``(time, 1, ...)``."""
    steps = ops.arange(ops.shape(spikes)[1], dtype="int32")
    return ops.cast(ops.reshape(steps, (-1, *[1] * (len(spikes.shape) - 2))), spikes.dtype)
