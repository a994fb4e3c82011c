"""The five networks, and what is done with each."""

import os
import time

import keras
import numpy as np

from keras_snn import data, layers, regularizers
from keras_snn.experiments.fashion_mnist.published import PUBLISHED
from keras_snn.experiments.fashion_mnist.results import draw, table
from keras_snn.experiments.record import Record
from keras_snn.inspector import inspect

N_STEPS = 10

#: "quick" takes the embedded sample and a few minutes on two cores; "full" is the publication's own setting.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name):
    """Return the network ``name`` of the publication, compiled.

    The publication shows the image at each of 10 time steps, to a `Dense` that multiplies it ten times by the same
    matrix. Here the product is repeated instead of the image: the same network, in a tenth of the work.
    """
    spiking = {
        "ann": [keras.layers.Activation("relu")],
        "spiking": [
            layers.Repeat(N_STEPS),
            layers.SpikingActivation("relu", dt=0.001, spiking_aware_training=False, name="hidden"),
            layers.TemporalAveragePooling(),
        ],
        "aware": [
            layers.Repeat(N_STEPS),
            layers.SpikingActivation("relu", dt=0.01, name="hidden"),
            layers.TemporalAveragePooling(),
        ],
        "regularized": [
            layers.Repeat(N_STEPS),
            layers.SpikingActivation(
                "relu", dt=0.01, activity_regularizer=regularizers.L2(l2=1e-4, target=(10, 20)), name="hidden"
            ),
            layers.TemporalAveragePooling(),
        ],
        "filtered": [
            layers.Repeat(N_STEPS),
            layers.SpikingActivation("relu", dt=0.01, name="hidden"),
            layers.Lowpass(0.1, dt=0.01, return_sequences=False),
        ],
    }
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128),
            *spiking[name],
            keras.layers.Dense(10),
        ],
        name=name,
    )
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def run(*, preset="quick", data_name=None, seed=0, out="runs/fashion-mnist", epochs=None, only=None, verbose=True):
    """Train and test the networks, write ``results.json`` and pictures to ``out``, and print the table.

    Every network is saved as soon as it is done: a run that was interrupted goes on with the next one.

    Args:
        preset: "quick" or "full".
        data_name: "sample" (embedded, no network needed), "full" (60,000 images, through ``keras.datasets``) or the
            path of a ``tensorflow_datasets`` folder that holds the full set. Default: the preset's.
        seed: Integer, for weights, order of the images and initial voltages.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's.
        only: Sequence of names out of ``PUBLISHED``. Default: all.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set or network.
        OSError: If ``out`` cannot be written; raised before the training.
    """
    _check("preset", preset, PRESETS)
    config = {"experiment": "fashion-mnist", "preset": preset, "seed": seed, "n_steps": N_STEPS, **PRESETS[preset]}
    if data_name is not None:
        config["data"] = data_name
    if epochs is not None:
        config["epochs"] = epochs
    if not isinstance(config["epochs"], int) or config["epochs"] < 1:
        raise ValueError(f"`epochs` has to be an integer of at least 1; got {epochs!r}.")
    names = list(PUBLISHED if only is None else only)
    for name in names:
        _check("only", name, PUBLISHED)
    say = print if verbose else (lambda *_: None)

    train, test = _load(config["data"])  # first: where it fails, results from before stay
    record = Record(out, config)
    if record.parts:
        say(f"Going on after an interrupted run: {', '.join(record.parts)} are done.")
    for name in names:
        if name not in record.parts:
            say(f"\n{name}: {config['epochs']} epochs of {len(train[0]):,} images")
            record.add(name, _run_one(name, train, test, config, folder=record.folder, verbose=verbose))
    record.finish()
    draw(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, one picture a network and dt.")
    return record.data


def _load(name):
    if name == "sample":
        return data.load("fashion_mnist_sample")
    if name == "full":
        return data.load("fashion_mnist")
    if not os.path.isdir(name):
        raise ValueError(f"`data_name` has to be 'sample', 'full' or a folder that exists; got {name!r}.")
    return data.load("fashion_mnist", source="tfds", data_dir=name)


def _run_one(name, train, test, config, *, folder, verbose):
    keras.utils.set_random_seed(config["seed"])
    model = build(name)
    watch = _Watch()
    history = model.fit(
        *train,
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        callbacks=[watch],
        verbose=2 if verbose else 0,
    )
    part = {
        "train_accuracy": history.history["accuracy"][-1],
        "loss": history.history["loss"][-1],
        "seconds_per_epoch": float(np.median(watch.seconds)),
        "test": {},
    }
    if name == "ann":
        _, accuracy = model.evaluate(*test, batch_size=256, verbose=0)
        part["test"]["-"] = {"accuracy": accuracy, "rate_hz": None}
    else:
        report = inspect(model, *test, dt=[float(dt) for dt in PUBLISHED[name]["test"]], seed=config["seed"])
        for result in report:
            (layer,) = result.layers.values()
            part["test"][f"{result.dt:g}"] = {
                "accuracy": result.accuracy,
                "rate_hz": (layer.rate.min, layer.rate.mean, layer.rate.max),
                "silent": layer.silent,
            }
            result.plot(folder / f"{name}_dt{result.dt:g}.png", class_names=data.class_names("fashion_mnist"))
    model.save(folder / f"{name}.keras")
    return part


class _Watch(keras.callbacks.Callback):
    """The wall time of every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begin)


def _check(argument, value, known):
    if value not in known:
        raise ValueError(f"`{argument}` has to be one of {', '.join(map(repr, known))}; got {value!r}.")
