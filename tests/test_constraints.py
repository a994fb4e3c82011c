import json

import keras
import numpy as np
import pytest

from keras_snn.constraints import Mean

W = np.arange(24, dtype="float32").reshape(2, 3, 4)


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2)])
def test_mean_is_that_of_numpy(axis):
    expected = np.broadcast_to(W.mean(axis=axis, keepdims=True), W.shape)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(Mean(axis)(W)), expected, rtol=1e-6)  # float32 means


def test_mean_is_over_the_last_axis_by_default():
    assert Mean().axis == -1


def test_entries_stay_equal_in_a_fit():
    dense = keras.layers.Dense(3, kernel_constraint=Mean(axis=0))
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile("sgd", "mse")
    before = keras.ops.convert_to_numpy(dense.kernel)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    model.fit(x, np.ones((8, 3), "float32"), verbose=0)
    after = keras.ops.convert_to_numpy(dense.kernel)
    assert np.ptp(before, axis=0).min() > 0.1
    np.testing.assert_array_equal(after, np.broadcast_to(after[:1], after.shape))
    assert len(np.unique(after)) == 3


@pytest.mark.parametrize("axis", [-1, 1, (0, 2)])
def test_config_survives_json(axis):
    config = json.loads(json.dumps(keras.constraints.serialize(Mean(axis))))
    restored = keras.constraints.deserialize(config)
    assert isinstance(restored, Mean)
    assert restored.axis == axis


def test_saved_model_keeps_the_constraint(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=Mean((0, 1)))])
    model.save(tmp_path / "model.keras")
    constraint = keras.saving.load_model(tmp_path / "model.keras").layers[0].kernel_constraint
    assert isinstance(constraint, Mean)
    assert constraint.axis == (0, 1)


def test_an_axis_that_is_no_int_is_refused():
    for axis in [1.0, "0", None, (), (0, 1.0)]:
        with pytest.raises(TypeError, match="`axis`"):
            Mean(axis)


def test_a_missing_axis_is_refused():
    for axis in [3, -4, (0, 3)]:
        with pytest.raises(ValueError, match=r"`axis` .* \(2, 3, 4\)"):
            Mean(axis)(W)
