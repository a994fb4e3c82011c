"""The networks of the KLIF publication."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_snn import checks, layers
from keras_snn.models.spiking_layers import conv, dropout, make_neuron, scaled

POOL = "pool"


@dataclass(frozen=True)
class Net:
    """Shape of the inputs, and sizes of the layers of a network."""

    shape: tuple  # of an image, or of the event frame of one step
    n_steps: int
    blocks: tuple  # channels of a convolution, or POOL; the first convolution is the encoder
    hidden: int
    events: bool = False
    n_classes: int = 10
    branches: int = 3


NETS = {
    "mnist": Net((28, 28, 1), 8, (128, POOL, 128, POOL), 2048),
    "fashion_mnist": Net((28, 28, 1), 8, (128, POOL, 128, POOL), 2048),
    "cifar10": Net((32, 32, 3), 10, (256, 256, 256, POOL, 256, 256, 256, POOL), 2048),
    "nmnist": Net((34, 34, 2), 10, (128, POOL, 128, POOL), 2048, events=True),
    "cifar10_dvs": Net((128, 128, 2), 15, (128, POOL, *(128, POOL) * 3), 512, events=True, branches=1),
    "dvs_gesture": Net((128, 128, 2), 12, (128, POOL, *(128, POOL) * 4), 512, events=True, n_classes=11),
}

#: Neurons in the last layer that vote for one class.
N_VOTES = 10


def klif_net(
    dataset: str,
    neuron: Any = "klif",
    *,
    width: float = 1.0,
    n_steps: int | None = None,
    dropout_rate: float = 0.5,
    branches: int | None = None,
) -> keras.Model:
    """Build the network for a data set: an encoding layer, convolutions, two dense layers, and a vote.

    The encoder runs once for a still image. The sum of its branches is the constant input current of every step. The
    last layer has ten neurons per class. The score of a class is their mean firing rate per step, in [0, 1]. Train the
    model with the mean squared error against one-hot labels.

    Args:
        dataset: "mnist", "fashion_mnist", "cifar10" (images), "nmnist", "cifar10_dvs" or "dvs_gesture" (events, counted
            in ``n_steps`` frames).
        neuron: "klif", "klif*", "klif, celu", "klif, leaky relu" (with the slope 0.01), "only k", "only relu", "lif",
            "plif", or a function that returns a new layer, such as ``lambda: keras_snn.layers.LIF(tau=4.0)``.
        width: Number > 0, a factor for the numbers of channels and hidden units. Default 1.
        n_steps: Integer. Default: that of the publication, 8 to 15.
        dropout_rate: Number in [0, 1), the rate before both dense layers. Steps share a mask. Default 0.5.
        branches: Integer, branches of the encoding layer. Default: that of the publication, 3 (1 for "cifar10_dvs").

    Returns:
        ``keras.Model`` from images ``(batch, height, width, channels)``, or event frames ``(batch, n_steps, height,
        width, channels)``, to scores ``(batch, classes)``; not compiled.

    Raises:
        ValueError: For an unknown data set or neuron, or a ``width`` that is not positive.

    Example:

    ```python
    model = keras_snn.models.klif_net("fashion_mnist", width=0.125, n_steps=4)
    model.compile("adam", "mse", metrics=["categorical_accuracy"])
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, chapter 2 and appendix A (its code, if table 2.1
    differs); Fang et al. 2021, ICCV, arXiv:2007.05785, for the architecture. Batch normalization computes its
    statistics over all steps together; in appendix A, separately for each step.
    """
    net = NETS[checks.choice("dataset", dataset, NETS)]
    checks.number("width", width, above=0)
    n_steps = checks.integer("n_steps", n_steps, least=1, optional=True) or net.n_steps
    branches = checks.integer("branches", branches, least=1, optional=True) or net.branches
    filters = scaled(net.blocks[0], width)
    encoder = layers.ParallelConvEncoder(filters, branches=branches, name="encoder")
    if net.events:
        x = inputs = keras.Input((n_steps, *net.shape))
        x = layers.TimeFold(encoder)(x)
    else:
        x = inputs = keras.Input(net.shape)
        x = layers.Repeat(n_steps)(encoder(x))
    x = make_neuron(neuron)(x)
    for block in net.blocks[1:]:
        if block == POOL:
            x = layers.TimeFold(keras.layers.MaxPooling2D(2, data_format="channels_last"))(x)
        else:
            x = make_neuron(neuron)(conv(x, scaled(block, width)))
    x = layers.TimeFold(keras.layers.Flatten(data_format="channels_last"))(x)
    for units in (scaled(net.hidden, width), N_VOTES * net.n_classes):
        x = keras.layers.Dense(units, use_bias=False)(dropout(x, dropout_rate))
        x = make_neuron(neuron)(x)
    scores = layers.VotingPooling(N_VOTES, name="votes")(x)
    return keras.Model(inputs, scores, name=f"klif_net_{dataset}")
