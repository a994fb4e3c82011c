"""The same network with each kind of neuron, over several seeds."""

import functools
import os
from dataclasses import dataclass

import keras

from keras_snn import checks, data, layers
from keras_snn.experiments import common
from keras_snn.experiments.klif.results import draw, table
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
DATASETS = ("fashion_mnist", "mnist", "cifar10", "nmnist", *DEEP)

_ABLATION = ("lif", "only relu", "only k", "klif")
_ACTIVATIONS = ("klif, celu", "klif, leaky relu")
FIGURES = ("accuracy", "train_accuracy", "seconds", "k", "spikes_per_step")

#: "quick" takes a net of an eighth of the width, few images, and some minutes a neuron on two cores; "full" is the
#: publication's own setting, for a GPU.
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

#: What the quick preset takes less of, where the network is larger.
_QUICK = {dataset: {"width": 0.0625, "n_train": 2000} for dataset in ("cifar10", *DEEP)}


def run(
    *,
    preset="quick",
    dataset="fashion_mnist",
    data_name=None,
    seed=0,
    out="runs/klif",
    epochs=None,
    only=None,
    n_seeds=None,
    verbose=True,
):
    """Train the network with each neuron and seed, write ``results.json`` and pictures to ``out``, print the table.

    Every training is saved when it is done, and begun ones go on from their last epoch: a run that was interrupted goes
    on where it stopped.

    Args:
        preset: "quick" or "full".
        dataset: "fashion_mnist", "mnist", "cifar10", "nmnist", or "cifar10_vgg16" and "cifar10_resnet18" for CIFAR-10
            with the deep networks.
        data_name: "full" (through ``keras.datasets``), "sample" (embedded; of Fashion-MNIST alone), or a path: a
            ``tensorflow_datasets`` folder, or a file for ``data.load(..., path=...)`` (CIFAR-10, and N-MNIST, which
            needs one). Default: the preset's, and "full" for other sets than Fashion-MNIST.
        seed: Integer, the first of ``n_seeds`` seeds, for weights, order of the images and dropout.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's; "full" takes 200 for CIFAR-10.
        only: Sequence of names out of ``KINDS``. Default with "full": all that are published for the network, and an
            encoder with another number of branches. Default with "quick": the same without CELU and leaky ReLU; for the
            deep networks LIF, KLIF and the two halves of KLIF.
        n_seeds: Integer. Default: the preset's.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set or neuron, or a kind of chapter 3 without a deep network.
        OSError: If ``out`` cannot be written; raised before the training.
    """
    checks.choice("preset", preset, PRESETS)
    checks.choice("dataset", dataset, DATASETS)
    if epochs is None and preset == "full" and dataset == "cifar10":
        epochs = 200
    if data_name is None and dataset != "fashion_mnist":
        data_name = "full"
    config = common.configuration("klif", PRESETS, preset=preset, data_name=data_name, seed=seed, epochs=epochs)
    config["dataset"] = dataset
    if preset == "quick":
        config |= _QUICK.get(dataset, {})
    if dataset in DEEP and config["n_steps"] is None:
        config |= {"n_steps": _DEEP_STEPS[2], "n_steps_chapter_3": _DEEP_STEPS[3]}
    config["n_steps"] = config["n_steps"] or NETS[dataset].n_steps
    config["n_seeds"] = checks.integer("n_seeds", n_seeds, least=1, optional=True) or config["n_seeds"]
    known = [name for name, kind in KINDS.items() if kind.chapter == 2 or dataset in DEEP]
    kinds = list(_default_kinds(dataset, preset) if only is None else only)
    for name in kinds:
        checks.choice("only", name, known)
    say = print if verbose else (lambda *_: None)
    sets = _load(config)
    names = [f"{name}, seed {seed + i}" for i in range(config["n_seeds"]) for name in kinds]

    def run_one(name, record):
        return _run_one(name, sets, config, folder=record.folder, verbose=verbose)

    record = common.run_parts(out, config, names, len(sets[0][0]), run_one, say, figures=FIGURES)
    draw(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, accuracy.png, k.png and spikes.png.")
    return record.data


def _default_kinds(dataset, preset):
    full = preset == "full"
    if dataset not in DEEP:
        return (*_ABLATION, "klif*", *(_ACTIVATIONS if full else ()), "klif, one branch")
    others = (*_ACTIVATIONS, "klif, three branches", "lif, chapter 3", "klif, chapter 3")
    return (*_ABLATION, *(others if full else ()))


def _load(config):
    """Return the pairs (images or frames, labels) for the training and for the test."""
    dataset, data_name = config["dataset"], config["data"]
    frames = dataset == "nmnist"
    pairs = _frames(data_name, config["n_steps"]) if frames else common.load_images(dataset, data_name)
    return common.first(pairs, config)


def _frames(path, n_steps):
    if not os.path.isfile(path):
        raise ValueError(f"`data_name` must be a file of events for 'nmnist'; got {path!r}.")
    size = NETS["nmnist"].shape[:2]
    return [(data.event_frames(events, n_steps, size), labels) for events, labels in data.load("nmnist", path=path)]


def _run_one(name, sets, config, *, folder, verbose):
    kind, _, seed = name.rpartition(", seed ")
    kind = KINDS[kind]
    keras.utils.set_random_seed(int(seed))
    model = _network(kind, config)
    (x, y), (x_test, y_test) = sets
    # The rates are the logits: the publication does not scale them.
    loss = "mse" if kind.chapter == 2 else keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(common.cosine(config, len(x))), loss, metrics=["categorical_accuracy"])
    watch = _Watch(folder, name)
    validation = (x_test, keras.utils.to_categorical(y_test, 10))
    watch.fit(model, x, y, config, verbose=verbose, validation_data=validation)
    report = inspect(model, x_test, y_test, examples=0)
    (result,) = report
    rates = [layer.rate.mean * layer.dt for layer in result.layers.values()]
    watch.remove()
    return {**watch.columns(), "spikes_per_step": rates}


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


class _Watch(common.Diary):
    """The diary of a training, with the test's accuracy, and with k, also before the training."""

    def figures(self, logs):
        return {"accuracy": logs["val_categorical_accuracy"], "k": self._k()}

    def columns(self):
        columns = super().columns()
        return {**columns, "k": [self.epochs["begin"]["k"], *columns["k"]]}

    def on_train_begin(self, logs=None):
        if not self.epochs:
            self.epochs = {"begin": {"k": self._k()}}

    def _k(self):
        learned = [layer for layer in self.model.layers if isinstance(layer, layers.KLIF) and "k" in layer.learn]
        return [float(keras.ops.convert_to_numpy(layer.parameter_values()["k"])) for layer in learned]
