"""What the experiments share: their arguments, data, networks, a timed training, and tables."""

import os
import time

import keras
import numpy as np

from keras_snn import data, layers
from keras_snn.experiments.record import Record


def configuration(experiment, presets, *, preset, data_name, seed, epochs):
    """Return the dict of what decides the figures, from the arguments of an experiment's ``run``.

    Raises:
        ValueError: For an unknown preset, or ``epochs`` that is no positive integer.
    """
    check("preset", preset, presets)
    config = {"experiment": experiment, "preset": preset, "seed": seed, **presets[preset]}
    if data_name is not None:
        config["data"] = data_name
    if epochs is not None:
        config["epochs"] = epochs
    if not isinstance(config["epochs"], int) or config["epochs"] < 1:
        raise ValueError(f"`epochs` has to be an integer of at least 1; got {epochs!r}.")
    return config


def check(argument, value, known):
    """Raise an error unless ``value`` is one of ``known``."""
    if value not in known:
        raise ValueError(f"`{argument}` has to be one of {', '.join(map(repr, known))}; got {value!r}.")


def load(name, data_name, sample):
    """Return ``(x_train, y_train), (x_test, y_test)`` of the set ``name``.

    Args:
        name: A name that ``data.load`` knows.
        data_name: "full", "sample", or the path of a ``tensorflow_datasets`` folder.
        sample: Function that returns what "sample" stands for.

    Raises:
        ValueError: For another ``data_name``.
    """
    if data_name == "sample":
        return sample()
    if data_name == "full":
        return data.load(name)
    if not os.path.isdir(data_name):
        raise ValueError(f"`data_name` has to be 'sample', 'full' or a folder that exists; got {data_name!r}.")
    return data.load(name, source="tfds", data_dir=data_name)


def network(name, hidden):
    """Return Flatten, Dense 128, the layers ``hidden`` and Dense 10, compiled as all these publications have it."""
    model = keras.Sequential(
        [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(128), *hidden, keras.layers.Dense(10)],
        name=name,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    return model


def spiking(n_steps, **options):
    """Return the hidden layers that show their input for some steps to spiking units and average the rates."""
    spikes = layers.SpikingActivation("relu", name="hidden", **options)
    return [layers.Repeat(n_steps), spikes, layers.TemporalAveragePooling()]


def train(model, x, y, config, *, verbose):
    """Fit ``model`` as ``config`` has it; return the figures of the training."""
    watch = _Watch()
    history = model.fit(
        x,
        y,
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        callbacks=[watch],
        verbose=2 if verbose else 0,
    )
    return {
        "train_accuracy": history.history["accuracy"][-1],
        "loss": history.history["loss"][-1],
        "seconds_per_epoch": float(np.median(watch.seconds)),
    }


def cosine(config, n_images):
    """Return the learning rate: a cosine down to zero, and again every 100 epochs where there are more."""
    steps = int(np.ceil(n_images / config["batch_size"])) * min(100, config["epochs"])
    return keras.optimizers.schedules.CosineDecayRestarts(config["learning_rate"], steps, t_mul=1.0, m_mul=1.0)


def run_parts(out, config, names, n_images, run_one, say, *, epochs_of=None):
    """Make the parts that a run before has not finished, save each as soon as it is done, and return the ``Record``.

    Args:
        out: Path of the folder for the results.
        config: Dict of what decides the figures.
        names: Names of the parts, which are networks.
        n_images: Integer, number of training images, to be told.
        run_one: Callable ``(name, record)`` that returns the figures of a network.
        say: Callable that shows a line of text.
        epochs_of: Function of a name that gives its epochs, to be told. Default: the configuration's for all.

    Raises:
        OSError: If ``out`` cannot be written.
    """
    record = Record(out, config)
    if record.parts:
        say(f"Going on after an interrupted run: {', '.join(record.parts)} are done.")
    for name in names:
        if name not in record.parts:
            say(f"\n{name}: {epochs_of(name) if epochs_of else config['epochs']} epochs of {n_images:,} images")
            record.add(name, run_one(name, record))
    record.finish()
    return record


def percent(share):
    """Return ``share`` in per cent, "-" for None."""
    return "-" if share is None else f"{100 * share:.2f}"


def hertz(rates):
    """Return rates in Hz side by side, "-" for None."""
    return "-" if rates is None else " / ".join(f"{rate:.3g}" for rate in rates)


def text_table(header, rows):
    """Return the lines of a table, of cells that are text."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [rule, lines[0], rule, *lines[1:], rule]


class _Watch(keras.callbacks.Callback):
    """The wall time of every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begin)
