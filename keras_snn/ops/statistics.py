"""Reduce the spikes of a batch to integer counts."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops import masks
from keras_snn.ops.backend import compiled

#: The last bin of the histogram counts steps with at least this many spikes of a unit.
MOST_SPIKES = 10

#: Bound of the sums in a batch. Below 2**31, because float32 rounds the product that is compared with it.
LIMIT = 2.147e9

#: The samples' spike counts are added in three parts: the lowest bits, the next ones, and the remaining ones.
_BITS = 11


def largest_over(x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
    """Return ``ops.max(x)`` over one or several axes; zeros for an empty tensor. Keras raises an error for it."""
    return (ops.sum if 0 in x.shape else ops.max)(x, axis=axis, keepdims=keepdims)


def tally(layers: dict[str, tuple], n_steps: int) -> dict[str, dict[str, Tensor]]:
    """Count the spikes of several layers for a batch in a part of the time axis. The counts of parts can be added.

    One compiled function counts all layers: calling it takes as long as counting the spikes of a small part.

    Args:
        layers: Dict from a name to the triple ``(spikes, dt, mask)``: a tensor ``(batch, time, ...)`` in Hz, a number
            or scalar tensor in seconds, and a Bool tensor ``(batch, time)``, True at the steps that count, or None.
        n_steps: Integer, the number of steps in all parts.

    Returns:
        Dict from each name to a dict of int32 tensors: "of_sample" ``(batch, units)``, the sum over time; "active"
        ``(units,)``, the number of (sample, step) pairs with a spike; "histogram" ``(12,)``, the number of (sample,
        step, unit) triples with < 0, 0, 1, ..., 9, >= 10 spikes, at steps that count; "infinite" ``()``, 1 if a value
        is not finite, else 0; "too_many" ``()``, 0 if all sums fit int32, else 1. They fit if both the maximum of the
        spikes in a step, multiplied by ``n_steps``, and the number of triples are below ``LIMIT``, for up to a million
        samples in the batch. With a mask also "counted" ``(batch,)``, the number of steps that count.
    """
    layers = {name: (spikes, _scalar(dt), mask) for name, (spikes, dt, mask) in layers.items()}
    return _tally(layers, _scalar(n_steps))


def _scalar(number):
    return ops.cast(ops.convert_to_tensor(number), "float32")


@compiled
def _tally(layers, n_steps):
    return {name: _tally_layer(spikes, dt, mask, n_steps) for name, (spikes, dt, mask) in layers.items()}


def _tally_layer(spikes, dt, mask, n_steps):
    units = math.prod(spikes.shape[2:])
    n_samples, length = ops.shape(spikes)[:2]
    spikes = ops.cast(ops.reshape(spikes, (n_samples, length, units)), "float32")
    # Rounded at each step, not after the sum: the error of 1 / dt in half precision would add up over many steps.
    counts = ops.round(spikes * dt)
    finite = ops.isfinite(counts)
    counts = ops.where(finite, counts, 0)  # integers cannot hold NaN, which "infinite" reports
    finite = ops.all(finite)
    most, least = (largest_over(sign * counts, axis=(0, 1, 2)) for sign in (1, -1))
    samples = ops.cast(n_samples, "float32")
    exact = (ops.maximum(most, least) * n_steps < LIMIT) & (samples * n_steps * units < LIMIT)
    exact = exact & (samples <= 2 ** (31 - _BITS))
    counts = ops.cast(counts, "int32")
    active = ops.sum(ops.cast(counts != 0, "int32"), axis=(0, 1))
    counted = None if mask is None else masks.n_counted(mask)
    total = units * (n_samples * length if mask is None else ops.sum(counted))
    results = {
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
    return results if mask is None else {**results, "counted": counted}


def _histogram(counts, mask):
    bins = ops.clip(counts, -1, MOST_SPIKES) + 1
    weights = ops.ones_like(bins) if mask is None else ops.cast(mask[:, :, None], "int32") * ops.ones_like(bins)
    return ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(bins, (-1,)), MOST_SPIKES + 2)


def _histogram_of_bits(active, total):
    """Return the histogram for spikes of 0 and 1 only, ten times as fast as ``_histogram``."""
    n_ones = ops.sum(active)
    n_zeros = ops.cast(total, "int32") - n_ones
    return ops.stack([ops.zeros_like(n_ones), n_zeros, n_ones, *[ops.zeros_like(n_ones)] * (MOST_SPIKES - 1)])


def summarise(counts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reduce the counts that ``tally`` returns for a layer over the batch.

    Returns:
        Dict of tensors with a leading axis of length one, to join batches and replicas: "spikes"
        ``(1, 3, units)``, the sum over batch and time in three parts, which ``join_counts`` joins on the host in int64;
        "least" and "most" ``(1, units)``, the minimum and maximum over the batch of the sum over time; with a mask, of
        the mean over the steps that count, in float32, over the samples with such a step; and "active", "histogram",
        "infinite" and "too_many" of ``tally``.
    """
    least = most = of_sample = counts["of_sample"]
    if "counted" in counts:
        n = ops.cast(counts["counted"], "float32")[:, None]
        rate = ops.cast(of_sample, "float32") / ops.maximum(n, 1)
        least, most = ops.where(n > 0, rate, math.inf), ops.where(n > 0, rate, -math.inf)
    row: dict[str, Any] = {
        "spikes": ops.stack([ops.sum(part, axis=0) for part in split_counts(of_sample)]),
        "least": ops.min(least, axis=0),
        "most": ops.max(most, axis=0),
        **{name: counts[name] for name in ("active", "histogram", "infinite", "too_many")},
    }
    return {name: ops.expand_dims(value, 0) for name, value in row.items()}


def split_counts(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split int32 ``counts`` into three parts, so that sums of a million of them fit int32; see ``join_counts``."""
    low = 2**_BITS - 1
    middle = ops.right_shift(counts, _BITS)
    return ops.bitwise_and(counts, low), ops.bitwise_and(middle, low), ops.right_shift(counts, 2 * _BITS)


def join_counts(sums: Tensor) -> np.ndarray:
    """Return the int64 sums of counts, given the sums of their parts from ``split_counts``.

    Args:
        sums: NumPy array ``(3, ...)``.
    """
    return np.tensordot(1 << _BITS * np.arange(3), np.asarray(sums, "int64"), 1)
