"""Train an ANN and a spiking network on Fashion-MNIST, and search for the dt of equal accuracy."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_snn.experiments import images, training
from keras_snn.experiments.clothing.results import SETS, draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.files import save_model
from keras_snn.inspector import find_dt, inspect

N_STEPS = 10
FIGURES = (*training.FIGURES, "dt")
NETWORKS = ("ann", "spiking")
DTS = (0.001, 0.01, 0.1, 1.0)

#: One of this many training images is a validation image, for the choice of dt.
HELD_BACK = 6

#: "quick" takes the embedded sample and less than a minute on two cores; "full" has the published settings.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name: str) -> keras.Model:
    """Return the network ``name``, "ann" (the ANN) or "spiking", compiled."""
    if name == "ann":
        return training.network(name, [keras.layers.Activation("relu")])
    return training.network(name, training.spiking(N_STEPS, spiking_aware_training=False))


def load(config: Mapping[str, Any]) -> tuple:
    """Return the pairs (images, labels) for training, validation and test."""
    (x, y), test = images.load("fashion_mnist", config["data"])
    n_held_back = len(x) // HELD_BACK
    return (x[n_held_back:], y[n_held_back:]), (x[:n_held_back], y[:n_held_back]), test


def train_part(part: Part) -> dict[str, Any]:
    """Train a network, choose dt on the validation images, evaluate at each dt, and save the network."""
    keras.utils.set_random_seed(part.seed)
    sets = dict(zip(SETS, part.data, strict=True))
    model = build(part.name)
    x, y = sets["train"]
    result = training.train(model, x, y, part.config, verbose=part.verbose)
    if part.name == "ann":
        accuracies = {split: model.evaluate(x, y, batch_size=256, verbose=0)[1] for split, (x, y) in sets.items()}
        result["dt"] = {"-": {"accuracy": accuracies, "rate_hz": None}}
    else:
        target = part.finished["ann"]["dt"]["-"]["accuracy"]["validation"]
        part.log(f"raising dt until the validation accuracy is that of the ANN, {100 * target:.2f}%")
        search = find_dt(model, *sets["validation"], target=target, seed=part.seed, verbose=part.verbose)
        result["chosen_dt"] = search.dt
        result["tries"] = [{"dt": run.dt, "accuracy": run.accuracy, "reached": run.reached} for run in search.tries]
        result["dt"] = {f"{dt:g}": _evaluate_at_dt(model, sets, dt, part) for dt in DTS}
    save_model(model, part.folder / f"{part.name}.keras")
    return result


def _evaluate_at_dt(model, sets, dt, part):
    """Return the accuracies on all sets at one dt, and mean and max firing rate on the test images."""
    options = {"dt": dt, "examples": 0, "seed": part.seed, "verbose": int(part.verbose)}
    reports = {split: inspect(model, x, y, **options)[dt] for split, (x, y) in sets.items()}
    rate = reports["test"].layers["hidden"].rate
    accuracies = {split: report.accuracy for split, report in reports.items()}
    return {"accuracy": accuracies, "rate_hz": (rate.mean, rate.max)}


EXPERIMENT = Experiment(
    entry=ENTRIES["clothing"],
    presets=PRESETS,
    parts=lambda config: NETWORKS,
    configure=lambda config: {"n_steps": N_STEPS, "held_back": HELD_BACK},
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
