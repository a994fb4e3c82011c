"""The spike function and its surrogate gradient."""

from collections.abc import Callable

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import with_derivative


def heaviside(x: Tensor) -> Tensor:
    """Return 1 where ``x > 0``, else 0, of the dtype of ``x``."""
    return ops.cast(x > 0, x.dtype)


def fast_sigmoid_derivative(x: Tensor, slope: float) -> Tensor:
    """Return ``1 / (1 + slope |x|)^2``."""
    return 1 / ops.square(1 + slope * ops.abs(x))


def spike(x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """Return 1 where ``x > 0``, else 0, of the dtype of ``x``; its gradient is ``derivative(x)``.

    The primitive of ``derivative`` is never computed.

    Args:
        x: Tensor, the membrane above the threshold.
        derivative: Elementwise function of a tensor.
    """
    return with_derivative(heaviside(x), x, derivative)
