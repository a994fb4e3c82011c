import keras
import numpy as np
import pytest
from reference.parts import over_parts

from keras_snn.layers.time import LastStep

RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False, False], [True, False, True, False], [False] * 4, [True] * 4])


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (4, 4, 3, 2)])
def test_last_step(shape):
    x = RNG.normal(size=shape).astype("float32")
    np.testing.assert_array_equal(to_numpy(LastStep()(x)), x[:, -1])
    masked = to_numpy(LastStep()(x, mask=MASK))
    np.testing.assert_array_equal(masked, np.stack([x[0, 1], x[1, 2], np.zeros(shape[2:]), x[3, 3]]))


def test_outputs_after_each_part_are_over_all_steps_so_far():
    x, sizes = RNG.normal(size=(4, 4, 3)).astype("float32"), (1, 1, 2)
    for mask in (None, MASK):
        for k, y in zip(np.cumsum(sizes), over_parts(LastStep(), x, sizes, mask), strict=True):
            shorter = LastStep()(x[:, :k], mask=None if mask is None else mask[:, :k])
            np.testing.assert_array_equal(y, to_numpy(shorter))


def test_values_at_masked_steps_are_ignored():
    x = np.ones((4, 4, 2), "float32")
    x[~MASK] = np.nan
    np.testing.assert_array_equal(to_numpy(LastStep()(x, mask=MASK)), [[1, 1], [1, 1], [0, 0], [1, 1]])


def test_integers_stay_integers():
    x = RNG.integers(0, 200, size=(4, 4, 2)).astype("uint8")
    for mask in (None, MASK):
        y = to_numpy(LastStep()(x, mask=mask))
        assert y.dtype == "uint8"
        np.testing.assert_array_equal(y[3], x[3, 3])
    assert LastStep()(keras.Input((None, 2), dtype="uint8")).dtype == "uint8"


def test_symbolic_shapes_equal_eager_ones():
    for shape in [(None,), (None, 3), (None, 3, 2)]:
        symbolic = LastStep()(keras.Input(shape))
        eager = LastStep()(np.zeros((2, 4, *shape[1:]), "float32"))
        assert tuple(symbolic.shape) == (None, *shape[1:])
        assert tuple(eager.shape) == (2, *shape[1:])
        assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype) == "float32"


def padded_model():
    """Return a model with a Masking layer, an unknown time length, and weights before and after the layer."""
    inputs = keras.Input((None, 3))
    x = keras.layers.Masking()(inputs)
    x = keras.layers.Dense(4)(x)
    x = LastStep()(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def test_the_mask_is_used_and_not_passed_on():
    model = padded_model()
    x = RNG.normal(size=(2, 5, 3)).astype("float32")
    x[0, 2:] = 0.0
    np.testing.assert_allclose(  # matmuls of other sizes round differently
        to_numpy(model(x))[0], to_numpy(model(x[:1, :2]))[0], rtol=1e-5, atol=1e-6
    )
    assert LastStep().compute_mask(x, np.ones((2, 5), bool)) is None


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
    model = padded_model()
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    x = RNG.normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))


def test_mixed_float16():
    layer = LastStep(dtype="mixed_float16")
    x = RNG.normal(size=(4, 4, 2)).astype("float32")
    for mask in (None, MASK):
        y = layer(x, mask=mask)
        # The layer keeps the dtype of the inputs, because spikes may be high.
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        np.testing.assert_array_equal(to_numpy(y)[0], x[0, 3 if mask is None else 1])


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape, with and without XLA")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tf_graph_of_unknown_batch_and_time(jit_compile):
    import tensorflow as tf

    layer = LastStep()
    signature = [tf.TensorSpec((None, None, 3)), tf.TensorSpec((None, None), "bool")]
    function = tf.function(lambda x, mask: layer(x, mask=mask), input_signature=signature, jit_compile=jit_compile)
    x = RNG.normal(size=(4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(function(x, MASK)[:2], [x[0, 1], x[1, 2]])


def test_a_missing_time_axis_is_refused():
    with pytest.raises(ValueError, match=r"LastStep .*\(batch, time, \.\.\.\).*no time axis"):
        LastStep()(np.zeros((3,), "float32"))
    with pytest.raises(ValueError, match="no time axis"):
        LastStep().build((None,))
    with pytest.raises(ValueError, match="no time axis"):
        LastStep().compute_output_shape((None,))


def test_an_empty_time_axis_is_refused():
    with pytest.raises(ValueError, match="axis 1, is empty"):
        LastStep()(keras.Input((0, 3)))
    layer = LastStep()
    layer(np.zeros((2, 4, 3), "float32"))
    with pytest.raises(ValueError, match="axis 1, is empty"):
        layer(np.zeros((2, 0, 3), "float32"))
