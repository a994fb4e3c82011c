"""The same network with each kind of neuron, over several seeds."""

import os

import keras

from keras_snn import checks, data, layers
from keras_snn.experiments import common
from keras_snn.experiments.klif.results import draw, table
from keras_snn.inspector import inspect
from keras_snn.models import klif_net
from keras_snn.models.klif_net import NETS

#: What is trained, by name: the neuron, and the number of branches of the encoder (None: the publication's, three).
KINDS = {
    "lif": ("lif", None),
    "only relu": ("only relu", None),
    "only k": ("only k", None),
    "klif": ("klif", None),
    "klif*": ("klif*", None),
    "klif, one branch": ("klif", 1),
}
DATASETS = ("fashion_mnist", "mnist", "cifar10", "nmnist")
FIGURES = ("accuracy", "train_accuracy", "seconds", "k", "spikes_per_step")
_SPLITS = ("train", "test")

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
_QUICK = {"cifar10": {"width": 0.0625, "n_train": 2000}}


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
        dataset: "fashion_mnist", "mnist", "cifar10" or "nmnist".
        data_name: "full" (through ``keras.datasets``), "sample" (embedded; of Fashion-MNIST alone), or a path: a
            ``tensorflow_datasets`` folder, a file for ``data.load_jpeg`` (CIFAR-10) or for ``data.load_events``
            (N-MNIST, which needs one). Default: the preset's, and "full" for other sets than Fashion-MNIST.
        seed: Integer, the first of ``n_seeds`` seeds, for weights, order of the images and dropout.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's; "full" takes 200 for CIFAR-10.
        only: Sequence of names out of ``KINDS``. Default: all.
        n_seeds: Integer. Default: the preset's.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set or neuron.
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
    config["n_steps"] = config["n_steps"] or NETS[dataset].n_steps
    config["n_seeds"] = checks.integer("n_seeds", n_seeds, least=1, optional=True) or config["n_seeds"]
    kinds = list(KINDS if only is None else only)
    for name in kinds:
        checks.choice("only", name, KINDS)
    say = print if verbose else (lambda *_: None)
    sets = _load(config)
    names = [f"{name}, seed {seed + i}" for i in range(config["n_seeds"]) for name in kinds]

    def run_one(name, record):
        return _run_one(name, sets, config, folder=record.folder, verbose=verbose)

    record = common.run_parts(out, config, names, len(sets[0][0]), run_one, say, figures=FIGURES)
    draw(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, accuracy.png, k.png and spikes.png.")
    return record.data


def _load(config):
    """Return the pairs (images or frames, labels) for the training and for the test."""
    dataset, data_name = config["dataset"], config["data"]
    if dataset == "nmnist":
        pairs = [_frames(data_name, split, config["n_steps"]) for split in _SPLITS]
    else:
        pairs = common.load_images(dataset, data_name)
    return common.first(pairs, config)


def _frames(path, split, n_steps):
    if not os.path.isfile(path):
        raise ValueError(f"`data_name` has to be a file of events for 'nmnist'; got {path!r}.")
    recordings, labels = data.load_events(path, split)
    return data.event_frames(recordings, n_steps, NETS["nmnist"].shape[:2]), labels


def _run_one(name, sets, config, *, folder, verbose):
    kind, _, seed = name.rpartition(", seed ")
    neuron, branches = KINDS[kind]
    keras.utils.set_random_seed(int(seed))
    sizes = {"width": config["width"], "n_steps": config["n_steps"]}
    model = klif_net(config["dataset"], neuron, branches=branches, **sizes)
    (x, y), (x_test, y_test) = sets
    model.compile(keras.optimizers.Adam(common.cosine(config, len(x))), "mse", metrics=["categorical_accuracy"])
    watch = _Watch(folder, name)
    validation = (x_test, keras.utils.to_categorical(y_test, 10))
    watch.fit(model, x, y, config, verbose=verbose, validation_data=validation)
    report = inspect(model, x_test, y_test, examples=0)
    (result,) = report
    rates = [layer.rate.mean * layer.dt for layer in result.layers.values()]
    watch.remove()
    return {**watch.columns(), "spikes_per_step": rates}


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
