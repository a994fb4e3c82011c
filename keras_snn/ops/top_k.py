"""Masks with the largest values of each sample. Nothing here has a gradient."""

import math

from keras import ops

from keras_snn.hints import Tensor


def top_k_mask(values: Tensor, n_ones: int) -> tuple[Tensor, Tensor]:
    """Return a mask with ``n_ones`` ones for each sample, at the largest values, and the threshold of each sample.

    Of equal values at the border, the first ones get a 1. The threshold is midway between the smallest value with a 1
    and the largest one with a 0.

    Args:
        values: Tensor ``(batch, n)``.
        n_ones: Integer, from 1 to n.

    Returns:
        Tensors ``(batch, n)`` and ``(batch, 1)`` of the dtype of ``values``.
    """
    values = ops.stop_gradient(values)
    largest = ops.top_k(values, min(n_ones + 1, values.shape[1]))[0]
    smallest_one, largest_zero = largest[:, n_ones - 1 : n_ones], largest[:, -1:]
    above, equal = values > smallest_one, values == smallest_one
    n_free = n_ones - ops.sum(ops.cast(above, "int32"), axis=1, keepdims=True)
    is_early = ops.cumsum(ops.cast(equal, "int32"), axis=1) <= n_free
    mask = ops.cast(ops.logical_or(above, ops.logical_and(equal, is_early)), values.dtype)
    return mask, (smallest_one + largest_zero) / 2


def percentile(values: Tensor, share: float) -> Tensor:
    """Return the value below which a share of the values ``(batch, n)`` lies, interpolated linearly, ``(batch, 1)``."""
    values = ops.sort(ops.stop_gradient(values), axis=1)
    n = values.shape[1]
    below, part = percentile_place(n, share)
    low, high = (values[:, place : place + 1] for place in (below, min(below + 1, n - 1)))
    return low + part * (high - low)


def percentile_place(n: int, share: float) -> tuple[int, float]:
    """Return the place of a percentile among n sorted values: the index of the value below, and the part to the next.

    0.9 * 10 may be a little less than 9 in floats: places within 1e-9 of an index are that index.
    """
    place = share * (n - 1)
    below = math.floor(place + 1e-9)
    return below, max(0.0, place - below) if place - below > 1e-9 else 0.0
