"""Train five networks and evaluate each at the published dt."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_snn import data, layers, regularizers
from keras_snn.experiments import images, training
from keras_snn.experiments.fashion_mnist.published import PUBLISHED
from keras_snn.experiments.fashion_mnist.results import draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.files import save_model
from keras_snn.inspector import inspect

N_STEPS = 10
FIGURES = (*training.FIGURES, "test")

#: "quick" takes the embedded sample and a few minutes on two cores; "full" has the published settings.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name: str) -> keras.Model:
    """Return the network ``name`` of the publication, compiled.

    The publication repeats the image over 10 time steps before the first ``Dense``. Here the output of ``Dense`` is
    repeated: the same network with a tenth of the multiplications.
    """
    towards_target = regularizers.L2(l2=1e-4, target=(10, 20))
    filtered = training.spiking(N_STEPS, dt=0.01)
    filtered[-1] = layers.Lowpass(0.1, dt=0.01, return_sequences=False)
    hidden = {
        "ann": [keras.layers.Activation("relu")],
        "spiking": training.spiking(N_STEPS, dt=0.001, spiking_aware_training=False),
        "aware": training.spiking(N_STEPS, dt=0.01),
        "regularized": training.spiking(N_STEPS, dt=0.01, activity_regularizer=towards_target),
        "filtered": filtered,
    }
    return training.network(name, hidden[name])


def load(config: Mapping[str, Any]) -> tuple:
    """Return the pairs (images, labels) for training and test."""
    return images.load("fashion_mnist", config["data"])


def train_part(part: Part) -> dict[str, Any]:
    """Train a network, evaluate it at each published dt, and save it."""
    keras.utils.set_random_seed(part.seed)
    (x, y), test = part.data
    model = build(part.name)
    result: dict[str, Any] = {**training.train(model, x, y, part.config, verbose=part.verbose), "test": {}}
    if part.name == "ann":
        _, accuracy = model.evaluate(*test, batch_size=256, verbose=0)
        result["test"]["-"] = {"accuracy": accuracy, "rate_hz": None}
    else:
        dts = [float(dt) for dt in PUBLISHED[part.name]["test"]]
        for dt_report in inspect(model, *test, dt=dts, seed=part.seed, verbose=int(part.verbose)):
            (layer,) = dt_report.layers.values()
            result["test"][f"{dt_report.dt:g}"] = {
                "accuracy": dt_report.accuracy,
                "rate_hz": (layer.rate.min, layer.rate.mean, layer.rate.max),
                "silent": layer.silent,
            }
            picture = part.folder / f"{part.name}_dt{dt_report.dt:g}.png"
            dt_report.plot(picture, class_names=data.class_names("fashion_mnist"))
    save_model(model, part.folder / f"{part.name}.keras")
    return result


EXPERIMENT = Experiment(
    entry=ENTRIES["fashion-mnist"],
    presets=PRESETS,
    parts=lambda config: tuple(PUBLISHED),
    configure=lambda config: {"n_steps": N_STEPS},
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
