"""States of layers in whole models are not weights, and tools do not change them."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import conversion, layers
from keras_snn.layers import reset_states

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 2, (4, 6, 3)).astype("float32")


def network(batch_size=None, stateful=False, n_steps=6):
    """Return a model with all kinds of layers with states in parallel. Some initial states depend on weights."""
    options = {"stateful": stateful}
    inputs = keras.Input((n_steps, 3), batch_size=batch_size)
    x = keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomUniform(0, 1, seed=0))(inputs)
    branches = [
        layers.Lowpass(0.01, **options),
        layers.Alpha(0.005, **options),
        layers.IF(initial_potential=0.5, learn="threshold", **options),
        layers.RecurrentLIF(recurrent_initializer=keras.initializers.RandomNormal(seed=1), **options),
        layers.SpikingActivation("relu", dt=0.1, seed=1, **options),
        layers.Izhikevich(threshold=-60.0, learn="b", dt=keras.Variable(1e-3), **options),
        layers.ConductanceLIF(tau=1.0, refractory_time=2.0, **options),
        layers.LIF(refractory=1, **options),
    ]
    outputs = [layer(x) for layer in branches]
    pooled = layers.MaxRatePooling(keras.layers.MaxPooling1D(2), **options)
    outputs.append(layers.TimeFold(keras.layers.Flatten())(pooled(layers.TimeFold(keras.layers.Reshape((4, 1)))(x))))
    return keras.Model(inputs, keras.layers.Concatenate(dtype=keras.config.dtype_policy().variable_dtype)(outputs))


def trained(model):
    """Change the value of every weight, as training does."""
    model.set_weights([1.25 * w + 0.125 for w in model.get_weights()])
    return model


def assert_same(actual, expected):
    """Compare outputs. A missing spike changes an output by at least 1; other sums round differently."""
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def by_steps(model, x):
    return np.concatenate([ops.convert_to_numpy(model(x[:, t : t + 1])) for t in range(x.shape[1])], axis=1)


def test_a_streaming_model_takes_the_weights_of_a_batch_model(tmp_path):
    batch = trained(network())
    expected = ops.convert_to_numpy(batch(X))
    assert np.all(np.any(expected != 0, axis=(0, 1)))
    batch.save_weights(tmp_path / "a.weights.h5")
    stream = network(1, stateful=True, n_steps=1)
    assert [w.shape for w in stream.weights] == [w.shape for w in batch.weights]
    stream.set_weights(batch.get_weights())
    assert_same(by_steps(stream, X[:1]), expected[:1])
    loaded = network(4, stateful=True, n_steps=1)
    loaded.load_weights(tmp_path / "a.weights.h5")
    assert_same(by_steps(loaded, X), expected)
    loaded.save(tmp_path / "b.keras")
    reloaded = keras.saving.load_model(tmp_path / "b.keras")  # states are not saved
    assert_same(by_steps(reloaded, X), expected)
    reset_states(reloaded)
    assert_same(by_steps(reloaded, X), expected)


def test_a_batch_of_another_size_is_refused():
    """Another batch size is refused, also for a smaller last batch in a compiled fit."""
    parts = layers.LIF(stateful=True), layers.LastStep(), keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((5, 3), batch_size=4), *parts])
    model.compile("sgd", "mse")
    with pytest.raises(Exception, match=r"'lif[^']*' was built for batches of 4 samples.*received:\D*2"):
        model.fit(np.ones((6, 5, 3), "float32"), np.ones((6, 3), "float32"), batch_size=4, verbose=0)
    with pytest.raises(ValueError, match=r"was built for batches of 4 samples.*received: 1"):
        model(np.ones((1, 5, 3), "float32"))


def values(model):
    return [ops.convert_to_numpy(v) for layer in model.layers for v in getattr(layer, "carried", ())]


def test_tools_do_not_change_states():
    hidden = keras.layers.Dense(3, "relu", name="hidden")
    ann = keras.Sequential([keras.Input((3,), batch_size=4), hidden, keras.layers.Dense(4)])
    model = keras.Sequential(
        [
            keras.Input((3,), batch_size=4),
            layers.Repeat(6),
            layers.SpikingActivation("relu", dt=0.1, seed=0, stateful=True, stands_for=("hidden", 1)),
            layers.LIF(stateful=True),
            layers.Lowpass(0.01, stateful=True),
            layers.TimeFold(keras.layers.Reshape((3, 1))),
            layers.MaxRatePooling(keras.layers.MaxPooling1D(1), stateful=True),
            layers.TimeFold(keras.layers.Flatten()),
            layers.TemporalAveragePooling(),
            keras.layers.Dense(4),
        ]
    )
    x = X[:, 0]
    fresh = values(model)
    model(x)
    for reset in (False, True):
        if reset:
            reset_states(model)
        before = values(model)
        assert reset or any(not np.array_equal(a, b) for a, b in zip(before, fresh, strict=True))
        keras_snn.inspect(model, x, dt=0.1, batch_size=4, examples=2)
        keras_snn.ModelEnergy(model, x)
        conversion.report(ann, model, x)
        for a, b in zip(values(model), before, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.torch("other backends only differentiate within one call")
def test_two_backward_passes_of_a_stateful_model():
    model = network(4, stateful=True)
    for _ in range(2):
        model(X).sum().backward()


BFLOAT16 = pytest.param("mixed_bfloat16", marks=pytest.mark.nightly("mixed_float16 has the same code"))
FLOAT64 = pytest.param("float64", marks=pytest.mark.nightly("the contracts test float64"))


@pytest.mark.parametrize("policy", ["mixed_float16", BFLOAT16, FLOAT64], indirect=True)
def test_every_stateful_layer_under_every_policy(policy, tmp_path):
    if policy == "float64" and keras.config.backend() == "jax":
        pytest.skip("JAX needs a flag for float64")
    core = network(4, stateful=True)
    model = keras.Model(core.input, keras.layers.Dense(1)(keras.layers.Flatten()(core.output)))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    model.fit(X, np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    assert all(np.all(np.isfinite(np.asarray(w, "float32"))) for w in model.get_weights())
    dtypes = {"int32", "bool", "float64" if policy == "float64" else "float32"}
    carried = [v for layer in model.layers for v in getattr(layer, "carried", ())]
    assert {keras.backend.standardize_dtype(v.dtype) for v in carried} == dtypes
    model.save(tmp_path / "model.keras")
    reset_states(model)
    expected = np.asarray(ops.convert_to_numpy(ops.cast(model(X), "float32")))
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(restored(X), "float32")), expected)


def test_a_shared_layer_and_a_frozen_layer(tmp_path):
    inputs = keras.Input((6, 3))
    shared = layers.LIF(tau=3.0, learn="tau", per="unit")
    frozen = layers.LIF(tau=2.0, learn=("tau", "threshold"), per="unit", trainable=False)
    x = shared(keras.layers.Dense(3)(inputs))
    x = frozen(keras.layers.Dense(3, kernel_initializer="ones")(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(shared(x)))
    model.compile("adam", "mse")
    old = [w.copy() for w in frozen.get_weights()]
    model.fit(X, np.ones((4, 6, 2), "float32"), verbose=0)
    for weight, before in zip(frozen.get_weights(), old, strict=True):
        np.testing.assert_array_equal(weight, before)
    assert len(shared.weights) == 1 and not np.array_equal(shared.get_weights()[0], np.full(3, 3.0, "float32"))
    expected = model.predict(X, verbose=0)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    model.save(tmp_path / "model.keras")
    for same_model in (clone, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(same_model.predict(X, verbose=0), expected)
