"""The networks of the publication on spiking sampling: those that choose pixels, and those that rebuild images."""

import math

import keras

from keras_snn import checks, layers
from keras_snn.hints import Shape
from keras_snn.models.spiking_layers import normalization

_WHERE = {"data_format": "channels_last"}


def sampling_network(
    input_shape: Shape = (28, 28, 1), n_channels: int = 1, *, n_steps: int = 3, tau: float = 1.2
) -> keras.Model:
    """Build the spiking autoencoder 16C3-MP2-4C3-MP2-16CT2S2-1CT2S2, whose output is the potential of each pixel.

    Convolutions have a bias, and batch normalization and LIF neurons after them. The last transposed convolution and
    its normalization drive integrators without leak: the output is the sum over the steps. The image is the same at
    each step.

    Args:
        input_shape: Tuple (height, width, channels); height and width are multiples of 4.
        n_channels: Integer, channels of the mask. Default 1: one for all channels of the image.
        n_steps: Integer. Default 3.
        tau: Number >= 1, of the LIF neurons. Default 1.2, as in the code of the publication; the text has a decay of
            0.5 and an input that is not divided by tau.

    Returns:
        ``keras.Model`` from ``(batch, height, width, channels)`` to ``(batch, height, width, n_channels)``.

    Raises:
        ValueError: If height or width is not a multiple of 4.

    Example:

    ```python
    keras_snn.models.sampling_network((32, 32, 3)).output_shape  # (None, 32, 32, 1)
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, table 5.1 and appendix D.
    """
    n_channels = checks.integer("n_channels", n_channels, least=1)
    if len(input_shape) != 3 or any(n is None or n % 4 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` must be (height, width, channels) in multiples of 4; got {input_shape}.")
    inputs = keras.Input(input_shape)
    x = normalization()(keras.layers.Conv2D(16, 3, padding="same", **_WHERE)(inputs))
    x = layers.LIF(tau)(layers.Repeat(n_steps)(x))
    fold = layers.TimeFold
    x = fold(keras.layers.MaxPooling2D(2, **_WHERE))(x)
    x = fold(normalization())(fold(keras.layers.Conv2D(4, 3, padding="same", **_WHERE))(x))
    x = fold(keras.layers.MaxPooling2D(2, **_WHERE))(layers.LIF(tau)(x))
    x = fold(normalization())(fold(keras.layers.Conv2DTranspose(16, 2, 2, **_WHERE))(x))
    x = layers.LIF(tau)(x)
    x = fold(normalization())(fold(keras.layers.Conv2DTranspose(n_channels, 2, 2, **_WHERE))(x))
    potentials = keras.layers.Rescaling(n_steps)(layers.TemporalAveragePooling()(x))
    return keras.Model(inputs, potentials, name="sampling_network")


def event_sampling_network(
    input_shape: Shape = (3, 34, 34, 2), *, n_steps: int = 3, tau: float = 1.2, width: float = 1.0
) -> keras.Model:
    """Build the sampling network for frames of events: four convolutions of stride 2, and four transposed ones.

    Kernels are 4 x 4 within a frame, so the frames share their weights and do not mix: the publication gives no
    temporal kernel. Channels 12, 24, 48, 96 and back; sides 34, 16, 8, 4, 2 and back. Neurons and output as in
    ``sampling_network``.

    Args:
        input_shape: Tuple (frames, 34, 34, channels), or (34, 34, channels) for one frame.
        n_steps, tau: As in ``sampling_network``.
        width: Number > 0, a factor for the numbers of channels. Default 1.

    Returns:
        ``keras.Model`` from and to ``(batch, *input_shape)``.

    Raises:
        ValueError: For frames that are not 34 x 34.

    References: Jiang 2022, PhD thesis, University of Canterbury, table 5.1.
    """
    checks.number("width", width, above=0)
    if len(input_shape) not in (3, 4) or tuple(input_shape[-3:-1]) != (34, 34):
        raise ValueError(f"`input_shape` must be (frames, 34, 34, channels) or (34, 34, channels); got {input_shape}.")
    down, up = _CONVOLUTIONS[len(input_shape)]
    channels = [max(1, round(n * width)) for n in (12, 24, 48, 96)]
    fold = layers.TimeFold
    inputs = keras.Input(input_shape)
    x = normalization()(_within_frames(down, channels[0], "valid")(inputs))
    x = layers.LIF(tau)(layers.Repeat(n_steps)(x))
    convolutions = [*((down, filters) for filters in channels[1:]), *((up, filters) for filters in channels[2::-1])]
    for layer, filters in convolutions:
        x = layers.LIF(tau)(fold(normalization())(fold(_within_frames(layer, filters, "same"))(x)))
    x = fold(_within_frames(up, input_shape[-1], "valid"))(x)
    potentials = keras.layers.Rescaling(n_steps)(layers.TemporalAveragePooling()(fold(normalization())(x)))
    return keras.Model(inputs, potentials, name="event_sampling_network")


#: Convolution and transposed convolution, by the number of axes of a sample.
_CONVOLUTIONS = {
    3: (keras.layers.Conv2D, keras.layers.Conv2DTranspose),
    4: (keras.layers.Conv3D, keras.layers.Conv3DTranspose),
}


def _within_frames(layer, filters, padding, size=4, strides=2, **options):
    """Return a convolution of ``size`` x ``size`` within each frame."""
    if layer in _CONVOLUTIONS[4]:
        size, strides = (1, size, size), (1, strides, strides)
    return layer(filters, size, strides, padding=padding, **options, **_WHERE)


def dense_reconstructor(
    input_shape: Shape = (28, 28, 1), hidden: tuple[int, ...] = (256, 64, 20, 64, 256)
) -> keras.Model:
    """Build the dense autoencoder 784-256-64-20-64-256-784, with ReLU inside and a sigmoid at the end.

    Args:
        input_shape: Tuple of an image.
        hidden: Units of the layers between. ``(784, 256, 64, 20, 64, 256)`` reads the first 784 of the publication's
            table as a layer.

    Returns:
        ``keras.Model`` from and to ``(batch, *input_shape)``.

    References: Jiang 2022, PhD thesis, University of Canterbury, table 5.1. It does not state the activations.
    """
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten(**_WHERE)(inputs)
    for units in hidden:
        x = keras.layers.Dense(units, "relu")(x)
    x = keras.layers.Dense(math.prod(n or 0 for n in input_shape), "sigmoid")(x)
    return keras.Model(inputs, keras.layers.Reshape(input_shape)(x), name="reconstructor")


def conv_reconstructor(input_shape: Shape = (32, 32, 3)) -> keras.Model:
    """Build the convolutional autoencoder 12-24-48-96-48-24-12-3, kernels 4 and stride 2, with a sigmoid at the end.

    Args:
        input_shape: Tuple (height, width, channels); height and width are multiples of 16.

    Returns:
        ``keras.Model`` from and to ``(batch, *input_shape)``.

    Raises:
        ValueError: If height or width is not a multiple of 16.

    References: as for ``dense_reconstructor``.
    """
    if len(input_shape) != 3 or any(n is None or n % 16 for n in input_shape[:2]):
        raise ValueError(f"`input_shape` must be (height, width, channels) in multiples of 16; got {input_shape}.")
    x = inputs = keras.Input(input_shape)
    for filters in (12, 24, 48, 96):
        x = keras.layers.Conv2D(filters, 4, 2, padding="same", activation="relu", **_WHERE)(x)
    for filters in (48, 24, 12):
        x = keras.layers.Conv2DTranspose(filters, 4, 2, padding="same", activation="relu", **_WHERE)(x)
    x = keras.layers.Conv2DTranspose(input_shape[-1], 4, 2, padding="same", activation="sigmoid", **_WHERE)(x)
    return keras.Model(inputs, x, name="reconstructor")


def event_reconstructor(input_shape: Shape = (3, 34, 34, 2), *, width: float = 1.0) -> keras.Model:
    """Build 64C3 four times and 2C3, within each frame, with ReLU inside and at the end: counts are not negative.

    Args:
        input_shape: Tuple (frames, height, width, channels), or (height, width, channels) for one frame.
        width: Number > 0, a factor for the numbers of channels. Default 1.

    Returns:
        ``keras.Model`` from and to ``(batch, *input_shape)``.

    References: as for ``dense_reconstructor``.
    """
    checks.number("width", width, above=0)
    convolution, _ = _CONVOLUTIONS[len(input_shape)]
    x = inputs = keras.Input(input_shape)
    for filters in (*[max(1, round(64 * width))] * 4, input_shape[-1]):
        x = _within_frames(convolution, filters, "same", 3, 1, activation="relu")(x)
    return keras.Model(inputs, x, name="reconstructor")


def event_classifier(input_shape: Shape = (34, 34, 2), n_classes: int = 10, *, width: float = 1.0) -> keras.Model:
    """Build 128C3-128C3-MP2-FC2048-FC100-FC10 without spikes, with ReLU inside, for the counts of all events.

    Args:
        input_shape: Tuple (height, width, channels).
        n_classes: Integer. Default 10.
        width: Number > 0, a factor for the numbers of channels and hidden units. Default 1.

    Returns:
        ``keras.Model`` from ``(batch, *input_shape)`` to logits ``(batch, n_classes)``.

    References: as for ``dense_reconstructor``. It does not state whether the network has spikes.
    """
    checks.number("width", width, above=0)
    filters, *hidden = (max(1, round(n * width)) for n in (128, 2048, 100))
    x = inputs = keras.Input(input_shape)
    for _ in range(2):
        x = keras.layers.Conv2D(filters, 3, activation="relu", **_WHERE)(x)
    x = keras.layers.Flatten(**_WHERE)(keras.layers.MaxPooling2D(2, **_WHERE)(x))
    for units in hidden:
        x = keras.layers.Dense(units, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(n_classes)(x), name="event_classifier")
