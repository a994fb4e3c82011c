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


def tally(layers, n_steps):
    """Count the spikes of several layers for a batch in a part of the time axis. The counts of all parts add up.

    All layers are counted in one compiled function: its start takes as long as the counts of a small part.

    Args:
        layers: Dict from a name to the triple ``(spikes, dt, mask)``: a tensor ``(batch, time, ...)`` in Hz, a number
            or scalar tensor in seconds, and a Bool tensor ``(batch, time)``, True at the steps that count, or None.
        n_steps: Integer, the number of steps of all parts.

    Returns:
        Dict from each name to a dict of int32 tensors: "of_sample" ``(batch, units)``, the sum over time; "active"
        ``(units,)``, the number of (sample, step) pairs with a spike; "histogram" ``(12,)``, how often a unit made < 0,
        0, 1, ..., 9, >= 10 spikes in a step that counts; "infinite" ``()``, 1 if a value is not finite; "too_many"
        ``()``, 1 unless int32 holds all sums. It does if the largest number of spikes in a step, multiplied by
        ``n_steps``, is less than ``LIMIT``, and so is the number of (sample, step, unit) triples, for up to a million
        samples in the batch. With a mask also "counted" ``(batch,)``, the number of steps that count.
    """
    layers = {name: (spikes, _scalar(dt), mask) for name, (spikes, dt, mask) in layers.items()}
    return _tally(layers, _scalar(n_steps))


def _scalar(number):
    return ops.cast(ops.convert_to_tensor(number), "float32")


@compiled
def _tally(layers, n_steps):
    return {name: _tally_one(*layer, n_steps) for name, layer in layers.items()}


def _tally_one(spikes, dt, mask, n_steps):
    units = math.prod(spikes.shape[2:])
    n_samples, length = ops.shape(spikes)[:2]
    spikes = ops.cast(ops.reshape(spikes, (n_samples, length, units)), "float32")
    # Step by step, not their sum: in half precision 1 / dt is off by a little, which adds up over many steps.
    counts = ops.round(spikes * dt)
    finite = ops.isfinite(counts)
    counts = ops.where(finite, counts, 0)  # integers cannot hold NaN: "infinite" reports it
    finite = ops.all(finite)
    most, least = (largest_over(sign * counts, axis=(0, 1, 2)) for sign in (1, -1))
    samples = ops.cast(n_samples, "float32")
    exact = (ops.maximum(most, least) * n_steps < LIMIT) & (samples * n_steps * units < LIMIT)
    exact = exact & (samples <= 2 ** (31 - _BITS))
    counts = ops.cast(counts, "int32")
    active = ops.sum(ops.cast(counts != 0, "int32"), axis=(0, 1))
    counted = None if mask is None else masks.n_counted(mask)
    total = units * (n_samples * length if mask is None else ops.sum(counted))
    found = {
        "of_sample": ops.sum(counts, axis=1),
        "active": active,
        "histogram": ops.cond(
            finite & (most <= 1) & (least <= 0),
            lambda: _histogram_of_bits(active, total),
            lambda: _histogram(counts, mask),
        ),
        "infinite": ops.cast(ops.logical_not(finite), "int32"),
        "too_many": ops.cast(ops.logical_not(exact), "int32"),
    }
    return found if mask is None else {**found, "counted": counted}


def _histogram(counts, mask):
    bins = ops.clip(counts, -1, MOST_SPIKES) + 1
    weights = ops.ones_like(bins) if mask is None else ops.cast(mask[:, :, None], "int32") * ops.ones_like(bins)
    return ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(bins, (-1,)), MOST_SPIKES + 2)


def _histogram_of_bits(active, total):
    """Return the histogram where no unit makes more than one spike in a step: ten times as fast."""
    one = ops.sum(active)
    zero = ops.cast(total, "int32") - one
    return ops.stack([ops.zeros_like(one), zero, one, *[ops.zeros_like(one)] * (MOST_SPIKES - 1)])


def summarise(found):
    """Reduce the counts of ``tally`` to what adds up over batches.

    Returns:
        Dict of tensors with a leading axis of length one, along which batches and replicas can be joined: "spikes"
        ``(1, 3, units)``, the sum over batch and time in three parts, which ``join_counts`` joins on the host in int64;
        "least" and "most" ``(1, units)``, the extremes over the batch of the sum over time, or with a mask, in float32,
        of the mean over the steps that count, over the samples that have such a step; and "active", "histogram",
        "infinite" and "too_many" of ``tally``.
    """
    least = most = of_sample = found["of_sample"]
    if "counted" in found:
        n = ops.cast(found["counted"], "float32")[:, None]
        rate = ops.cast(of_sample, "float32") / ops.maximum(n, 1)
        least, most = ops.where(n > 0, rate, math.inf), ops.where(n > 0, rate, -math.inf)
    row = {
        "spikes": ops.stack([ops.sum(part, axis=0) for part in split_counts(of_sample)]),
        "least": ops.min(least, axis=0),
        "most": ops.max(most, axis=0),
        **{name: found[name] for name in ("active", "histogram", "infinite", "too_many")},
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
