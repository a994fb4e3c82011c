"""Train an ANN and two spiking networks on MNIST, and evaluate them on clean, rotated and noisy digits."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_snn import checks, data
from keras_snn.experiments import images, training
from keras_snn.experiments.ann_vs_snn_mnist.results import draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.files import save_model
from keras_snn.hints import Tensor
from keras_snn.inspector import inspect

N_STEPS = 10
FIGURES = (*training.FIGURES, "test", "ann_with_these_weights")
NETWORKS = ("ann", "snn", "aware")
DTS = (0.001, 0.01, 0.1, 1.0)

#: Functions that make the test sets from clean digits. An .amat file can replace each set.
VARIATIONS = {"rotated": data.rotate, "background-random": data.random_background}

#: "quick" takes the first 6,000 digits and a minute on two cores; "full" has the published settings.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name: str) -> keras.Model:
    """Return the network ``name``, one of "ann", "snn" and "aware", compiled."""
    hidden = {
        "ann": [keras.layers.Activation("relu")],
        "snn": training.spiking(N_STEPS, spiking_aware_training=False),
        "aware": training.spiking(N_STEPS, dt=0.01),
    }
    return training.network(name, hidden[name])


def configure(config: Mapping[str, Any], amat: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return further items of the configuration.

    Args:
        config: The configuration.
        amat: Dict from "rotated" or "background-random" to the path of a file of the published set, read by
            ``data.load_amat``. Default: both sets are made from the clean test digits.
    """
    paths = {checks.choice("amat", name, VARIATIONS): str(path) for name, path in (amat or {}).items()}
    return {"n_steps": N_STEPS, "amat": paths}


def load(config: Mapping[str, Any]) -> tuple:
    """Return the pair (images, labels) for training, and the dict of the pairs for the tests."""
    train, clean = images.load("mnist", config["data"], _sample)
    tests = {"clean": clean}
    for name, change in VARIATIONS.items():
        path = config["amat"].get(name)
        tests[name] = data.load_amat(path) if path else (change(clean[0], config["seed"]), clean[1])
    return train, tests


def _sample():
    (x, y), (x_test, y_test) = data.load("mnist")
    return (x[:6000], y[:6000]), (x_test[:1000], y_test[:1000])


def train_part(part: Part) -> dict[str, Any]:
    """Train a network on clean digits, evaluate it on every test set, and save it."""
    keras.utils.set_random_seed(part.seed)
    (x_train, y_train), tests = part.data
    model = build(part.name)
    result = training.train(model, x_train, y_train, part.config, verbose=part.verbose)
    result["test"] = {test: _evaluate(model, x, y, part) for test, (x, y) in tests.items()}
    # Two trainings differ by rounding. An ANN with the same weights shows the effect of the spikes alone.
    ann = build("ann")
    ann.set_weights([ops.convert_to_numpy(weight) for weight in model.trainable_variables])
    result["ann_with_these_weights"] = {
        test: ann.evaluate(x, y, batch_size=256, verbose=0)[1] for test, (x, y) in tests.items()
    }
    save_model(model, part.folder / f"{part.name}.keras")
    return result


def _evaluate(model, x, y, part):
    """Return accuracy, confusion matrix and firing rates by dt, which is "-" for the ANN."""
    confusion = Confusion(10)
    if model.name == "ann":
        confusion.update_state(y, model.predict(x, batch_size=256, verbose=0))
        return {"-": {"accuracy": confusion.accuracy(), "rate_hz": None, "confusion": confusion.counts()}}
    results = {}
    for dt in DTS:
        options = {"examples": 0, "seed": part.seed, "metrics": [confusion], "verbose": int(part.verbose)}
        (dt_report,) = inspect(model, x, y, dt=dt, **options)
        rate = dt_report.layers["hidden"].rate
        results[f"{dt:g}"] = {
            "accuracy": confusion.accuracy(),
            "rate_hz": (rate.min, rate.mean, rate.max),
            "confusion": confusion.counts(),
        }
    return results


class Confusion(keras.metrics.Metric):
    """Confusion matrix: rows are true classes, columns predicted classes. The metric's result is the accuracy."""

    def __init__(self, n_classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n_classes = n_classes
        self.matrix = self.add_variable((n_classes, n_classes), "zeros", name="matrix")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        label = ops.one_hot(ops.cast(y_true, "int32"), self.n_classes)
        answer = ops.one_hot(ops.argmax(y_pred, -1), self.n_classes)
        self.matrix.assign_add(ops.matmul(ops.transpose(label), answer))

    def result(self) -> Tensor:
        return ops.trace(self.matrix) / ops.sum(self.matrix)

    def counts(self) -> list[list[int]]:
        """Return the matrix as lists of integers."""
        return ops.convert_to_numpy(self.matrix).astype(int).tolist()

    def accuracy(self) -> float:
        """Return the result as a float."""
        return float(self.result())


EXPERIMENT = Experiment(
    entry=ENTRIES["ann-vs-snn-mnist"],
    presets=PRESETS,
    parts=lambda config: NETWORKS,
    configure=configure,
    options=("amat",),
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
