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


@dataclass(frozen=True)
class Accuracy:
    """The accuracy under one attack.

    Attributes:
        attack: Name of the attack, "clean" without one.
        epsilon: Radius of the ball, 0 without an attack.
        correct: Number of samples that are classified correctly.
        n_samples: Number of samples.
    """

    attack: str
    epsilon: float
    correct: int
    n_samples: int

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return self.correct / self.n_samples

    @property
    def interval(self) -> tuple[float, float]:
        """Binomial interval of 95 % (Wilson 1927)."""
        n, p, z2 = self.n_samples, self.accuracy, _QUANTILE**2
        center = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _QUANTILE / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
        return max(0.0, center - half), min(1.0, center + half)


class RobustnessReport:
    """The result of ``keras_snn.robustness.evaluate``. ``report[attack, epsilon]`` is an ``Accuracy``.

    Attributes:
        clean: ``Accuracy`` without an attack.
        results: List of ``Accuracy``.
        config: Dict of the settings.
        notes: List of sentences about gradient masking and transfer.
    """

    def __init__(self, clean: Accuracy, results: list[Accuracy], config: dict, notes: list[str]):
        self.clean = clean
        self.results = results
        self.config = config
        self.notes = notes

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

    def table(self) -> str:
        """Return a text table: accuracy in % with its interval of 95 %, a row for each attack."""
        rows = [("attack", "clean", *(f"epsilon {epsilon:.4g}" for epsilon in self.epsilons))]
        rows += [(name, _cell(self.clean), *(_cell(self[name, e]) for e in self.epsilons)) for name in self.attacks]
        heading = f"Accuracy in % of {self.clean.n_samples:,} samples, with intervals of 95 %"
        return "\n".join([heading, *text_table.plain(rows), *self.notes])

    __str__ = table

    def compare(self, other: "RobustnessReport") -> str:
        """Return a text table: the accuracy of this report minus that of ``other``, in points, with standard errors."""
        rows = [("attack", "epsilon", "difference (points)", "standard error")]
        for result in (self.clean, *self.results):
            try:
                reference = other.clean if result is self.clean else other[result.attack, result.epsilon]
            except KeyError:
                continue
            variance = sum(r.accuracy * (1 - r.accuracy) / r.n_samples for r in (result, reference))
            difference = f"{100 * (result.accuracy - reference.accuracy):+.1f}"
            rows.append((result.attack, f"{result.epsilon:.4g}", difference, f"{100 * math.sqrt(variance):.1f}"))
        return "\n".join(text_table.plain(rows))

    def plot(self, path: str | None = None) -> Any:
        """Draw accuracy against epsilon with intervals of 95 %, and write the figure to ``path`` if given.

        Returns:
            The Matplotlib figure.
        """
        figure = new_figure(6.4, 3.6)
        axis = figure.subplots()
        for name in self.attacks:
            points = [self.clean, *(self[name, epsilon] for epsilon in self.epsilons)]
            values = [100 * point.accuracy for point in points]
            errors = [
                [100 * max(0, point.accuracy - point.interval[0]) for point in points],
                [100 * max(0, point.interval[1] - point.accuracy) for point in points],
            ]
            axis.errorbar([p.epsilon for p in points], values, yerr=errors, marker="o", capsize=3, label=name)
        axis.set(xlabel="epsilon (units of x)", ylabel="accuracy (%)", ylim=(0, 100))
        axis.legend(frameon=False)
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
            return cls(Accuracy(**data["clean"]), results, data["config"], data["notes"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} must be a report that `save` wrote as .json; got {error!r}.") from error


def _cell(result):
    low, high = result.interval
    return f"{100 * result.accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})"
