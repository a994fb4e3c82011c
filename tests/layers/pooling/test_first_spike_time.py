import keras
import numpy as np
import pytest
from reference.autodiff import to_numpy
from reference.parts import over_parts

from keras_snn.layers import FirstSpikeTime, Latency

RNG = np.random.default_rng(0)
X = (RNG.uniform(size=(2, 7, 3, 4)) < 0.15).astype("float32")


def first_steps(x):
    """Return the step of the first spike of each unit, in a loop over spikes."""
    times = np.full((len(x), *x.shape[2:]), x.shape[1])
    for place in np.argwhere(x)[::-1]:
        times[(place[0], *place[2:])] = min(place[1], times[(place[0], *place[2:])])
    return times


def test_equals_a_numpy_loop():
    times = to_numpy(FirstSpikeTime()(X))
    np.testing.assert_array_equal(times, first_steps(X))
    assert times.dtype == "float32"
    assert set(np.unique(times)) >= {0, 7}


def test_the_height_of_spikes_does_not_matter():
    np.testing.assert_array_equal(to_numpy(FirstSpikeTime()(-0.001 * X)), first_steps(X))


def test_first_spike_times_invert_a_latency_code():
    x = RNG.uniform(size=(2, 5)).astype("float32")
    times = to_numpy(FirstSpikeTime()(Latency(50)(x)))
    np.testing.assert_array_equal(times, np.round(49 * (1 - x)))


def test_masked_steps_have_no_spikes():
    mask = RNG.uniform(size=(2, 7)) < 0.6
    x = X.copy()
    x[~mask] = np.nan
    y = to_numpy(FirstSpikeTime()(x, mask=mask))
    for row, counts, spikes in zip(y, mask, X, strict=True):
        np.testing.assert_array_equal(row, first_steps(spikes[None, counts])[0])
    assert np.any(y != first_steps(X))
    assert FirstSpikeTime().compute_mask(X, mask) is None


def test_the_time_of_a_unit_with_nan_is_nan():
    x = X.copy()
    x[1, 6, 2, 3] = np.nan
    y = to_numpy(FirstSpikeTime()(x))
    assert np.argwhere(np.isnan(y)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("sizes", [(1,) * 7, (2, 1, 4)], ids=str)
def test_outputs_after_each_part_are_over_all_steps_so_far(sizes):
    layer = FirstSpikeTime()
    mask = RNG.uniform(size=(2, 7)) < 0.6
    mask[0, :2] = False  # the first part is masked
    with_nan = X.copy()
    with_nan[0, 0, 0, 0] = with_nan[1, 4, 1, 2] = np.nan
    parts = [over_parts(layer, *case) for case in ((X, sizes), (X, sizes, mask), (with_nan, sizes))]
    for k, y, masked, of_nan in zip(np.cumsum(sizes), *parts, strict=True):
        np.testing.assert_array_equal(y, first_steps(X[:, :k]))
        for row, counts, spikes in zip(masked, mask[:, :k], X[:, :k], strict=True):
            np.testing.assert_array_equal(row, first_steps(spikes[None, counts])[0])
        assert np.argwhere(np.isnan(of_nan)).tolist() == [[0, 0, 0], [1, 1, 2]][: 1 if k < 5 else 2]
        np.testing.assert_array_equal(of_nan[~np.isnan(of_nan)], first_steps(X[:, :k])[~np.isnan(of_nan)])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32"])
def test_integers(dtype):
    np.testing.assert_array_equal(to_numpy(FirstSpikeTime()(X.astype(dtype))), first_steps(X))


def test_half_precision():
    y = FirstSpikeTime(dtype="mixed_float16")(X)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"  # bfloat16 cannot represent times such as 299
    np.testing.assert_array_equal(to_numpy(y), first_steps(X))
