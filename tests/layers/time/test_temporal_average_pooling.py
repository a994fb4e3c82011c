import keras
import numpy as np
import pytest
from reference.parts import over_parts

from keras_snn.layers.time import TemporalAveragePooling
from keras_snn.regularizers import L2

RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False, False], [True, False, True, False], [False] * 4, [True] * 4])
# float32 means of a few values, summed in any order.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (4, 4, 3, 2)])
def test_mean_over_time(shape):
    x = RNG.normal(size=shape).astype("float32")
    np.testing.assert_allclose(to_numpy(TemporalAveragePooling()(x)), x.mean(axis=1), **CLOSE)
    expected = [x[0, :2].mean(axis=0), x[1, [0, 2]].mean(axis=0), np.zeros(shape[2:]), x[3].mean(axis=0)]
    np.testing.assert_allclose(to_numpy(TemporalAveragePooling()(x, mask=MASK)), np.stack(expected), **CLOSE)


def test_outputs_after_each_part_are_over_all_steps_so_far():
    x, sizes = RNG.normal(size=(4, 4, 3)).astype("float32"), (1, 1, 2)
    x[~MASK] = np.nan
    for mask, values in ((None, np.nan_to_num(x)), (MASK, x)):
        for k, y in zip(np.cumsum(sizes), over_parts(TemporalAveragePooling(), values, sizes, mask), strict=True):
            shorter = TemporalAveragePooling()(values[:, :k], mask=None if mask is None else mask[:, :k])
            np.testing.assert_allclose(y, to_numpy(shorter), **CLOSE)


def test_values_at_masked_steps_are_ignored():
    x = np.ones((4, 4, 2), "float32")
    x[~MASK] = np.nan
    y = to_numpy(TemporalAveragePooling()(x, mask=MASK))
    np.testing.assert_array_equal(y, [[1, 1], [1, 1], [0, 0], [1, 1]])


def test_integers_become_means():
    assert to_numpy(TemporalAveragePooling()(np.array([[200, 255]], dtype="uint8"))) == 227.5


def test_symbolic_shapes_equal_eager_ones():
    for shape in [(None,), (None, 3), (None, 3, 2)]:
        symbolic = TemporalAveragePooling()(keras.Input(shape))
        eager = TemporalAveragePooling()(np.zeros((2, 4, *shape[1:]), "float32"))
        assert tuple(symbolic.shape) == (None, *shape[1:])
        assert tuple(eager.shape) == (2, *shape[1:])
        assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype) == "float32"


def padded_model(**kwargs):
    """Return a model with a Masking layer, an unknown time length, and weights before and after the layer."""
    inputs = keras.Input((None, 3))
    x = keras.layers.Masking()(inputs)
    x = keras.layers.Dense(4)(x)
    x = TemporalAveragePooling(**kwargs)(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def test_the_mask_is_used_and_not_passed_on():
    model = padded_model()
    x = RNG.normal(size=(2, 5, 3)).astype("float32")
    x[0, 2:] = 0.0
    np.testing.assert_allclose(to_numpy(model(x))[0], to_numpy(model(x[:1, :2]))[0], **CLOSE)
    assert TemporalAveragePooling().compute_mask(x, np.ones((2, 5), bool)) is None


def batches():
    """Yield two batches that differ in size and length."""
    for batch, time in [(2, 5), (3, 7)]:
        yield np.ones((batch, time, 3), "float32"), np.ones((batch, 2), "float32")


def test_fit_and_predict_with_unknown_batch_and_time():
    model = padded_model()
    model.compile("sgd", "mse")
    before = to_numpy(model.layers[2].kernel)
    model.fit(batches(), steps_per_epoch=2, shuffle=False, verbose=0)
    assert not np.array_equal(before, to_numpy(model.layers[2].kernel))
    assert model.predict(batches(), steps=2, verbose=0).shape == (5, 2)


def test_save_and_load(tmp_path):
    model = padded_model(activity_regularizer=L2(0.5, target=(10, 20)))
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    x = RNG.normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))
    assert to_numpy(restored.losses[0]) == to_numpy(model.losses[0]) > 0


def test_an_activity_regularizer_receives_rates():
    spikes = np.zeros((2, 10, 3), "float32")
    spikes[:, 4] = 100.0  # 10 Hz at dt = 0.01
    for target, expected in [((10, 20), 0.0), ((12, 20), 3 * 2**2)]:
        layer = TemporalAveragePooling(activity_regularizer=L2(1.0, target=target))
        layer(spikes)
        np.testing.assert_allclose(to_numpy(layer.losses[0]), expected, **CLOSE)


def test_mixed_float16_sums_in_float32():
    layer = TemporalAveragePooling(dtype="mixed_float16")
    rates = np.full((4, 2000, 1), 100.0, "float32")  # the sum, 2e5, is above the max of float16, 65504
    for mask in (None, np.ones((4, 2000), bool)):
        y = layer(rates, mask=mask)
        assert keras.backend.standardize_dtype(y.dtype) == "float16"
        np.testing.assert_array_equal(to_numpy(y), 100.0)
    assert layer(keras.Input((None, 3))).dtype == "float16"


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape, with and without XLA")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tf_graph_of_unknown_batch_and_time(jit_compile):
    import tensorflow as tf

    layer = TemporalAveragePooling()
    signature = [tf.TensorSpec((None, None, 3)), tf.TensorSpec((None, None), "bool")]
    function = tf.function(lambda x, mask: layer(x, mask=mask), input_signature=signature, jit_compile=jit_compile)
    x = RNG.normal(size=(4, 4, 3)).astype("float32")
    np.testing.assert_allclose(function(x, MASK)[0], x[0, :2].mean(axis=0), **CLOSE)


def test_a_missing_time_axis_is_refused():
    with pytest.raises(ValueError, match=r"TemporalAveragePooling .*\(batch, time, \.\.\.\).*no time axis"):
        TemporalAveragePooling()(np.zeros((3,), "float32"))
    with pytest.raises(ValueError, match="no time axis"):
        TemporalAveragePooling().build((None,))
    with pytest.raises(ValueError, match="no time axis"):
        TemporalAveragePooling().compute_output_shape((None,))


def test_an_empty_time_axis_is_refused():
    with pytest.raises(ValueError, match="axis 1, is empty"):
        TemporalAveragePooling()(keras.Input((0, 3)))
    layer = TemporalAveragePooling()
    layer(np.zeros((2, 4, 3), "float32"))
    with pytest.raises(ValueError, match="axis 1, is empty"):
        layer(np.zeros((2, 0, 3), "float32"))
