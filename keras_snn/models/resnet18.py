"""ResNet-18 with spiking neurons."""

from typing import Any

import keras

from keras_snn import checks, layers
from keras_snn.hints import Shape
from keras_snn.models.spiking_layers import conv, make_neuron, normalization, scaled

STAGES = (64, 128, 256, 512)


def resnet18(
    input_shape: Shape = (32, 32, 3),
    n_classes: int = 10,
    neuron: Any = "lif",
    *,
    width: float = 1.0,
    n_steps: int = 8,
    encoder_branches: int = 1,
    n_votes: int = 1,
) -> keras.Model:
    """Build ResNet-18 with spiking neurons: a convolution, four stages of two blocks, and a dense layer.

    A block adds its input spikes to the input current of its second neuron. If the shape changes, a 1x1 convolution
    with batch normalization is applied to them first. The scores are the firing rates of the last layer per step, in
    [0, 1].

    Args:
        input_shape: Tuple (height, width, channels); height and width are multiples of 8.
        n_classes: Integer.
        neuron: As in ``klif_net``.
        width: Number > 0, a factor for the numbers of channels. Default 1.
        n_steps: Integer. Default 8.
        encoder_branches: Integer, number of branches of the first layer, a ``ParallelConvEncoder``. Default 1.
        n_votes: Integer, number of neurons per class in the last layer. Default 1.

    Returns:
        ``keras.Model`` from images ``(batch, height, width, channels)`` to scores ``(batch, n_classes)``; not compiled.

    Raises:
        ValueError: If height or width is not a multiple of 8; for an unknown neuron, or a ``width`` <= 0.

    References: He et al. 2016, CVPR, arXiv:1512.03385; with spikes: Jiang 2022, PhD thesis, University of
    Canterbury, appendix B. Its code adds the shortcut to the membrane before decay and reset. Here the shortcut is an
    input current, which is the usual form.
    """
    checks.number("width", width, above=0)
    n_classes = checks.integer("n_classes", n_classes, least=1)
    n_votes = checks.integer("n_votes", n_votes, least=1)
    if len(input_shape) != 3 or any(n is None or n % 8 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` must be (height, width, channels) in multiples of 8; got {input_shape}.")
    inputs = keras.Input(input_shape)
    encoder = layers.ParallelConvEncoder(scaled(STAGES[0], width), branches=encoder_branches, name="encoder")
    x = make_neuron(neuron)(layers.Repeat(n_steps)(encoder(inputs)))
    for stage, filters in enumerate(STAGES):
        for block in range(2):
            strides = 2 if stage and not block else 1
            x = _block(x, scaled(filters, width), strides, neuron)
    x = layers.TimeFold(keras.layers.GlobalAveragePooling2D(data_format="channels_last"))(x)
    x = keras.layers.Dense(n_votes * n_classes, use_bias=False)(x)
    x = make_neuron(neuron)(layers.TimeFold(normalization())(x))
    return keras.Model(inputs, layers.VotingPooling(n_votes, name="votes")(x), name="resnet18")


def _block(x, filters, strides, neuron):
    shortcut = conv(x, filters, strides=strides, kernel_size=1) if strides > 1 else x
    x = make_neuron(neuron)(conv(x, filters, strides=strides))
    return make_neuron(neuron)(keras.layers.Add()([conv(x, filters), shortcut]))
