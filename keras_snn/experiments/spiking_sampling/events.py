"""Samplers of recordings: the events that they keep, and the accuracy of a classifier that is trained on these."""

import itertools
import lzma
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_snn import models
from keras_snn.experiments import recordings
from keras_snn.experiments.spec import Part
from keras_snn.experiments.spiking_sampling.results import examples_path
from keras_snn.experiments.spiking_sampling.samplers import CROSSED, predict, rate_of, trained
from keras_snn.files import replacing

#: The masks. "brightest": the places with the most events.
METHODS = ("spiking", "random", "brightest")

#: As many random events as the spiking mask keeps.
THINNED = "random events"


def train_part(part: Part) -> dict[str, Any]:
    """Train the samplers of one rate, and a classifier on the events that each of them keeps."""
    (train, y), (test, y_test) = part.data
    n_frames = part.config["n_frames"]
    x, x_test = (recordings.frames(split, n_frames) for split in (train, test))
    kept: dict[str, tuple] = {}
    figures: dict[str, dict] = {}
    samplers = {method: trained(part, method, rate_of(part), x) for method in METHODS}
    masks = {}
    for method, sampler in samplers.items():
        masks[method] = sampler.mask(x_test)
        kept[method] = tuple(
            sampler.compress_events(split, recordings.SIZE, n_frames=n_frames) for split in (test, train)
        )
    pairs = {*itertools.product(CROSSED, CROSSED), *zip(METHODS, METHODS, strict=True)}
    errors = {
        (network, mask): relative_error(predict(samplers[network].reconstructor, masks[mask] * x_test), x_test)
        for network, mask in pairs
    }
    for method in METHODS:
        n_ones = float(masks[method].reshape(len(test), -1).sum(axis=1).mean())
        figures[method] = {"error": errors[method, method], "ones": n_ones}
    rng = np.random.default_rng(part.seed)
    kept[THINNED] = tuple(
        [thinned(events, len(few), rng) for events, few in zip(split, sampled, strict=True)]
        for split, sampled in zip((test, train), kept["spiking"], strict=True)
    )
    for method, (test_kept, train_kept) in kept.items():
        part.log(f"classifier of the events kept by {method}")
        figures.setdefault(method, {})
        figures[method] |= {
            "kept": sum(map(len, test_kept)) / sum(map(len, test)),
            "accuracy": _accuracy(part, train_kept, y, test_kept, y_test),
            "bytes": _mean([len(_CODECS["xz of columns"](events)) for events in test_kept]),
        }
    part.log("classifier of all events")
    _save_examples(part, test, y_test, {method: pair[0] for method, pair in kept.items()})
    return {
        "methods": figures,
        "cross": {f"{network}, {mask}": errors[network, mask] for network in CROSSED for mask in CROSSED},
        "codecs": {
            name: {"bytes": _mean([len(encode(events)) for events in test])} for name, encode in _CODECS.items()
        },
        "classifier": _accuracy(part, train, y, test, y_test),
    }


def relative_error(rebuilt: np.ndarray, x: np.ndarray) -> float:
    """Return the squared error of rebuilt frames, divided by the squared counts."""
    return float(np.square(rebuilt - x).sum() / np.square(x).sum())


def thinned(events: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` random events, in their order."""
    return events[np.sort(rng.choice(len(events), n, replace=False))]


def five_bytes(events: np.ndarray) -> bytes:
    """Return the events as in the files of N-MNIST: x, y, and polarity and time in 23 bits."""
    word = events["t"].astype("int64") & 0x7FFFFF | events["p"].astype("int64") << 23
    columns = [events["x"], events["y"], word >> 16, word >> 8 & 255, word & 255]
    return np.stack([column.astype("uint8") for column in columns], axis=1).tobytes()


def _columns(events):
    """Return x, y, polarity and the time since the event before, each as a block."""
    step = np.diff(events["t"], prepend=0).astype("<u4")
    blocks = [events["x"].astype("u1"), events["y"].astype("u1"), np.packbits(events["p"]), step]
    return b"".join(block.tobytes() for block in blocks)


#: Lossless codings of a recording.
_CODECS: dict[str, Any] = {
    "file of N-MNIST": five_bytes,
    "zlib of the file": lambda events: zlib.compress(five_bytes(events), 9),
    "xz of columns": lambda events: lzma.compress(_columns(events), lzma.FORMAT_ALONE),
}


def _accuracy(part: Part, train: Sequence, y: np.ndarray, test: Sequence, y_test: np.ndarray) -> float:
    """Train a classifier on the counts of the events, and return its accuracy."""
    keras.utils.set_random_seed(part.seed)
    config = part.config
    model = models.event_classifier((*recordings.SIZE, 2), width=config["width"])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, x_test = (recordings.frames(split, 1)[:, 0] for split in (train, test))
    scale = x.std() or 1.0  # fewer events have smaller counts
    model.fit(x / scale, y, batch_size=config["batch_size"], epochs=config["classifier_epochs"], verbose=0)
    return float((predict(model, x_test / scale).argmax(axis=1) == y_test).mean())


def _mean(values):
    return float(np.mean(values))


def _save_examples(part, test, y_test, kept):
    """Write the counts of the first test recording of each class, and of the events that are kept."""
    rows = [int(np.argmax(y_test == label)) for label in np.unique(y_test)]
    splits = {"all events": test, **kept}
    arrays = {name: recordings.frames([split[row] for row in rows], 1)[:, 0] for name, split in splits.items()}
    with replacing(examples_path(part.folder, part.name)) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
