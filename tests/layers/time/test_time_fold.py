import keras
import numpy as np
import pytest

from keras_snn.layers.time import Repeat, TemporalAveragePooling, TimeFold

RNG = np.random.default_rng(0)
# A large matrix product rounds differently from several small ones.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: keras.layers.Dense(3, activation="relu"), (2, 5, 4)),
        (lambda: keras.layers.Conv2D(3, 2, strides=2), (2, 5, 6, 7, 2)),
        (keras.layers.BatchNormalization, (2, 5, 4)),
        (keras.layers.Flatten, (2, 5, 3, 4)),
    ],
    ids=["Dense", "Conv2D", "BatchNormalization", "Flatten"],
)
def test_equals_time_distributed(make, shape):
    layer, x = make(), normal(*shape)
    y = TimeFold(layer)(x)
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.set_weights([np.abs(normal(4)) for _ in range(4)])
        y = TimeFold(layer)(x)
    np.testing.assert_allclose(to_numpy(y), to_numpy(keras.layers.TimeDistributed(layer)(x)), **CLOSE)


def test_dense_equals_numpy():
    dense, x = keras.layers.Dense(3), normal(2, 5, 4)
    y = to_numpy(TimeFold(dense)(x))
    np.testing.assert_allclose(y, x @ to_numpy(dense.kernel) + to_numpy(dense.bias), **CLOSE)


def test_batch_normalization_is_over_batch_and_time():
    layer, x = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-6), normal(4, 5, 3) * 2 + 1
    y = to_numpy(TimeFold(layer)(x, training=True))
    mean, variance = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-6), **CLOSE)
    np.testing.assert_allclose(to_numpy(layer.moving_mean), mean, **CLOSE)
    np.testing.assert_allclose(to_numpy(layer.moving_variance), variance, **CLOSE)


@pytest.mark.parametrize("units", [(3,), (4, 2, 3)])
def test_batch_normalization_is_the_same_without_time_fold(units):
    unfolded, folded = (keras.layers.BatchNormalization(momentum=0.5) for _ in range(2))
    x = Repeat(2)(normal(5, *units) * 2 + 1)
    for training in (True, False):  # sums in another order
        expected = to_numpy(TimeFold(folded)(x, training=training))
        np.testing.assert_allclose(to_numpy(unfolded(x, training=training)), expected, **CLOSE)
    np.testing.assert_allclose(to_numpy(unfolded.moving_variance), to_numpy(folded.moving_variance), **CLOSE)


@pytest.mark.parametrize("shape", [(3,), (4, 2, 3)])
def test_batch_normalization_receives_the_folded_mask(shape):
    layer, x = keras.layers.BatchNormalization(momentum=0.0), normal(2, 4, *shape)
    mask = np.array([[True, True, False, False], [True, True, True, False]])
    TimeFold(layer)(x, training=True, mask=mask)
    valid = x[mask].reshape(-1, 3)
    np.testing.assert_allclose(to_numpy(layer.moving_mean), valid.mean(axis=0), **CLOSE)
    # rtol: Keras divides by the sum of the mask plus epsilon, 1e-7.
    np.testing.assert_allclose(to_numpy(layer.moving_variance), valid.var(axis=0), rtol=1e-4)


def test_dropout_has_a_new_mask_at_each_step_in_training_only():
    layer, x = TimeFold(keras.layers.Dropout(0.5)), np.ones((1, 6, 200), "float32")
    y = to_numpy(layer(x, training=True))[0]
    assert set(np.unique(y)) == {0.0, 2.0}
    assert all(not np.array_equal(y[i], y[j]) for i in range(6) for j in range(i))
    np.testing.assert_array_equal(to_numpy(layer(x, training=False)), x)
    np.testing.assert_array_equal(to_numpy(layer(x)), x)


def image_model():
    return keras.Sequential(
        [
            keras.layers.Conv2D(3, 2),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2),
        ]
    )


def test_a_folded_model():
    layer, x = TimeFold(image_model()), normal(2, 5, 4, 4, 1)
    y = to_numpy(layer(x))
    assert y.shape == (2, 5, 2)
    np.testing.assert_allclose(y[:, 3], to_numpy(layer.layer(x[:, 3])), **CLOSE)
    assert tuple(layer(x[:1, :3]).shape) == (1, 3, 2)


def test_a_folded_subclassed_model():
    class Doubled(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return 2 * self.dense(x)

    layer, x = TimeFold(Doubled()), normal(2, 5, 4)
    symbolic = layer(keras.Input((None, 4)))
    assert tuple(symbolic.shape) == (None, None, 3)
    np.testing.assert_allclose(to_numpy(layer(x)), 2 * to_numpy(layer.layer.dense(x)), **CLOSE)


def test_several_inputs_and_outputs():
    a, b = normal(2, 5, 4), normal(2, 5, 4)
    np.testing.assert_array_equal(to_numpy(TimeFold(keras.layers.Add())([a, b])), a + b)
    inputs = [keras.Input((4,)), keras.Input((4,))]
    model = keras.Model(inputs, {"sum": keras.layers.Add()(inputs), "flat": keras.layers.Concatenate()(inputs)})
    layer = TimeFold(model)
    outputs = layer([a, b])
    np.testing.assert_array_equal(to_numpy(outputs["sum"]), a + b)
    np.testing.assert_array_equal(to_numpy(outputs["flat"]), np.concatenate([a, b], axis=-1))
    symbolic = layer([keras.Input((None, 4)), keras.Input((None, 4))])
    assert {name: tuple(y.shape) for name, y in symbolic.items()} == {"sum": (None, None, 4), "flat": (None, None, 8)}
    shapes = TimeFold(keras.layers.Concatenate()).compute_output_shape([(2, 5, 4), (2, 5, 3)])
    assert shapes == (2, 5, 7)


def test_symbolic_shapes_equal_eager_ones():
    for make, shape, output in [
        (lambda: keras.layers.Dense(3), (None, 4), (3,)),
        (lambda: keras.layers.Conv2D(3, 2), (None, 6, 7, 2), (5, 6, 3)),
        (lambda: keras.layers.GlobalAveragePooling2D(), (None, None, None, 2), (2,)),
        (image_model, (None, 4, 4, 1), (2,)),
    ]:
        layer = TimeFold(make())
        symbolic = layer(keras.Input(shape))
        eager = layer(np.zeros((2, 5, *[size or 8 for size in shape[1:]]), "float32"))
        assert tuple(symbolic.shape) == (None, None, *output) == layer.compute_output_shape((None, *shape))
        assert tuple(eager.shape) == (2, 5, *output)
        assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype) == "float32"


def sequence_model():
    inputs = keras.Input((None, 4, 4, 1))
    x = TimeFold(image_model())(inputs)
    x = TimeFold(keras.layers.Dense(3))(x)
    return keras.Model(inputs, keras.layers.Dense(2)(TemporalAveragePooling()(x)))


def batches():
    """Yield two batches that differ in size and length."""
    for batch, time in [(2, 5), (3, 7)]:
        yield np.ones((batch, time, 4, 4, 1), "float32"), np.ones((batch, 2), "float32")


def test_fit_and_predict_with_unknown_batch_and_time():
    model = sequence_model()
    model.compile("sgd", "mse")
    before = [to_numpy(v) for v in model.trainable_variables]
    model.fit(batches(), steps_per_epoch=2, shuffle=False, verbose=0)
    changed = [not np.array_equal(b, to_numpy(v)) for b, v in zip(before, model.trainable_variables, strict=True)]
    assert len(changed) == 10
    assert any(changed[:2]) and any(changed[4:6])  # the convolution and the Dense of the folded model
    assert model.predict(batches(), steps=2, verbose=0).shape == (5, 2)


def test_save_and_load(tmp_path):
    model = sequence_model()
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(2, 5, 4, 4, 1)
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))


def test_the_mask_is_passed_on():
    inputs = keras.Input((None, 4))
    outputs = TemporalAveragePooling()(TimeFold(keras.layers.Dense(3))(keras.layers.Masking()(inputs)))
    model, x = keras.Model(inputs, outputs), normal(2, 5, 4)
    x[0, 2:] = 0.0
    np.testing.assert_allclose(to_numpy(model(x))[0], to_numpy(model(x[:1, :2]))[0], **CLOSE)
    mask = np.ones((2, 5), bool)
    assert TimeFold(keras.layers.Dense(3)).compute_mask(x, mask) is mask


def test_a_mask_of_sequences_within_steps_is_folded():
    x = normal(2, 5, 4, 3)
    mask = RNG.random((2, 5, 4)) < 0.5
    mask[..., 0] = True
    y = to_numpy(TimeFold(keras.layers.GlobalAveragePooling1D())(x, mask=mask))
    expected = (x * mask[..., None]).sum(axis=2) / mask.sum(axis=2)[..., None]
    np.testing.assert_allclose(y, expected, **CLOSE)


def test_a_mask_of_steps_is_broadcast_over_sequences_within_steps():
    x = normal(2, 3, 4, 2)
    mask = np.array([[True, True, False], [True, False, False]])
    y = to_numpy(TimeFold(keras.layers.LSTM(3, return_sequences=True, zero_output_for_mask=True))(x, mask=mask))
    assert np.all(y[~mask] == 0) and np.all(y[mask] != 0)
    y = to_numpy(TimeFold(keras.layers.GlobalAveragePooling1D())(x, mask=mask))
    np.testing.assert_allclose(y[mask], x[mask].mean(axis=1), **CLOSE)


def test_the_dtype_policy_of_the_inner_layer_is_used():
    x = np.full((1, 2, 3), 1.0 + 2.0**-12, "float32")  # float16 would round it to 1
    wide = TimeFold(keras.layers.Activation("linear"), dtype="mixed_float16")
    np.testing.assert_array_equal(to_numpy(wide(x)), x)
    half = TimeFold(keras.layers.Dense(2, dtype="mixed_float16"))
    for y in (half(x), half(keras.Input((None, 3)))):
        assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert half.layer.kernel.dtype == "float32"


def test_an_activity_penalty_is_divided_by_the_batch_of_its_layer():
    x = np.ones((2, 5, 3), "float32")
    outer = TimeFold(keras.layers.Activation("linear"), activity_regularizer="l1")
    inner = TimeFold(keras.layers.Activation("linear", activity_regularizer="l1"))
    outer(x)
    inner(x)
    np.testing.assert_allclose(float(outer.losses[0]), 0.01 * 30 / 2, **CLOSE)
    np.testing.assert_allclose(float(inner.losses[0]), 0.01 * 30 / (2 * 5), **CLOSE)


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape, with and without XLA")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tf_graph_of_unknown_batch_and_time(jit_compile):
    import tensorflow as tf

    layer, x = TimeFold(keras.layers.BatchNormalization()), normal(2, 5, 4, 4, 3)
    layer.build(x.shape)
    signature = [tf.TensorSpec((None, None, 4, 4, 3)), tf.TensorSpec((None, None), "bool")]
    function = tf.function(
        lambda x, mask: layer(x, training=True, mask=mask), input_signature=signature, jit_compile=jit_compile
    )
    assert tuple(function.get_concrete_function().output_shapes) == (None, None, 4, 4, 3)
    y = function(x, np.ones((2, 5), bool))
    np.testing.assert_allclose(y.numpy().mean(axis=(0, 1, 2, 3)), 0.0, atol=1e-5)  # float32 mean of 160 values


def test_a_missing_time_axis_is_refused():
    for layer, shape in [(keras.layers.Dense(3), (2, 4)), (keras.layers.Conv2D(3, 2), (2, 6, 7, 2))]:
        fold = TimeFold(layer)
        for call in (lambda: fold(np.zeros(shape, "float32")), lambda: fold(keras.Input(shape[1:]))):
            with pytest.raises(ValueError, match="Add a time axis"):
                call()
        with pytest.raises(ValueError, match="Add a time axis"):
            fold.build(shape)
    with pytest.raises(ValueError, match=r"\(batch, time, \.\.\.\).*no time axis"):
        TimeFold(keras.layers.Flatten())(np.zeros((3,), "float32"))


def test_an_empty_time_axis_is_refused():
    with pytest.raises(ValueError, match="axis 1, is empty"):
        TimeFold(keras.layers.Dense(3))(keras.Input((0, 3)))
    layer = TimeFold(keras.layers.Dense(3))
    layer(np.zeros((2, 4, 3), "float32"))
    with pytest.raises(ValueError, match="axis 1, is empty"):
        layer(np.zeros((2, 0, 3), "float32"))


def test_the_argument_must_be_a_layer():
    with pytest.raises(ValueError, match="Keras layer"):
        TimeFold(keras.ops.relu)
