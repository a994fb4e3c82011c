"""Train plain networks, convert them in several ways, and see what they say after 4 to 256 steps."""

import keras
import numpy as np

from keras_snn import checks
from keras_snn.conversion import convert, report
from keras_snn.experiments import common
from keras_snn.experiments.conversion.networks import NETWORKS
from keras_snn.experiments.conversion.results import draw, table
from keras_snn.inspector import inspect
from keras_snn.streaming import stream

#: The networks of each data set.
DATASETS = {"fashion_mnist": ("mlp", "cnn"), "mnist": ("mlp", "cnn"), "cifar10": ("resnet",)}
#: The ways to convert, by name: arguments of ``convert``.
KINDS = {
    "if": {},
    "if, by channel": {"per": "channel"},
    "if, from zero": {"initial_potential": 0.0},
    "spiking activation": {"neuron": "spiking_activation", "scale_firing_rates": 1000.0, "dt": 0.001},
}
FIGURES = (*common.FIGURES, "accuracy", "kinds")
STEPS = (4, 8, 16, 32, 64, 128, 256)
#: Images at once in a converted network: 256 steps of each are in memory together.
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

#: What the quick preset takes less of, where the network is larger.
_QUICK = {"cifar10": {"epochs": 8, "n_train": 20_000, "n_test": 500}}


def run(
    *,
    preset="quick",
    dataset="fashion_mnist",
    data_name=None,
    seed=0,
    out="runs/conversion",
    epochs=None,
    only=None,
    verbose=True,
):
    """Train and convert each network of a data set, write ``results.json`` and pictures to ``out``, print the table.

    A network that is trained and measured is saved; a run that was interrupted goes on with the next.

    Args:
        preset: "quick" or "full".
        dataset: "fashion_mnist", "mnist" or "cifar10".
        data_name: "full" (through ``keras.datasets``), "sample" (embedded; of Fashion-MNIST alone), or a path: a
            ``tensorflow_datasets`` folder, or a file for ``data.load("cifar10", path=...)``. Default: the preset's,
            and "full" for other sets than Fashion-MNIST.
        seed: Integer, for weights, order of the images and dropout.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's.
        only: Sequence of names of networks. Default: all of the data set.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set or network.
        OSError: If ``out`` cannot be written; raised before the training.
    """
    checks.choice("preset", preset, PRESETS)
    checks.choice("dataset", dataset, DATASETS)
    if data_name is None and dataset != "fashion_mnist":
        data_name = "full"
    config = common.configuration("conversion", PRESETS, preset=preset, data_name=data_name, seed=seed, epochs=epochs)
    config["dataset"] = dataset
    if preset == "quick":
        config |= {**_QUICK.get(dataset, {}), **({} if epochs is None else {"epochs": config["epochs"]})}
    names = list(DATASETS[dataset] if only is None else only)
    for name in names:
        checks.choice("only", name, DATASETS[dataset])
    say = print if verbose else (lambda *_: None)
    sets = _load(config)

    def run_one(name, record):
        return _run_one(name, sets, config, say, verbose=verbose)

    record = common.run_parts(out, config, names, len(sets[0][0]), run_one, say, figures=FIGURES)
    draw(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, accuracy.png and spikes.png.")
    return record.data


def _load(config):
    """Return the pairs (images, labels) for training and for testing, images in [0, 1] with a channel axis."""
    return common.first(common.load_images(config["dataset"], config["data"]), config)


def _run_one(name, sets, config, say, *, verbose):
    (x, y), (x_test, y_test) = sets
    keras.utils.set_random_seed(config["seed"])
    model = NETWORKS[name](x.shape[1:], config["width"])
    optimizer = keras.optimizers.Adam(common.cosine(config, len(x)))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    result = common.train(model, x, y, config, verbose=verbose)
    result["accuracy"] = float(model.evaluate(x_test, y_test, verbose=0)[1])
    result["kinds"] = {}
    calibration = x[: config["n_calibration"]]
    for kind, options in KINDS.items():
        say(f"{name}, {kind}: {config['steps'][-1]} steps of {len(x_test):,} images")
        options = {"calibration": calibration, **options}
        spiking = convert(model, n_steps=config["steps"][-1], **options)
        few = x_test[: config["n_inspected"]]
        found = inspect(spiking, few, n_steps=config["steps"], examples=0, batch_size=_BATCH)
        result["kinds"][kind] = {
            "accuracy": accuracies(spiking, x_test, y_test, config["steps"]),
            "spikes": [sum(_spikes(layer, of.n_steps) for layer in of.layers.values()) for of in found],
            "synaptic_operations": [of.synaptic_operations for of in found],
            "report": report(model, spiking, calibration[:100], n_steps=32).to_dict()["layers"],
        }
    return result


def accuracies(spiking, x, y, steps, *, batch_size=_BATCH):
    """Return the accuracy of a converted classifier after each number of steps, which ascend, of one run of all."""
    right, streams = np.zeros(len(steps)), {}
    for start in range(0, len(x), batch_size):
        images, labels = x[start : start + batch_size], y[start : start + batch_size]
        if len(images) not in streams:
            streams[len(images)] = stream(spiking, len(images))
        live = streams[len(images)]
        live.start(images)
        for i, n_steps in enumerate(np.diff(steps, prepend=0).tolist()):
            scores = live.step(n_steps=n_steps)
            right[i] += (scores.argmax(axis=1) == labels).sum()
    return (right / len(x)).tolist()


def _spikes(layer, n_steps):
    """Return the mean number of spikes of all units of a layer, for one sample."""
    return float(np.sum(layer.per_unit) * layer.dt * n_steps)
