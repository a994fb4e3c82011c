"""Attributes of built layers: a new value is used in the next call, or refused."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn import layers
from keras_snn.surrogates import Sigmoid

X = np.ones((1, 8, 3), "float32")


def test_activation_and_mode_of_a_spiking_activation_can_be_changed():
    model = keras.Sequential([keras.Input((8, 3)), layers.SpikingActivation("relu", dt=0.75, seed=0)])
    model.compile("sgd", "mse")
    layer = model.layers[0]
    before = model.predict(X, verbose=0)
    layer.activation = "softplus"
    layer.spiking_aware_training = False
    assert layer.activation is layer.cell.activation is keras.activations.softplus
    softplus = np.full(X.shape, np.log(1 + np.e))
    # rtol: some units in the last place of float32.
    np.testing.assert_allclose(ops.convert_to_numpy(layer(X, training=True)), softplus, rtol=1e-6)
    model.compile("sgd", "mse")  # compiles again with the new values
    assert not np.array_equal(model.predict(X, verbose=0), before)
    restored = keras.Sequential.from_config(json.loads(json.dumps(model.get_config())))
    np.testing.assert_array_equal(restored.predict(X, verbose=0), model.predict(X, verbose=0))


def test_numbers_and_the_surrogate_of_a_neuron_can_be_changed():
    layer = layers.LIF(tau=2.0)
    x = ops.convert_to_tensor(0.9 * X)
    assert not np.any(ops.convert_to_numpy(layer(x)))
    layer.threshold, layer.surrogate, layer.detach_reset = 0.5, "sigmoid", True
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layers.LIF(tau=2.0, threshold=0.5)(x))
    )
    assert layer.surrogate == Sigmoid()
    assert layers.LIF.from_config(layer.get_config()).threshold == 0.5


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: layers.SpikingActivation("relu"), ["seed", "stateful", "return_sequences", "time_major"]),
        (lambda: layers.Lowpass(0.1), ["apply_during_training", "tau_initializer", "method", "tau_constraint"]),
        (lambda: layers.Alpha(0.1), ["apply_during_training", "level_initializer"]),
        (lambda: layers.LIF(), ["reset", "v_reset", "learn", "per", "refractory", "decay_input", "return_state"]),
        (lambda: layers.PLIF(), ["tau"]),
        (lambda: layers.KLIF(), ["k_bounds", "variant", "activation"]),
        (lambda: layers.NoisyLIF(), ["alpha", "beta", "noise", "statistics", "seed"]),
        (lambda: layers.Izhikevich(), ["c"]),
        (lambda: layers.RecurrentLIF(), ["recurrent_initializer"]),
        (lambda: layers.RNN(layers.LowpassCell(3, 0.1)), ["cell"]),
        (lambda: layers.TimeFold(keras.layers.Dense(2)), ["layer"]),
        (lambda: layers.Repeat(3), ["n"]),
        (lambda: layers.VotingPooling(3), ["n_votes"]),
        (lambda: layers.Poisson(3), ["n_steps", "scale", "seed", "clip"]),
        (lambda: layers.Delta(0.1), ["threshold", "off_spikes"]),
        (lambda: layers.Delay(3), ["max_delay", "delay_initializer", "per"]),
    ],
)
def test_other_arguments_of_a_built_layer_are_refused(make, names):
    layer = make()
    layer(X)
    for name in names:
        old = getattr(layer, name)
        with pytest.raises(
            AttributeError, match=f"`{name}` of '{layer.name}' cannot be changed after the layer was bu"
        ):
            setattr(layer, name, old)
        assert getattr(layer, name) is old
    layer.note = "an attribute of the user's"


def test_all_arguments_of_an_unbuilt_layer_can_be_changed():
    layer = layers.SpikingActivation("relu", dt=0.5)
    layer.seed = 3
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(X)), ops.convert_to_numpy(layers.SpikingActivation("relu", dt=0.5, seed=3)(X))
    )


def test_a_cell_and_its_layer_have_the_same_arguments():
    layer = layers.SpikingActivation("relu", dt=0.5, seed=0)
    layer(X)
    layer.cell.dt, layer.cell.activation = 0.25, "tanh"
    assert layer.dt == 0.25 and layer.activation is keras.activations.tanh
    restored = layers.SpikingActivation.from_config(layer.get_config())
    np.testing.assert_array_equal(ops.convert_to_numpy(restored(X)), ops.convert_to_numpy(layer(X)))
    wrapper = layers.RNN(layers.SpikingActivationCell(3, "relu", dt=0.5, seed=0))
    wrapper(X)
    wrapper.cell.dt = 0.125
    assert wrapper.dt == 0.125
    cells = [layers.SpikingActivationCell(3, "relu", dt=0.5, seed=i) for i in range(2)]
    stack = layers.RNN(keras.layers.StackedRNNCells(cells))
    stack(X)
    stack.dt = 0.25
    assert [cell.dt for cell in cells] == [0.25, 0.25]
