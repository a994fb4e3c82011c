"""A small model on `scan`, for the tests that train one in every mode and on several devices."""

import keras
import numpy as np
from keras import ops
from reference.autodiff import to_numpy

from keras_snn.ops import scan


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
    """Return the losses, weights and predictions of a model; the last batch of an epoch is smaller than the others."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 5, 2)).astype("float32"), rng.normal(size=(10, 3)).astype("float32")
    losses = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    return np.array(losses), to_numpy(model.trainable_variables), model.predict(x, batch_size=4, verbose=0)
