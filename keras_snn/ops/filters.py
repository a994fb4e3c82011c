"""Linear synaptic filters, discretised by a zero-order hold."""

from keras import ops, tree

from keras_snn.ops.scan import check_length, scan

METHODS = ("sequential", "parallel")


def lowpass(x, level, tau, dt, *, method="sequential"):
    """First-order low-pass filter ``1 / (tau s + 1)``.

    ``y_t = a y_{t-1} + (1 - a) x_t`` with ``a = exp(-dt / max(tau, 1e-8))``.

    Args:
        x: Tensor ``(batch, time, ...)``.
        level: Tensor ``(batch, ...)``, the output before the first step.
        tau: Tensor that broadcasts against ``(batch, ...)``, time constant in seconds.
        dt: Number or scalar tensor, seconds.
        method: "sequential" walks time with ``scan``; "parallel" makes log2(T) passes over the whole sequence: the
            same values to rounding, fewer dependent steps, more work and memory. `benchmarks/` compares them: on a
            CPU the sequential one wins at every size, and it is the default everywhere.

    Returns:
        Pair of the outputs ``(batch, time, ...)`` and the last level ``(batch, ...)``.
    """
    r = _steps_per_tau(tau, dt)
    outputs, (level,) = _linear(((ops.exp(-r),),), (-ops.expm1(-r),), x, (level,), method)
    return outputs, level


def alpha(x, state, tau, dt, *, method="sequential"):
    """Second-order low-pass filter ``1 / (tau s + 1)^2``, whose impulse response is the alpha function.

    With ``r = dt / max(tau, 1e-8)`` and ``e = exp(-r)``::

        p_t = e (1 - r) p_{t-1} - e r / tau q_{t-1} + e r / tau x_t
        q_t = e dt p_{t-1}      + e (1 + r) q_{t-1} + (1 - e (1 + r)) x_t

    and the output is q, whose derivative is p.

    Args:
        x: Tensor ``(batch, time, ...)``.
        state: Pair (p, q) of tensors ``(batch, ...)``.
        tau: Tensor that broadcasts against ``(batch, ...)``, time constant in seconds.
        dt: Number or scalar tensor, seconds.
        method: As in ``lowpass``.

    Returns:
        Pair of the outputs ``(batch, time, ...)`` and the last state (p, q).
    """
    r = _steps_per_tau(tau, dt)
    e = ops.exp(-r)
    rate = r / dt  # 1 / tau, safe at tau = 0
    matrix = ((e * (1 - r), -e * r * rate), (e * dt, e * (1 + r)))
    # 1 - e (1 + r), without the cancellation that costs float32 three digits at r = 0.01
    vector = (e * r * rate, -ops.expm1(-r) - e * r)
    return _linear(matrix, vector, x, tuple(state), method)


def _steps_per_tau(tau, dt):
    return dt / ops.maximum(tau, 1e-8)


def _linear(matrix, vector, x, state, method):
    """Run ``s_t = matrix s_{t-1} + vector x_t``; return the last component of s over time, and the last s."""
    if method == "sequential":
        # In the shape of a batch, so that their gradients are summed over it once and not in every step.
        matrix, vector = tree.map_structure(lambda p: ops.broadcast_to(p, ops.shape(state[0])), (matrix, vector))
        return scan(_linear_step, state, x, (matrix, vector))
    if method == "parallel":
        return _linear_parallel(matrix, vector, x, state)
    raise ValueError(f"`method` has to be one of {METHODS}; got {method!r}.")


def _linear_step(params, state, x):
    matrix, vector = params
    state = tuple(_dot(row, state) + b * x for row, b in zip(matrix, vector, strict=True))
    return state, state[-1]


def _linear_parallel(matrix, vector, x, state):
    """Double the span of the sums until they reach over all steps: log2(T) passes over the whole sequence.

    ``keras.ops.associative_scan`` would not use that the matrix is the same in every step, and XLA does not compile it
    on TensorFlow.
    """
    x = ops.convert_to_tensor(x)
    n_steps = check_length([x], None)
    if n_steps is None:
        raise ValueError("method='parallel' needs a static number of time steps; use method='sequential'.")
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
    """Give a parameter of one step the rank of ``x``, to which it is the same at all times."""
    p = ops.reshape(p, (1,) * (len(x.shape) - 1 - len(p.shape)) + tuple(p.shape))
    return ops.expand_dims(p, 1)


def _dot(row, column):
    total = row[0] * column[0]
    for a, b in zip(row[1:], column[1:], strict=True):
        total = total + a * b
    return total
