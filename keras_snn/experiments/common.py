"""What the experiments share: their arguments, data, networks, a timed training, and tables."""

import json
import os
import shutil
import time

import keras
import numpy as np

from keras_snn import checks, data, layers
from keras_snn.experiments.record import Record, versions
from keras_snn.files import replacing, save_figure, write_text

#: The figures that ``train`` returns.
FIGURES = ("train_accuracy", "loss", "seconds_per_epoch")


def configuration(experiment, presets, *, preset, data_name, seed, epochs):
    """Return the dict of what decides the figures, from the arguments of an experiment's ``run``.

    Raises:
        ValueError: For an unknown preset, a ``seed`` below 0, or ``epochs`` below 1; for either that is not an integer.
    """
    checks.choice("preset", preset, presets)
    seed = checks.integer("seed", seed, least=0)
    config = {"experiment": experiment, "preset": preset, "seed": seed, **presets[preset]}
    if data_name is not None:
        config["data"] = data_name
    if epochs is not None:
        config["epochs"] = checks.integer("epochs", epochs, least=1)
    return config


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


def load_images(dataset, data_name):
    """Return the pairs (images with an axis of channels, labels) for training and for testing.

    Args:
        dataset: "fashion_mnist", "mnist" or "cifar10"; with the suffix "_vgg16" or "_resnet18" for these networks.
        data_name: As for ``load``; "sample" is of Fashion-MNIST alone. Or a file for ``data.load(dataset, path=...)``.

    Raises:
        ValueError: For another ``data_name``.
    """
    dataset = dataset.removesuffix("_vgg16").removesuffix("_resnet18")
    if os.path.isfile(data_name):
        pairs = data.load(dataset, path=data_name)
    elif data_name == "sample" and dataset != "fashion_mnist":
        raise ValueError(f"`data_name` 'sample' is of Fashion-MNIST; for {dataset!r} give 'full' or a path.")
    else:
        pairs = load(dataset, data_name, lambda: data.load("fashion_mnist_sample"))
    return [(x if x.ndim == 4 else x[..., None], y) for x, y in pairs]


def first(pairs, config):
    """Return as much of the pairs for training and for testing as ``config`` has it."""
    return [(x[:n], y[:n]) for (x, y), n in zip(pairs, (config["n_train"], config["n_test"]), strict=True)]


def told_images(config):
    """Return how many images ``config`` has for the training, in words."""
    return f"{config['n_train']:,} images at most" if config["n_train"] else "all images"


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


class _Watch(keras.callbacks.Callback):
    """The wall time of every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begin)


class Diary(_Watch):
    """Saves figures and weights after every epoch, so that an interrupted training continues.

    A subclass returns more figures from ``figures``. The seconds of an epoch do not include that call.

    The weights of each epoch are a new file. The diary is written after them, and records that the epoch is done. If
    the process is killed while it writes one of the two, the training continues from the epoch before.

    Args:
        folder: Path of the folder for the results.
        name: Name of the training, and of its folder in ``folder / "begun"``. A diary of another configuration or of
            other versions is replaced, not continued.
    """

    def __init__(self, folder, name):
        super().__init__()
        name = name.replace("*", "-star").replace(", ", "-").replace(" ", "-")
        self.folder = folder / "begun" / name
        self.path = self.folder / "diary.json"
        self.header = {}
        self.epochs = {}

    def figures(self, logs):
        """Return a dict of figures of the epoch that has ended, besides training accuracy and seconds."""
        raise NotImplementedError

    @property
    def n_epochs(self):
        """Number of epochs that are done."""
        return sum(number.isdigit() for number in self.epochs)  # a subclass may add other keys

    def columns(self):
        """Return a dict from each figure's name to the list of its values over the epochs."""
        epochs = [self.epochs[str(number)] for number in range(self.n_epochs)]
        return {name: [epoch[name] for epoch in epochs] for name in epochs[0]}

    def fit(self, model, x, y, config, *, verbose, **options):
        """Fit ``model`` as configured in ``config``, from the last epoch that is done.

        Other ``options`` go to Keras's ``fit``.

        Raises:
            ValueError: If the file of weights cannot be read.
        """
        self.header = {"config": config, "versions": versions()}
        self.epochs = self._read()
        if self.n_epochs:
            self._load_weights(model)
        model.fit(
            x,
            keras.utils.to_categorical(y, 10),
            batch_size=config["batch_size"],
            initial_epoch=self.n_epochs,
            epochs=config["epochs"],
            callbacks=[self],
            verbose=2 if verbose else 0,
            **options,
        )

    def remove(self):
        """Delete the files of a finished training."""
        shutil.rmtree(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        told = {"train_accuracy": logs["categorical_accuracy"], "seconds": self.seconds[-1]}
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.epochs[str(epoch)] = {**told, **self.figures(logs)}
        with replacing(self._weights()) as temporary:
            self.model.save_weights(temporary)
        write_text(self.path, json.dumps({**self.header, "epochs": self.epochs}))
        for path in {*self.folder.iterdir()} - {self.path, self._weights()}:  # the epoch before, and half-written files
            path.unlink()

    def _weights(self):
        return self.folder / f"epoch-{self.n_epochs}.weights.h5"

    def _read(self):
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            epochs = dict(kept.pop("epochs"))
            return epochs if kept == self.header else {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # no diary, or a broken one
            return {}

    def _load_weights(self, model):
        path = self._weights()
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(path)
        except Exception as error:  # Keras raises many types of errors, most without the name of the file
            raise ValueError(
                f"Training cannot continue from {str(path)!r}: {error}. To start again, delete {str(self.folder)!r}."
            ) from error


def run_parts(out, config, names, n_images, run_one, say, *, figures, epochs_of=None):
    """Make the parts that a run before has not finished, save each as soon as it is done, and return the ``Record``.

    Args:
        out: Path of the folder for the results.
        config: Dict of what decides the figures.
        names: Names of the parts, which are networks.
        n_images: Integer, number of training images, to be told.
        run_one: Callable ``(name, record)`` that returns the figures of a network.
        say: Callable that shows a line of text.
        figures: Sequence of the names of the figures that every part has.
        epochs_of: Function of a name that gives its epochs, to be told. Default: the configuration's for all.

    Raises:
        OSError: If ``out`` cannot be written.
    """
    record = Record(out, config, figures)
    if record.left_out:
        say(f"These parts of {record.path} are incomplete and run again: {', '.join(record.left_out)}.")
    if record.parts:
        say(f"Going on after an interrupted run: {', '.join(record.parts)} are done.")
    for name in names:
        if name not in record.parts:
            say(f"\n{name}: {epochs_of(name) if epochs_of else config['epochs']} epochs of {n_images:,} images")
            record.add(name, run_one(name, record))
    record.finish()
    return record


def by_kind(results):
    """Return the dict of the lists of parts by what was trained, over the seeds: the parts are "kind, seed n"."""
    parts = {}
    for name, part in results["parts"].items():
        parts.setdefault(name.rpartition(", seed ")[0], []).append(part)
    return parts


def spread(shares):
    """Return mean and standard deviation of shares in per cent; of a single one, that."""
    if len(shares) == 1:
        return percent(shares[0])
    return f"{percent(np.mean(shares))} ± {100 * np.std(shares, ddof=1):.2f}"


def finish(figure, path):
    """Leave out the frame at the top and at the right of a figure's axes, and write it."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


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
