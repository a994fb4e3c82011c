"""Small models for tests in every mode and on several devices."""

import keras
import numpy as np
from keras import ops
from reference.autodiff import to_numpy

from keras_snn.layers import NoisyLIF, Poisson, Repeat, SpikingActivation
from keras_snn.ops import scan

#: Copies of one sample, for `drawing_model`.
COPIES = np.full((64, 32), 0.4, "float32")


class Leaky(keras.layers.Layer):
    """A leaky integrator whose decay is a weight."""

    def __init__(self, unroll=False, **kwargs):
        super().__init__(**kwargs)
        self.unroll = unroll

    def build(self, input_shape):
        self.decay = self.add_weight(shape=input_shape[2:], initializer=keras.initializers.Constant(0.8))

    def call(self, inputs):
        init = ops.zeros((ops.shape(inputs)[0], *inputs.shape[2:]), self.variable_dtype)
        outputs, _ = scan(_leaky, init, inputs, self.decay, unroll=self.unroll)
        return outputs


def _leaky(decay, voltage, x):
    voltage = ops.cast(decay, voltage.dtype) * voltage + ops.cast(x, voltage.dtype)
    return voltage, ops.cast(voltage, x.dtype)


def leaky_model(*, time=5, unroll=False, depth=2, **compile_options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4), Leaky(unroll), keras.layers.Dense(3), Leaky(unroll)]
    layers = layers[-2 * depth :]
    model = keras.Sequential([keras.Input((time, 2)), *layers, keras.layers.GlobalAveragePooling1D()])
    model.compile(keras.optimizers.SGD(0.03), "mse", **compile_options)
    return model


def trained(model):
    """Fit a model and return its losses, weights and predictions. The last batch of an epoch is smaller."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 5, 2)).astype("float32"), rng.normal(size=(10, 3)).astype("float32")
    losses = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    return np.array(losses), to_numpy(model.trainable_variables), model.predict(x, batch_size=4, verbose=0)


def drawing_model():
    """Return a model of all layers that draw, each with a seed and with the global seed. Calls `set_random_seed`."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input(COPIES.shape[1:])
    steps, outputs = Repeat(3)(inputs), []
    for seed in (3, None):
        neurons = SpikingActivation("relu", dt=1.0, seed=seed)(steps), NoisyLIF(seed=seed)(steps)
        outputs += [Poisson(3, seed=seed)(inputs), *neurons]
    return keras.Model(inputs, outputs)


def assert_draws_of_one_device(outputs, outputs_on_one_device):
    """Check that draws differ between the copies of a sample, and equal those of the global batch on one device."""
    for a, b in zip(outputs, outputs_on_one_device, strict=True):
        assert len(np.unique(a, axis=0)) == len(COPIES)
        np.testing.assert_array_equal(a, b)
