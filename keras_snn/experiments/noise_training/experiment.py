"""One network, trained at a single step with each kind of noise, and directly at ten steps, over several seeds."""

import keras
import numpy as np

from keras_snn import checks, layers
from keras_snn.conversion import extend_time
from keras_snn.experiments import common
from keras_snn.experiments.noise_training import membrane
from keras_snn.experiments.noise_training.results import DEFAULT, draw, table
from keras_snn.models import noise_net, resnet18, vgg16
from keras_snn.streaming import stream
from keras_snn.surrogates import ATan

#: What is trained, by name: the noise of the neurons at a single step, or "direct", ordinary LIF neurons at all steps.
KINDS = {"gaussian": "gaussian", "uniform": "uniform", "no noise": None, "direct": "direct"}

FIGURES = ("accuracy", "train_accuracy", "seconds", "at")

#: How much of the range is memory when the network is extended; the one of which the training is told is the default.
ALPHAS = (2.0, 4.0, 8.0, None)

#: The network of each data set, and the published number of epochs.
DATASETS = {
    "fashion_mnist": (noise_net, 200),
    "mnist": (noise_net, 100),
    "cifar10_vgg16": (vgg16, 1000),
    "cifar10_resnet18": (resnet18, 800),
}

#: "quick" takes a net of a quarter of the width, few images, and a quarter of an hour on two cores; direct training has
#: a quarter of the epochs, which take it no less time. Noise and memory are standardised over the batch, as in the
#: published code, and the test has batches of the same size. "wide" is the net as published, on as few images, once.
#: "full" is the publication's own setting, which leaves the batch size open, for a GPU.
_QUICK = {
    "data": "sample",
    "epochs": 20,
    "direct_epochs": 5,
    "batch_size": 50,
    "learning_rate": 5e-3,
    "statistics": "batch",
    "width": 0.25,
    "n_steps": 10,
    "n_seeds": 3,
    "n_runs": 3,
    "n_train": 15_000,
    "n_test": 2000,
}
PRESETS = {
    "quick": _QUICK,
    "wide": {**_QUICK, "epochs": 16, "direct_epochs": 4, "learning_rate": 2e-3, "width": 1.0, "n_seeds": 1},
    "full": {
        **_QUICK,
        "data": "full",
        "epochs": 200,
        "direct_epochs": None,
        "learning_rate": 1e-4,
        "width": 1.0,
        "n_seeds": 1,
        "n_train": None,
        "n_test": None,
    },
}

#: What the quick preset takes less of, where the network is larger.
_QUICK_CIFAR10 = {"width": 0.0625, "n_train": 2000, "n_test": 500}


def run(
    *,
    preset="quick",
    dataset="fashion_mnist",
    data_name=None,
    seed=0,
    out="runs/noise-training",
    epochs=None,
    only=None,
    n_seeds=None,
    verbose=True,
):
    """Train with each kind of noise and seed, write ``results.json`` and pictures to ``out``, print the table.

    Every training is saved when it is done, and begun ones go on from their last epoch: a run that was interrupted goes
    on where it stopped. The trainings of a seed follow each other, so that their times are taken on the same machine.

    Args:
        preset: "quick", "wide" or "full".
        dataset: "fashion_mnist", "mnist", "cifar10_vgg16" or "cifar10_resnet18".
        data_name: "full" (through ``keras.datasets``), "sample" (embedded; of Fashion-MNIST alone), or a path: a
            ``tensorflow_datasets`` folder, or a file for ``data.load("cifar10", path=...)``. Default: the preset's,
            and "full" for other sets than Fashion-MNIST.
        seed: Integer, the first of ``n_seeds`` seeds, for weights, order of the images and noise.
        out: Path of the folder for the results.
        epochs: Integer, at most so many for direct training. Default: the preset's; "full" takes the published ones of
            each data set.
        only: Sequence of names out of ``KINDS``. Default: all.
        n_seeds: Integer. Default: the preset's.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set or kind.
        OSError: If ``out`` cannot be written; raised before the training.
    """
    checks.choice("preset", preset, PRESETS)
    checks.choice("dataset", dataset, DATASETS)
    if epochs is None and preset == "full":
        epochs = DATASETS[dataset][1]
    if data_name is None and dataset != "fashion_mnist":
        data_name = "full"
    config = common.configuration(
        "noise-training", PRESETS, preset=preset, data_name=data_name, seed=seed, epochs=epochs
    )
    config["dataset"] = dataset
    if preset == "quick" and dataset.startswith("cifar10"):
        config |= _QUICK_CIFAR10
    config["direct_epochs"] = min(config["direct_epochs"] or config["epochs"], config["epochs"])
    config["n_seeds"] = checks.integer("n_seeds", n_seeds, least=1, optional=True) or config["n_seeds"]
    kinds = list(KINDS if only is None else only)
    for name in kinds:
        checks.choice("only", name, KINDS)
    say = print if verbose else (lambda *_: None)
    sets = _load(config)
    names = [f"{name}, seed {seed + i}" for i in range(config["n_seeds"]) for name in kinds]

    def run_one(name, record):
        return _run_one(name, sets, config, folder=record.folder, verbose=verbose)

    record = common.run_parts(
        out,
        config,
        names,
        len(sets[0][0]),
        run_one,
        say,
        figures=FIGURES,
        epochs_of=lambda name: _epochs(name, config),
    )
    draw(record.data, record.folder)
    membrane.draw(record.folder / "membrane.png", seed=seed)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, steps.png, seconds.png, membrane.png.")
    return record.data


def _load(config):
    """Return the pairs (images, labels) for the training and for the test."""
    pairs = common.load_images(config["dataset"], config["data"])
    return common.first(pairs, config)


def _run_one(name, sets, config, *, folder, verbose):
    kind, _, seed = name.rpartition(", seed ")
    noise = KINDS[kind]
    config = {**config, "epochs": _epochs(name, config)}
    keras.utils.set_random_seed(int(seed))
    direct = _network(config, "direct", config["n_steps"])
    model = direct if kind == "direct" else _network(config, noise, 1)
    networks = {"lif": direct}
    if kind != "direct":
        networks |= {f"alpha {alpha}": _extended(model, noise, config, alpha) for alpha in ALPHAS}
    (x, y), test = sets
    tests = {of: _Test(network, config["n_steps"], *test, config["batch_size"]) for of, network in networks.items()}
    model.compile(keras.optimizers.Adam(common.cosine(config, len(x))), "mse", metrics=["categorical_accuracy"])
    watch = _Watch(folder, name, tests["lif" if kind == "direct" else DEFAULT])
    watch.fit(model, x, y, config, verbose=verbose)
    weights, at = model.get_weights(), {}
    for of, of_network in tests.items():
        runs = [of_network(weights) for _ in range(1 if of == "lif" else config["n_runs"])]
        at[of] = {figure: np.mean([run[figure] for run in runs], axis=0).tolist() for figure in runs[0]}
    watch.remove()
    return {**watch.columns(), "at": at}


def _epochs(name, config):
    return config["direct_epochs" if name.startswith("direct") else "epochs"]


def _network(config, noise, n_steps):
    build, _ = DATASETS[config["dataset"]]

    def neuron():
        if noise == "direct":
            return layers.LIF(decay_input=False, surrogate=ATan(3.0))
        return layers.NoisyLIF(noise=noise, statistics=config["statistics"])

    return build(neuron=neuron, width=config["width"], n_steps=n_steps)


def _extended(model, noise, config, alpha):
    centre = 0.0 if noise is None else 0.5  # that of what the network was trained with
    return extend_time(model, config["n_steps"], alpha, centre)


class _Test:
    """Accuracies on the test images, after each number of steps.

    Args:
        model: The network, whose last layer averages spikes over time.
        n_steps: Integer, its number of steps.
        x, y: The test images and labels.
        batch_size: Integer.
    """

    def __init__(self, model, n_steps, x, y, batch_size):
        self.model, self.n_steps = model, n_steps
        self.starts = range(0, len(x), batch_size)
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.streams = {}

    def __call__(self, weights):
        """Return, with these weights, the accuracies and the shares of samples whose best scores tie."""
        self.model.set_weights(weights)
        found = [self._of_batch(slice(start, start + self.batch_size)) for start in self.starts]
        right, ties = np.concatenate(found, axis=2).mean(axis=2)
        return {"accuracy": right, "ties": ties}

    def _of_batch(self, rows):
        """Return for each number of steps and sample whether the answer is right, and whether best scores tie."""
        x, y = self.x[rows], self.y[rows]
        if len(x) not in self.streams:
            self.streams[len(x)] = stream(self.model, len(x))
        live = self.streams[len(x)]
        live.start(x)
        counts = [np.rint(k * live.step()) for k in range(1, self.n_steps + 1)]
        right = [of_k.argmax(axis=1) == y for of_k in counts]  # of those that tie, the first
        ties = [(of_k == of_k.max(axis=1, keepdims=True)).sum(axis=1) > 1 for of_k in counts]
        return np.array([right, ties])


class _Watch(common.Diary):
    """The diary of a training, with the accuracy on the test images at the last step; that test is not in its seconds.

    Args:
        folder, name: As in ``Diary``.
        test: ``_Test``.
    """

    def __init__(self, folder, name, test):
        super().__init__(folder, name)
        self.test = test

    def figures(self, logs):
        return {"accuracy": float(self.test(self.model.get_weights())["accuracy"][-1])}
