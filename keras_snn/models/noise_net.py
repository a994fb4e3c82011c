"""The network of the publication on single-step training with membrane noise."""

from typing import Any

import keras

from keras_snn import checks, layers
from keras_snn.hints import Shape
from keras_snn.models.spiking_layers import conv, make_neuron, normalization, scaled

#: Channels of the convolutions. An average pooling by 2 follows the neurons of each.
CHANNELS = (64, 128, 128)
#: Units of the dense layer.
HIDDEN = 512


def noise_net(
    input_shape: Shape = (28, 28, 1),
    n_classes: int = 10,
    neuron: Any = layers.NoisyLIF,
    *,
    width: float = 1.0,
    n_steps: int = 1,
) -> keras.Model:
    """Build 64C3-AP2-128C3-AP2-128C3-AP2-512FC-10FC, with batch normalization before all neurons.

    The first convolution runs once for a still image. Its output is the constant input current of every step. The
    scores are the firing rates of the last layer per step, in [0, 1]. After a single step, many are equal.

    Args:
        input_shape: Tuple (height, width, channels); height and width are at least 8.
        n_classes: Integer.
        neuron: As in ``klif_net``. Default ``NoisyLIF``.
        width: Number > 0, a factor for the numbers of channels and hidden units. Default 1.
        n_steps: Integer. Default 1; ``keras_snn.conversion.extend_time`` adds steps after training.

    Returns:
        ``keras.Model`` from images ``(batch, height, width, channels)`` to scores ``(batch, n_classes)``; not compiled.

    Raises:
        ValueError: For an unknown neuron, a ``width`` that is not positive, or images that are too small.

    Example:

    ```python
    model = keras_snn.models.noise_net(width=0.25)
    model.compile("adam", "mse", metrics=["categorical_accuracy"])
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, table 4.1. Normalization and output, which
    the table leaves open, are those of appendix B.
    """
    checks.number("width", width, above=0)
    n_classes = checks.integer("n_classes", n_classes, least=1)
    if len(input_shape) != 3 or any(n is None or n < 8 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` must be (height, width, channels), at least 8 x 8; got {input_shape}.")
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(scaled(CHANNELS[0], width), 3, padding="same", use_bias=False, data_format="channels_last")(
        inputs
    )
    x = layers.Repeat(n_steps)(normalization()(x))
    for index, filters in enumerate(CHANNELS):
        x = make_neuron(neuron)(conv(x, scaled(filters, width)) if index else x)
        x = layers.TimeFold(keras.layers.AveragePooling2D(2, data_format="channels_last"))(x)
    x = layers.TimeFold(keras.layers.Flatten(data_format="channels_last"))(x)
    for units in (scaled(HIDDEN, width), n_classes):
        x = layers.TimeFold(normalization())(keras.layers.Dense(units, use_bias=False)(x))
        x = make_neuron(neuron)(x)
    return keras.Model(inputs, layers.TemporalAveragePooling(name="scores")(x), name="noise_net")
