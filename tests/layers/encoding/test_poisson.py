import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import COMPILED, gradients, to_numpy

from keras_snn import probe
from keras_snn.layers import Poisson

X = np.random.default_rng(0).uniform(size=(5, 4)).astype("float32")


def spikes_of(index, seed, scale=1.0, n_steps=20):
    """Return the spikes of the rows of X, drawn as sample ``index``."""
    uniform = loops.uniform_by_index(index, (n_steps, 4), seed)
    return (uniform < np.float32(scale) * X[:, None]).astype("float32")


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_equals_the_hash_of_numpy(scale):
    """The spikes equal those of the NumPy hash, and are therefore the same on all backends."""
    spikes = to_numpy(Poisson(20, seed=7, scale=scale)(X))
    np.testing.assert_array_equal(spikes, spikes_of(range(5), 7, scale))


def test_a_fixed_seed_gives_the_same_spikes_in_every_call():
    layer = Poisson(20, seed=7)
    np.testing.assert_array_equal(to_numpy(layer(X)), to_numpy(layer(X)))
    assert np.any(to_numpy(Poisson(20, seed=8)(X)) != to_numpy(layer(X)))
    assert layer.weights == []


def test_without_a_seed_each_call_has_new_draws():
    layer = Poisson(20)
    first, second = to_numpy(layer(X)), to_numpy(layer(X))
    assert np.any(first != second)
    assert len(layer.non_trainable_variables) == 1
    keras.utils.set_random_seed(0)
    np.testing.assert_array_equal(to_numpy(Poisson(20)(X)), first)


def test_spikes_of_a_sample_do_not_depend_on_the_batch():
    layer = Poisson(20, seed=7)
    expected = to_numpy(layer(X))
    np.testing.assert_array_equal(to_numpy(layer(X[:2])), expected[:2])
    changed = X.copy()
    changed[1:] = 0.5
    np.testing.assert_array_equal(to_numpy(layer(changed))[0], expected[0])


def test_in_a_scope_spikes_depend_on_the_position_in_the_data():
    layer = Poisson(20)  # the seed of the layer is not used
    index = np.array([3, 1, 0, 4, 2], "int32")

    def call(x, index):
        with probe.scope(sample_index=ops.convert_to_tensor(index), seed=2):
            return to_numpy(layer(x))

    expected = call(X, index)
    np.testing.assert_array_equal(expected, spikes_of(index, 2 * 1009 + 1))
    np.testing.assert_array_equal(expected, call(X, index))
    for start, stop in [(0, 2), (2, 3), (3, 5)]:
        np.testing.assert_array_equal(call(X[start:stop], index[start:stop]), expected[start:stop])


def test_layers_have_independent_draws():
    first, second = Poisson(20), Poisson(20)
    assert np.any(to_numpy(first(X)) != to_numpy(second(X)))
    with probe.scope(sample_index=ops.arange(5, dtype="int32")):
        assert np.any(to_numpy(first(X)) != to_numpy(second(X)))


def test_decode_is_the_value_on_average():
    x = np.tile(np.linspace(0, 1, 6, dtype="float32"), (100, 1))
    for scale in (1.0, 0.25):
        layer = Poisson(400, scale=scale, seed=1)
        values = to_numpy(layer.decode(layer(x))).astype("float64")
        deviation = np.sqrt(np.maximum(x * (1 / scale - x) / 400, 1e-12))
        # One of 600 values per scale is beyond 5 standard deviations once in 3,000 seeds.
        assert np.all(np.abs(values - x) <= 5 * deviation)
        # The standard deviation is that of the docstring. The variance of 100 values is outside of 1 +- 0.6 in one of
        # 11 cases once in 3,000 seeds (chi-squared: 4.2 deviations).
        spread = (values.std(axis=0) / deviation[0])[1 : 5 if scale == 1 else 6]
        assert np.all(np.abs(spread**2 - 1) < 0.6)


def test_the_gradient_is_the_scale_at_every_step():
    layer = Poisson(20, scale=0.25, seed=0)
    x = np.array([[0.1, 0.9, -0.1, 1.1]], "float32")
    (d,) = gradients(COMPILED, lambda x: ops.sum(layer(x)), x)
    np.testing.assert_allclose(d, [[5, 5, 0, 0]], rtol=1e-6)  # float32 sums of 20 steps


def test_a_layer_before_the_encoder_learns_through_the_spikes():
    """A Dense before the encoder learns through the spikes. The error is minimal if the rate is the target."""
    dense = keras.layers.Dense(1, "sigmoid")
    rate = keras.layers.GlobalAveragePooling1D()
    model = keras.Sequential([keras.Input((1,)), dense, Poisson(50), rate])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = np.ones((64, 1), "float32")
    model.fit(x, np.full((64, 1), 0.8, "float32"), epochs=25, verbose=0)
    # The rate of 64 x 50 draws has a standard deviation of 0.007. The rest of the tolerance is noise of the training.
    assert abs(float(to_numpy(dense(x[:1])).item()) - 0.8) < 0.05


def test_bad_arguments_are_refused():
    for scale in [0, -0.5, 1.5, np.nan]:
        with pytest.raises(ValueError, match="`scale` must be a finite number above 0 and of at most 1"):
            Poisson(5, scale=scale)
    for seed in [1.5, "0", True]:
        with pytest.raises(ValueError, match="`seed` must be an integer or None"):
            Poisson(5, seed=seed)
