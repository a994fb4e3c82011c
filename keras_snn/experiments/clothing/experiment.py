"""The two networks, the search for dt, and what is done with them."""

import keras

from keras_snn import data
from keras_snn.experiments import common
from keras_snn.experiments.clothing.results import draw, table
from keras_snn.files import save_model
from keras_snn.inspector import find_dt, inspect

N_STEPS = 10
FIGURES = (*common.FIGURES, "dt")
NETWORKS = ("plain", "spiking")
DTS = (0.001, 0.01, 0.1, 1.0)

#: One training image in this many is held back, to choose dt on.
HELD_BACK = 6

#: "quick" takes the embedded sample and less than a minute on two cores; "full" is the publication's own setting.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name):
    """Return the network ``name``, "plain" or "spiking", compiled."""
    if name == "plain":
        return common.network(name, [keras.layers.Activation("relu")])
    return common.network(name, common.spiking(N_STEPS, spiking_aware_training=False))


def run(*, preset="quick", data_name=None, seed=0, out="runs/clothing", epochs=None, verbose=True):
    """Train both networks, search for dt, write ``results.json`` and a picture to ``out``, and print the table.

    Each network is saved as soon as it is done: a run that was interrupted goes on with the next one.

    Args:
        preset: "quick" or "full".
        data_name: "sample" (embedded in the package), "full" (60,000 images through ``keras.datasets``), or the path of
            a ``tensorflow_datasets`` folder that holds the full set. Default: the preset's.
        seed: Integer, for weights, order of the images and initial voltages.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset or data set.
        OSError: If ``out`` cannot be written; raised before the training.
    """
    config = common.configuration("clothing", PRESETS, preset=preset, data_name=data_name, seed=seed, epochs=epochs)
    config |= {"n_steps": N_STEPS, "held_back": HELD_BACK}
    say = print if verbose else (lambda *_: None)

    (x, y), test = common.load("fashion_mnist", config["data"], lambda: data.load("fashion_mnist_sample"))
    n_held_back = len(x) // HELD_BACK
    train, validation = (x[n_held_back:], y[n_held_back:]), (x[:n_held_back], y[:n_held_back])
    sets = {"train": train, "validation": validation, "test": test}

    def run_one(name, record):
        return _run_one(name, sets, config, record, verbose=verbose)

    record = common.run_parts(out, config, NETWORKS, len(train[0]), run_one, say, figures=FIGURES)
    draw(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, accuracy.png and the networks.")
    return record.data


def _run_one(name, sets, config, record, *, verbose):
    keras.utils.set_random_seed(config["seed"])
    model = build(name)
    part = common.train(model, *sets["train"], config, verbose=verbose)
    if name == "plain":
        of_sets = {of: model.evaluate(x, y, batch_size=256, verbose=0)[1] for of, (x, y) in sets.items()}
        part["dt"] = {"-": {"accuracy": of_sets, "rate_hz": None}}
    else:
        target = record.parts["plain"]["dt"]["-"]["accuracy"]["validation"]
        if verbose:
            print(f"raising dt until the accuracy on the images held back is the plain network's, {100 * target:.2f}%")
        search = find_dt(model, *sets["validation"], target=target, seed=config["seed"], verbose=verbose)
        part["chosen_dt"] = search.dt
        part["tries"] = [{"dt": one.dt, "accuracy": one.accuracy, "reached": one.reached} for one in search.tries]
        part["dt"] = {f"{dt:g}": _ask(model, sets, dt, config["seed"]) for dt in DTS}
    save_model(model, record.folder / f"{name}.keras")
    return part


def _ask(model, sets, dt, seed):
    """Return the accuracies on all sets at one dt, and the mean and the largest firing rate on the test images."""
    found = {of: inspect(model, x, y, dt=dt, examples=0, seed=seed)[dt] for of, (x, y) in sets.items()}
    rate = found["test"].layers["hidden"].rate
    return {"accuracy": {of: result.accuracy for of, result in found.items()}, "rate_hz": (rate.mean, rate.max)}
