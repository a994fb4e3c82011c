"""Data sets of the experiments, by the argument ``data_name``."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from keras_snn import data
from keras_snn.hints import Tensor


def sample_of_fashion_mnist() -> tuple:
    """Return the embedded sample of Fashion-MNIST."""
    return data.load("fashion_mnist_sample")


def load(name: str, data_name: str, sample: Callable[[], tuple] = sample_of_fashion_mnist) -> tuple:
    """Return ``(x_train, y_train), (x_test, y_test)`` of the data set ``name``.

    Args:
        name: A name that ``data.load`` knows.
        data_name: "full", "sample", or the path of a ``tensorflow_datasets`` folder.
        sample: Function that returns the sample. Default: the embedded sample of Fashion-MNIST.

    Raises:
        ValueError: For another ``data_name``.
    """
    if data_name == "sample":
        return sample()
    if data_name == "full":
        return data.load(name)
    if not os.path.isdir(data_name):
        raise ValueError(f"`data_name` must be 'sample', 'full' or an existing folder; got {data_name!r}.")
    return data.load(name, source="tfds", data_dir=data_name)


def load_images(dataset: str, data_name: str) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs (images with a channel axis, labels) for training and test.

    Args:
        dataset: "fashion_mnist", "mnist" or "cifar10". The suffixes "_vgg16" and "_resnet18" are ignored.
        data_name: As for ``load``, or a file for ``data.load(path=...)``. "sample" exists for Fashion-MNIST only.

    Raises:
        ValueError: For another ``data_name``.
    """
    dataset = dataset.removesuffix("_vgg16").removesuffix("_resnet18")
    if os.path.isfile(data_name):
        pairs = data.load(dataset, path=data_name)
    elif data_name == "sample" and dataset != "fashion_mnist":
        raise ValueError(f"`data_name` must be 'full' or a path for {dataset!r}; got 'sample', part of Fashion-MNIST.")
    else:
        pairs = load(dataset, data_name)
    return [(x if x.ndim == 4 else x[..., None], y) for x, y in pairs]


def limit(pairs: list, config: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Return the first ``n_train`` training samples and the first ``n_test`` test samples of the configuration."""
    sizes = (config["n_train"], config["n_test"])
    return [(x[:size], y[:size]) for (x, y), size in zip(pairs, sizes, strict=True)]


def load_limited(config: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Return the images and labels of the configuration's data set, limited to the configuration's sizes."""
    return limit(load_images(config["dataset"], config["data"]), config)
