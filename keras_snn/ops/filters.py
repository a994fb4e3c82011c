"""Linear synaptic filters, discretized by a zero-order hold."""

from collections.abc import Sequence

import keras
from keras import ops, tree

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops.backend import straight_through
from keras_snn.ops.bounds import bounded, clip
from keras_snn.ops.scan import check_length, scan

METHODS = ("sequential", "parallel")


def lowpass(
    x: Tensor,
    level: Tensor,
    tau: Tensor,
    dt: float | Tensor,
    *,
    method: str = "sequential",
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply the first-order low-pass filter ``1 / (tau s + 1)``.

    ``y_t = a y_{t-1} + (1 - a) x_t`` with ``a = exp(-dt / tau)``.

    A tau below 1e-8 counts as 1e-8. Below dt / 16 (dt / 36 in float64), the gradient with respect to tau is that at
    dt / 16: the exact gradient underflows, and training could not increase tau again.

    Args:
        x: Tensor ``(batch, time, ...)``.
        level: Tensor ``(batch, ...)``, the output before the first step.
        tau: Tensor that broadcasts against ``(batch, ...)``, time constant in seconds.
        dt: Number or scalar tensor, seconds.
        method: "sequential" runs ``scan`` over time. "parallel" makes log2(T) passes over the whole sequence: the same
            values up to rounding, fewer dependent steps, more computation and memory. On a CPU "sequential" is faster
            at every size measured (below). GPUs and TPUs were not measured.
        mask: As in ``scan``. With a mask, the method is always "sequential".

    Returns:
        Pair of the outputs ``(batch, time, ...)`` and the last level ``(batch, ...)``.

    Time of both methods in milliseconds, forward and backward, with XLA on two x86 cores, from `benchmarks/`:

    ==================  =====================  ==========  ========
    filter              batch x time x units   sequential  parallel
    ==================  =====================  ==========  ========
    ``lowpass``         32 x 1000 x 128        20          178
    ``lowpass``         32 x 100 x 1024        11          146
    ``alpha``           32 x 1000 x 128        28          586
    ``alpha``           32 x 100 x 1024        23          498
    ==================  =====================  ==========  ========
    """
    gain = lowpass_gain(tau, dt)
    if _is_parallel(method) and mask is None:
        outputs, (level,) = _linear_parallel(((1 - gain,),), (gain,), x, (level,))
        return outputs, level
    return scan(lowpass_step, level, x, _broadcast_to_state(gain, level), mask=mask)


def lowpass_gain(tau: float | Tensor, dt: float | Tensor) -> Tensor:
    """Return the weight ``1 - exp(-dt / tau)`` of the input in one step of ``lowpass``."""
    return _coefficients(tau, dt, lambda r: -ops.expm1(-r))


def lowpass_step(gain: Tensor, level: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one step of ``lowpass``, for ``scan``; ``gain`` is that of ``lowpass_gain``."""
    level = (1 - gain) * level + gain * x
    return level, level


def cascade(x: Tensor, taus: Sequence[float], dt: float, *, mask: Tensor | None = None) -> Tensor:
    """Apply low-pass filters in a row, from level 0: the convolution with a smooth causal kernel of area 1.

    One time constant gives the exponential kernel ``exp(-t / tau) / tau``. Two give the double exponential kernel
    ``(exp(-t / tau_2) - exp(-t / tau_1)) / (tau_2 - tau_1)``, or for equal ones ``t / tau^2 exp(-t / tau)``.

    Args:
        x: Tensor ``(batch, time, ...)``.
        taus: Sequence of numbers > 0, in the unit of ``dt``.
        dt: Number > 0, the length of a step.
        mask: As in ``lowpass``.
    """
    x = ops.convert_to_tensor(x)
    for tau in taus:
        x, _ = lowpass(x, ops.zeros_like(x[:, 0]), ops.convert_to_tensor(tau, x.dtype), dt, mask=mask)
    return x


def alpha(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    tau: Tensor,
    dt: float | Tensor,
    *,
    method: str = "sequential",
    mask: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Apply the second-order low-pass filter ``1 / (tau s + 1)^2``, whose impulse response is the alpha function.

    With ``r = dt / tau`` and ``e = exp(-r)``, tau bounded as in ``lowpass``::

        p_t = e (1 - r) p_{t-1} - e r / tau q_{t-1} + e r / tau x_t
        q_t = e dt p_{t-1}      + e (1 + r) q_{t-1} + (1 - e (1 + r)) x_t

    The output is q. Its derivative is p.

    Args:
        x: Tensor ``(batch, time, ...)``.
        state: Pair (p, q) of tensors ``(batch, ...)``.
        tau: Tensor that broadcasts against ``(batch, ...)``, time constant in seconds.
        dt: Number or scalar tensor, seconds.
        method: As in ``lowpass``.
        mask: As in ``lowpass``.

    Returns:
        Pair of the outputs ``(batch, time, ...)`` and the last state (p, q).
    """
    b, c, d, steps = _coefficients(tau, dt, _alpha_coefficients)
    rate = steps / ops.convert_to_tensor(dt, steps.dtype)  # 1 / tau
    slope, level = (ops.convert_to_tensor(s) for s in state)
    slope = slope / rate  # tau p has the unit of q: the matrix then has only three coefficients
    if _is_parallel(method) and mask is None:
        outputs, (slope, level) = _linear_parallel(((1 - d, -b), (b, 1 - c)), (b, c), x, (slope, level))
    else:
        params = tuple(_broadcast_to_state(p, level) for p in (b, c, d))
        outputs, (slope, level) = scan(_alpha_step, (slope, level), x, params, mask=mask)
    return outputs, (slope * rate, level)


def _alpha_step(params, state, x):
    b, c, d = params
    slope, level = state
    slope, level = (1 - d) * slope + b * (x - level), b * slope + (1 - c) * level + c * x
    return (slope, level), level


def _alpha_coefficients(r):
    b, gain = ops.exp(-r) * r, -ops.expm1(-r)
    # 1 - e (1 + r) and 1 - e (1 - r), without the cancellation that costs float32 three digits at r = 0.01
    return b, gain - b, gain + b, r


def _coefficients(tau, dt, function):
    """Return ``function(dt / tau)`` with a gradient that does not underflow."""
    tau = ops.convert_to_tensor(tau)
    dt = ops.convert_to_tensor(dt, tau.dtype)
    # For r = dt / tau above this bound, expm1(-r) is -1, and some backends give no gradient.
    max_ratio = 36 if keras.backend.standardize_dtype(tau.dtype) == "float64" else 16
    values, with_gradient = function(dt / clip(tau, 1e-8, None)), function(1 / bounded(tau / dt, 1 / max_ratio, None))
    return tree.map_structure(straight_through, values, with_gradient)


def _is_parallel(method):
    return checks.choice("method", method, METHODS) == "parallel"


def _broadcast_to_state(p, state):
    """Broadcast a parameter to the shape of the state. Its gradient is then summed over the batch only once."""
    return ops.broadcast_to(p, ops.shape(state))


def _linear_parallel(matrix, vector, x, state):
    """Run ``s_t = matrix s_{t-1} + vector x_t``; return the last component of s over time, and the last s.

    The span of the sums doubles until it covers all steps: log2(T) passes over the whole sequence.

    ``keras.ops.associative_scan`` is not used: it does not exploit that the matrix is constant over time, and XLA does
    not compile it on TensorFlow.
    """
    x = ops.convert_to_tensor(x)
    n_steps = check_length([x], None)
    if n_steps is None:
        raise ValueError("`method` must be 'sequential' if the number of time steps is unknown; got 'parallel'.")
    power = [[_along(m, x) for m in row] for row in matrix]
    sums = [
        ops.concatenate([ops.expand_dims(s, 1), _along(b, x) * x], axis=1) for s, b in zip(state, vector, strict=True)
    ]
    span = 1
    while span <= n_steps:
        before = [ops.pad(s[:, :-span], ((0, 0), (span, 0), *(((0, 0),) * (len(x.shape) - 2)))) for s in sums]
        sums = [s + _dot(row, before) for s, row in zip(sums, power, strict=True)]
        power = [[_dot(row, column) for column in zip(*power, strict=True)] for row in power]
        span *= 2
    return sums[-1][:, 1:], tuple(s[:, -1] for s in sums)


def _along(p, x):
    """Add axes to a parameter of one step so that it broadcasts to ``x (batch, time, ...)``."""
    p = ops.reshape(p, (1,) * (len(x.shape) - 1 - len(p.shape)) + tuple(p.shape))
    return ops.expand_dims(p, 1)


def _dot(row, column):
    total = row[0] * column[0]
    for a, b in zip(row[1:], column[1:], strict=True):
        total = total + a * b
    return total
