"""The dtype of sums over time, a mean that keeps float64, and scalars on the host."""

import math

import keras
from keras import ops

from keras_snn.ops.backend import has_float64


def voltage_dtype(dtype):
    """Return the dtype of an accumulator beside values of ``dtype``: float32, or float64 beside float64.

    Not by ``keras.backend.result_type``, which gives float32 for float64 on JAX and PyTorch.
    """
    return "float64" if dtype == "float64" and has_float64() else "float32"


def wide(x):
    """Return ``x`` as a tensor of float64 if it is one, else of float32."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, voltage_dtype(keras.backend.standardize_dtype(x.dtype)))


def to_float(scalar):
    """Return a number, a scalar tensor or a scalar variable as a Python float."""
    return float(ops.convert_to_numpy(ops.convert_to_tensor(scalar)))


def mean(x, axis, keepdims=False):
    """Return the mean over an axis or a tuple of axes, in the dtype of ``x``.

    ``keras.ops.mean`` gives float32 for float64 on JAX or PyTorch.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    shape = ops.shape(x)
    count = math.prod(shape[a] for a in axes)
    return ops.sum(x, axis=axis, keepdims=keepdims) / ops.cast(count, x.dtype)
