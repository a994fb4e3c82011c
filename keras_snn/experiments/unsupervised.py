"""Accuracy and pictures of a ``DiehlCook`` network, for the experiments that train one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_snn.experiments.figures import confusion_matrix, finish
from keras_snn.files import replacing
from keras_snn.models import DiehlCook
from keras_snn.models.neuron_labels import predicted_classes
from keras_snn.models.plots import draw_fields, draw_raster
from keras_snn.robustness.report import binomial_interval


def compiled(model: DiehlCook) -> DiehlCook:
    """Return the model after ``compile`` for fast training."""
    model.compile(steps_per_execution=1 if keras.backend.backend() == "torch" else 10)  # PyTorch refuses more
    return model


def measured(model: DiehlCook, train: tuple, test: tuple) -> dict[str, Any]:
    """Return the test accuracy, with labels from the counts of the last ``fit`` and from frozen presentations.

    Args:
        model: ``DiehlCook``, trained with labels. It keeps the labels from frozen presentations.
        train: Pair of the training images for the labels, and their classes.
        test: Pair of the test images and their classes.

    Returns:
        Dict with "online" (accuracy with labels from the last ``fit``), "accuracy" and "ties" (from frozen
        presentations), "confusion" (classes in rows, predicted classes in columns), "n_test", "n_unassigned" (neurons
        without a class), "spikes" (mean in a test presentation) and "theta" (least, mean and largest, mV).
    """
    counts = model.responses(test[0])
    model.assign_labels()
    online = model.score(counts, test[1])["accuracy"]
    labels = model.assign_labels(*train)
    predicted = predicted_classes(counts @ model.class_means())
    theta = keras.ops.convert_to_numpy(model.theta)
    return {
        "online": online,
        **model.score(counts, test[1]),
        "confusion": confusion_matrix(test[1], predicted, model.n_classes).tolist(),
        "n_test": len(test[1]),
        "n_unassigned": int(np.sum(labels < 0)),
        "spikes": float(counts.sum(axis=1).mean()),
        "theta": [float(theta.min()), float(theta.mean()), float(theta.max())],
    }


def interval(row: Mapping[str, Any]) -> tuple[float, float]:
    """Return the binomial interval of 95 % of the accuracy of ``row``, which has "accuracy" and "n_test"."""
    return binomial_interval(row["accuracy"], row["n_test"])


def save_pictures(model: DiehlCook, x: np.ndarray, path: Path) -> None:
    """Save what ``draw_network`` draws: weights, thresholds, rates, and the presentation of the first image.

    Args:
        model: ``DiehlCook``, trained.
        x: Test images.
        path: Path of an ``.npz`` file.
    """
    to_numpy = keras.ops.convert_to_numpy
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            kernel=to_numpy(model.kernel),
            theta=to_numpy(model.theta),
            labels=to_numpy(model.labels),
            rates=model.responses(x).mean(axis=0) / model.duration,
            image=x[0],
            spikes=model.record(x[:1])[0],
            dt=model.dt,
        )


def draw_network(source: Path, title: str) -> None:
    """Write the pictures ``-fields.png`` and ``-activity.png`` beside a file of ``save_pictures``.

    Args:
        source: Path of the file. Without it, nothing is drawn.
        title: Name of the network.
    """
    from matplotlib.figure import Figure

    if not source.is_file():
        return
    arrays = dict(np.load(source, allow_pickle=False))
    figure = Figure(figsize=(7, 6.2), layout="constrained")
    draw_fields(figure.subplots(), arrays["kernel"], arrays["image"].shape, arrays["labels"])
    figure.suptitle(f"{title}: input weights, and the label of each neuron", fontsize=10)
    finish(figure, source.with_name(f"{source.stem}-fields.png"))

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    (image, raster), (theta, rates) = figure.subplots(2, 2, width_ratios=(1, 2))
    image.imshow(arrays["image"], cmap="gray")
    image.set(xticks=[], yticks=[])
    image.set_title("test image", fontsize=10)
    draw_raster(raster, arrays["spikes"], float(arrays["dt"]))
    raster.set_title("spikes of the excitatory neurons", fontsize=10)
    theta.hist(arrays["theta"], bins=20, color="C0")
    theta.set(xlabel="theta (mV)", ylabel="neurons")
    rates.hist(arrays["rates"], bins=40, color="C1")
    rates.set(xlabel="mean rate of a neuron over the test images (Hz)", ylabel="neurons")
    finish(figure, source.with_name(f"{source.stem}-activity.png"))
