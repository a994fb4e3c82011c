"""Networks and trainings that several experiments share."""

import csv
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_snn import layers
from keras_snn.experiments import several_devices
from keras_snn.experiments.record import versions
from keras_snn.files import replacing, write_text
from keras_snn.hints import Tensor

#: The figures that ``train`` returns.
FIGURES = ("train_accuracy", "loss", "seconds_per_epoch")


def network(name: str, hidden: list) -> keras.Model:
    """Return Flatten, Dense 128, the layers ``hidden`` and Dense 10, compiled as in the publications on MNIST sets."""
    model = keras.Sequential(
        [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(128), *hidden, keras.layers.Dense(10)],
        name=name,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    return model


def spiking(n_steps: int, **options: Any) -> list:
    """Return the hidden layers that repeat their input, emit spikes and average the rates over time."""
    spikes = layers.SpikingActivation("relu", name="hidden", **options)
    return [layers.Repeat(n_steps), spikes, layers.TemporalAveragePooling()]


def train(model: keras.Model, x: Tensor, y: Tensor, config: Mapping[str, Any], *, verbose: bool) -> dict[str, Any]:
    """Fit ``model`` as configured; return the figures of the training."""
    clock = _Clock()
    options = {"epochs": config["epochs"], "callbacks": [clock], "verbose": 2 if verbose else 0}
    history = several_devices.fit(model, x, y, config, **options)
    return {
        "train_accuracy": history["accuracy"][-1],
        "loss": history["loss"][-1],
        "seconds_per_epoch": float(np.median(clock.seconds)),
    }


def cosine(config: Mapping[str, Any], n_images: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate: a cosine decay to zero, restarted every 100 epochs."""
    steps = int(np.ceil(n_images / config["batch_size"])) * min(100, config["epochs"])
    return keras.optimizers.schedules.CosineDecayRestarts(config["learning_rate"], steps, t_mul=1.0, m_mul=1.0)


class _Clock(keras.callbacks.Callback):
    """Measure the wall time of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begin)


class EpochLog(keras.callbacks.CSVLogger):
    """Save figures and weights after every epoch, so that an interrupted training continues.

    A subclass returns more figures from ``figures``. The seconds of an epoch do not include that call.

    The weights of each epoch are a new file, written before the row of the epoch. If the process is killed while it
    writes one of the two, the training continues from the epoch before: a row counts if its line is complete.

    Args:
        folder: Path of the folder for the results.
        name: Name of the training, and of its folder in ``folder / "begun"``. A log of another configuration or of
            other versions is replaced, not continued.
    """

    def __init__(self, folder: Path, name: str):
        self.folder = folder / "begun" / name.replace("*", "-star").replace(", ", "-").replace(" ", "-")
        self.path = self.folder / "epochs.csv"
        self.header_path = self.folder / "header.json"
        super().__init__(self.path, append=True)
        self.n_epochs = 0

    def figures(self, logs: Mapping[str, float]) -> dict[str, Any]:
        """Return the figures of an epoch, besides training accuracy and seconds."""
        raise NotImplementedError

    def initial_figures(self) -> dict[str, Any]:
        """Return the figures before the training. Default: none."""
        return {}

    def columns(self) -> dict[str, list]:
        """Return the values over the epochs by figure, after the initial value if there is one."""
        rows = self._read_rows()
        names = [name for name in rows[0] if name != "epoch" and rows[0][name] != "NA"]
        columns = {name: [_parsed(row[name]) for row in rows] for name in names}
        initial = json.loads(self.header_path.read_text(encoding="utf-8"))["initial"]
        return {name: [initial[name], *values] if name in initial else values for name, values in columns.items()}

    def fit(
        self,
        model: keras.Model,
        x: Tensor,
        y: Tensor,
        config: Mapping[str, Any],
        *,
        verbose: bool,
        fit: Callable | None = None,
        **options: Any,
    ) -> None:
        """Fit ``model`` as configured in ``config``, from the last finished epoch.

        ``fit`` is called instead of ``model.fit``, with the same arguments. Other ``options`` go to it.

        Raises:
            ValueError: If the file of weights cannot be read.
        """
        self.set_model(model)
        header = json.loads(json.dumps({"config": config, "versions": versions()}))
        rows = self._read_rows() if self._read_header() == header else []
        self.n_epochs = len(rows)
        if rows:
            self._load_weights(model)
            _write_rows(self.path, rows)  # without a line that was cut off
        else:
            self.path.unlink(missing_ok=True)  # first: rows never stand beside the header of another training
            write_text(self.header_path, json.dumps({**header, "initial": self.initial_figures()}))
        try:
            (fit or model.fit)(
                x,
                keras.utils.to_categorical(y, model.output_shape[-1]),
                batch_size=config["batch_size"],
                initial_epoch=self.n_epochs,
                epochs=config["epochs"],
                callbacks=[self],
                verbose=2 if verbose else 0,
                **options,
            )
        finally:
            if self.csv_file is not None:
                self.csv_file.close()

    def remove(self) -> None:
        """Delete the files of a finished training."""
        shutil.rmtree(self.folder)

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.begin
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        row = {"train_accuracy": logs["categorical_accuracy"], "seconds": seconds, **self.figures(logs)}
        self.n_epochs = epoch + 1
        with replacing(self._weights()) as temporary:
            self.model.save_weights(temporary)
        super().on_epoch_end(epoch, row)
        kept = {self.path, self.header_path, self._weights()}
        for path in {*self.folder.iterdir()} - kept:  # weights of earlier epochs, and incomplete files
            path.unlink()

    def _weights(self):
        return self.folder / f"epoch-{self.n_epochs}.weights.h5"

    def _read_header(self):
        """Return configuration and versions of the log, None without a readable one."""
        try:
            header = json.loads(self.header_path.read_text(encoding="utf-8"))
            return {"config": header["config"], "versions": header["versions"]}
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _read_rows(self):
        """Return the rows whose lines are complete, as dicts of text."""
        try:
            text = self.path.read_bytes().decode()
            rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
        except (OSError, ValueError, csv.Error):
            return []
        is_complete = all(None not in row and None not in row.values() for row in rows)
        return rows if is_complete and [row.get("epoch") for row in rows] == [str(i) for i in range(len(rows))] else []

    def _load_weights(self, model):
        path = self._weights()
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(path)
        except Exception as error:  # Keras raises many types of errors, most without the name of the file
            raise ValueError(
                f"Training cannot continue from {str(path)!r}: {error}. To start again, delete {str(self.folder)!r}."
            ) from error


def _write_rows(path, rows):
    """Write rows of text as CSV, atomically."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _parsed(cell):
    """Return the number or list of numbers in a cell. CSVLogger quotes lists."""
    return json.loads(cell.strip('"').replace("nan", "NaN").replace("inf", "Infinity"))
