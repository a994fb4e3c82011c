"""The networks: one architecture for each data set, with several kinds of neurons."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_snn import layers
from keras_snn.experiments import training
from keras_snn.models import noise_net, resnet18, vgg16
from keras_snn.surrogates import ATan

#: The published networks, by data set.
DEEP: dict[str, Callable] = {
    "cifar10_vgg16": vgg16,
    "cifar10_resnet18": resnet18,
    "cifar100_resnet18": functools.partial(resnet18, n_classes=100),
}

#: The network of each data set. The small one is that of table 4.1 of the thesis.
BUILDERS: dict[str, Callable] = {
    "fashion_mnist": noise_net,
    "cifar10": functools.partial(noise_net, (32, 32, 3)),
    **DEEP,
}

#: The neuron of the benchmark: the oscillation neuron without noise and fold.
lif = functools.partial(layers.LIF, decay_input=False, surrogate=ATan(3.0))


def spiking(config: Mapping[str, Any], neuron: Callable) -> keras.Model:
    """Return the network of the configuration with the neurons that ``neuron()`` returns."""
    return BUILDERS[config["dataset"]](neuron=neuron, width=config["width"], n_steps=config["n_steps"])


def non_spiking(config: Mapping[str, Any]) -> keras.Model:
    """Return the network with ReLU in place of the neurons, at one step. Its scores are not rectified."""
    model = spiking({**config, "n_steps": 1}, keras.layers.ReLU)
    scores = model.layers[-2].input  # of the last ReLU
    return keras.Model(model.input, layers.TemporalAveragePooling(name="scores")(scores), name=model.name)


def compile_for(model: keras.Model, config: Mapping[str, Any], n_images: int) -> None:
    """Compile with the cross-entropy of the rates, which the publication does not scale."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(training.cosine(config, n_images)), loss, metrics=["categorical_accuracy"])
