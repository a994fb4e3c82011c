"""Train ANNs, convert them in several ways, and evaluate the spiking networks after 4 to 256 steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_snn.conversion import convert, report
from keras_snn.experiments import images, training
from keras_snn.experiments.conversion.networks import NETWORKS
from keras_snn.experiments.conversion.results import draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.hints import Tensor
from keras_snn.inspector import inspect
from keras_snn.streaming import stream

#: The networks of each data set.
DATASETS = {"fashion_mnist": ("mlp", "cnn"), "mnist": ("mlp", "cnn"), "cifar10": ("resnet",)}
#: The ways to convert, by name: arguments of ``convert``.
KINDS: dict[str, dict[str, Any]] = {
    "if": {},
    "if, by channel": {"per": "channel"},
    "if, from zero": {"initial_potential": 0.0},
    "spiking activation": {"neuron": "spiking_activation", "scale_firing_rates": 1000.0, "dt": 0.001},
}
FIGURES = (*training.FIGURES, "accuracy", "kinds")
STEPS = (4, 8, 16, 32, 64, 128, 256)
#: Batch size of a converted network: 256 steps of each image are in memory together.
_BATCH = 8

#: "quick" takes the embedded sample, "full" all images for training; both are made for two cores: a quarter of an hour,
#: and an hour.
PRESETS = {
    "quick": {
        "data": "sample",
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "width": 1.0,
        "n_train": None,
        "n_test": 1000,
        "n_calibration": 500,
        "n_inspected": 100,
        "steps": list(STEPS),
    },
    "full": {
        "data": "full",
        "epochs": 10,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "width": 1.0,
        "n_train": None,
        "n_test": 2000,
        "n_calibration": 1000,
        "n_inspected": 100,
        "steps": list(STEPS),
    },
}

#: The quick preset of the larger network.
ADJUSTMENTS = {("quick", "cifar10"): {"epochs": 8, "n_train": 20_000, "n_test": 500}}


def default_parts(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the networks of the data set."""
    return DATASETS[config["dataset"]]


def train_part(part: Part) -> dict[str, Any]:
    """Train an ANN, convert it in several ways, and evaluate each spiking network."""
    config = part.config
    (x, y), (x_test, y_test) = part.data
    keras.utils.set_random_seed(part.seed)
    model = NETWORKS[part.name](x.shape[1:], config["width"])
    optimizer = keras.optimizers.Adam(training.cosine(config, len(x)))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    result = training.train(model, x, y, config, verbose=part.verbose)
    result["accuracy"] = float(model.evaluate(x_test, y_test, verbose=0)[1])
    result["kinds"] = {}
    calibration, inspected = x[: config["n_calibration"]], x_test[: config["n_inspected"]]
    for kind, options in KINDS.items():
        part.log(f"{part.name}, {kind}: {config['steps'][-1]} steps of {len(x_test):,} images")
        options = {"calibration": calibration, **options}
        spiking = convert(model, n_steps=config["steps"][-1], **options)
        inspection = {"n_steps": config["steps"], "examples": 0, "batch_size": _BATCH, "verbose": int(part.verbose)}
        dt_reports = list(inspect(spiking, inspected, **inspection))
        result["kinds"][kind] = {
            "accuracy": accuracies(spiking, x_test, y_test, config["steps"]),
            "spikes": [
                sum(_spikes(layer, dt_report.n_steps) for layer in dt_report.layers.values())
                for dt_report in dt_reports
            ],
            "synaptic_operations": [dt_report.synaptic_operations for dt_report in dt_reports],
            "report": report(model, spiking, calibration[:100], n_steps=32).to_dict()["layers"],
        }
    return result


def accuracies(
    spiking: keras.Model, x: Tensor, y: Tensor, steps: Sequence[int], *, batch_size: int = _BATCH
) -> list[float]:
    """Return the accuracy of a converted classifier after each of ``steps``, which ascend. The model runs once."""
    n_correct, streams = np.zeros(len(steps)), {}
    for start in range(0, len(x), batch_size):
        batch, labels = x[start : start + batch_size], y[start : start + batch_size]
        if len(batch) not in streams:
            streams[len(batch)] = stream(spiking, len(batch))
        batch_stream = streams[len(batch)]
        batch_stream.start(batch)
        for i, n_steps in enumerate(np.diff(steps, prepend=0).tolist()):
            scores = batch_stream.step(n_steps=n_steps)
            n_correct[i] += (scores.argmax(axis=1) == labels).sum()
    return (n_correct / len(x)).tolist()


def _spikes(layer, n_steps):
    """Return the mean number of spikes of all units of a layer, for one sample."""
    return float(np.sum(layer.per_unit) * layer.dt * n_steps)


EXPERIMENT = Experiment(
    entry=ENTRIES["conversion"],
    presets=PRESETS,
    parts=default_parts,
    adjustments=ADJUSTMENTS,
    load=images.load_limited,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
