import keras
import numpy as np
import pytest

from keras_snn import probe
from keras_snn.layers.time import Repeat

RNG = np.random.default_rng(0)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_every_step_is_the_input(shape):
    x = RNG.normal(size=shape).astype("float32")
    y = to_numpy(Repeat(4)(x))
    assert y.shape == (2, 4, *shape[1:])
    np.testing.assert_array_equal(y, np.repeat(x[:, None], 4, axis=1))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_integers_stay_integers(dtype):
    x = RNG.integers(0, 2, size=(2, 3)).astype(dtype)
    y = to_numpy(Repeat(2)(x))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[:, 1], x)
    assert Repeat(2)(keras.Input((3,), dtype=dtype)).dtype == dtype


def test_symbolic_shapes_equal_eager_ones():
    symbolic = Repeat(4)(keras.Input((None, 5)))
    assert tuple(symbolic.shape) == (None, 4, None, 5)
    eager = Repeat(4)(np.zeros((2, 3, 5), "float32"))
    assert tuple(eager.shape) == (2, 4, 3, 5)
    assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype) == "float32"
    assert Repeat(4).compute_output_shape((None,)) == (None, 4)


def test_a_scope_overrides_the_number_of_steps():
    layer = Repeat(4)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    x = np.ones((2, 3), "float32")
    with probe.scope(n_steps=7):
        assert tuple(layer(x).shape) == tuple(model(x).shape) == (2, 7, 3)
        assert layer.compute_output_shape((None, 3)) == (None, 7, 3)
        with probe.scope(dt=0.1):  # without n_steps
            assert tuple(layer(x).shape) == (2, 4, 3)
    assert tuple(layer(x).shape) == tuple(model(x).shape) == (2, 4, 3)
    assert layer.compute_output_shape((None, 3)) == (None, 4, 3)
    assert layer.get_config()["n"] == 4


def test_save_and_load(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Repeat(4, name="time")])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(restored.layers[0], Repeat)
    assert restored.layers[0].n == 4
    x = RNG.normal(size=(2, 3)).astype("float32")
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))


def test_the_gradient_is_summed_over_time():
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((2,)), dense, Repeat(5)])
    model.compile(keras.optimizers.SGD(1.0), lambda y, p: keras.ops.sum(p, axis=(1, 2)))
    model.fit(np.array([[1.0, 3.0]], "float32"), np.zeros((1, 5, 1), "float32"), verbose=0)
    np.testing.assert_allclose(to_numpy(dense.kernel), [[-5.0], [-15.0]], rtol=1e-6)  # float32 sums of five steps


def test_mixed_float16():
    layer = Repeat(2, dtype="mixed_float16")
    y = layer(np.full((1, 3), 0.1, "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == layer(keras.Input((3,))).dtype == "float16"


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown batch, with and without XLA")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tf_graph_of_unknown_batch(jit_compile):
    import tensorflow as tf

    layer = Repeat(4)
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, 3))], jit_compile=jit_compile)
    assert tuple(function.get_concrete_function().output_shapes) == (None, 4, 3)
    assert tuple(function(np.ones((2, 3), "float32")).shape) == (2, 4, 3)


def test_the_number_of_steps_must_be_a_positive_integer():
    for n in [0, -1, 2.5, 2.0, "3", None, True]:
        with pytest.raises(ValueError, match="`n` must be an integer of at least 1, the number of time steps"):
            Repeat(n)


def test_a_scalar_is_refused():
    with pytest.raises(ValueError, match="min_ndim=1"):
        Repeat(3)(np.float32(1.0) * np.ones(()))
