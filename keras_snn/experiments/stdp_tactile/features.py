"""Features of signals, and classifiers without a spiking network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_snn.experiments.figures import confusion_matrix
from keras_snn.experiments.stdp_tactile.augmentation import Samples, joined
from keras_snn.experiments.stdp_tactile.images import envelopes
from keras_snn.experiments.stdp_tactile.recordings import TouchSet
from keras_snn.robustness.report import binomial_interval

#: Numbers of neighbors, penalties of the SVM and of the ridge classifier. Cross-validation chooses one.
NEIGHBORS, PENALTIES, RIDGES = (1, 5, 9), (0.1, 1.0, 10.0, 100.0), (0.1, 1.0, 10.0, 100.0, 1000.0)


def standard_deviation(signal: np.ndarray) -> float:
    """Return the standard deviation, with N - 1 in the denominator (equation 6.13)."""
    return float(np.std(signal, ddof=1, dtype="float64"))


def energy(signal: np.ndarray) -> float:
    """Return the sum of the squares (equation 6.14)."""
    return float(np.sum(np.square(signal, dtype="float64")))


def absolute_sum(signal: np.ndarray) -> float:
    """Return the sum of the absolute values, which the caption of figure 6.8b names in place of the energy."""
    return float(np.sum(np.abs(signal), dtype="float64"))


#: The features by name.
FEATURES = {"standard deviation": standard_deviation, "energy": energy, "sum of absolute values": absolute_sum}


def features(signals: Sequence[np.ndarray], samples: Samples) -> np.ndarray:
    """Return the features of the samples of one sensor, an array ``(samples, 3)`` in the order of ``FEATURES``."""
    rows = (joined(signals, row) for row in samples.rows)
    return np.array([[function(signal) for function in FEATURES.values()] for signal in rows])


def baselines(touch: TouchSet, train: Samples, test: Samples) -> list[dict[str, Any]]:
    """Train classifiers on the features and on the resampled signals, and test them.

    The classifiers are k nearest neighbors, a support vector machine with radial basis functions, and ridge regression
    on the classes. The features have unit variance over the training samples; the largest point of all resampled
    training signals of a sensor is 1. Two sensors together are two vectors, one after the other.

    The number of neighbors, or the penalty, is the one with the highest accuracy in cross-validation on the training
    samples. Its folds are their groups: samples of one group share pieces, and would give away each other's class.

    Args:
        touch: ``TouchSet``.
        train: ``Samples`` of at least two groups.
        test: ``Samples``.

    Returns:
        List of dicts, one for each combination of sensors, input and classifier, with the keys "sensors", "input",
        "classifier", "chosen" (the number of neighbors or the penalty), "accuracy", "interval" (of 95 %), and
        "confusion" (classes in rows, predicted classes in columns).

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If ``train`` has one group only.
    """
    if len(np.unique(train.groups)) < 2:
        raise ValueError(
            "`train` must have at least two groups, which are the folds of the cross-validation; got one. Give "
            "`splits` two numbers in `group_sizes`."
        )
    inputs = _inputs(touch, train, test)
    found = []
    for (sensors, name), (x, x_test) in inputs.items():
        for classifier, search in _searches(train).items():
            search.fit(x, train.labels, groups=train.groups)
            confusion = confusion_matrix(test.labels, search.predict(x_test), len(touch.classes))
            (chosen,) = search.best_params_.values()
            found.append(
                {"sensors": sensors, "input": name, "classifier": classifier, "chosen": chosen, **score(confusion)}
            )
    return found


def score(confusion: np.ndarray | Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return a confusion matrix as plain lists, with its accuracy and the accuracy's interval of 95 %."""
    counts = np.array(confusion)
    n = int(counts.sum())
    accuracy = int(np.trace(counts)) / n
    return {"accuracy": accuracy, "interval": list(binomial_interval(accuracy, n)), "confusion": counts.tolist()}


def over_splits(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the results of several splits together.

    Args:
        runs: For each split, a list such as ``baselines`` returns.

    Returns:
        List of dicts, one for each combination: the texts of its rows, such as "sensors", "input" and "classifier",
        "mean" and "deviation" (the standard deviation over the splits, None for a single one) of the accuracy, and
        "accuracy", "interval" and "confusion" of the samples of all splits. The interval takes all these samples as
        independent, which repeated slides are not.
    """
    found = []
    for rows in zip(*runs, strict=True):
        accuracies = [row["accuracy"] for row in rows]
        found.append(
            {
                **{key: value for key, value in rows[0].items() if isinstance(value, str)},
                "mean": float(np.mean(accuracies)),
                "deviation": float(np.std(accuracies, ddof=1)) if len(rows) > 1 else None,
                **score(np.sum([row["confusion"] for row in rows], axis=0)),
            }
        )
    return found


def _inputs(touch, train, test):
    """Return the pairs (training vectors, test vectors) by sensors and input."""
    by_sensor = {}
    for sensor, signals in zip(touch.sensors, touch.signals, strict=True):
        x, x_test = features(signals, train), features(signals, test)
        center, scale = x.mean(axis=0), np.maximum(x.std(axis=0), np.finfo(float).tiny)
        by_sensor[sensor, "features"] = [(x - center) / scale, (x_test - center) / scale]
        # In float32, the equations of the ridge classifier are ill-conditioned.
        x, x_test = (envelopes(signals, samples).astype(float) for samples in (train, test))
        scale = max(x.max(), np.finfo(float).tiny)
        by_sensor[sensor, "signal"] = [x / scale, x_test / scale]
    both = {
        ("both", name): [
            np.concatenate(pair, axis=1) for pair in zip(*(by_sensor[s, name] for s in touch.sensors), strict=True)
        ]
        for name in ("features", "signal")
    }
    return by_sensor | both


def _searches(train):
    try:
        from sklearn.linear_model import RidgeClassifier
        from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.svm import SVC
    except ImportError as error:
        raise ImportError(f"`baselines` needs scikit-learn: pip install 'keras_snn[data]' ({error})") from error
    smallest_fold = len(train.groups) - np.bincount(train.groups).max()
    neighbors = [k for k in NEIGHBORS if k <= smallest_fold]
    grids = {
        "kNN": (KNeighborsClassifier(), {"n_neighbors": neighbors}),
        "SVM-RBF": (SVC(), {"C": PENALTIES}),
        "ridge": (RidgeClassifier(), {"alpha": RIDGES}),
    }
    return {name: GridSearchCV(model, grid, cv=LeaveOneGroupOut()) for name, (model, grid) in grids.items()}
