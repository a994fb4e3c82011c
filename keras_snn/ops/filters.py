"""Linear synaptic filters, discretised by a zero-order hold."""

from keras import ops

from keras_snn.ops.scan import scan

METHODS = ("sequential", "parallel")


def lowpass(x, level, tau, dt, *, method="sequential"):
    """First-order low-pass filter ``1 / (tau s + 1)``.

    ``y_t = a y_{t-1} + (1 - a) x_t`` with ``a = exp(-dt / max(tau, 1e-8))``.

    Args:
        x: Tensor ``(batch, time, ...)``.
        level: Tensor ``(batch, ...)``, the output before the first step.
        tau: Tensor that broadcasts against ``(batch, ...)``, time constant in seconds.
        dt: Number or scalar tensor, seconds.
        method: "sequential" walks time with ``scan``; "parallel" uses ``keras.ops.associative_scan``: the same values to
            rounding, fewer dependent steps, more work and memory. `benchmarks/` compares them: on a CPU the
            sequential one wins at every size, and it is the default everywhere.

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
        return scan(_linear_step, state, x, (matrix, vector))
    if method == "parallel":
        return _linear_parallel(matrix, vector, x, state)
    raise ValueError(f"`method` has to be one of {METHODS}; got {method!r}.")


def _linear_step(params, state, x):
    matrix, vector = params
    state = tuple(_dot(row, state) + b * x for row, b in zip(matrix, vector, strict=True))
    return state, state[-1]


def _linear_parallel(matrix, vector, x, state):
    # Steps compose: (M1, v1) then (M2, v2) is (M2 M1, M2 v1 + v2), and the first starts from the initial state.
    n_steps = x.shape[1]
    if n_steps is None:
        raise ValueError("method='parallel' needs a static number of time steps; use method='sequential'.")
    ones = ops.ones((1, n_steps) + (1,) * (len(x.shape) - 2), x.dtype)
    matrices = tuple(tuple(ops.expand_dims(m, 1) * ones for m in map(_with_batch(x), row)) for row in matrix)
    inputs = tuple(ops.expand_dims(b, 1) * x for b in map(_with_batch(x), vector))

    def compose(first, second):
        (m1, v1), (m2, v2) = first, second
        columns = tuple(zip(*m1, strict=True))
        product = tuple(tuple(_dot(row, column) for column in columns) for row in m2)
        return product, tuple(_dot(row, v1) + v for row, v in zip(m2, v2, strict=True))

    powers, sums = ops.associative_scan(compose, (matrices, inputs), axis=1)
    start = tuple(ops.expand_dims(s, 1) for s in state)
    states = tuple(_dot(row, start) + v for row, v in zip(powers, sums, strict=True))
    return states[-1], tuple(s[:, -1] for s in states)


def _with_batch(x):
    """Return a function that gives a parameter the rank of one step of ``x``."""
    return lambda p: ops.reshape(p, (1,) * (len(x.shape) - 1 - len(p.shape)) + tuple(p.shape))


def _dot(row, column):
    total = row[0] * column[0]
    for a, b in zip(row[1:], column[1:], strict=True):
        total = total + a * b
    return total
