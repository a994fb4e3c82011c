"""The dtypes that sums over time need, and a mean that keeps float64."""

import math

from keras import ops

from keras_snn.ops.backend import has_float64


def voltage_dtype(dtype):
    """Return the dtype of an accumulator beside values of ``dtype``: float32, or float64 beside float64.

    ``keras.backend.result_type`` makes float32 of float64 on JAX and PyTorch.
    """
    return "float64" if dtype == "float64" and has_float64() else "float32"


def mean(x, axis, keepdims=False):
    """Return the mean over an axis or a tuple of axes, in the dtype of ``x``; ``keras.ops.mean`` has no float64."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    shape = ops.shape(x)
    count = math.prod(shape[a] for a in axes)
    return ops.sum(x, axis=axis, keepdims=keepdims) / ops.cast(count, x.dtype)
