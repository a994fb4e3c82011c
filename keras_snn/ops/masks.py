"""Masks of time steps: which steps of a padded sequence count.

A mask is a bool tensor ``(batch, time)``, True at the steps that count. Padding may be before, between and after them.
"""

from typing import Any

import keras
from keras import ops

from keras_snn.hints import Tensor


class _MaskOf(keras.layers.Layer):
    """Return the mask of a tensor. Keras passes it to layers only, and has no public function for it."""

    def __init__(self) -> None:
        super().__init__(autocast=False, name="mask_of")
        self.supports_masking = True

    def __call__(self, tensor: Any) -> Any:
        return next(iter(super().__call__(tensor)), None)

    def call(self, inputs, mask=None):
        return () if mask is None else (mask,)

    def compute_mask(self, inputs, previous_mask):
        return None


#: Return the mask that Keras has attached to a tensor, or None.
mask_of = _MaskOf()


def along(mask: Tensor, x: Tensor) -> Tensor:
    """Return ``mask`` with further axes of length one, so that it broadcasts to ``x (batch, ...)``."""
    return ops.reshape(mask, (*ops.shape(mask), *[1] * (len(x.shape) - len(mask.shape))))


def only_counted(x: Tensor, mask: Tensor) -> Tensor:
    """Return ``x (batch, time, ...)`` with zeros at the steps that do not count, even in place of NaN."""
    return ops.where(along(mask, x), x, ops.zeros((), x.dtype))


def n_so_far(mask: Tensor) -> Tensor:
    """Return the number of steps that count up to and including each step: int32 ``(batch, time)``."""
    return ops.cumsum(ops.cast(mask, "int32"), axis=1)


def n_steps(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the number of steps that count in each sample of ``x (batch, time, ...)``: int32 ``(batch,)``."""
    return ops.full(ops.shape(x)[:1], ops.shape(x)[1], "int32") if mask is None else n_counted(mask)


def n_counted(mask: Tensor) -> Tensor:
    """Return the number of steps that count in each sample: int32 ``(batch,)``."""
    return ops.sum(ops.cast(mask, "int32"), axis=1)


def hold_last(x: Tensor, mask: Tensor, before: Tensor) -> Tensor:
    """Return ``x (batch, time, ...)`` with the value of the last step that counts at steps that do not count.

    Steps before the first step that counts have the value ``before (batch, ...)``.
    """
    n = n_so_far(mask)
    last = ops.take_along_axis(_order(mask), ops.maximum(n - 1, 0), axis=1)
    return ops.where(along(n > 0, x), ops.take_along_axis(x, along(last, x), axis=1), ops.expand_dims(before, 1))


def counted_first(x: Tensor, mask: Tensor) -> Tensor:
    """Return ``x (batch, time, ...)`` with the steps that count before all others, in their order."""
    return ops.take_along_axis(x, along(_order(mask), x), axis=1)


def _order(mask):
    """Return the steps that count, then the others: int32 ``(batch, time)``."""
    steps, length = ops.arange(ops.shape(mask)[1], dtype="int32"), ops.shape(mask)[1]
    return ops.argsort(ops.where(mask, steps, steps + length), axis=1)


def first_counted(x: Tensor, mask: Tensor) -> Tensor:
    """Return ``x (batch, time, ...)`` at the first step that counts, ``(batch, 1, ...)``; at step 0 if none counts."""
    first = ops.argmax(ops.cast(mask, "int32"), axis=1, keepdims=True)
    return ops.take_along_axis(x, along(first, x), axis=1)


def spread_over_counted(x: Tensor, mask: Tensor) -> Tensor:
    """Return ``x (batch, time, ...)`` reordered so that the k-th step that counts has the k-th value."""
    return ops.take_along_axis(x, along(ops.maximum(n_so_far(mask) - 1, 0), x), axis=1)


def quotient(total: Tensor, count: Tensor) -> Tensor:
    """Return ``total (batch, ...)`` divided by the number of steps ``count (batch,)``; 0 for a count of 0."""
    return total / along(ops.maximum(ops.cast(count, total.dtype), 1), total)
