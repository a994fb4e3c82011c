"""Codes: values as spike trains. Every function returns 0/1 spikes in the dtype of its input, time on axis 1.

The argument ``steps`` of most functions is an integer tensor ``(batch, time)`` or ``(1, time)``, the numbers of the
steps of the code whose spikes are returned. Default: all, 0 to ``n_steps - 1``.
"""

import math

import numpy as np
from keras import ops

from keras_snn import checks
from keras_snn.ops import masks
from keras_snn.ops.backend import floor, straight_through
from keras_snn.ops.scan import scan

LATENCY_CODES = ("linear", "log")


def poisson(x, uniform, scale):
    """Spike at each step with probability ``scale x``, independently.

    The gradient of the spikes by x is ``scale``, that of their expectation.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        uniform: Tensor ``(batch, time, ...)``, numbers drawn from U[0, 1).
        scale: Number in (0, 1], the probability of a spike at x = 1.
    """
    probability = ops.broadcast_to(ops.expand_dims(scale * x, 1), ops.shape(uniform))
    return straight_through(ops.cast(uniform < probability, x.dtype), probability)


def latency(x, n_steps, code, *, silent_zero=False, steps=None):
    """Spike once, the sooner the larger the value: at step 0 for x = 1, at the last step T - 1 for x = 0.

    The step is ``round((T - 1) (1 - x))`` for the code "linear". For "log" it is ``round((T - 1) - ln(a x + 1))`` with
    ``a = exp(T - 1) - 1``, written as ``-ln(x + (1 - x) exp(1 - T))``, which does not overflow.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer T.
        code: "linear" or "log".
        silent_zero: Boolean, no spike for x = 0.
        steps: See the head of this file.
    """
    checks.choice("code", code, LATENCY_CODES)
    if code == "linear":
        times = (n_steps - 1) * (1 - x)
    else:
        # Where the exponential underflows, x = 0 has an infinite time.
        times = ops.clip(-ops.log(x + (1 - x) * math.exp(1 - n_steps)), 0, n_steps - 1)
    if silent_zero:
        times = ops.where(x == 0, n_steps, times)
    return _spikes_at(ops.round(times), _all_or(steps, n_steps), x.dtype)


def phase(x, n_steps, bits, *, steps=None):
    """Spike where a bit of the value is 1, the most significant bit first, in each period of ``bits`` steps.

    The spike at step t is bit ``k = t mod bits`` of ``min(x, 1 - 2^-bits) = 0.b_0 b_1 b_2 ...`` in base two, and stands
    for ``2^-(1 + k)``.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer, a multiple of ``bits``.
        bits: Integer in [1, 24].
        steps: See the head of this file.
    """
    check_periods(n_steps, bits)
    # From a table: a power that is computed may be off by a rounding.
    table = ops.convert_to_tensor(2.0 ** np.arange(1, bits + 1), x.dtype)
    powers = along_time(ops.take(table, ops.mod(_all_or(steps, n_steps), bits)), x, x.dtype)
    return ops.mod(floor(ops.expand_dims(ops.clip(x, 0, 1 - 2.0**-bits), 1) * powers), 2)


def check_periods(n_steps, bits):
    """Raise ValueError unless ``n_steps`` steps are whole periods of ``bits`` steps."""
    if n_steps % bits:
        raise ValueError(
            f"`n_steps` has to be a multiple of `bits`, the steps of one period; got n_steps={n_steps} and bits={bits}."
        )


def receptive_fields(n_neurons, low, high, beta):
    """Return the centres ``(n_neurons,)`` and the width of the Gaussian fields that cover [low, high].

    Centre i = 1, ..., m lies at ``low + (2 i - 3) / 2 (high - low) / (m - 2)``; all have the width
    ``(high - low) / (beta (m - 2))``.
    """
    spacing = (high - low) / (n_neurons - 2)
    return low + (2 * np.arange(1, n_neurons + 1) - 3) / 2 * spacing, spacing / beta


def population(x, n_steps, n_neurons, low, high, beta, cutoff, *, steps=None):
    """Spike with each of ``n_neurons`` neurons a value, the sooner the nearer the value is to the neuron's centre.

    The activation ``g = exp(-(x - centre)^2 / (2 width^2))`` of a neuron becomes one spike at step
    ``round((T - 1) (1 - g))``, or none if g is below ``cutoff``.

    Args:
        x: Tensor ``(batch, ...)`` with values in [low, high].
        n_steps: Integer T.
        n_neurons: Integer m > 2.
        low: Number, the least value.
        high: Number, the largest value.
        beta: Number, how many widths of a field lie between two centres.
        cutoff: Number in [0, 1).
        steps: See the head of this file.

    Returns:
        Tensor ``(batch, time, ..., n_neurons)``.
    """
    centres, width = receptive_fields(n_neurons, low, high, beta)
    distance = (ops.expand_dims(x, -1) - ops.cast(centres, x.dtype)) / width
    activation = ops.exp(-ops.square(distance) / 2)
    times = ops.round((n_steps - 1) * (1 - activation))
    return _spikes_at(ops.where(activation < cutoff, n_steps, times), _all_or(steps, n_steps), x.dtype)


def rank_order(x, n_steps, *, steps=None):
    """Spike once, the units of a sample in the descending order of their values.

    The unit of rank r = 0, ..., N - 1 spikes at step ``floor(r T / N)``; of two equal values, the one of the lower
    index comes first.

    Args:
        x: Tensor ``(batch, ...)``, N units a sample.
        n_steps: Integer T.
        steps: See the head of this file.
    """
    n_units = math.prod(ops.shape(x)[1:])
    order = ops.argsort(-ops.reshape(x, (ops.shape(x)[0], n_units)), axis=1)
    ranks = ops.argsort(order, axis=1)
    times = ops.floor_divide(ranks * n_steps, max(n_units, 1))  # N T are the spikes of one sample: they fit an int32
    return _spikes_at(ops.reshape(times, ops.shape(x)), _all_or(steps, n_steps), x.dtype)


def interval(x, n_steps, shortest, longest, *, steps=None):
    """Spike regularly, with an interval that goes linearly from ``longest`` at x = 0 to ``shortest`` at x = 1.

    With the interval ``i = shortest + round((longest - shortest) (1 - x))`` the spikes are at the steps i - 1, 2 i - 1,
    3 i - 1, ...: the first one comes when one interval is over.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer, number of steps.
        shortest: Integer > 0, steps.
        longest: Integer, steps.
        steps: See the head of this file.
    """
    intervals = ops.cast(shortest + ops.round((longest - shortest) * (1 - x)), "int32")
    passed = along_time(_all_or(steps, n_steps), x, "int32") + 1
    return ops.cast(ops.equal(ops.mod(passed, ops.expand_dims(intervals, 1)), 0), x.dtype)


def delta(signal, threshold, *, mask=None):
    """Send on delta: a spike of +1 or -1 each time the signal has gone up or down by ``threshold``.

    With the reference ``r`` that starts at the first value of the signal::

        s_t = +1 if x_t - r >= threshold, -1 if x_t - r <= -threshold, else 0
        r  <- r + threshold s_t

    The reference is kept as a whole number of thresholds, so that it does not drift. A value that is not finite makes
    the spikes of its own unit NaN from that step on. There is no gradient.

    Args:
        signal: Tensor ``(batch, time, ...)``.
        threshold: Number > 0.
        mask: As in ``scan``. With a mask, the first value is the one at the first step that counts.
    """
    return continued_delta(signal, threshold, first_value(signal, mask), ops.zeros_like(signal[:, 0]), mask=mask)[0]


def continued_delta(signal, threshold, first, reference, *, mask=None):
    """Return the spikes of ``delta``, and the last reference, of a signal that has begun before.

    Args:
        signal: As in ``delta``.
        threshold: As in ``delta``.
        first: Tensor ``(batch, ...)``, the first value of the signal.
        reference: Tensor ``(batch, ...)``, the reference before these steps, in thresholds away from ``first``.
        mask: As in ``scan``.
    """
    # By the reciprocal, as XLA would do it, and before the loop: the same rounding on every backend.
    thresholds = ops.subtract(signal, ops.expand_dims(first, 1)) * (1 / threshold)
    return scan(_delta_step, reference, thresholds, gradient=False, mask=mask)


def first_value(signal, mask=None):
    """Return ``signal (batch, time, ...)`` at its first step, or at the first that counts: ``(batch, ...)``."""
    return signal[:, 0] if mask is None else masks.first_counted(signal, mask)[:, 0]


def _delta_step(params, reference, x):
    del params
    difference = x - reference
    up, down = difference >= 1, difference <= -1
    spikes = ops.cast(up, x.dtype) - ops.cast(down, x.dtype)
    spikes = ops.where(ops.isfinite(difference), spikes, float("nan"))
    return reference + spikes, spikes


def all_steps(n_steps):
    """Return the numbers of all steps of a code, int32 ``(1, n_steps)``."""
    return ops.expand_dims(ops.arange(n_steps, dtype="int32"), 0)


def _all_or(steps, n_steps):
    return all_steps(n_steps) if steps is None else steps


def _spikes_at(times, steps, dtype):
    """Return one spike a unit, at its step of ``times (batch, ...)``; none where that is not among ``steps``."""
    return ops.cast(ops.equal(ops.expand_dims(ops.cast(times, "int32"), 1), along_time(steps, times, "int32")), dtype)


def along_time(values, x, dtype):
    """Return ``values (batch, time)`` or ``(1, time)`` with an axis of length 1 for each unit axis of ``x``."""
    return ops.cast(masks.along(values, ops.expand_dims(x, 1)), dtype)
