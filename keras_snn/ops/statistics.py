"""What spikes add up to, one batch at a time."""

import math

from keras import ops

from keras_snn.ops.backend import compiled

#: A unit with this many spikes in a step, or more, is counted in the last bin of the histogram.
MOST_SPIKES = 10


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
        Dict of tensors with a leading axis of length one, along which batches and replicas can be joined: "spikes",
        the sum over batch and time; "least" and "most", the extremes over the batch of the sum over time; "active",
        the number of (sample, step) pairs with a spike, each ``(1, units)``; "histogram" ``(1, 12)``, how often a unit
        made < 0, 0, 1, ..., 9, >= 10 spikes in a step; and "finite" ``(1,)``, 1 where every value is finite, else 0.
    """
    return _summarise(spikes, ops.cast(ops.convert_to_tensor(dt), "float32"), mask)


@compiled
def _summarise(spikes, dt, mask):
    units = math.prod(spikes.shape[2:])
    spikes = ops.cast(ops.reshape(spikes, (*ops.shape(spikes)[:2], units)), "float32")
    # Step by step, not their sum: in half precision 1 / dt is off by a little, which adds up over many steps.
    counts = ops.round(spikes * dt)
    finite = ops.isfinite(counts)
    # What is not finite has no integer, and the caller is told of it.
    bins = ops.cast(ops.clip(ops.where(finite, counts, 0), -1, MOST_SPIKES), "int32") + 1
    weights = ops.ones_like(bins) if mask is None else ops.cast(mask[:, :, None], "int32") * ops.ones_like(bins)
    counts = ops.cast(counts, "int32")
    of_sample = ops.sum(counts, axis=1)
    least = most = of_sample
    if mask is not None:
        n = ops.sum(ops.cast(mask, "float32"), axis=1)[:, None]
        rate = ops.cast(of_sample, "float32") / ops.maximum(n, 1)
        least, most = ops.where(n > 0, rate, math.inf), ops.where(n > 0, rate, -math.inf)
    row = {
        "spikes": ops.sum(of_sample, axis=0),
        "least": ops.min(least, axis=0),
        "most": ops.max(most, axis=0),
        "active": ops.sum(ops.cast(counts != 0, "int32"), axis=(0, 1)),
        "histogram": ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(bins, (-1,)), MOST_SPIKES + 2),
        "finite": ops.cast(ops.all(finite), "int32"),
    }
    return {name: ops.expand_dims(value, 0) for name, value in row.items()}
