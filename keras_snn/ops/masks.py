"""Masks of time steps: which steps of a padded sequence count.

A mask is a bool tensor ``(batch, time)``, True at the steps that count. Padding may be before, after and between them.
"""

from keras import ops


def along(mask, x):
    """Return ``mask`` with further axes of length one, so that it broadcasts to ``x (batch, ...)``."""
    return ops.reshape(mask, (*ops.shape(mask), *[1] * (len(x.shape) - len(mask.shape))))


def only_counted(x, mask):
    """Return ``x (batch, time, ...)`` with zeros at the steps that do not count, even where they hold NaN."""
    return ops.where(along(mask, x), x, ops.zeros((), x.dtype))


def n_so_far(mask):
    """Return, for each step, how many steps up to and including it count: int32 ``(batch, time)``."""
    return ops.cumsum(ops.cast(mask, "int32"), axis=1)


def n_steps(x, mask=None):
    """Return how many steps of each sample of ``x (batch, time, ...)`` count: int32 ``(batch,)``."""
    return ops.full(ops.shape(x)[:1], ops.shape(x)[1], "int32") if mask is None else n_counted(mask)


def n_counted(mask):
    """Return how many steps of each sample count: int32 ``(batch,)``."""
    return ops.sum(ops.cast(mask, "int32"), axis=1)


def hold_last(x, mask, before):
    """Return ``x (batch, time, ...)`` in which steps that do not count repeat the value of the last one that does.

    Steps before the first one that counts have the value ``before (batch, ...)``.
    """
    n, length = n_so_far(mask), ops.shape(mask)[1]
    steps = ops.arange(length, dtype="int32")
    counted_first = ops.argsort(ops.where(mask, steps, steps + length), axis=1)
    last = ops.take_along_axis(counted_first, ops.maximum(n - 1, 0), axis=1)
    return ops.where(along(n > 0, x), ops.take_along_axis(x, along(last, x), axis=1), ops.expand_dims(before, 1))


def first_counted(x, mask):
    """Return ``x (batch, time, ...)`` at the first step that counts, ``(batch, 1, ...)``; at step 0 if none does."""
    first = ops.argmax(ops.cast(mask, "int32"), axis=1, keepdims=True)
    return ops.take_along_axis(x, along(first, x), axis=1)


def spread_over_counted(x, mask):
    """Return ``x (batch, time, ...)`` shifted such that the k-th step that counts has the k-th value."""
    return ops.take_along_axis(x, along(ops.maximum(n_so_far(mask) - 1, 0), x), axis=1)


def quotient(total, count):
    """Return ``total (batch, ...)`` divided by the number of steps ``count (batch,)``; 0 where that is 0."""
    return total / along(ops.maximum(ops.cast(count, total.dtype), 1), total)
