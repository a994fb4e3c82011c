"""Train a sampler with each kind of mask, and measure the rebuilt test images or the events that are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_snn.experiments import images, recordings
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.experiments.spiking_sampling import event_results, events, measures, results
from keras_snn.experiments.spiking_sampling.results import examples_path
from keras_snn.experiments.spiking_sampling.samplers import CROSSED, predict, rate_of, trained
from keras_snn.files import replacing

FIGURES = ("methods", "cross", "codecs", "classifier")

#: The masks. "spiking" is learned.
METHODS = ("spiking", "random", "brightest", "gradient")

#: "quick" takes few images and minutes on two cores. "standard" has three seeds and more images. "full" has the
#: published settings; batch size and learning-rate schedule are not published.
_QUICK = {
    "data": "full",
    "rates": [10, 5, 1],  # %
    "epochs": 5,
    "classifier_epochs": 3,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "n_steps": 3,
    "n_seeds": 1,
    "n_train": 5000,
    "n_test": 1000,
}
PRESETS = {
    "quick": _QUICK,
    "standard": {**_QUICK, "epochs": 8, "n_seeds": 3, "n_train": 10_000, "n_test": 2000},
    "full": {
        **_QUICK,
        "epochs": 100,
        "classifier_epochs": 20,
        "learning_rate": 1e-4,
        "n_seeds": 3,
        "n_train": None,
        "n_test": None,
    },
}
_EVENTS = {"data": "simulated", "rates": [10, 5], "n_frames": 3, "batch_size": 32}
_SMALL = {**_EVENTS, "width": 0.25, "epochs": 20, "classifier_epochs": 15, "n_train": 1000, "n_test": 1000}
ADJUSTMENTS: dict[tuple[str, str], dict] = {
    **{(preset, "cifar10"): {"rates": [10]} for preset in PRESETS},
    **{(preset, "nmnist"): _SMALL for preset in ("quick", "standard")},
    ("full", "nmnist"): {**_EVENTS, "width": 1.0},
}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the rates."""
    return [f"{rate:g} %" for rate in config["rates"]]


def load(config: Mapping[str, Any]) -> list:
    """Return the pairs (images or recordings, labels) for training and test."""
    if config["dataset"] != "nmnist":
        return images.load_limited(config)
    return [(recordings.read(part), labels) for part, labels in recordings.load(config)]


def train_part(part: Part) -> dict[str, Any]:
    """Train the samplers of one rate, and evaluate them on the test images or recordings."""
    return events.train_part(part) if part.config["dataset"] == "nmnist" else _train_on_images(part)


def table(found: Mapping[str, Any]) -> str:
    """Return the text tables of the dict that ``execute`` returns."""
    return _shown(found).table(found)


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Write the pictures of the dict that ``execute`` returns."""
    _shown(found).draw(found, folder)


def _shown(found):
    return event_results if found["config"]["dataset"] == "nmnist" else results


def _train_on_images(part):
    (x, y), (x_test, y_test) = part.data
    rate = rate_of(part)
    classifier = _classifier(part, x, y)

    def accuracy(rebuilt):
        predicted = classifier.predict(rebuilt, batch_size=256, verbose=0).argmax(axis=1)
        return float((predicted == y_test).mean())

    samplers = {method: trained(part, method, rate, x) for method in METHODS}
    figures, masks, rebuilt = {}, {}, {}
    for method, sampler in samplers.items():
        masks[method] = sampler.mask(x_test)
        rebuilt[method] = predict(sampler.reconstructor, masks[method] * x_test)
        errors = measures.squared_errors(rebuilt[method], x_test)
        n_ones = float(masks[method].reshape(len(x_test), -1).sum(axis=1).mean())
        on_image = (x_test > 0).any(axis=-1, keepdims=True)
        figures[method] = {
            "mse": float(errors.mean()),
            "psnr": measures.psnr(errors),
            "accuracy": accuracy(rebuilt[method]),
            "on_nonzero": float((masks[method] * on_image).sum() / masks[method].sum()),
            "ones": n_ones,
            "bytes": measures.sample_bytes(x_test[0, ..., 0].size, round(n_ones), x_test.shape[-1]),
        }
    crossed = {
        (network, mask): predict(samplers[network].reconstructor, masks[mask] * x_test)
        for network in CROSSED
        for mask in CROSSED
    }
    cross = {
        f"{network}, {mask}": float(measures.squared_errors(images_of_pair, x_test).mean())
        for (network, mask), images_of_pair in crossed.items()
    }
    found = measures.codecs(x_test)
    for codec in found.values():
        if "images" in codec:
            decoded = codec.pop("images")
            codec |= {"psnr": measures.psnr(measures.squared_errors(decoded, x_test)), "accuracy": accuracy(decoded)}
    _save_examples(part, x_test, y_test, masks, rebuilt, crossed)
    return {"methods": figures, "cross": cross, "codecs": found, "classifier": accuracy(x_test)}


def _classifier(part, x, y):
    """Return the classifier of rebuilt images, trained on whole images."""
    keras.utils.set_random_seed(part.seed)
    where = {"data_format": "channels_last"}
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.Conv2D(16, 3, activation="relu", **where),
            keras.layers.MaxPooling2D(2, **where),
            keras.layers.Conv2D(32, 3, activation="relu", **where),
            keras.layers.MaxPooling2D(2, **where),
            keras.layers.Flatten(**where),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(int(y.max()) + 1),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=64, epochs=part.config["classifier_epochs"], verbose=0)
    return model


def _save_examples(part, x, y, masks, rebuilt, crossed):
    """Write the first test image of each class, its masks, and what the networks rebuild from them."""
    rows = [int(np.argmax(y == label)) for label in np.unique(y)]
    arrays = {"image": x[rows]}
    for method in METHODS:
        arrays |= {f"{method} mask": masks[method][rows], f"{method} rebuilt": rebuilt[method][rows]}
    for (network, mask), images_of_pair in crossed.items():
        if network != mask:
            arrays[f"{mask} mask, network of {network} masks"] = images_of_pair[rows]
    with replacing(examples_path(part.folder, part.name)) as temporary:
        np.savez_compressed(temporary, **arrays)


EXPERIMENT = Experiment(
    entry=ENTRIES["spiking-sampling"],
    presets=PRESETS,
    parts=parts,
    adjustments=ADJUSTMENTS,
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
