"""The names of the experiments, for the command line. Importing this file does not import Keras."""

import importlib
import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One line of ``keras-snn list``.

    Attributes:
        name: Name on the command line. The folder of the experiment has underscores instead of hyphens.
        summary: One line.
        presets: Names of the presets.
        datasets: Names of the data sets, the default first. Empty for an experiment with one data set.
        several_devices: Whether it can be trained on several devices: its trainings are Keras's ``fit`` on arrays.
    """

    name: str
    summary: str
    presets: tuple[str, ...] = ("quick", "full")
    datasets: tuple[str, ...] = ()
    several_devices: bool = False

    def folder(self, preset: str, dataset: str | None = None) -> str:
        """Return the default folder of the results."""
        return os.path.join("runs", "-".join(filter(None, (self.name, dataset, preset))))


_CIFAR10 = ("cifar10_vgg16", "cifar10_resnet18")
_ENTRIES = (
    Entry("fashion-mnist", "ANN and spiking networks on Fashion-MNIST at several dt", several_devices=True),
    Entry("ann-vs-snn-mnist", "ANN and spiking network on clean, rotated and noisy digits", several_devices=True),
    Entry(
        "clothing", "Raise dt until a spiking network on Fashion-MNIST is as accurate as the ANN", several_devices=True
    ),
    Entry(
        "klif",
        "KLIF neurons, which learn the scale of their membrane, and LIF neurons, over several seeds",
        datasets=("fashion_mnist", "mnist", "cifar10", "nmnist", *_CIFAR10),
    ),
    Entry(
        "conversion",
        "ANNs converted to spiking networks, after 4 to 256 steps",
        datasets=("fashion_mnist", "mnist", "cifar10"),
        several_devices=True,
    ),
    Entry(
        "noise-training",
        "Train at one step with noise and run at ten steps, or train at ten steps",
        presets=("quick", "wide", "full"),
        datasets=("fashion_mnist", "mnist", *_CIFAR10),
    ),
    Entry("nmnist", "A spiking classifier of the event recordings of N-MNIST, or of a simulated camera"),
    Entry(
        "oscillation-defense",
        "Oscillating membranes against adversarial examples, and controls that show obfuscated gradients",
        presets=("quick", "standard", "full"),
        datasets=("fashion_mnist", "cifar10", *_CIFAR10, "cifar100_resnet18"),
    ),
    Entry(
        "spiking-sampling",
        "A spiking network chooses pixels or events, and another network rebuilds the image from them",
        presets=("quick", "standard", "full"),
        datasets=("mnist", "fashion_mnist", "cifar10", "nmnist"),
    ),
    Entry(
        "stdp-mnist",
        "Digits learned without labels by spike-timing-dependent plasticity (Diehl and Cook)",
        datasets=("mnist", "fashion_mnist"),
    ),
    Entry(
        "stdp-tactile",
        "Surfaces learned from touch without labels by spike-timing-dependent plasticity",
        presets=("quick", "standard", "full"),
    ),
    Entry("teacher-stdp", "Two neurons learn two digits by local rules, while a teacher current names them"),
)

#: The experiments by name.
ENTRIES = {entry.name: entry for entry in _ENTRIES}


def entry(name: str) -> Entry:
    """Return the entry of the experiment ``name``.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in ENTRIES:
        raise ValueError(f"`name` must be one of {', '.join(map(repr, ENTRIES))}; got {name!r}.")
    return ENTRIES[name]


def check_devices(name: str, devices: int) -> None:
    """Raise ValueError if the experiment ``name`` cannot be trained on this number of devices."""
    if devices > 1 and not entry(name).several_devices:
        others = ", ".join(repr(line.name) for line in _ENTRIES if line.several_devices)
        raise ValueError(
            f"`devices` must be 1 for {name!r}, whose training is not only Keras's `fit` on arrays; got {devices}. "
            f"Experiments for several devices: {others}."
        )


def get(name: str) -> Any:
    """Return the ``Experiment`` called ``name``. Imports Keras.

    Raises:
        ValueError: For an unknown name.
    """
    folder = entry(name).name.replace("-", "_")
    return importlib.import_module(f"keras_snn.experiments.{folder}.experiment").EXPERIMENT
