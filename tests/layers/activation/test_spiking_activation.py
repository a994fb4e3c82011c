import math

import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import MODES, gradients, run

from keras_snn import regularizers
from keras_snn.layers import Lowpass, SpikingActivation, SpikingActivationCell
from keras_snn.ops import filters, spiking

RNG = np.random.default_rng(0)
modes = pytest.mark.parametrize("mode", MODES)


@keras.saving.register_keras_serializable(package="tests")
def cube(x):
    return x * x * x


def to_numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape, scale=1.0):
    return (scale * RNG.normal(size=shape)).astype("float32")


def test_by_hand():
    layer = SpikingActivation("relu", dt=0.125, return_state=True)
    rates = np.array([[[2.5], [2.0], [2.5], [2.25], [2.75]]], "float32")
    outputs, voltage = layer(rates, initial_state=np.array([[0.5]], "float32"))
    # v = 0.5 + 0.3125 = 0.8125; + 0.25 = 1.0625, a spike; 0.0625 + 0.3125 = 0.375; + 0.28125 = 0.65625; + 0.34375 = 1,
    # a spike, because a voltage of 1 is enough. The height of a spike is 1 / dt = 8 Hz.
    assert to_numpy(outputs).ravel().tolist() == [0.0, 8.0, 0.0, 0.0, 8.0]
    assert to_numpy(voltage).tolist() == [[0.0]]


def test_several_spikes_per_step_and_negative_spikes():
    layer = SpikingActivation("linear", dt=0.5, return_state=True)
    x = np.array([[[7.0, -1.0, -7.0], [7.0, -1.0, -7.0]]], "float32")
    outputs, voltage = layer(x, initial_state=np.full((1, 3), 0.25, "float32"))
    # Voltages 3.75 and 4.25; -0.25 and 0.25; -3.25 and -2.75. The floor is the number of spikes; the rest is kept.
    assert to_numpy(outputs)[0].tolist() == [[6.0, -2.0, -8.0], [8.0, 0.0, -6.0]]
    assert to_numpy(voltage).tolist() == [[0.25, 0.25, 0.25]]


@modes
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_every_step_equals_a_numpy_loop(mode, activation):
    layer = SpikingActivation(activation, dt=0.3, return_state=True)
    x, voltage = normal(2, 50, 4, scale=2), RNG.uniform(size=(2, 4)).astype("float32")
    layer.build(x.shape)
    outputs, last = run(mode, lambda x, v: layer(x, initial_state=v), x, voltage)
    counts, expected = loops.integrate_and_fire(np.maximum(x, 0) if activation == "relu" else x, voltage, 0.3)
    np.testing.assert_array_equal(np.round(outputs * np.float32(0.3)), counts)
    np.testing.assert_allclose(outputs, counts / 0.3, rtol=1e-6)  # one division of float32
    np.testing.assert_array_equal(last, expected)
    assert len(np.unique(counts)) >= 3


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_the_mean_over_time_is_the_activation(activation):
    x = np.repeat(normal(2, 1, 4, scale=3), 200, axis=1)
    outputs = to_numpy(SpikingActivation(activation, dt=0.1)(x))
    rates = to_numpy(keras.activations.get(activation)(x))[:, 0]
    # atol: at most one spike too many or too few in T steps, plus rounding.
    np.testing.assert_allclose(outputs.mean(axis=1), rates, rtol=0, atol=1 / (200 * 0.1) + 1e-4)


def test_counts_are_exact_for_varying_rates():
    n_steps, dt = 3000, 0.01
    rates = RNG.uniform(0, 3e4, size=(1, n_steps, 3)).astype("float32")
    voltage = RNG.uniform(size=(1, 3)).astype("float32")
    outputs = to_numpy(SpikingActivation("linear", dt=dt)(rates, initial_state=voltage))
    counts = np.round(outputs.astype("float64") * np.float32(dt)).sum(axis=1)
    expected = np.floor(voltage + (rates * np.float32(dt)).astype("float64").sum(axis=1))
    assert counts.min() > 1e5
    assert np.abs(counts - expected).max() <= 1


def initial_voltages(layer, shape=(64, 1, 50)):
    layer.build(shape)
    return to_numpy(layer.cell.get_initial_state(batch_size=shape[0])[0])


def test_initial_voltages_are_uniform_and_new_in_every_call():
    layer = SpikingActivation("relu")
    first, second = initial_voltages(layer), initial_voltages(layer)
    for v in (first, second):
        assert v.dtype == "float32" and v.shape == (64, 50)
        assert v.min() >= 0 and v.max() < 1
        # Five standard errors of the mean of 3200 draws, with a standard deviation of 1 / sqrt(12).
        assert abs(v.mean() - 0.5) < 5 / math.sqrt(12 * v.size)
        assert abs(v.std() - 1 / math.sqrt(12)) < 0.02
        assert len(np.unique(v)) > 3000
    assert not np.any(np.isclose(first, second, atol=1e-7).all(axis=0))
    x = np.full((2, 5, 20), 300.0, "float32")
    assert not np.array_equal(to_numpy(layer_of_20(layer)(x)), to_numpy(layer_of_20(layer)(x)))


def layer_of_20(layer):
    return SpikingActivation.from_config(layer.get_config())


def test_a_layer_without_a_seed_draws_anew_in_eager_and_in_compiled_calls():
    layer = SpikingActivation("relu")
    x = np.full((2, 5, 20), 300.0, "float32")
    assert not np.array_equal(to_numpy(layer(x)), to_numpy(layer(x)))
    model = keras.Sequential([layer])
    assert not np.array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_seed_fixes_the_initial_voltages():
    first = initial_voltages(SpikingActivation("relu", seed=3))
    np.testing.assert_array_equal(first, initial_voltages(SpikingActivation("relu", seed=3)))
    assert not np.any((first == initial_voltages(SpikingActivation("relu", seed=4))).all(axis=0))
    assert abs(first.mean() - 0.5) < 5 / math.sqrt(12 * first.size)
    # Voltages of a sample do not depend on the batch size, and are the same on every backend.
    np.testing.assert_array_equal(initial_voltages(SpikingActivation("relu", seed=3), (5, 1, 50)), first[:5])
    assert not np.any((first[1:] == first[0]).all(axis=1))
    np.testing.assert_allclose(first[0, :3], [0.27774894, 0.9578138, 0.53933764], rtol=1e-6)


@modes
def test_a_seed_gives_the_same_spikes_compiled_or_not(mode):
    layer = SpikingActivation("relu", seed=3)
    x = normal(3, 20, 4, scale=900)
    expected = to_numpy(layer(x))
    assert expected.any()
    np.testing.assert_array_equal(run(mode, layer, x), expected)


@modes
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_that_of_the_activation_at_each_step(mode, training):
    layer = SpikingActivation("tanh", dt=0.4, return_state=True)
    x, v, weights = normal(2, 6, 3), RNG.uniform(size=(2, 3)).astype("float32"), normal(2, 6, 3)
    layer.build(x.shape)

    def loss(x, v):
        outputs, last = layer(x, initial_state=v, training=training)
        return ops.sum(ops.multiply(weights, outputs)) + 100 * ops.sum(last)

    d_x, d_v = gradients(mode, loss, x, v)
    np.testing.assert_allclose(d_x, weights * (1 - np.tanh(x) ** 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(d_v, 0)


def test_the_backward_pass_does_not_repeat_steps(monkeypatch):
    # The gradient of a filter, in contrast, calls the step again in reverse.
    calls = {"fire": 0, "linear": 0}

    def counted(name, step):
        def call(params, state, x):
            calls[name] += 1
            return step(params, state, x)

        return call

    monkeypatch.setattr(spiking, "_fire", counted("fire", spiking._fire))
    monkeypatch.setattr(filters, "lowpass_step", counted("linear", filters.lowpass_step))
    x = normal(2, 6, 3, scale=100)
    for name, layer in (("fire", SpikingActivation("relu", seed=0)), ("linear", Lowpass(0.1))):
        forward, backward = count_calls(calls, name, layer, x)
        assert forward > 0
        assert (backward > 0) == (name == "linear")


def count_calls(calls, name, layer, x):
    """Return the number of calls (or traces) of the step in the forward and in the backward pass."""
    layer.build(x.shape)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        forward = calls[name]
        assert tape.gradient(y, x) is not None
    elif keras.config.backend() == "jax":
        import jax

        y, backward = jax.vjp(layer, x)
        forward = calls[name]
        backward(y)
    else:
        import torch

        x = torch.tensor(x, requires_grad=True)
        y = layer(x)
        forward = calls[name]
        y.sum().backward()
        assert x.grad is not None
    return forward, calls[name] - forward


def test_training_without_spikes():
    layer = SpikingActivation("tanh", dt=0.4, spiking_aware_training=False, return_state=True)
    x, v = normal(2, 6, 3), np.full((2, 3), 0.7, "float32")
    outputs, voltage = layer(x, training=True, initial_state=v)
    np.testing.assert_array_equal(to_numpy(outputs), to_numpy(ops.tanh(x)))
    np.testing.assert_array_equal(to_numpy(voltage), v)
    for flag in (False, None):
        if flag is None and keras.config.backend() == "torch":
            continue  # on PyTorch, the mode of the module counts
        spikes, _ = layer(x, training=flag, initial_state=v)
        assert set(np.unique(np.round(to_numpy(spikes) * 0.4, 3))) <= {-1.0, 0.0, 1.0}

    stateful = SpikingActivation("tanh", seed=0, spiking_aware_training=False, stateful=True)
    stateful.build(x.shape)
    before = to_numpy(stateful.states[0])
    stateful(x, training=True)
    np.testing.assert_array_equal(to_numpy(stateful.states[0]), before)
    stateful(x, training=False)
    assert not np.array_equal(to_numpy(stateful.states[0]), before)


def test_a_non_finite_input_only_affects_its_unit():
    x = np.full((2, 6, 3), 50.0, "float32")
    expected = to_numpy(SpikingActivation("relu", seed=0, dt=0.01)(x))
    x[0, 2, 1] = np.nan
    actual = to_numpy(SpikingActivation("relu", seed=0, dt=0.01)(x))
    affected = np.zeros(x.shape, bool)
    affected[0, 2:, 1] = True
    np.testing.assert_array_equal(np.isnan(actual), affected)
    np.testing.assert_array_equal(actual[~affected], expected[~affected])


def test_activity_regularizers_see_spikes_or_rates():
    x = np.full((2, 10, 3), 20.0, "float32")
    every_step = SpikingActivation("relu", dt=0.01, seed=0, activity_regularizer=regularizers.L2(1.0, target=20))
    averaged = SpikingActivation(
        "relu", dt=0.01, seed=0, activity_regularizer=regularizers.L2(1.0, target=20, time_axis=1)
    )
    spikes = to_numpy(every_step(x))
    averaged(x)
    # 20 Hz over 10 steps of 0.01 s give two spikes. The average has the target rate; no single step has it.
    np.testing.assert_array_equal(spikes.sum(axis=1), 200.0)
    np.testing.assert_allclose(float(averaged.losses[0]), 0.0, atol=1e-6)
    assert float(every_step.losses[0]) > 1000


def test_a_saved_model_with_a_seed_has_the_same_outputs_for_any_batch_size(tmp_path):
    x = np.random.default_rng(0).uniform(0, 90, size=(12, 5, 3)).astype("float32")
    model = keras.Sequential([keras.Input((5, 3)), SpikingActivation("relu", dt=0.01, seed=2)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = to_numpy(model(x))
    np.testing.assert_array_equal(to_numpy(loaded(x)), expected)
    np.testing.assert_array_equal(to_numpy(loaded(x[:7])), expected[:7])
    np.testing.assert_array_equal(loaded.predict(x[:7], verbose=0), expected[:7])


def test_activation_in_the_config():
    for activation, name in [("relu", "relu"), (keras.activations.tanh, "tanh")]:
        assert SpikingActivation(activation).get_config()["activation"] == name
    config = SpikingActivation(cube).get_config()
    assert SpikingActivation.from_config(config).activation is cube
    assert SpikingActivation(None)(np.full((1, 1, 1), -2.5, "float32"), initial_state=np.zeros((1, 1))).shape == (
        1,
        1,
        1,
    )


def test_an_unknown_activation_is_refused():
    for make in (SpikingActivation, lambda name: SpikingActivationCell(3, name)):
        with pytest.raises(ValueError, match="Could not interpret activation function identifier: spike"):
            make("spike")


def test_unknown_units_are_refused():
    with pytest.raises(ValueError, match=r"size of every axis after time, got shape \(None, None, None\)"):
        SpikingActivation("relu")(keras.Input((None, None)))
