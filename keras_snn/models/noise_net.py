"""The small network in which training at a single step, with noise for a membrane, was published."""

import keras

from keras_snn import checks, layers
from keras_snn.models.spiking_layers import conv, make_neuron, normalization, scaled

#: Channels of the convolutions, each with an average pooling by 2 after its neurons, and units of the dense layer.
CHANNELS = (64, 128, 128)
HIDDEN = 512


def noise_net(input_shape=(28, 28, 1), n_classes=10, neuron=layers.NoisyLIF, *, width=1.0, n_steps=1):
    """Build 64C3-AP2-128C3-AP2-128C3-AP2-512FC-10FC, with batch normalization before all neurons.

    The first convolution sees a still image, once, and its sum is the constant current of every step. The scores are
    the firing rates of the last layer, in [0, 1], which after a single step tie often.

    Args:
        input_shape: Tuple (height, width, channels), height and width 8 at least.
        n_classes: Integer.
        neuron: As in ``klif_net``. Default ``NoisyLIF``.
        width: Number > 0, which all numbers of channels and of hidden units are multiplied with. Default 1.
        n_steps: Integer. Default 1; ``keras_snn.conversion.extend_time`` makes more of them after the training.

    Returns:
        ``keras.Model`` from images ``(batch, height, width, channels)`` to scores ``(batch, n_classes)``; not compiled.

    Raises:
        ValueError: For an unknown neuron, a ``width`` that is not positive, or images that are too small.

    Example:

    ```python
    model = keras_snn.models.noise_net(width=0.25)
    model.compile("adam", "mse", metrics=["categorical_accuracy"])
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, table 4.1, which says nothing of normalization, nor of
    the output; both are as in its appendix B.
    """
    checks.number("width", width, above=0)
    n_classes = checks.integer("n_classes", n_classes, least=1)
    if len(input_shape) != 3 or any(n is None or n < 8 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` has to be (height, width, channels), of 8 x 8 at least; got {input_shape}.")
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(scaled(CHANNELS[0], width), 3, padding="same", use_bias=False, data_format="channels_last")(
        inputs
    )
    x = layers.Repeat(n_steps)(normalization()(x))
    for number, filters in enumerate(CHANNELS):
        x = make_neuron(neuron)(conv(x, scaled(filters, width)) if number else x)
        x = layers.TimeFold(keras.layers.AveragePooling2D(2, data_format="channels_last"))(x)
    x = layers.TimeFold(keras.layers.Flatten(data_format="channels_last"))(x)
    for units in (scaled(HIDDEN, width), n_classes):
        x = layers.TimeFold(normalization())(keras.layers.Dense(units, use_bias=False)(x))
        x = make_neuron(neuron)(x)
    return keras.Model(inputs, layers.TemporalAveragePooling(name="scores")(x), name="noise_net")
