"""Train a network at one step with each kind of noise, and directly at ten steps, over several seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_snn import layers
from keras_snn.conversion import extend_time
from keras_snn.experiments import images, training
from keras_snn.experiments.noise_training.results import DEFAULT, draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.models import noise_net, resnet18, vgg16
from keras_snn.streaming import stream
from keras_snn.surrogates import ATan

#: Kinds of training: the noise of the neurons at one step, or "direct" for LIF neurons at all steps.
KINDS = {"gaussian": "gaussian", "uniform": "uniform", "no noise": None, "direct": "direct"}

FIGURES = ("accuracy", "train_accuracy", "seconds", "at")

#: Values of ``alpha`` in ``extend_time``. The log of the epochs has the accuracy of ``DEFAULT``.
ALPHAS = (2.0, 4.0, 8.0, None)

#: The network of each data set, and the published number of epochs.
DATASETS = {
    "fashion_mnist": (noise_net, 200),
    "mnist": (noise_net, 100),
    "cifar10_vgg16": (vgg16, 1000),
    "cifar10_resnet18": (resnet18, 800),
}

#: "quick" takes a network of a quarter of the width, few images, and a quarter of an hour on two cores. Direct training
#: has a quarter of the epochs, which take at least as long. Noise and memory are standardized over the batch, as in the
#: published code, and the test uses the same batch size. "wide" has the published width, few images and one seed.
#: "full" has the published settings, for a GPU; the batch size is not published.
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

#: The quick preset of the larger networks, and the published epochs.
_QUICK_CIFAR10 = {"width": 0.0625, "n_train": 2000, "n_test": 500}
ADJUSTMENTS: dict[tuple[str, str], dict] = {
    **{("quick", dataset): _QUICK_CIFAR10 for dataset in DATASETS if dataset.startswith("cifar10")},
    **{("full", dataset): {"epochs": epochs} for dataset, (_, epochs) in DATASETS.items()},
}


def configure(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the epochs of direct training, at most those of the training with noise."""
    return {"direct_epochs": min(config["direct_epochs"] or config["epochs"], config["epochs"])}


def epochs_of(kind: str, config: Mapping[str, Any]) -> int:
    """Return the number of epochs of a kind of training."""
    return config["direct_epochs" if kind == "direct" else "epochs"]


def train_part(part: Part) -> dict[str, Any]:
    """Train a network with a kind of noise, and evaluate it at each number of steps for each alpha."""
    kind, config = part.kind, {**part.config, "epochs": epochs_of(part.kind, part.config)}
    noise = KINDS[kind]
    keras.utils.set_random_seed(part.seed)
    direct = _network(config, "direct", config["n_steps"])
    model = direct if kind == "direct" else _network(config, noise, 1)
    networks = {"lif": direct}
    if kind != "direct":
        networks |= {f"alpha {alpha}": _extended(model, noise, config, alpha) for alpha in ALPHAS}
    (x, y), (x_test, y_test) = part.data
    test_options = config["n_steps"], x_test, y_test, config["batch_size"]
    tests = {run: _Test(network, *test_options) for run, network in networks.items()}
    model.compile(keras.optimizers.Adam(training.cosine(config, len(x))), "mse", metrics=["categorical_accuracy"])
    epoch_log = _EpochLog(part.folder, part.name, tests["lif" if kind == "direct" else DEFAULT])
    epoch_log.fit(model, x, y, config, verbose=part.verbose)
    weights, figures_by_run = model.get_weights(), {}
    for run, test_network in tests.items():
        repeats = [test_network(weights) for _ in range(1 if run == "lif" else config["n_runs"])]
        means = {name: np.mean([repeat[name] for repeat in repeats], axis=0).tolist() for name in repeats[0]}
        figures_by_run[run] = means
    columns = epoch_log.columns()
    epoch_log.remove()
    return {**columns, "at": figures_by_run}


def _network(config, noise, n_steps):
    build, _ = DATASETS[config["dataset"]]

    def neuron():
        if noise == "direct":
            return layers.LIF(decay_input=False, surrogate=ATan(3.0))
        return layers.NoisyLIF(noise=noise, statistics=config["statistics"])

    return build(neuron=neuron, width=config["width"], n_steps=n_steps)


def _extended(model, noise, config, alpha):
    center = 0.0 if noise is None else 0.5  # the mean of the noise in the training
    return extend_time(model, config["n_steps"], alpha, center)


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
        batches = [self._test_batch(slice(start, start + self.batch_size)) for start in self.starts]
        accuracy, ties = np.concatenate(batches, axis=2).mean(axis=2)
        return {"accuracy": accuracy, "ties": ties}

    def _test_batch(self, rows):
        """Return for each number of steps and sample whether the prediction is correct and whether best scores tie."""
        x, y = self.x[rows], self.y[rows]
        if len(x) not in self.streams:
            self.streams[len(x)] = stream(self.model, len(x))
        batch_stream = self.streams[len(x)]
        batch_stream.start(x)
        counts = [np.rint(k * batch_stream.step()) for k in range(1, self.n_steps + 1)]
        is_correct = [scores.argmax(axis=1) == y for scores in counts]  # the first of the classes that tie
        has_tie = [(scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1 for scores in counts]
        return np.array([is_correct, has_tie])


class _EpochLog(training.EpochLog):
    """Log the test accuracy at the last step. The seconds of an epoch do not include the test.

    Args:
        folder, name: As in ``EpochLog``.
        test: ``_Test``.
    """

    def __init__(self, folder: Path, name: str, test: "_Test"):
        super().__init__(folder, name)
        self.test = test

    def figures(self, logs: Mapping[str, float]) -> dict[str, Any]:
        return {"accuracy": float(self.test(self.model.get_weights())["accuracy"][-1])}


EXPERIMENT = Experiment(
    entry=ENTRIES["noise-training"],
    presets=PRESETS,
    parts=lambda config: tuple(KINDS),
    adjustments=ADJUSTMENTS,
    configure=configure,
    epochs_of=epochs_of,
    load=images.load_limited,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
