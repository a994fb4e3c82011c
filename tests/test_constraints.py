import json

import keras
import numpy as np
import pytest

from keras_snn.constraints import Clip, Mean

W = np.arange(24, dtype="float32").reshape(2, 3, 4)


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2)])
def test_mean_equals_numpy(axis):
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


def test_an_axis_must_be_an_integer_or_a_tuple_of_integers():
    for axis in [1.0, "0", None, (), (0, 1.0)]:
        with pytest.raises(ValueError, match="`axis` must be an integer, or a tuple of integers; got"):
            Mean(axis)


def test_an_axis_outside_the_shape_is_refused():
    for axis in [3, -4, (0, 3)]:
        with pytest.raises(ValueError, match=r"`axis` .* \(2, 3, 4\)"):
            Mean(axis)(W)


# Clip


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0.5, 5.0), [0.5, 0.5, 0.5, 2, 5, 5]),
        ((0.5, None), [0.5, 0.5, 0.5, 2, 5, 9]),
        ((None, 2), [-1, 0, 0.5, 2, 2, 2]),
        ((0, 0), [0, 0, 0, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_clip(bounds, expected, dtype):
    w = Clip(*bounds)(keras.ops.cast([-1, 0, 0.5, 2, 5, 9], dtype))
    assert keras.backend.standardize_dtype(w.dtype) == dtype
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.cast(w, "float32")), expected)


def test_clip_refuses_missing_and_reversed_bounds():
    with pytest.raises(ValueError, match="`min_value` and `max_value` are both None"):
        Clip()
    with pytest.raises(ValueError, match=r"`min_value` must not be above `max_value`, got 2 and 1"):
        Clip(2, 1)


@pytest.mark.parametrize(
    ("bounds", "text", "held", "broken"),
    [
        ((0.5, 5.0), "between 0.5 and 5", (0.5, 1, 5), (0.49, 5.01)),
        ((1, None), "at least 1", (1, 1e9), (0.999,)),
        ((None, 2), "at most 2", (-1e9, 2), (2.001,)),
    ],
)
def test_clip_describes_and_checks_its_range(bounds, text, held, broken):
    clip = Clip(*bounds)
    assert str(clip) == text
    assert all(clip.holds(value) for value in held)
    assert not any(clip.holds(value) for value in broken)


@pytest.mark.parametrize("bounds", [(0.5, 5.0), (1, None), (None, 2)])
def test_clip_config_survives_json(bounds):
    restored = keras.constraints.deserialize(json.loads(json.dumps(keras.constraints.serialize(Clip(*bounds)))))
    assert isinstance(restored, Clip)
    assert (restored.min_value, restored.max_value) == bounds


def test_entries_are_clipped_in_a_fit_and_in_a_saved_model(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=Clip(-0.25, 0.25))])
    model.compile(keras.optimizers.SGD(10.0), "mse")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    for _ in range(2):
        model.fit(x, np.ones((8, 3), "float32"), verbose=0)
        kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
        assert (kernel.min(), kernel.max()) == (-0.25, 0.25)
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
