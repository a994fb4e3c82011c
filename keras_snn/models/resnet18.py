"""ResNet-18 with spiking neurons."""

import keras

from keras_snn import checks, layers
from keras_snn.models.spiking_layers import conv, make_neuron, normalization, scaled

STAGES = (64, 128, 256, 512)


def resnet18(
    input_shape=(32, 32, 3), n_classes=10, neuron="lif", *, width=1.0, n_steps=8, encoder_branches=1, n_votes=1
):
    """Build ResNet-18 of spiking neurons: a convolution, four stages of two blocks, and a dense layer.

    A block adds its input's spikes to the current of its second neuron. Where the shape changes they go through a 1x1
    convolution with batch normalization first. The scores are the firing rates of the last layer, in [0, 1].

    Args:
        input_shape: Tuple (height, width, channels); height and width are multiples of 8.
        n_classes: Integer.
        neuron: As in ``klif_net``.
        width: Number > 0, which all numbers of channels are multiplied with. Default 1.
        n_steps: Integer. Default 8.
        encoder_branches: Integer, of the first convolution; 3 makes it a ``ParallelConvEncoder``. Default 1.
        n_votes: Integer, neurons in the last layer for each class. Default 1.

    Returns:
        ``keras.Model`` from images ``(batch, height, width, channels)`` to scores ``(batch, n_classes)``; not compiled.

    Raises:
        ValueError: For an ``input_shape`` that is no multiple of 8, an unknown neuron, or a ``width`` <= 0.

    References: He et al. 2016, CVPR, arXiv:1512.03385; with spikes as in Jiang 2022, PhD thesis, University of
    Canterbury, appendix B, whose code adds the shortcut to the membrane before its decay and reset; here it is a
    current, the usual form.
    """
    checks.number("width", width, above=0)
    n_classes = checks.integer("n_classes", n_classes, least=1)
    n_votes = checks.integer("n_votes", n_votes, least=1)
    if len(input_shape) != 3 or any(n is None or n % 8 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` has to be (height, width, channels) in multiples of 8; got {input_shape}.")
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
