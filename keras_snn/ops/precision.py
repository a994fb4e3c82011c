"""The dtype of sums over time, a mean that preserves float64, and Python floats of scalars."""

import math

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import has_float64


def voltage_dtype(dtype: str) -> str:
    """Return the dtype of an accumulator for values of ``dtype``: float64 for float64, else float32.

    ``keras.backend.result_type`` is not used: it gives float32 for float64 on JAX and PyTorch.
    """
    return "float64" if dtype == "float64" and has_float64() else "float32"


def wide(x: Tensor) -> Tensor:
    """Cast ``x`` to float32, unless it is float64."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, voltage_dtype(keras.backend.standardize_dtype(x.dtype)))


def to_float(scalar: float | Tensor) -> float:
    """Return a number, a scalar tensor or a scalar variable as a Python float."""
    return float(ops.convert_to_numpy(ops.convert_to_tensor(scalar)))


def mean(x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
    """Return the mean over an axis or a tuple of axes, in the dtype of ``x``.

    ``keras.ops.mean`` returns float32 for float64 on JAX or PyTorch.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    shape = ops.shape(x)
    count = math.prod(shape[a] for a in axes)
    return ops.sum(x, axis=axis, keepdims=keepdims) / ops.cast(count, x.dtype)
