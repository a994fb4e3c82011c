"""Replacing the neurons of a trained network, and fitting the alternative neuron."""

import functools

import keras
import numpy as np
import pytest
from reference.autodiff import to_numpy

from keras_snn import layers, robustness
from keras_snn.layers import LIF, AlternativeOscillationLIF, OscillationLIF

X = np.random.default_rng(0).random((40, 12)).astype("float32")


def network(**options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12,))
    x = layers.Repeat(4)(keras.layers.Dense(16, kernel_initializer="orthogonal")(inputs))
    x = OscillationLIF(3.0, threshold=0.9, name="hidden", **options)(x)
    x = keras.layers.Dense(3)(keras.layers.BatchNormalization()(x))
    x = OscillationLIF(name="out", reset="subtract", **options)(x)
    model = keras.Model(inputs, layers.TemporalAveragePooling()(x))
    model.compile("sgd", "mse")
    return model


def test_swapped_neurons_keep_weights_and_arguments():
    model = network()
    swapped = robustness.swap_neurons(model, functools.partial(LIF, decay_input=False))
    for old, new in zip(model.get_weights(), swapped.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    hidden, out = (swapped.get_layer(name) for name in ("hidden", "out"))
    assert (type(hidden), hidden.tau, hidden.threshold, hidden.reset) == (LIF, 3.0, 0.9, "zero")
    assert (out.tau, out.threshold, out.reset, out.surrogate.slope) == (2.0, 1.0, "subtract", 3.0)
    assert not hidden.decay_input
    assert swapped.compiled
    assert isinstance(model.get_layer("hidden"), OscillationLIF)


def test_without_noise_and_fold_an_oscillation_lif_equals_a_lif():
    model = network(noise_range=(0, 0), slope=0.0)
    swapped = robustness.swap_neurons(model, functools.partial(LIF, decay_input=False))
    x = np.full_like(X, 10.0)
    for net in (model, swapped):
        weights = [np.abs(weight) for weight in net.get_weights()]  # positive potentials are not folded
        net.set_weights(weights)
    np.testing.assert_array_equal(model.predict(x, verbose=0), swapped.predict(x, verbose=0))


@pytest.mark.parametrize("shared", [True, False])
def test_the_fit_only_changes_c_and_d(shared):
    model = network(seed=0)
    before = model.get_weights()
    options = {"epochs": 30, "learning_rate": 0.02, "batch_size": 40, "verbose": 0, "shared": shared}
    history = keras.callbacks.History()
    fitted = robustness.fit_alternative(model, 3 * X, callbacks=[history], **options)
    for old, new in zip(before, fitted.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    neurons = [layer for layer in fitted.layers if isinstance(layer, AlternativeOscillationLIF)]
    pairs = {(neuron.c, neuron.d) for neuron in neurons}
    assert len(neurons) == 2
    assert len(pairs) == (1 if shared else 2)
    assert all(pair != (0, 0) for pair in pairs)
    if shared:
        (pair,) = pairs
        for name, value in zip("cd", pair, strict=True):
            assert len(set(map(float, history.history[name]))) > 1
            assert history.history[name][-1] == pytest.approx(value, abs=1e-7)
    else:
        assert "c" not in history.history


def test_the_fitted_neuron_fires_near_the_mean_threshold_of_the_noisy_neuron():
    # Membranes are spread around the threshold. Noise with a mean of 0.3 moves the threshold to 0.7.
    model = keras.Sequential([keras.Input((1, 200)), OscillationLIF(seed=0), layers.TemporalAveragePooling()])
    x = np.random.default_rng(1).uniform(-0.5, 2, size=(50, 1, 200)).astype("float32")
    fitted = robustness.fit_alternative(model, x, epochs=20, learning_rate=0.02, verbose=0)
    h = np.linspace(0, 1.5, 301).astype("float32")
    neuron = AlternativeOscillationLIF(c=fitted.layers[0].c, d=fitted.layers[0].d)
    spikes = to_numpy(neuron(h[None, None]))[0, 0]
    assert h[spikes > 0].min() == pytest.approx(0.7, abs=0.07)


@pytest.mark.backend_free
def test_models_without_spiking_neurons_are_refused():
    ann = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must have SpikingNeuron layers"):
        robustness.swap_neurons(ann, LIF)
    with pytest.raises(ValueError, match="`model` must have OscillationLIF layers"):
        robustness.fit_alternative(ann, X)
    learned = keras.Sequential([keras.Input((4, 3)), OscillationLIF(learn="tau")])
    with pytest.raises(ValueError, match=r"must have no weights to be replaced; it has \['tau'\]"):
        robustness.swap_neurons(learned, LIF)
    with pytest.raises(ValueError, match="`function` must be one of"):
        robustness.fit_alternative(network(), X, function="f9")
