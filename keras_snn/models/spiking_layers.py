"""What the spiking networks of the publications are put together from."""

import functools

import keras

from keras_snn import layers
from keras_snn.activations import LeakyReLU

#: The neurons that a name stands for; "only k" and "only relu" are KLIF without the one or the other of its two parts.
NEURONS = {
    "lif": layers.LIF,
    "plif": layers.PLIF,
    "klif": layers.KLIF,
    "klif*": functools.partial(layers.KLIF, variant="klif*"),
    "only k": functools.partial(layers.KLIF, activation=None),
    "klif, celu": functools.partial(layers.KLIF, activation="celu"),
    "klif, leaky relu": functools.partial(layers.KLIF, activation=LeakyReLU(0.01)),
    "only relu": functools.partial(layers.KLIF, learn=()),
}


def make_neuron(neuron):
    """Return a new layer of neurons: of a name, or what a function without arguments makes.

    Raises:
        ValueError: For an unknown name.
        TypeError: If what is called makes no layer.
    """
    if isinstance(neuron, str):
        if neuron not in NEURONS:
            raise ValueError(
                f"`neuron` has to be one of {', '.join(map(repr, NEURONS))}, or a function; got {neuron!r}."
            )
        return NEURONS[neuron]()
    layer = neuron() if callable(neuron) and not isinstance(neuron, keras.layers.Layer) else None
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            "`neuron` has to be a name or a function that makes a layer, such as `keras_snn.layers.LIF` or a lambda: "
            f"every place in the network needs one of its own. Got {neuron!r}."
        )
    return layer


def normalization():
    """Return a batch normalization with the constants of the publications, which are PyTorch's defaults."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def conv(x, filters, *, strides=1, kernel_size=3):
    """Apply a convolution without bias and batch normalization, at all time steps at once."""
    x = layers.TimeFold(
        keras.layers.Conv2D(filters, kernel_size, strides, padding="same", use_bias=False, data_format="channels_last")
    )(x)
    return layers.TimeFold(normalization())(x)


def dropout(x, rate):
    """Drop units ``(batch, time, units)``: the same ones at every time step of a sample."""
    return keras.layers.Dropout(rate, noise_shape=(None, 1, None))(x) if rate else x


def scaled(n, width):
    """Return ``n`` channels or units times ``width``, at least one."""
    return max(1, round(n * width))
