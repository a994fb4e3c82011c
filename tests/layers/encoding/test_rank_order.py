import numpy as np
from reference.autodiff import to_numpy

from keras_snn.layers import RankOrder

X = np.random.default_rng(0).uniform(size=(2, 3, 2)).astype("float32")


def test_only_the_order_counts():
    np.testing.assert_array_equal(to_numpy(RankOrder(6)(X)), to_numpy(RankOrder(6)(X**3 / 2)))


def test_each_sample_has_its_order():
    expected = to_numpy(RankOrder(6)(X))
    np.testing.assert_array_equal(to_numpy(RankOrder(6)(X[1:])), expected[1:])


def test_nan_is_ranked_as_zero():
    x, zero = X.copy(), X.copy()
    x[1, 2, 0], zero[1, 2, 0] = np.nan, 0
    spikes, expected = to_numpy(RankOrder(6)(x)), to_numpy(RankOrder(6)(zero))
    expected[1, :, 2, 0] = np.nan
    np.testing.assert_array_equal(spikes, expected)
    x[1, 0, 1], zero[1, 0, 1] = np.nan, 0  # the order of the other units does not change
    spikes, expected = to_numpy(RankOrder(6)(x)), to_numpy(RankOrder(6)(zero))
    expected[1, :, [2, 0], [0, 1]] = np.nan
    np.testing.assert_array_equal(spikes, expected)
