"""Delays of signals by time steps, whole or fractions."""

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops import masks
from keras_snn.ops.backend import floor


def delayed(x: Tensor, before: Tensor, delay: Tensor, *, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Delay ``x`` by ``delay`` steps, with linear interpolation between steps.

    ``y_t = (1 - f) x_{t-n} + f x_{t-n-1}`` with ``n = floor(delay)`` and ``f = delay - n``. The derivative by the delay
    is ``x_{t-n-1} - x_{t-n}``.

    Args:
        x: Tensor ``(batch, time, ...)``.
        before: Tensor ``(batch, max_delay, ...)``, the inputs before the first step, the last one at the end.
        delay: Tensor that broadcasts against one step ``(...)``, with values from 0 to ``max_delay``.
        mask: Bool tensor ``(batch, time)``, or None. Only the steps that count are delayed and counted as a delay. The
            output at other steps is undefined.

    Returns:
        Pair of the outputs ``(batch, time, ...)`` and the last ``max_delay`` inputs.
    """
    max_delay, n_steps = before.shape[1], ops.shape(x)[1]
    if mask is not None:
        x = masks.counted_first(x, mask)
    x = ops.concatenate([before, x], axis=1)
    # At the maximum the whole weight is on the earlier of the two inputs, which is the first one kept.
    whole = ops.minimum(ops.cast(floor(ops.stop_gradient(delay)), "int32"), max_delay - 1)
    fraction = delay - ops.cast(whole, delay.dtype)
    later, earlier = (_shifted(x, n_steps, max_delay - steps) for steps in (whole, whole + 1))
    y = later + fraction * (earlier - later)
    if mask is None:
        return y, x[:, n_steps:]
    last = ops.expand_dims(masks.n_counted(mask), 1) + ops.arange(max_delay, dtype="int32")
    return masks.spread_over_counted(y, mask), ops.take_along_axis(x, masks.along(last, x), axis=1)


def delayed_by_steps(x: Tensor, delays: Tensor, max_delay: int) -> Tensor:
    """Return ``x (batch, time, ...)``, each input delayed by its number of steps; zeros before the first one.

    Args:
        x: Tensor ``(batch, time, ...)``.
        delays: int32 tensor that broadcasts to one step ``(...)``, from 0 to ``max_delay``.
        max_delay: Integer.
    """
    batch_size, n_steps, *units = ops.shape(x)
    before = ops.zeros((batch_size, max_delay, *units), x.dtype)
    return _shifted(ops.concatenate([before, x], axis=1), n_steps, max_delay - delays)


def _shifted(x, n_steps, offset):
    """Return ``n_steps`` steps of x, from the step ``offset`` on. The offset broadcasts against one step."""
    batch_size, _, *units = ops.shape(x)
    steps = ops.reshape(ops.arange(n_steps, dtype="int32"), (1, n_steps, *[1] * len(units)))
    return ops.take_along_axis(x, ops.broadcast_to(steps + offset, (batch_size, n_steps, *units)), axis=1)
