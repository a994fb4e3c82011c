"""The accuracy of a classifier under attack: table, plot and file."""

import json
import math
import pathlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from keras_snn import text_table
from keras_snn.files import save_figure, write_text
from keras_snn.inspector.panels import open_axis
from keras_snn.inspector.plots import new_figure

#: Quantile of the normal distribution for intervals of 95 %.
_QUANTILE = 1.959964


def binomial_interval(p: float, n: int) -> tuple[float, float]:
    """Return the interval of 95 % (Wilson 1927) of an accuracy ``p`` on ``n`` samples."""
    z2 = _QUANTILE**2
    center = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _QUANTILE / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
    return max(0.0, center - half), min(1.0, center + half)


@dataclass(frozen=True)
class Accuracy:
    """The accuracy under one attack.

    Attributes:
        attack: Name of the attack, "clean" without one.
        epsilon: Radius of the ball, 0 without an attack.
        correct: Number of samples that are classified correctly.
        n_samples: Number of samples.
        masked: Share of samples whose gradient is zero, if it is large enough for a ``GradientMaskingWarning``.
    """

    attack: str
    epsilon: float
    correct: int
    n_samples: int
    masked: float = 0.0

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return self.correct / self.n_samples

    @property
    def variance(self) -> float:
        """Binomial variance of the accuracy."""
        return self.accuracy * (1 - self.accuracy) / self.n_samples

    @property
    def interval(self) -> tuple[float, float]:
        """Binomial interval of 95 % (Wilson 1927)."""
        return binomial_interval(self.accuracy, self.n_samples)


class RobustnessReport:
    """The result of ``keras_snn.robustness.evaluate``. ``report[attack, epsilon]`` is an ``Accuracy``.

    Attributes:
        clean: ``Accuracy`` without an attack.
        results: List of ``Accuracy``.
        config: Dict of the settings.
    """

    def __init__(self, clean: Accuracy, results: list[Accuracy], config: dict):
        self.clean = clean
        self.results = results
        self.config = config

    def __iter__(self) -> Iterator[Accuracy]:
        return iter(self.results)

    def __getitem__(self, key: tuple[str, float]) -> Accuracy:
        for result in self.results:
            if result.attack == key[0] and math.isclose(result.epsilon, key[1], rel_tol=1e-9):
                return result
        known = [(result.attack, result.epsilon) for result in self.results]
        raise KeyError(f"The report has no result for {key!r}; it has {known}.")

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks."""
        return list(dict.fromkeys(result.attack for result in self.results))

    @property
    def epsilons(self) -> list[float]:
        """Radii of the balls."""
        return list(dict.fromkeys(result.epsilon for result in self.results))

    @property
    def notes(self) -> list[str]:
        """Sentences about transfer and gradient masking."""
        source = self.config.get("source")
        notes = [] if source is None else [f"Gradients of {source!r}."]
        for name in self.attacks:
            masked = max(result.masked for result in self if result.attack == name)
            if masked:
                notes.append(
                    f"{name}: the gradient is zero for {masked:.0%} of the samples (gradient masking). The attack does "
                    "not measure robustness."
                )
        return notes

    def table(self) -> str:
        """Return a text table: accuracy in % with its interval of 95 %, a row for each attack."""
        rows = [("attack", "clean", *(f"epsilon {epsilon:.4g}" for epsilon in self.epsilons))]
        rows += [(name, _cell(self.clean), *(_cell(self[name, e]) for e in self.epsilons)) for name in self.attacks]
        heading = f"Accuracy in % of {self.clean.n_samples:,} samples, with intervals of 95 %"
        return "\n".join([heading, *text_table.plain(rows), *self.notes])

    __str__ = table

    def compare(self, other: "RobustnessReport") -> "RobustnessComparison":
        """Return the differences of accuracy: this report minus ``other``, for each attack and epsilon of both.

        ``report - other`` is the same.

        Raises:
            TypeError: If ``other`` is not a report.
        """
        if not isinstance(other, RobustnessReport):
            raise TypeError(f"`other` must be a RobustnessReport; got {type(other).__name__}.")
        references = {(r.attack, r.epsilon): r for r in (other.clean, *other)}
        pairs = ((result, references.get((result.attack, result.epsilon))) for result in (self.clean, *self))
        return RobustnessComparison([_difference(a, b) for a, b in pairs if b is not None])

    def __sub__(self, other):
        return self.compare(other) if isinstance(other, RobustnessReport) else NotImplemented

    def plot(self, path: str | None = None) -> Any:
        """Draw accuracy against epsilon with intervals of 95 %, and write the figure to ``path`` if given.

        Returns:
            The Matplotlib figure.
        """
        figure = new_figure(7.2, 3.6)
        axis = figure.subplots()
        epsilons = [0.0, *self.epsilons]
        shift = 0.012 * max(epsilons)  # side by side: intervals on top of each other cannot be read
        for i, name in enumerate(self.attacks):
            points = [self.clean, *(self[name, epsilon] for epsilon in self.epsilons)]
            values = [100 * point.accuracy for point in points]
            intervals = [[100 * abs(bound - point.accuracy) for bound in point.interval] for point in points]
            places = [epsilon + shift * (i - (len(self.attacks) - 1) / 2) for epsilon in epsilons]
            axis.errorbar(places, values, yerr=list(zip(*intervals, strict=True)), marker="o", capsize=3, label=name)
        axis.set_xticks(epsilons, [f"{epsilon:.3g}" for epsilon in epsilons])
        axis.set(xlabel="epsilon (units of x)", ylabel="accuracy (%)", ylim=(0, 100))
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        open_axis(axis)
        if path is not None:
            save_figure(figure, path)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Return the report as nested dicts of plain values."""
        results = [asdict(result) for result in self.results]
        return {"clean": asdict(self.clean), "results": results, "config": self.config, "notes": self.notes}

    def save(self, path: str) -> None:
        """Write the report to ``path`` atomically: .json, or .png or .pdf for the plot.

        Raises:
            ValueError: For another ending.
        """
        ending = pathlib.Path(path).suffix
        if ending == ".json":
            write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")
        elif ending in (".png", ".pdf"):
            self.plot(path)
        else:
            raise ValueError(f"`path` must end in .json, .png or .pdf; got {str(path)!r}.")

    @classmethod
    def load(cls, path: str) -> "RobustnessReport":
        """Return the report that ``save`` wrote to ``path``, a JSON file.

        Raises:
            ValueError: If the file holds no such report.
            OSError: If it cannot be read.
        """
        try:
            data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
            results = [Accuracy(**result) for result in data["results"]]
            return cls(Accuracy(**data["clean"]), results, data["config"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} must be a report that `save` wrote as .json; got {error!r}.") from error


@dataclass(frozen=True)
class AccuracyDifference:
    """The accuracy of one report minus that of another, under one attack.

    Attributes:
        attack: Name of the attack, "clean" without one.
        epsilon: Radius of the ball.
        accuracy: The difference; 0.01 is a percentage point.
        standard_error: Its standard error, as if the samples of the two reports were independent.
    """

    attack: str
    epsilon: float
    accuracy: float
    standard_error: float


class RobustnessComparison(list[AccuracyDifference]):
    """The result of ``report.compare(other)``: a list of ``AccuracyDifference``."""

    def table(self) -> str:
        """Return a text table with a row for each attack and epsilon: this report minus the other, in points."""
        rows = [("attack", "epsilon", "accuracy (points)", "standard error")]
        for row in self:
            rows.append(
                (row.attack, f"{row.epsilon:.4g}", f"{100 * row.accuracy:+.1f}", f"{100 * row.standard_error:.1f}")
            )
        return "\n".join(text_table.plain(rows))

    __str__ = table

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the differences as dicts."""
        return [asdict(row) for row in self]


def _difference(result, reference):
    error = math.sqrt(result.variance + reference.variance)
    return AccuracyDifference(result.attack, result.epsilon, result.accuracy - reference.accuracy, error)


def _cell(result):
    low, high = result.interval
    return f"{100 * result.accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})"
