"""The ANNs that are converted."""

import keras
from keras import layers

from keras_snn.hints import Shape


def mlp(shape: Shape, width: float) -> keras.Model:
    """Return an ANN with two hidden layers of 256 units times ``width``."""
    x = inputs = keras.Input(shape)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dropout(0.2)(layers.Dense(round(256 * width), activation="relu")(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="mlp")


def cnn(shape: Shape, width: float) -> keras.Model:
    """Return an ANN with batch normalization, three convolutions (16, 32, 32 times ``width``), and 128 units."""
    x = inputs = keras.Input(shape)
    for filters in (16, 32, 32):
        x = layers.AveragePooling2D(2)(_conv(x, round(filters * width)))
    x = layers.Dense(round(128 * width), activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(0.3)(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="cnn")


def resnet(shape: Shape, width: float) -> keras.Model:
    """Return an ANN with a convolution and three residual blocks of 16, 32 and 64 channels times ``width``."""
    inputs = keras.Input(shape)
    x = _conv(inputs, round(16 * width))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        filters = round(filters * width)
        shortcut = x if strides == 1 else _conv(x, filters, strides=strides, size=1, activation=False)
        x = _conv(_conv(x, filters, strides=strides), filters, activation=False)
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="resnet")


def _conv(x, filters, *, strides=1, size=3, activation=True):
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if activation else x


NETWORKS = {"mlp": mlp, "cnn": cnn, "resnet": resnet}
