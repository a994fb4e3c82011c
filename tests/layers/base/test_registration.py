"""Saving a model warns about classes and functions that are not registered with Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.layers import LIF, RNN, Lowpass, SpikingActivation, SpikingCell, SpikingLayer, SpikingNeuron
from keras_snn.surrogates import Surrogate

pytestmark = pytest.mark.backend_free


class Neuron(SpikingNeuron):
    @staticmethod
    def step(p, state, x):
        (v,) = state
        v, spikes = p.fire(v + x)
        return (v,), spikes


class Cell(SpikingCell):
    def call_inference(self, inputs, states):
        return inputs, states


class Layer(SpikingLayer):
    def build_cell(self, input_shape):
        return Cell(input_shape[2:])


class UserSurrogate(Surrogate):
    def derivative(self, x):
        return ops.ones_like(x)


def spike(x):
    return ops.cast(x > 0, x.dtype)


def twice(x):
    return 2 * x


@pytest.mark.parametrize(
    "make, name",
    [
        (Neuron, "Neuron"),
        (lambda: RNN(Cell(3)), "Cell"),
        (Layer, "Layer"),
        (lambda: LIF(surrogate=spike), "spike"),
        (lambda: LIF(surrogate=UserSurrogate(2.0)), "UserSurrogate"),
        (lambda: SpikingActivation(twice, seed=0), "twice"),
    ],
    ids=["neuron", "cell", "layer", "function", "surrogate", "activation"],
)
def test_saving_warns_about_unregistered_objects(make, name, tmp_path):
    path, objects = tmp_path / "model.keras", {name: globals()[name]}
    model = keras.Sequential([keras.Input((4, 3)), make()])
    with pytest.warns(UserWarning) as warned:
        model.save(path)
    texts = {str(warning.message) for warning in warned}
    assert len(texts) == 1
    (text,) = texts
    assert text.startswith(f"{name!r} is not registered with Keras") and "register_keras_serializable" in text
    assert f"custom_objects={{{name!r}: {name}}}" in text and len(text) < 300
    with pytest.raises(TypeError, match="register_keras_serializable|could not be deserialized"):
        keras.saving.load_model(path)
    x = np.ones((2, 4, 3), "float32")
    loaded = keras.saving.load_model(path, custom_objects=objects)
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(model(x)))
    with keras.saving.custom_object_scope(objects):
        model.save(path)  # a warning would be an error


@pytest.mark.every_backend
def test_registered_objects_are_saved_without_a_warning(tmp_path):
    layers = [LIF(learn="tau"), RNN(keras.layers.GRUCell(3)), Lowpass("ones"), SpikingActivation("relu")]
    keras.Sequential([keras.Input((4, 3)), *layers]).save(tmp_path / "model.keras")
