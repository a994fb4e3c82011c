"""Bounds of learned constants."""

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import with_pullback


def clip(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Return ``x`` clipped to [``low``, ``high``]; a bound of None is ignored."""
    x = ops.convert_to_tensor(x)
    # Not ops.maximum and ops.minimum: they convert float64 to float32 on PyTorch.
    if low is not None:
        x = ops.where(x < ops.cast(low, x.dtype), ops.cast(low, x.dtype), x)
    return x if high is None else ops.where(x > ops.cast(high, x.dtype), ops.cast(high, x.dtype), x)


def bounded(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Return ``x`` clipped to [``low``, ``high``], with a gradient that can move it back into the range.

    Inside the range the gradient passes. At or beyond a bound it passes only if descent moves x back into the range
    (negative at ``low``, positive at ``high``); otherwise it is zero. A constant at its bound can therefore leave it
    again, in any training loop.

    The gradient of each use of x is tested separately: in each call of a shared layer, and on each replica.

    Args:
        x: Tensor.
        low: Number, the lower bound, or None.
        high: Number, the upper bound, or None.
    """
    x = ops.convert_to_tensor(x)

    def pullback(upstream, x):
        if low is not None:
            upstream = _zero_where(x <= ops.cast(low, x.dtype), upstream > 0, upstream)
        if high is not None:
            upstream = _zero_where(x >= ops.cast(high, x.dtype), upstream < 0, upstream)
        return upstream

    return with_pullback(clip(x, low, high), x, pullback)


def _zero_where(at_bound, outward, upstream):
    return ops.where(ops.logical_and(at_bound, outward), ops.zeros_like(upstream), upstream)
