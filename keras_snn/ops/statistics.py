"""Reduce the spikes of a batch to integer counts."""

import math

import numpy as np
from keras import ops

from keras_snn.ops import masks
from keras_snn.ops.backend import compiled

#: A unit with this many spikes in a step, or more, is counted in the last bin of the histogram.
MOST_SPIKES = 10

#: Bound of the sums in a batch. Below 2**31, because float32 rounds the product that is compared with it.
LIMIT = 2.147e9

#: The samples' spike counts are added in three parts: the lowest bits, the next ones, and the remaining ones.
_BITS = 11


def largest_over(x, axis, keepdims=False):
    """Return ``ops.max(x)`` over one or several axes; zeros for an empty tensor, for which Keras raises an error."""
    return (ops.sum if 0 in x.shape else ops.max)(x, axis=axis, keepdims=keepdims)


def summarise(spikes, dt, mask=None):
    """Reduce the spikes of a batch to integers, which add up over batches without loss; with a mask, two are floats.

    Args:
        spikes: Tensor ``(batch, time, ...)``, Hz.
        dt: Number or scalar tensor, seconds.
        mask: Bool tensor ``(batch, time)``, True at the steps that count, or None. With a mask, "histogram" leaves out
            the other steps, and "least" and "most" are float32, in spikes per step, over the samples that have a step
            that counts.

    Returns:
        Dict of tensors with a leading axis of length one, along which batches and replicas can be joined: "spikes"
        ``(1, 3, units)``, the sum over batch and time in three parts, which ``join_counts`` joins on the host in int64;
        "least" and "most", the extremes over the batch of the sum over time; "active", the number of (sample, step)
        pairs with a spike, each ``(1, units)``; "histogram" ``(1, 12)``, how often a unit made < 0, 0, 1, ..., 9, >= 10
        spikes in a step; and ``(1,)`` each, 1 for yes and 0 for no: "finite", whether every value is finite, and
        "exact", whether int32 holds all of these. It does if the largest number of spikes in a step, multiplied by the
        number of steps, is less than ``LIMIT``, and so is the number of (sample, step, unit) triples, for up to a
        million samples in the batch.
    """
    return _summarise(spikes, ops.cast(ops.convert_to_tensor(dt), "float32"), mask)


@compiled
def _summarise(spikes, dt, mask):
    units = math.prod(spikes.shape[2:])
    spikes = ops.cast(ops.reshape(spikes, (*ops.shape(spikes)[:2], units)), "float32")
    # Step by step, not their sum: in half precision 1 / dt is off by a little, which adds up over many steps.
    counts = ops.round(spikes * dt)
    finite = ops.isfinite(counts)
    counts = ops.where(finite, counts, 0)  # integers cannot hold NaN: "finite" reports it
    bins = ops.cast(ops.clip(counts, -1, MOST_SPIKES), "int32") + 1
    weights = ops.ones_like(bins) if mask is None else ops.cast(mask[:, :, None], "int32") * ops.ones_like(bins)
    samples, steps, _ = (ops.cast(size, "float32") for size in ops.shape(counts))
    exact = largest_over(ops.abs(counts), axis=(0, 1, 2)) * steps < LIMIT
    exact = exact & (samples * steps * units < LIMIT) & (samples <= 2 ** (31 - _BITS))
    counts = ops.cast(counts, "int32")
    of_sample = ops.sum(counts, axis=1)
    least = most = of_sample
    if mask is not None:
        n = ops.cast(masks.n_counted(mask), "float32")[:, None]
        rate = ops.cast(of_sample, "float32") / ops.maximum(n, 1)
        least, most = ops.where(n > 0, rate, math.inf), ops.where(n > 0, rate, -math.inf)
    row = {
        "spikes": ops.stack([ops.sum(part, axis=0) for part in split_counts(of_sample)]),
        "least": ops.min(least, axis=0),
        "most": ops.max(most, axis=0),
        "active": ops.sum(ops.cast(counts != 0, "int32"), axis=(0, 1)),
        "histogram": ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(bins, (-1,)), MOST_SPIKES + 2),
        "finite": ops.cast(ops.all(finite), "int32"),
        "exact": ops.cast(exact, "int32"),
    }
    return {name: ops.expand_dims(value, 0) for name, value in row.items()}


def split_counts(counts):
    """Split int32 ``counts`` into three parts. The sums over a million of them fit int32; see ``join_counts``."""
    low = 2**_BITS - 1
    middle = ops.right_shift(counts, _BITS)
    return ops.bitwise_and(counts, low), ops.bitwise_and(middle, low), ops.right_shift(counts, 2 * _BITS)


def join_counts(sums):
    """Return the int64 counts of which ``split_counts`` gave the parts that were added.

    Args:
        sums: NumPy array ``(3, ...)``.
    """
    return np.tensordot(1 << _BITS * np.arange(3), np.asarray(sums, "int64"), 1)
