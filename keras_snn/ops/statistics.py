"""What spikes add up to, one batch at a time."""

import math

from keras import ops

#: A unit with this many spikes in a step, or more, is counted in the last bin of the histogram.
MOST_SPIKES = 10


def summarise(spikes, dt):
    """Reduce the spikes of a batch to integers, which add up over batches without loss.

    Args:
        spikes: Tensor ``(batch, time, ...)``, Hz.
        dt: Number or scalar tensor, seconds.

    Returns:
        Dict of tensors with a leading axis of length one, along which batches and replicas can be joined: "spikes",
        the sum over batch and time; "least" and "most", the extremes over the batch of the sum over time; "active",
        the number of (sample, step) pairs with a spike, each ``(1, units)``; "histogram" ``(1, 12)``, how often a unit
        made < 0, 0, 1, ..., 9, >= 10 spikes in a step; and "finite" ``(1,)``, 1 where every value is finite, else 0.
    """
    units = math.prod(spikes.shape[2:])
    spikes = ops.cast(ops.reshape(spikes, (*ops.shape(spikes)[:2], units)), "float32")
    # Step by step, not their sum: in half precision 1 / dt is off by a little, which adds up over many steps.
    counts = ops.round(spikes * ops.cast(dt, "float32"))
    of_sample = ops.sum(counts, axis=1)
    whole = ops.cast(of_sample, "int32")
    at_least = [_count(counts >= k) for k in range(MOST_SPIKES + 1)]
    edges = [_count(ops.logical_not(ops.isnan(counts))), *at_least]
    row = {
        "spikes": ops.sum(whole, axis=0),
        "least": ops.min(whole, axis=0),
        "most": ops.max(whole, axis=0),
        "active": ops.sum(ops.cast(counts != 0, "int32"), axis=(0, 1)),
        "histogram": ops.stack([*(a - b for a, b in zip(edges, at_least, strict=False)), at_least[-1]]),
        "finite": ops.cast(ops.all(ops.isfinite(of_sample)), "int32"),
    }
    return {name: ops.expand_dims(value, 0) for name, value in row.items()}


def _count(condition):
    return ops.sum(ops.cast(condition, "int32"))
