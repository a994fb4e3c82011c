import keras
import numpy as np
import pytest
from reference.batches import KINDS, in_batches

from keras_snn.conversion.calibration import Histogram, activation_scales

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("percentile", [50, 99, 99.9, 100])
def test_percentiles_are_over_positive_values(percentile):
    values = RNG.normal(size=(5000, 3)) * [1, 10, 100]
    histogram = Histogram()
    for batch in np.array_split(values, 7):
        histogram.add(batch)
    expected = [np.percentile(column[column > 0], percentile) for column in values.T]
    # rtol: a bin is a 256th of an octave, 0.3 %. The 25 largest of 2,500 values, near percentile 99, have gaps of 1 %.
    # Near percentile 99.9, the gaps are several per cent.
    rtol = {50: 0.004, 99: 0.015, 99.9: 0.1, 100: 0}[percentile]
    np.testing.assert_allclose(histogram.percentile(percentile), expected, rtol=rtol)
    if percentile == 100:
        np.testing.assert_array_equal(histogram.percentile(100), values.max(axis=0))


def test_one_huge_value_does_not_change_the_percentile():
    values = np.abs(RNG.normal(size=(100_000, 1)))
    histogram = Histogram()
    histogram.add(np.concatenate([values, [[1e6]]]))
    # rtol: a bin of 0.3 %, and one more sample in 100,000.
    np.testing.assert_allclose(histogram.percentile(99.9), np.percentile(values, 99.9), rtol=0.01)
    np.testing.assert_array_equal(histogram.percentile(100), 1e6)


def test_the_order_of_batches_does_not_matter():
    batches = [RNG.random((50, 2)) * size for size in (1e-3, 1e2, 7, 1e-6)]
    percentiles = []
    for order in ([0, 1, 2, 3], [1, 3, 0, 2]):
        histogram = Histogram()
        for i in order:
            histogram.add(batches[i])
        percentiles.append(histogram.percentile(90))
    np.testing.assert_array_equal(*percentiles)


def test_columns_without_positive_values_have_scale_1():
    histogram = Histogram()
    histogram.add(np.array([[-1.0, 2.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(histogram.percentile(100), [1, 2])
    histogram = Histogram()
    histogram.add(-np.ones((3, 2)))
    np.testing.assert_array_equal(histogram.percentile(50), [1, 1])


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_scales_of_calls(per):
    shared = keras.layers.Dense(3, activation="relu", name="shared")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    shared.set_weights([np.diag([1.0, 2.0, 3.0]), np.zeros(3)])
    x = np.ones((5, 3), "float32")
    scales = activation_scales(model, ["shared", "shared (call 2)"], x, percentile=100, per=per, batch_size=2)
    first, second = ([1, 2, 3], [1, 4, 9]) if per == "channel" else (3, 9)
    np.testing.assert_array_equal(scales["shared"], first)
    np.testing.assert_array_equal(scales["shared (call 2)"], second)


@pytest.mark.parametrize("kind", KINDS)
def test_scales_from_data_in_batches(kind):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="relu", name="d")])
    x, y = RNG.normal(size=(10, 3)).astype("float32"), np.arange(10)
    options = {"percentile": 90, "per": "channel", "batch_size": None}
    scales = activation_scales(model, ["d"], x, **options)["d"]
    of_batches = activation_scales(model, ["d"], in_batches(kind, x, y), **options)["d"]
    np.testing.assert_allclose(of_batches, scales, rtol=1e-6)  # matmuls with another batch size
