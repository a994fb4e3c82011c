"""Building blocks of the spiking networks of the publications."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_snn import layers
from keras_snn.activations import LeakyReLU
from keras_snn.hints import Tensor

#: Functions that return a new layer of neurons, by name. "only k" is KLIF without the ReLU, "only relu" without k.
NEURONS: dict[str, Callable] = {
    "lif": layers.LIF,
    "plif": layers.PLIF,
    "klif": layers.KLIF,
    "klif*": functools.partial(layers.KLIF, variant="klif*"),
    "only k": functools.partial(layers.KLIF, activation=None),
    "klif, celu": functools.partial(layers.KLIF, activation="celu"),
    "klif, leaky relu": functools.partial(layers.KLIF, activation=LeakyReLU(0.01)),
    "only relu": functools.partial(layers.KLIF, learn=()),
}


def make_neuron(neuron: Any) -> keras.layers.Layer:
    """Return a new layer of neurons, given a name in ``NEURONS`` or a function without arguments.

    Raises:
        ValueError: For an unknown name.
        TypeError: If ``neuron`` is not a name, and not a function that returns a layer.
    """
    if isinstance(neuron, str):
        if neuron not in NEURONS:
            raise ValueError(f"`neuron` must be one of {', '.join(map(repr, NEURONS))}, or a function; got {neuron!r}.")
        return NEURONS[neuron]()
    layer = neuron() if callable(neuron) and not isinstance(neuron, keras.layers.Layer) else None
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            "`neuron` must be a name or a function that returns a new layer, such as `keras_snn.layers.LIF` or a "
            f"lambda: the network needs several layers; got {neuron!r}."
        )
    return layer


def normalization() -> keras.layers.Layer:
    """Return a batch normalization with the constants of the publications, which are PyTorch's defaults."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def conv(x: Tensor, filters: int, *, strides: int = 1, kernel_size: int = 3) -> Tensor:
    """Apply a convolution without bias, then batch normalization, to all time steps at once."""
    x = layers.TimeFold(
        keras.layers.Conv2D(filters, kernel_size, strides, padding="same", use_bias=False, data_format="channels_last")
    )(x)
    return layers.TimeFold(normalization())(x)


def dropout(x: Tensor, rate: float) -> Tensor:
    """Apply dropout to ``x (batch, time, units)``, with the same mask at all time steps of a sample."""
    return keras.layers.Dropout(rate, noise_shape=(None, 1, None))(x) if rate else x


def scaled(n: int, width: float) -> int:
    """Return the number of channels or units ``n`` multiplied by ``width``, at least 1."""
    return max(1, round(n * width))
