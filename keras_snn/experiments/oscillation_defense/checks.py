"""Accuracies over the seeds with standard errors, and the orders that the publication implies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_snn.experiments.figures import standard_error
from keras_snn.robustness import Accuracy

#: Gap of the clean accuracies of noise and F1, at most, and distance of the fitted threshold from 0.7, at most.
CLEAN_GAP, THRESHOLD_GAP = 0.03, 0.1
#: Change of the fitted threshold in the last epoch of the fit, at most: a fraction of the noise's range of 1.
SETTLED = 0.01

#: Orders at PGD-5: the first accuracy is to be above the second.
ORDERS = {
    "scenario 1 >= LIF benchmark": (("scenario 1", "PGD-5"), ("LIF benchmark", "PGD-5")),
    "scenario 4 > scenario 5": (("scenario 4", "PGD-5"), ("scenario 5", "PGD-5")),
    "scenario 2 > scenario 1": (("scenario 2", "PGD-5"), ("scenario 1", "PGD-5")),
    "scenario 5 <= scenario 1": (("scenario 1", "PGD-5"), ("scenario 5", "PGD-5")),
    "scenario 5 < scenario 2 (masked gradients)": (("scenario 2", "PGD-5"), ("scenario 5", "PGD-5")),
    "expectation over noise lowers scenario 1": (("scenario 1", "PGD-5"), ("scenario 1", "expectation")),
    "smooth backward lowers scenario 2": (("scenario 2", "PGD-5"), ("scenario 2", "smooth")),
    "smooth backward lowers scenario 4": (("scenario 4", "PGD-5"), ("scenario 4", "smooth")),
}


@dataclass(frozen=True)
class Share:
    """Numbers of correct predictions out of numbers of images, one for each seed."""

    correct: Sequence[int]
    n: Sequence[int]

    @property
    def by_seed(self) -> np.ndarray:
        """The accuracy of each seed."""
        return np.array(self.correct) / np.array(self.n)

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return float(self.by_seed.mean())

    @property
    def pooled(self) -> Accuracy:
        """The accuracy of the images of all seeds, with its binomial interval and variance."""
        return Accuracy("", 0.0, sum(self.correct), sum(self.n))

    def standard_error(self) -> float:
        """Return the standard error of the mean: the larger one of the images' and the seeds'."""
        return max(math.sqrt(self.pooled.variance), standard_error(self.by_seed))


def share(results: Mapping[str, Any], row: str, attack: str, epsilon: int) -> Share | None:
    """Return the accuracy in a row under an attack, "clean" for none. None if it was not run."""
    runs = [part["attacked"][row] for part in results["parts"].values() if row in part["attacked"]]
    if attack == "clean":
        counts = [run["clean"] for run in runs]
    else:
        by_epsilon = [run["attacks"].get(attack, {}) for run in runs]
        counts = [counts[str(epsilon)] for counts in by_epsilon if str(epsilon) in counts]
    return Share(*zip(*counts, strict=True)) if counts else None


def difference(first: Share, second: Share) -> tuple[float, float]:
    """Return the first mean minus the second, and its standard error."""
    error = math.sqrt(first.pooled.variance + second.pooled.variance)
    if len(first.n) == len(second.n):
        error = max(error, standard_error(first.by_seed - second.by_seed))
    return first.mean - second.mean, error


def verdict(gap: float, error: float) -> str:
    """Return whether a gap that is to be positive is so by more than its standard error."""
    if abs(gap) <= error:
        return "within the standard error"
    return "holds" if gap > 0 else "does not hold"


def verdicts(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of checks."""
    rows: list[tuple[str, ...]] = [("check", "epsilon", "gap (points)", "standard error", "verdict")]
    trained = [part for part in results["parts"].values() if "f1" in part["clean"]]
    if trained:
        gap = float(np.mean([part["clean"]["oscillation"] - part["clean"]["f1"] for part in trained]))
        is_small = "holds" if gap <= CLEAN_GAP else "does not hold"
        rows.append((f"clean: noise - F1, at most {100 * CLEAN_GAP:g} points", "-", f"{100 * gap:+.1f}", "-", is_small))
        thresholds = [part["fits"]["f1"]["threshold"] for part in trained]
        is_near = None not in thresholds and max(abs(value - 0.7) for value in thresholds) <= THRESHOLD_GAP
        found = " / ".join("none" if value is None else f"{value:.3f}" for value in thresholds)
        name = f"threshold of F1 within {THRESHOLD_GAP:g} of 0.7: {found}"
        rows.append((name, "-", "-", "-", "holds" if is_near else "does not hold"))
        steps = [part["fits"]["f1"].get("threshold_by_epoch", []) for part in trained]
        if all(len(values) > 1 and None not in values for values in steps):
            change = max(abs(values[-1] - values[-2]) for values in steps)
            settled = "holds" if change <= SETTLED else "does not hold"
            rows.append(
                (f"threshold of F1 settles: last epoch at most {SETTLED:g}", "-", f"{change:.4f}", "-", settled)
            )
    for name, pair in ORDERS.items():
        for epsilon in results["config"]["epsilons"]:
            first, second = (share(results, *cell, epsilon) for cell in pair)
            if first is not None and second is not None:
                gap, error = difference(first, second)
                cells = f"{epsilon}/255", f"{100 * gap:+.1f}", f"{100 * error:.1f}"
                rows.append((name, *cells, verdict(gap, error)))
    return rows
