"""Train the same network with each kind of neuron, over several seeds."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_snn import layers
from keras_snn.experiments import images, recordings, training
from keras_snn.experiments.klif.results import draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.inspector import inspect
from keras_snn.models import klif_net, resnet18, vgg16
from keras_snn.models.klif_net import N_VOTES, NETS
from keras_snn.models.spiking_layers import NEURONS


@dataclass(frozen=True)
class Kind:
    """One kind of training.

    Attributes:
        neuron: Name, as in ``klif_net``.
        branches: Number of branches of the encoder. Default: the network's.
        chapter: Chapter of the thesis that describes the training. Chapter 3 trains the deep networks: the input is not
            divided by tau, each class has one output neuron, the loss is the cross-entropy, and the full preset has 8
            steps.
    """

    neuron: str
    branches: int | None = None
    chapter: int = 2


#: Kinds of training, by name.
KINDS = {
    "lif": Kind("lif"),
    "only relu": Kind("only relu"),
    "only k": Kind("only k"),
    "klif": Kind("klif"),
    "klif*": Kind("klif*"),
    "klif, celu": Kind("klif, celu"),
    "klif, leaky relu": Kind("klif, leaky relu"),
    "klif, one branch": Kind("klif", branches=1),
    "klif, three branches": Kind("klif", branches=3),
    "lif, chapter 3": Kind("lif", chapter=3),
    "klif, chapter 3": Kind("klif", chapter=3),
}

#: Networks of tables 2.3 and 2.5, with a single branch, and their number of steps in chapters 2 and 3.
DEEP = {"cifar10_vgg16": vgg16, "cifar10_resnet18": resnet18}
_DEEP_STEPS = {2: 6, 3: 8}

_ABLATION = ("lif", "only relu", "only k", "klif")
_ACTIVATIONS = ("klif, celu", "klif, leaky relu")
FIGURES = ("accuracy", "train_accuracy", "seconds", "k", "spikes_per_step")

#: "quick" takes a network of an eighth of the width, few images, and some minutes for each neuron on two cores; "full"
#: has the published settings, for a GPU.
PRESETS = {
    "quick": {
        "data": "sample",
        "epochs": 4,
        "batch_size": 50,
        "learning_rate": 1e-3,
        "width": 0.125,
        "n_steps": 4,
        "n_seeds": 3,
        "n_train": 8000,
        "n_test": 1000,
    },
    "full": {
        "data": "full",
        "epochs": 100,
        "batch_size": 50,
        "learning_rate": 1e-4,
        "width": 1.0,
        "n_steps": None,
        "n_seeds": 1,
        "n_train": None,
        "n_test": None,
    },
}

#: The quick preset of the larger networks, and the published epochs.
ADJUSTMENTS: dict[tuple[str, str], dict] = {
    **{("quick", dataset): {"width": 0.0625, "n_train": 2000} for dataset in ("cifar10", *DEEP)},
    ("quick", "nmnist"): {"data": "simulated", "epochs": 20},
    ("full", "cifar10"): {"epochs": 200},
}


def configure(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of steps, which depend on the network."""
    dataset, n_steps = config["dataset"], config["n_steps"]
    if dataset in DEEP and n_steps is None:
        return {"n_steps": _DEEP_STEPS[2], "n_steps_chapter_3": _DEEP_STEPS[3]}
    return {"n_steps": n_steps or NETS[dataset].n_steps}


def known_parts(config: Mapping[str, Any]) -> list[str]:
    """Return the kinds of training that the data set allows. Chapter 3 trains the deep networks only."""
    return [name for name, kind in KINDS.items() if kind.chapter == 2 or config["dataset"] in DEEP]


def default_parts(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kinds of training.

    With "full": all that are published for the network, and an encoder with another number of branches. With "quick":
    the same without CELU and leaky ReLU; for the deep networks LIF, KLIF and the two halves of KLIF.
    """
    is_full = config["preset"] == "full"
    if config["dataset"] not in DEEP:
        return (*_ABLATION, "klif*", *(_ACTIVATIONS if is_full else ()), "klif, one branch")
    others = (*_ACTIVATIONS, "klif, three branches", "lif, chapter 3", "klif, chapter 3")
    return (*_ABLATION, *(others if is_full else ()))


def load(config: Mapping[str, Any]) -> list:
    """Return the pairs (images or frames, labels) for training and test."""
    if config["dataset"] != "nmnist":
        return images.load_limited(config)
    return [
        (recordings.frames(part, config["n_steps"], split_by="number"), labels)
        for part, labels in recordings.load(config)
    ]


def train_part(part: Part) -> dict[str, Any]:
    """Train the network with a kind of neuron, and count the spikes of its layers."""
    kind, config = KINDS[part.kind], part.config
    keras.utils.set_random_seed(part.seed)
    model = _network(kind, config)
    (x, y), (x_test, y_test) = part.data
    # The rates are the logits: the publication does not scale them.
    loss = "mse" if kind.chapter == 2 else keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(training.cosine(config, len(x))), loss, metrics=["categorical_accuracy"])
    epoch_log = _EpochLog(part.folder, part.name)
    validation = (x_test, keras.utils.to_categorical(y_test, 10))
    epoch_log.fit(model, x, y, config, verbose=part.verbose, validation_data=validation)
    (dt_report,) = inspect(model, x_test, y_test, examples=0, verbose=int(part.verbose))
    rates = [layer.rate.mean * layer.dt for layer in dt_report.layers.values()]
    columns = epoch_log.columns()
    epoch_log.remove()
    return {**columns, "spikes_per_step": rates}


def _network(kind, config):
    dataset, width, n_steps = config["dataset"], config["width"], config["n_steps"]
    if dataset not in DEEP:
        return klif_net(dataset, kind.neuron, branches=kind.branches, width=width, n_steps=n_steps)
    neuron, n_votes = kind.neuron, N_VOTES
    if kind.chapter == 3:
        neuron = functools.partial(NEURONS[neuron], decay_input=False)
        n_votes, n_steps = 1, config.get("n_steps_chapter_3", n_steps)
    branches = kind.branches or 1
    return DEEP[dataset](neuron=neuron, width=width, n_steps=n_steps, encoder_branches=branches, n_votes=n_votes)


class _EpochLog(training.EpochLog):
    """Log the test accuracy, and k before the training and after each epoch."""

    def figures(self, logs: Mapping[str, float]) -> dict[str, Any]:
        return {"accuracy": logs["val_categorical_accuracy"], **self.initial_figures()}

    def initial_figures(self) -> dict[str, Any]:
        learned = [layer for layer in self.model.layers if isinstance(layer, layers.KLIF) and "k" in layer.learn]
        return {"k": [float(keras.ops.convert_to_numpy(layer.parameter_values()["k"])) for layer in learned]}


EXPERIMENT = Experiment(
    entry=ENTRIES["klif"],
    presets=PRESETS,
    parts=default_parts,
    known_parts=known_parts,
    adjustments=ADJUSTMENTS,
    configure=configure,
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
