"""The order of units in Keras and in NIR, whose arrays have the channel axis first.

An ``order`` is an integer array in the shape that a signal has in NIR, without batch and time. Each entry is the index
of this unit in the flattened signal of Keras.
"""

from typing import Any

import numpy as np


def import_nir() -> Any:
    """Return the module ``nir``.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError(f"NIR graphs need the package nir: pip install 'keras_snn[nir]' ({error})") from error
    return nir


def order_of(shape: tuple[int, ...], *, channels_last: bool = True) -> np.ndarray:
    """Return the order of the units of a Keras signal of this shape. The last of several axes is that of channels."""
    indices = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return np.moveaxis(indices, -1, 0) if channels_last and len(shape) > 1 else indices


def to_nir_order(values: np.ndarray, shape: tuple[int, ...], order: np.ndarray) -> np.ndarray:
    """Return values of the units of a Keras signal, broadcast to its ``shape``, in NIR's order."""
    return np.broadcast_to(values, shape).reshape(-1)[order]


def to_keras_order(values: np.ndarray, shape: tuple[int, ...], order: np.ndarray) -> np.ndarray:
    """Return values in NIR's order, or a single value, in the ``shape`` of Keras."""
    result = np.empty(order.size, values.dtype)
    result[order.reshape(-1)] = np.broadcast_to(
        values.reshape(-1) if values.size == 1 else values, order.shape
    ).reshape(-1)
    return result.reshape(shape)
