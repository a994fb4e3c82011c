"""Random splits, and new training signals from pieces of the recorded ones.

A sample is a row of slides, one for each piece: the signal of the row ``(2, 5, 5, 0)`` is the first quarter of slide 2,
the second and the third quarter of slide 5, and the last quarter of slide 0. The row ``(2,)`` is slide 2 itself. Rows
hold for both sensors, so that their pieces stay together.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_snn import checks
from keras_snn.experiments.stdp_tactile.recordings import TouchSet


@dataclass(frozen=True)
class Split:
    """Slides for training and test.

    Attributes:
        groups: Training slides: an array ``(classes, size)`` for each group. Pieces are exchanged within a group.
        test: Test slides, an array ``(classes, n_test)``.
    """

    groups: tuple[np.ndarray, ...]
    test: np.ndarray


@dataclass(frozen=True)
class Samples:
    """Samples as rows of slides.

    Attributes:
        rows: Integer array ``(samples, pieces)`` of slides.
        labels: Class of each sample.
        groups: Number of the group of each sample. Samples of different groups have no piece in common.
    """

    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def splits(
    touch: TouchSet, n_splits: int = 5, seed: int = 0, *, group_sizes: Sequence[int] = (4, 3), n_test: int = 3
) -> list[Split]:
    """Return random splits. Each one draws its slides of each class from all slides of the set.

    Args:
        touch: ``TouchSet``.
        n_splits: Number of splits. Default 5.
        seed: Integer. Default 0.
        group_sizes: Numbers of training slides of a class in each group. Default (4, 3): 7 training slides.
        n_test: Number of test slides of a class. Default 3.

    Raises:
        ValueError: For a number that is not positive, or for a class with too few slides.
    """
    n_splits = checks.integer("n_splits", n_splits, least=1)
    sizes = [checks.integer("group_sizes", size, least=1, meaning="slides in each group") for size in group_sizes]
    n_drawn = sum(sizes) + checks.integer("n_test", n_test, least=1)
    checks.integer("group_sizes", len(sizes), least=1, meaning="the number of groups")
    available = np.bincount(touch.labels, minlength=len(touch.classes))
    if available.min() < n_drawn:
        raise ValueError(
            f"`group_sizes` and `n_test` must add up to at most {available.min()}, the number of slides of "
            f"{touch.classes[available.argmin()]!r}; got {n_drawn}. Use smaller groups or fewer test slides."
        )
    found = []
    for number in range(n_splits):
        rng = np.random.default_rng((checks.integer("seed", seed, least=0), number))
        drawn = np.array(
            [rng.permutation(np.flatnonzero(touch.labels == label))[:n_drawn] for label in range(len(touch.classes))]
        )
        *groups, test = np.split(drawn, np.cumsum(sizes), axis=1)
        found.append(Split(tuple(groups), test))
    return found


def augmented(split: Split, n_pieces: int = 4) -> Samples:
    """Return the training samples with each piece from any slide of the same group.

    Groups of 4 and 3 slides and 4 pieces give ``4**4 + 3**4 = 337`` samples of a class. The slides themselves are among
    them: the rows of equal numbers.

    Args:
        split: ``Split``.
        n_pieces: Number of consecutive pieces of equal length. 1 gives the slides themselves. Default 4.

    Raises:
        ValueError: If ``n_pieces`` is not a positive integer.
    """
    n_pieces = checks.integer("n_pieces", n_pieces, least=1)
    rows, labels, groups = [], [], []
    for label in range(len(split.test)):
        for number, group in enumerate(split.groups):
            combinations = list(itertools.product(group[label].tolist(), repeat=n_pieces))
            rows += combinations
            labels += [label] * len(combinations)
            groups += [number] * len(combinations)
    return Samples(np.array(rows), np.array(labels), np.array(groups))


def recorded(split: Split) -> Samples:
    """Return the training slides as they were recorded."""
    return augmented(split, n_pieces=1)


def tested(split: Split) -> Samples:
    """Return the test slides. They are never cut."""
    n_classes, n_test = split.test.shape
    labels = np.repeat(np.arange(n_classes), n_test)
    return Samples(split.test.reshape(-1, 1), labels, np.zeros(len(labels), int))


def joined(signals: Sequence[np.ndarray], row: np.ndarray) -> np.ndarray:
    """Return the signal of a row: piece k of slide ``row[k]``, for all k. Pieces are equal parts of each signal.

    Args:
        signals: Sequence of vectors, the signals of one sensor.
        row: Vector of slides.
    """
    n = len(row)
    ends = [
        (signals[slide], len(signals[slide]) * k // n, len(signals[slide]) * (k + 1) // n)
        for k, slide in enumerate(row)
    ]
    return np.concatenate([signal[start:stop] for signal, start, stop in ends])
