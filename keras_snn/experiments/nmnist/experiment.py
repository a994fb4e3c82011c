"""Train a small convolutional network of LIF neurons on frames of events, over several seeds."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_snn import data, layers
from keras_snn.experiments import recordings, training
from keras_snn.experiments.figures import confusion_matrix
from keras_snn.experiments.nmnist.results import draw, examples_path, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.files import replacing, save_model
from keras_snn.hints import Shape
from keras_snn.inspector import inspect
from keras_snn.models.spiking_layers import normalization

FIGURES = ("accuracy", "train_accuracy", "seconds", "spikes_per_step", "confusion")

#: The time of all frames, in microseconds.
START, STOP = 0, 310_000

#: "quick" takes a thousand recordings, and minutes on two cores. "full" takes all of N-MNIST and a wider network.
PRESETS = {
    "quick": {
        "data": "simulated",
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "width": 8,
        "n_steps": 5,
        "shift": 2,  # pixels
        "n_seeds": 3,
        "n_train": 1000,
        "n_test": 1000,
    },
    "full": {
        "data": "N-MNIST",
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "width": 32,
        "n_steps": 10,
        "shift": 2,
        "n_seeds": 3,
        "n_train": None,
        "n_test": None,
    },
}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the one kind of training."""
    del config
    return ["lif"]


def network(input_shape: Shape, width: int, n_classes: int = 10) -> keras.Model:
    """Build two convolutions with LIF neurons and pooling, 128 LIF neurons, and an average over the steps.

    Args:
        input_shape: Tuple (steps, height, width, 2).
        width: Channels of the first convolution; the second one has twice as many.
        n_classes: Integer. Default 10.

    Returns:
        ``keras.Model`` from frames ``(batch, *input_shape)`` to logits ``(batch, n_classes)``.
    """
    where: Any = {"data_format": "channels_last"}
    hidden: list = []
    for filters in (width, 2 * width):
        hidden += [
            layers.TimeFold(keras.layers.Conv2D(filters, 3, padding="same", **where)),
            layers.TimeFold(normalization()),
            layers.LIF(),
            layers.TimeFold(keras.layers.MaxPooling2D(2, **where)),
        ]
    return keras.Sequential(
        [
            keras.Input(input_shape),
            *hidden,
            layers.TimeFold(keras.layers.Flatten(**where)),
            layers.TimeFold(keras.layers.Dropout(0.5)),
            layers.TimeFold(keras.layers.Dense(128)),
            layers.LIF(),
            layers.TimeFold(keras.layers.Dense(n_classes)),
            layers.TemporalAveragePooling(),
        ],
        name="nmnist",
    )


def train_part(part: Part) -> dict[str, Any]:
    """Train the network from one seed; save it, and measure it on the test recordings."""
    config = part.config
    (train, y), (test, y_test) = part.data
    keras.utils.set_random_seed(part.seed)
    model = network((config["n_steps"], *recordings.SIZE, 2), config["width"])
    n_batches = -(-len(train) // config["batch_size"]) * config["epochs"]
    rate = keras.optimizers.schedules.CosineDecay(config["learning_rate"], n_batches)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["categorical_accuracy"])
    frames = {"start": START, "stop": STOP, "n_frames": config["n_steps"]}
    x_test = recordings.frames(test, config["n_steps"], start=START, stop=STOP)
    shift = Shift(config["shift"], part.seed)

    def fit(x, y, batch_size, **options):
        batches = data.EventFrames(
            x, y, size=recordings.SIZE, batch_size=batch_size, shuffle=True, seed=part.seed, transform=shift, **frames
        )
        return model.fit(batches, **options)

    epoch_log = _EpochLog(part.folder, part.name)
    validation = (x_test, keras.utils.to_categorical(y_test, 10))
    epoch_log.fit(model, train, y, config, verbose=part.verbose, fit=fit, validation_data=validation)
    columns = epoch_log.columns()
    epoch_log.remove()
    save_model(model, part.folder / f"classifier-seed-{part.seed}.keras")

    (report,) = inspect(model, x_test, y_test, examples=0, verbose=0)
    scores = model.predict(x_test, batch_size=256, verbose=0)
    confusion = confusion_matrix(y_test, scores.argmax(axis=1), 10)
    rows = [int(np.argmax(y_test == label)) for label in np.unique(y_test)]
    with replacing(examples_path(part.folder, part.seed)) as temporary:
        np.savez_compressed(temporary, frames=x_test[rows], scores=scores[rows], labels=y_test[rows])
    return {
        **columns,
        "spikes_per_step": [layer.rate.mean * layer.dt for layer in report.layers.values()],
        "confusion": confusion.tolist(),
    }


class Shift:
    """Move all events of a recording by the same random number of pixels. Those that leave the sensor are lost.

    Args:
        most: Integer, the largest number of pixels in each direction.
        seed: Integer.
    """

    def __init__(self, most: int, seed: int):
        self.most, self.rng = most, np.random.default_rng(seed)

    def __call__(self, recording: Any) -> np.ndarray:
        """Return the moved recording."""
        events = data.as_events(recording).copy()
        inside = np.ones(len(events), bool)
        for field, n, by in zip("yx", recordings.SIZE, self.rng.integers(-self.most, self.most + 1, 2), strict=True):
            events[field] += by
            inside &= (events[field] >= 0) & (events[field] < n)
        return events[inside]


class _EpochLog(training.EpochLog):
    """Log the test accuracy."""

    def figures(self, logs: Mapping[str, float]) -> dict[str, Any]:
        return {"accuracy": logs["val_categorical_accuracy"]}


EXPERIMENT = Experiment(
    entry=ENTRIES["nmnist"],
    presets=PRESETS,
    parts=parts,
    load=recordings.load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
