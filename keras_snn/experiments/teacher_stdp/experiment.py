"""Train ``TeacherSTDP`` on two digits as the notebook does, on held-out images, and in control conditions."""

import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.experiments.teacher_stdp.results import draw, seen_path, table, weights_path
from keras_snn.files import replacing
from keras_snn.models import TeacherSTDP
from keras_snn.probe import sync

FIGURES = ("forced", "accuracy", "matched", "w_lateral", "n_train", "n_test", "seconds")

AS_PUBLISHED = "as published"

#: Arguments of the model, and of ``schedule``, by the kind of the part. An image takes 0.1 s.
KINDS: dict[str, dict] = {
    AS_PUBLISHED: {},
    "held-out images, frozen weights": {"held_out": True},
    "5 s of training": {"n_train": 50},
    "1 s of training": {"n_train": 10},
    "no teacher": {"teacher": 0.0},
    "lateral weights fixed": {"lr_lateral": 0.0},
    "ten classes (not in the publication)": {"n_classes": 10},
}

#: "quick" takes the first two kinds and one seed. 200 images are 20 s, 100 images are 10 s of the model's time.
PRESETS = {
    "quick": {"data": "digits", "epochs": 1, "n_seeds": 1, "n_train": 200, "n_test": 100, "n_kinds": 2},
    "full": {"data": "digits", "epochs": 1, "n_seeds": 5, "n_train": 200, "n_test": 100, "n_kinds": len(KINDS)},
}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the first kinds of training."""
    return list(KINDS)[: config["n_kinds"]]


def load(config: Mapping[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the pair of all digits of scikit-learn in their order, divided by 16, and their labels."""
    if config["data"] != "digits":
        raise ValueError(f"`data_name` must be None or 'digits' for 'teacher-stdp'; got {config['data']!r}.")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(f"'teacher-stdp' needs scikit-learn: pip install 'keras_snn[data]' ({error})") from error
    digits = load_digits()
    return [(digits.images / 16, digits.target)]


def schedule(part: Part, *, held_out: bool = False, n_classes: int = 2, n_train: int | None = None) -> list:
    """Return the pairs of images and labels of training and test, in the order in which they are shown.

    Args:
        part: ``Part``.
        held_out: Boolean. True: two thirds of the images are for training, and each of the others is tested once.
            False: as in the notebook, training and test draw from the same images. Default False.
        n_classes: Integer. Default 2.
        n_train: Integer, number of training images. Default: the configuration's.
    """
    ((x, y),) = part.data
    rng = np.random.default_rng(part.seed)
    pool = np.flatnonzero(y < n_classes)
    n_train = part.config["n_train"] if n_train is None else n_train
    if held_out:
        pool = rng.permutation(pool)
        n_first = len(pool) * 2 // 3
        rows = [rng.choice(pool[:n_first], n_train), pool[n_first:]]
    else:
        pool = pool[1:349] if n_classes == 2 else pool  # the notebook never draws the others
        rows = [rng.choice(pool, n_train), rng.choice(pool, part.config["n_test"])]
    return [(x[chosen], y[chosen]) for chosen in rows]


def train_part(part: Part) -> dict[str, Any]:
    """Train the network from one seed, and test it."""
    options = dict(KINDS[part.kind])
    chosen = {name: options.pop(name) for name in ("held_out", "n_train") if name in options}
    n_classes = options.get("n_classes", 2)
    (x_train, y_train), (x_test, y_test) = schedule(part, n_classes=n_classes, **chosen)
    model = TeacherSTDP(seed=part.seed, learn_during_predict="held_out" not in chosen, **options)
    start = time.perf_counter()
    history = model.fit(x_train, y_train, batch_size=10, shuffle=False, verbose=0).history
    sync(model)
    after = {"after training": _weights(model)}
    predicted = model.predict(x_test, batch_size=20, verbose=0).argmax(axis=1)
    seconds = time.perf_counter() - start
    sync(model)
    after["after test"] = _weights(model)
    named: dict[str, Any] = {f"{name} {phase}": w for phase, found in after.items() for name, w in found.items()}
    with replacing(weights_path(part.folder, part.kind, part.seed)) as temporary:
        np.savez_compressed(temporary, **named)
    if part.kind == AS_PUBLISHED and part.seed == part.config["seed"]:
        _save_traces(seen_path(part.folder, part.seed), part.seed, (x_train, y_train), x_test)
    return {
        "forced": history["accuracy"][0],
        "accuracy": float(np.mean(predicted == y_test)),
        "matched": matched(predicted, y_test, n_classes),
        "w_lateral": after["after training"]["w_lateral"].tolist(),
        "n_train": len(y_train),
        "n_test": len(y_test),
        "seconds": seconds,
    }


def _weights(model):
    return {name: ops.convert_to_numpy(getattr(model, name)) for name in ("w", "w_lateral")}


def _save_traces(path, seed, train, x_test):
    """Train and test a second network from the same seed, and save digits and traces every 10 ms."""
    model = TeacherSTDP(seed=seed, learn_during_predict=True)
    traces = {"training": model.record(*train, every=100), "test": model.record(x_test, every=100)}
    named: dict[str, Any] = {f"{phase} {name}": x for phase, found in traces.items() for name, x in found.items()}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, digits=train[0][:16], **named)


def matched(predicted: np.ndarray, y: np.ndarray, n_classes: int) -> float | str:
    """Return the accuracy for the best order of the neurons; "-" for more than four classes."""
    if n_classes > 4:
        return "-"
    orders = np.array(list(itertools.permutations(range(n_classes))))
    return float(np.max(np.mean(orders[:, predicted] == y, axis=1)))


EXPERIMENT = Experiment(
    entry=ENTRIES["teacher-stdp"],
    presets=PRESETS,
    parts=parts,
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
