"""Statistics of a batch of spikes, against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.ops.statistics import MOST_SPIKES, join_counts, summarise, tally

RNG = np.random.default_rng(0)


def summary(spikes, dt, mask=None, sizes=None):
    """Return the summary of a batch as arrays, with the joined sum of the spikes.

    ``sizes``: steps of the consecutive parts that are counted. Default: all steps at once.
    """
    n_steps, sums, start = spikes.shape[1], None, 0
    for size in sizes or (n_steps,):
        part = slice(start, start + size)
        layer = spikes[:, part], dt, None if mask is None else mask[:, part]
        counts = tally({"layer": layer}, n_steps)["layer"]
        assert {keras.backend.standardize_dtype(value.dtype) for value in counts.values()} == {"int32"}
        sums = counts if sums is None else {name: ops.add(sums[name], value) for name, value in counts.items()}
        start += size
    row = {name: ops.convert_to_numpy(value) for name, value in summarise(sums).items()}
    return {**row, "spikes": join_counts(row["spikes"][0])[None]}


def expected(counts):
    """Return the summary of the spike counts (batch, time, units)."""
    counts = counts.reshape(*counts.shape[:2], -1)
    of_sample = counts.sum(axis=1)
    bins = [(counts < 0).sum(), *((counts == k).sum() for k in range(MOST_SPIKES)), (counts >= MOST_SPIKES).sum()]
    return {
        "spikes": of_sample.sum(axis=0)[None],
        "least": of_sample.min(axis=0)[None],
        "most": of_sample.max(axis=0)[None],
        "active": (counts != 0).sum(axis=(0, 1))[None],
        "histogram": np.array([bins]),
        "infinite": np.array([0]),
        "too_many": np.array([0]),
    }


def assert_equal(row, expected_row):
    assert row.keys() == expected_row.keys()
    for name, value in expected_row.items():
        np.testing.assert_array_equal(row[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("shape", "dt"),
    [((5, 7, 3), 0.001), ((5, 7, 3), 0.003), ((5, 7, 3), 10.0), ((1, 1, 1), 0.01), ((2, 3, 2, 2, 3), 0.125)],
)
def test_integers_of_a_batch(shape, dt):
    counts = RNG.integers(-3, 15, size=shape)
    spikes = (counts / np.float32(dt)).astype("float32")
    for sizes in (None, (1, shape[1] - 1))[: min(2, shape[1])]:  # a single step has no parts
        row = summary(ops.convert_to_tensor(spikes), dt, sizes=sizes)
        assert_equal(row, expected(counts))
        assert all("int" in value.dtype.name for value in row.values())


def test_masked_steps_do_not_count():
    counts, mask = RNG.integers(0, 12, size=(4, 7, 3)), RNG.random((4, 7)) < 0.6
    mask[1], mask[2, :3] = False, False  # all steps of sample 1, and the first part of sample 2
    counts[~mask] = 0  # layers give no spikes there
    spikes = ops.convert_to_tensor(counts.astype("float32"))
    rates = counts.sum(axis=1)[mask.any(axis=1)] / mask.sum(axis=1, keepdims=True)[mask.any(axis=1)]
    bins = [0, *((counts[mask] == k).sum() for k in range(MOST_SPIKES)), (counts >= MOST_SPIKES).sum()]
    expected_row = {**expected(counts), "histogram": np.array([bins])}
    for sizes in (None, (2, 1, 4)):
        row = summary(spikes, 1.0, mask, sizes=sizes)
        # rtol: XLA multiplies by the reciprocal, in float32
        np.testing.assert_allclose(row["least"], rates.min(axis=0)[None], rtol=1e-6)
        np.testing.assert_allclose(row["most"], rates.max(axis=0)[None], rtol=1e-6)
        assert_equal(row, {**expected_row, "least": row["least"], "most": row["most"]})


def test_the_bins_of_the_histogram():
    counts = np.array([-2, -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11, 500]).reshape(1, -1, 1)
    row = summary(ops.convert_to_tensor(counts.astype("float32")), 1.0)
    assert row["histogram"][0].tolist() == [2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3]


def test_dt_as_a_variable():
    counts = RNG.integers(0, 3, size=(2, 5, 3))
    dt = keras.Variable(0.01, dtype="float32", trainable=False)
    row = summary(ops.convert_to_tensor((counts / np.float32(0.01)).astype("float32")), dt)
    assert_equal(row, expected(counts))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_loses_no_spike(dtype):
    # 1 / 0.003 is 333.25 in float16 and 334 in bfloat16. Over 2000 steps, the error is 0.5 and 4 spikes.
    counts = np.ones((1, 2000, 2), "float32")
    counts[:, ::2, 1] = 0
    spikes = ops.cast(ops.convert_to_tensor(counts / 0.003), dtype)
    row = summary(spikes, 0.003)
    assert row["spikes"].tolist() == [[2000, 1000]]
    assert row["histogram"][0, :3].tolist() == [0, 1000, 3000]


def test_many_spikes_are_counted_exactly():
    # 20,000 steps of 800 spikes: 16,000,000 per unit, just below 2^24, above which float32 skips integers.
    spikes = np.full((2, 20_000, 1), 800 / np.float32(0.001), "float32")
    row = summary(ops.convert_to_tensor(spikes), 0.001)
    assert row["most"].tolist() == [[16_000_000]]
    assert row["spikes"].tolist() == [[32_000_000]]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sum_over_a_batch_may_exceed_int32(sign):
    # 128 samples of 10,000 spikes in each of 2,000 steps: 2,560,000,000.
    counts = np.full((128, 2000, 1), sign * 10_000)
    row = summary(ops.convert_to_tensor(counts.astype("float32")), 1.0)
    assert_equal(row, expected(counts))


@pytest.mark.parametrize(("spikes", "too_many"), [(107_000, 0), (107_500, 1), (-107_500, 1), (1e12, 1)])
def test_more_spikes_than_int32_holds_are_reported(spikes, too_many):
    counts = np.zeros((2, 20_000, 2), "float32")
    counts[1, 0, 1] = spikes  # 2**31 / 20,000 is 107,374
    for sizes in (None, (10_000, 10_000)):  # the number of all steps counts, not that of a part
        assert summary(ops.convert_to_tensor(counts), 1.0, sizes=sizes)["too_many"].tolist() == [too_many]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_reported(value):
    spikes = np.ones((3, 4, 2), "float32")
    assert summary(ops.convert_to_tensor(spikes), 1.0)["infinite"].tolist() == [0]
    spikes[1, 2, 1] = value
    row = summary(ops.convert_to_tensor(spikes), 1.0)
    assert row["infinite"].tolist() == [1]
    assert row["spikes"][0, 0] == 12  # the other unit is still counted


def test_infinities_of_both_signs_do_not_cancel():
    spikes = np.array([np.inf, -np.inf], "float32").reshape(1, 2, 1)
    assert summary(ops.convert_to_tensor(spikes), 1.0)["infinite"].tolist() == [1]


def test_batches_add_up_to_the_whole():
    counts = RNG.integers(-1, 12, size=(9, 5, 4))
    whole = summary(ops.convert_to_tensor(counts.astype("float32")), 1.0)
    parts = [summary(ops.convert_to_tensor(part.astype("float32")), 1.0) for part in np.split(counts, [4])]
    reductions = {"least": np.min, "most": np.max}
    for name, value in whole.items():
        joined = reductions.get(name, np.sum)(np.concatenate([part[name] for part in parts]), axis=0, keepdims=True)
        np.testing.assert_array_equal(joined, value, err_msg=name)
