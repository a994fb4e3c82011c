"""Codes: functions that encode values as spike trains. Spikes are 0 or 1 in the dtype of the input; axis 1 is time.

The argument ``steps`` of most functions selects the steps of the code whose spikes are returned: an integer tensor
``(batch, time)`` or ``(1, time)``. Default: all steps, 0 to ``n_steps - 1``.
"""

import math

import numpy as np
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops import masks
from keras_snn.ops.backend import floor, straight_through
from keras_snn.ops.scan import scan

LATENCY_CODES = ("linear", "log")


def poisson(x: Tensor, uniform: Tensor, scale: float) -> Tensor:
    """Spike at each step with probability ``scale x``, independently.

    The gradient of the spikes with respect to x is ``scale``, the gradient of their expectation.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        uniform: Tensor ``(batch, time, ...)``, numbers drawn from U[0, 1).
        scale: Number in (0, 1], the probability of a spike at x = 1.
    """
    probability = ops.broadcast_to(ops.expand_dims(scale * x, 1), ops.shape(uniform))
    return straight_through(ops.cast(uniform < probability, x.dtype), probability)


def latency(x: Tensor, n_steps: int, code: str, *, silent_zero: bool = False, steps: Tensor | None = None) -> Tensor:
    """Spike once. Larger values spike sooner: at step 0 for x = 1, at the last step T - 1 for x = 0.

    The step is ``round((T - 1) (1 - x))`` for the code "linear". For "log" it is ``round((T - 1) - ln(a x + 1))`` with
    ``a = exp(T - 1) - 1``, computed as ``-ln(x + (1 - x) exp(1 - T))``, which does not overflow.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer T.
        code: "linear" or "log".
        silent_zero: Boolean. True: no spike for x = 0.
        steps: See the docstring of the module.
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


def phase(x: Tensor, n_steps: int, bits: int, *, steps: Tensor | None = None) -> Tensor:
    """Spike where a bit of the value is 1. Each period of ``bits`` steps begins with the most significant bit.

    The spike at step t is bit ``k = t mod bits`` of ``min(x, 1 - 2^-bits) = 0.b_0 b_1 b_2 ...`` in base two. Its
    weight is ``2^-(1 + k)``.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer, a multiple of ``bits``.
        bits: Integer in [1, 24].
        steps: See the docstring of the module.
    """
    check_periods(n_steps, bits)
    # From a table: backends round computed powers differently.
    table = ops.convert_to_tensor(2.0 ** np.arange(1, bits + 1), x.dtype)
    powers = along_time(ops.take(table, ops.mod(_all_or(steps, n_steps), bits)), x, x.dtype)
    return ops.mod(floor(ops.expand_dims(ops.clip(x, 0, 1 - 2.0**-bits), 1) * powers), 2)


def check_periods(n_steps: int, bits: int) -> None:
    """Raise ValueError unless ``n_steps`` is a multiple of the period ``bits``."""
    if n_steps % bits:
        raise ValueError(
            f"`n_steps` must be a multiple of `bits`, the steps of one period; got n_steps={n_steps} and bits={bits}."
        )


def receptive_fields(n_neurons: int, low: float, high: float, beta: float) -> tuple[np.ndarray, float]:
    """Return the centers ``(n_neurons,)`` and the width of the Gaussian fields that cover [low, high].

    Center i = 1, ..., m is at ``low + (2 i - 3) / 2 (high - low) / (m - 2)``; all have the width
    ``(high - low) / (beta (m - 2))``.
    """
    spacing = (high - low) / (n_neurons - 2)
    return low + (2 * np.arange(1, n_neurons + 1) - 3) / 2 * spacing, spacing / beta


def population(
    x: Tensor,
    n_steps: int,
    n_neurons: int,
    low: float,
    high: float,
    beta: float,
    cutoff: float,
    *,
    steps: Tensor | None = None,
) -> Tensor:
    """Encode each value by ``n_neurons`` neurons. A neuron spikes sooner, the closer the value is to its center.

    The activation ``g = exp(-(x - center)^2 / (2 width^2))`` of a neuron becomes one spike at step
    ``round((T - 1) (1 - g))``, or none if g is below ``cutoff``.

    Args:
        x: Tensor ``(batch, ...)`` with values in [low, high].
        n_steps: Integer T.
        n_neurons: Integer m > 2.
        low: Number, the minimum of the values.
        high: Number, the maximum of the values.
        beta: Number, the distance of two centers in widths of a field.
        cutoff: Number in [0, 1), the smallest activation that gives a spike.
        steps: See the docstring of the module.

    Returns:
        Tensor ``(batch, time, ..., n_neurons)``.
    """
    centers, width = receptive_fields(n_neurons, low, high, beta)
    distance = (ops.expand_dims(x, -1) - ops.cast(centers, x.dtype)) / width
    activation = ops.exp(-ops.square(distance) / 2)
    times = ops.round((n_steps - 1) * (1 - activation))
    return _spikes_at(ops.where(activation < cutoff, n_steps, times), _all_or(steps, n_steps), x.dtype)


def rank_order(x: Tensor, n_steps: int, *, steps: Tensor | None = None) -> Tensor:
    """Spike once. The units of a sample spike in descending order of their values.

    The unit of rank r = 0, ..., N - 1 spikes at step ``floor(r T / N)``; for equal values, the unit with the
    lower index is first.

    Args:
        x: Tensor ``(batch, ...)``, N units per sample.
        n_steps: Integer T.
        steps: See the docstring of the module.
    """
    n_units = math.prod(ops.shape(x)[1:])
    order = ops.argsort(-ops.reshape(x, (ops.shape(x)[0], n_units)), axis=1)
    ranks = ops.argsort(order, axis=1)
    times = ops.floor_divide(ranks * n_steps, max(n_units, 1))  # one sample has N T spikes: the product fits int32
    return _spikes_at(ops.reshape(times, ops.shape(x)), _all_or(steps, n_steps), x.dtype)


def interval(x: Tensor, n_steps: int, shortest: int, longest: int, *, steps: Tensor | None = None) -> Tensor:
    """Spike regularly, with an interval that changes linearly from ``longest`` at x = 0 to ``shortest`` at x = 1.

    With the interval ``i = shortest + round((longest - shortest) (1 - x))`` the spikes are at the steps i - 1, 2 i - 1,
    3 i - 1, ...: the first spike comes after one interval.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer, number of steps.
        shortest: Integer > 0, steps.
        longest: Integer, steps.
        steps: See the docstring of the module.
    """
    intervals = ops.cast(shortest + ops.round((longest - shortest) * (1 - x)), "int32")
    passed = along_time(_all_or(steps, n_steps), x, "int32") + 1
    return ops.cast(ops.equal(ops.mod(passed, ops.expand_dims(intervals, 1)), 0), x.dtype)


def resonance(x: Tensor, n_steps: int, period: int, max_spikes: int, *, steps: Tensor | None = None) -> Tensor:
    """Spike in a burst, one spike per period. Larger values give longer bursts.

    With ``q = round((max_spikes - 1) x)``, the burst has q + 1 spikes, at the steps 0, period, 2 period, ...; for
    q = 0 there is no spike. A single spike does not bring a receiver into resonance, so no value is encoded as one.

    Args:
        x: Tensor ``(batch, ...)`` with values in [0, 1].
        n_steps: Integer, at least ``(max_spikes - 1) period + 1``.
        period: Integer > 0, steps.
        max_spikes: Integer > 1, the number of spikes for x = 1.
        steps: See the docstring of the module.
    """
    if n_steps < (max_spikes - 1) * period + 1:
        raise ValueError(
            f"`n_steps` must be at least (max_spikes - 1) * period + 1 = {(max_spikes - 1) * period + 1}, the steps of "
            f"the longest burst; got {n_steps}."
        )
    q = ops.cast(ops.round((max_spikes - 1) * x), "int32")
    count = ops.expand_dims(ops.where(q == 0, 0, q + 1), 1)
    step = along_time(_all_or(steps, n_steps), x, "int32")
    return ops.cast(ops.logical_and(ops.mod(step, period) == 0, step < count * period), x.dtype)


def delta(signal: Tensor, threshold: float, *, mask: Tensor | None = None) -> Tensor:
    """Send on delta: a spike of +1 or -1 each time the signal has risen or fallen by ``threshold``.

    The reference ``r`` starts at the first value of the signal::

        s_t = +1 if x_t - r >= threshold, -1 if x_t - r <= -threshold, else 0
        r  <- r + threshold s_t

    The reference is kept as a whole number of thresholds, so that it does not drift. After a value that
    is not finite, the spikes of this unit are NaN. There is no gradient.

    Args:
        signal: Tensor ``(batch, time, ...)``.
        threshold: Number > 0.
        mask: As in ``scan``. With a mask, the first value is the one at the first step that counts.
    """
    return continued_delta(signal, threshold, first_value(signal, mask), ops.zeros_like(signal[:, 0]), mask=mask)[0]


def continued_delta(
    signal: Tensor, threshold: float, first: Tensor, reference: Tensor, *, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the spikes of ``delta`` and the last reference for the next part of a signal.

    Args:
        signal: As in ``delta``.
        threshold: As in ``delta``.
        first: Tensor ``(batch, ...)``, the first value of the signal.
        reference: Tensor ``(batch, ...)``, the reference before these steps: its distance from ``first`` in thresholds.
        mask: As in ``scan``.
    """
    # Multiplied by the reciprocal, as XLA compiles a division, and before the loop: all backends then round equally.
    thresholds = ops.subtract(signal, ops.expand_dims(first, 1)) * (1 / threshold)
    return scan(_delta_step, reference, thresholds, gradient=False, mask=mask)


def first_value(signal: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return ``signal (batch, time, ...)`` at its first step, or at the first step that counts: ``(batch, ...)``."""
    return signal[:, 0] if mask is None else masks.first_counted(signal, mask)[:, 0]


def _delta_step(params, reference, x):
    del params
    difference = x - reference
    up, down = difference >= 1, difference <= -1
    spikes = ops.cast(up, x.dtype) - ops.cast(down, x.dtype)
    spikes = ops.where(ops.isfinite(difference), spikes, float("nan"))
    return reference + spikes, spikes


def all_steps(n_steps: int | Tensor) -> Tensor:
    """Return the numbers of all steps of a code, int32 ``(1, n_steps)``."""
    return ops.expand_dims(ops.arange(n_steps, dtype="int32"), 0)


def _all_or(steps, n_steps):
    return all_steps(n_steps) if steps is None else steps


def _spikes_at(times, steps, dtype):
    """Return one spike per unit, at the step ``times (batch, ...)`` if ``steps`` contains it."""
    return ops.cast(ops.equal(ops.expand_dims(ops.cast(times, "int32"), 1), along_time(steps, times, "int32")), dtype)


def along_time(values: Tensor, x: Tensor, dtype: str) -> Tensor:
    """Return ``values (batch, time)`` or ``(1, time)`` with an axis of length 1 for each unit axis of ``x``."""
    return ops.cast(masks.along(values, ops.expand_dims(x, 1)), dtype)
