"""VGG-16 with spiking neurons."""

from typing import Any

import keras

from keras_snn import checks, layers
from keras_snn.hints import Shape
from keras_snn.models.spiking_layers import conv, dropout, make_neuron, scaled

#: Channels of the convolutions; an average pooling by 2 follows each group.
GROUPS = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)


def vgg16(
    input_shape: Shape = (32, 32, 3),
    n_classes: int = 10,
    neuron: Any = "lif",
    *,
    width: float = 1.0,
    n_steps: int = 8,
    dropout_rate: float = 0.5,
    encoder_branches: int = 1,
    n_votes: int = 1,
) -> keras.Model:
    """Build VGG-16 with spiking neurons: 13 convolutions with batch normalization, and three dense layers.

    The first convolution runs once for a still image. Its output is the constant input current of every step. The
    scores are the firing rates of the last layer per step, in [0, 1].

    Args:
        input_shape: Tuple (height, width, channels); height and width are multiples of 32.
        n_classes: Integer.
        neuron: As in ``klif_net``.
        width: Number > 0, a factor for the numbers of channels and hidden units. Default 1.
        n_steps: Integer. Default 8.
        dropout_rate: Number in [0, 1), the rate before the first two dense layers. All steps of a sample share a mask.
        encoder_branches: Integer, number of branches of the first layer, a ``ParallelConvEncoder``. Default 1.
        n_votes: Integer, number of neurons per class in the last layer. Default 1.

    Returns:
        ``keras.Model`` from images ``(batch, height, width, channels)`` to scores ``(batch, n_classes)``; not compiled.

    Raises:
        ValueError: If height or width is not a multiple of 32; for an unknown neuron, or a ``width`` <= 0.

    References: Simonyan and Zisserman 2015, arXiv:1409.1556; with spikes: Jiang 2022, PhD thesis, University of
    Canterbury, appendix B.
    """
    checks.number("width", width, above=0)
    n_classes = checks.integer("n_classes", n_classes, least=1)
    n_votes = checks.integer("n_votes", n_votes, least=1)
    if len(input_shape) != 3 or any(n is None or n % 32 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` must be (height, width, channels) in multiples of 32; got {input_shape}.")
    inputs = keras.Input(input_shape)
    encoder = layers.ParallelConvEncoder(scaled(GROUPS[0][0], width), branches=encoder_branches, name="encoder")
    x = make_neuron(neuron)(layers.Repeat(n_steps)(encoder(inputs)))
    first = 1  # the encoder is the first convolution
    for group in GROUPS:
        for filters in group[first:]:
            x = make_neuron(neuron)(conv(x, scaled(filters, width)))
        first = 0
        x = layers.TimeFold(keras.layers.AveragePooling2D(2, data_format="channels_last"))(x)
    x = layers.TimeFold(keras.layers.Flatten(data_format="channels_last"))(x)
    for _ in range(2):
        x = keras.layers.Dense(scaled(512, width), use_bias=False)(dropout(x, dropout_rate))
        x = make_neuron(neuron)(x)
    x = make_neuron(neuron)(keras.layers.Dense(n_votes * n_classes, use_bias=False)(x))
    return keras.Model(inputs, layers.VotingPooling(n_votes, name="votes")(x), name="vgg16")
