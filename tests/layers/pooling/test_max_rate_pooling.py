import keras
import numpy as np
import pytest
from keras import ops
from reference.parts import over_parts

from keras_snn.layers import MaxRatePooling

RNG = np.random.default_rng(0)


def pooled(x, layer=None):
    return ops.convert_to_numpy(MaxRatePooling(layer or keras.layers.MaxPooling1D(2))(x))


def test_by_hand():
    """The spike counts of two units are 1, 1, 2, 2 and 0, 1, 2, 3. The running max is 1, 1, 2, 3."""
    x = np.array([[[1, 0], [0, 1], [1, 1], [0, 1]]], "float32")[..., None]
    assert pooled(x)[0, :, 0, 0].tolist() == [1, 0, 1, 1]


def test_outputs_are_spikes_with_the_max_rate():
    x = (RNG.random((3, 40, 6, 6, 2)) < RNG.random((3, 1, 6, 6, 2))).astype("float32")
    y = pooled(x, keras.layers.MaxPooling2D(3))
    windows = x.sum(axis=1).reshape(3, 2, 3, 2, 3, 2)
    np.testing.assert_array_equal(y.sum(axis=1), windows.max(axis=(2, 4)))
    assert set(np.unique(y)) == {0, 1}


@pytest.mark.parametrize("k", [1, 7])
def test_the_pooling_is_causal(k):
    x = (RNG.random((2, 12, 4, 3)) < 0.4).astype("float32")
    np.testing.assert_array_equal(pooled(x)[:, :k], pooled(x[:, :k]))


def test_each_part_of_the_time_axis_calls_the_pooling_once(monkeypatch):
    x, mask = (RNG.random((2, 7, 4, 3)) < 0.6).astype("float32"), RNG.random((2, 7)) < 0.7
    layer, calls = MaxRatePooling(keras.layers.MaxPooling1D(2)), []
    pool = layer.layer.call
    monkeypatch.setattr(layer.layer, "call", lambda *args: calls.append(args) or pool(*args))
    for masked in (None, mask):
        expected = ops.convert_to_numpy(layer(x, mask=masked))
        calls.clear()
        np.testing.assert_array_equal(np.concatenate(over_parts(layer, x, (2, 1, 4), masked), axis=1), expected)
        assert len(calls) == 3  # one call per part


def test_global_pooling():
    x = (RNG.random((2, 20, 5, 3)) < 0.3).astype("float32")
    y = pooled(x, keras.layers.GlobalMaxPooling1D())
    np.testing.assert_array_equal(y.sum(axis=1), x.sum(axis=1).max(axis=1))


def test_half_precision_counts_above_2048():
    layer = MaxRatePooling(keras.layers.MaxPooling1D(2), dtype="float16")
    y = ops.convert_to_numpy(ops.cast(layer(np.ones((1, 3000, 2, 1), "float16")), "float32"))
    assert y.min() == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_half_precision_pooling_receives_exact_counts(dtype):
    layer = MaxRatePooling(keras.layers.MaxPooling1D(2, dtype=dtype), dtype=dtype)
    restored = MaxRatePooling.from_config(layer.get_config())
    for pooling in (layer, restored):
        y = ops.convert_to_numpy(ops.cast(pooling(ops.ones((1, 3000, 2, 1), dtype)), "float32"))
        assert y.min() == y.max() == 1
