"""A spike, and the gradient that stands in for its own."""

from keras import ops

from keras_snn.ops.backend import with_derivative


def heaviside(x):
    """Return 1 where ``x > 0``, else 0, of the dtype of ``x``."""
    return ops.cast(x > 0, x.dtype)


def spike(x, derivative):
    """Return 1 where ``x > 0``, else 0, of the dtype of ``x``; its gradient is ``derivative(x)``.

    The function whose derivative that is, is never computed.

    Args:
        x: Tensor, the membrane above the threshold.
        derivative: Function of a tensor, elementwise.
    """
    return with_derivative(heaviside(x), x, derivative)
