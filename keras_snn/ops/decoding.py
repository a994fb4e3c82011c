"""Decode spike trains into values: inverses of ``keras_snn.ops.encoding``, up to the resolution of each code.

Spikes are ``(batch, time, ...)`` in any dtype. Values are float32 or wider.
"""

from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops import masks
from keras_snn.ops.backend import cumsum
from keras_snn.ops.encoding import LATENCY_CODES, check_periods, receptive_fields
from keras_snn.ops.precision import mean, wide
from keras_snn.ops.statistics import largest_over


def first_spike_time(spikes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the step of the first spike of each unit, ``(batch, ...)``; the number of steps for units without a spike.

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


def rate(spikes: Tensor, scale: float) -> Tensor:
    """Return the mean number of spikes per step, divided by ``scale``: the inverse of ``poisson`` in expectation."""
    return mean(wide(spikes), axis=1) / scale


def latency(spikes: Tensor, code: str) -> Tensor:
    """For the first spike at step t, return ``1 - t / (T - 1)`` with the code "linear", and with the code "log" ::

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


def phase(spikes: Tensor, bits: int) -> Tensor:
    """Return the sum of the spikes' weights ``2^-(1 + t mod bits)``, averaged over the periods."""
    if spikes.shape[1] is not None:
        check_periods(spikes.shape[1], bits)
    spikes = wide(spikes)
    weights = ops.power(ops.cast(2.0, spikes.dtype), -1 - ops.mod(_steps(spikes), bits))
    return ops.sum(spikes * weights, axis=1) / (_n_steps(spikes) / bits)


def population(spikes: Tensor, low: float, high: float, beta: float) -> Tensor:
    """Estimate values ``(batch, ...)`` from the spikes ``(batch, time, ..., m)`` of m neurons for each value.

    A first spike at step t gives the activation ``g = 1 - t / (T - 1)``. For a Gaussian field,
    ``ln g_i + c_i^2 / (2 width^2)`` is linear in the centers c_i, with the slope ``x / width^2``. x is the result of a
    weighted linear fit. The weights are ``g_i^2``, because an error of one step changes ``ln g_i`` by 1 / g_i.

    Values are limited to [low, high]. A single spike gives the center of its neuron. No spike gives NaN.
    """
    centers, width = receptive_fields(spikes.shape[-1], low, high, beta)
    activation = latency(spikes, "linear")
    centers = ops.cast(centers, activation.dtype)
    weights = ops.square(activation)
    # Relative to the weighted mean of the centers: float32 has most precision there.
    middle = ops.sum(weights * centers, axis=-1, keepdims=True) / ops.sum(weights, axis=-1, keepdims=True)
    offsets = (centers - middle) / width
    y = ops.log(ops.clip(activation, 1e-9, 1)) + ops.square(offsets) / 2
    spread = ops.sum(weights * ops.square(offsets), axis=-1)
    slope = ops.sum(weights * offsets * y, axis=-1) / ops.where(spread > 0, spread, 1)
    return ops.clip(middle[..., 0] + width * slope, low, high)


def rank_order(spikes: Tensor) -> Tensor:
    """Return ``1 - t / T`` for the first spike at step t: the relative rank ``1 - r / N``, or up to 1 / T more."""
    spikes = wide(spikes)
    return 1 - first_spike_time(spikes) / _n_steps(spikes)


def interval(spikes: Tensor, shortest: int, longest: int) -> Tensor:
    """Return the value that the mean interval encodes, ``(longest - interval) / (longest - shortest)``.

    The mean interval is the number of steps up to and including the last spike, divided by the number of spikes. A
    unit without a spike gives 0.
    """
    spikes = wide(spikes)
    count = ops.sum(spikes, axis=1)
    passed = largest_over(ops.where(spikes != 0, _steps(spikes) + 1, 0), axis=1)
    mean_interval = ops.where(count == 0, longest, passed / ops.where(count == 0, 1, count))
    return (longest - mean_interval) / (longest - shortest)


def resonance(spikes: Tensor, max_spikes: int) -> Tensor:
    """Return ``(n - 1) / (max_spikes - 1)`` for a burst of n spikes; 0 for no spike or a single one."""
    return ops.relu(ops.sum(wide(spikes), axis=1) - 1) / (max_spikes - 1)


def delta(spikes: Tensor, initial: Tensor, threshold: float) -> Tensor:
    """Return ``initial + threshold * (sum of the spikes so far)``, ``(batch, time, ...)``.

    Args:
        spikes: Tensor ``(batch, time, ...)``.
        initial: Tensor ``(batch, ...)``, the first value of the signal.
        threshold: Number > 0.
    """
    return ops.add(ops.expand_dims(wide(initial), 1), threshold * cumsum(wide(spikes)))


def vote(spikes: Tensor, n_votes: int) -> Tensor:
    """Return the mean over each group of ``n_votes`` contiguous units of the last axis, ``(..., units / n_votes)``."""
    spikes = wide(spikes)
    *axes, units = ops.shape(spikes)
    return mean(ops.reshape(spikes, (*axes, units // n_votes, n_votes)), axis=-1)


def _n_steps(spikes):
    return ops.cast(ops.shape(spikes)[1], spikes.dtype)


def _steps(spikes):
    """Return the steps 0, 1, ..., T - 1 as ``(time, 1, ...)``."""
    steps = ops.arange(ops.shape(spikes)[1], dtype="int32")
    return ops.cast(ops.reshape(steps, (-1, *[1] * (len(spikes.shape) - 2))), spikes.dtype)
