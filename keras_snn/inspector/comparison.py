"""The differences of two reports."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from keras_snn import text_table
from keras_snn.energy import DEVICES
from keras_snn.inspector import tables
from keras_snn.inspector.findings import Results, same_dt, single_value

if TYPE_CHECKING:
    from keras_snn.inspector.report import Report

_COLUMNS = ("dt (s)", "steps", "accuracy (points)", "synaptic operations")


@dataclass(frozen=True)
class Difference:
    """The values of a report minus those of another, at one dt and number of steps.

    Attributes:
        dt: Time step in seconds; None if each layer uses its dt.
        n_steps: Number of time steps.
        accuracies: Dict from the name of each output with an accuracy in both reports, "" for a single output, to the
            difference: 0.01 is a percentage point.
        rates: Dict from the name of each layer of both reports to the difference of the mean rates, Hz.
        synaptic_operations: Difference for one inference; None if a report has no layers with synapses.
        energy: Dict from the name of each device to the difference for one inference, J; empty if a report has no
            layers with synapses.
    """

    dt: float | None
    n_steps: int | None
    accuracies: dict[str, float]
    rates: dict[str, float]
    synaptic_operations: float | None
    energy: dict[str, float]

    @property
    def accuracy(self) -> float | dict[str, float] | None:
        """The difference of a single output; None without one. For several outputs, the dict ``accuracies``."""
        return single_value(self.accuracies)


class Comparison(Results):
    """The result of ``report.compare(other)``. ``comparison[dt]`` or ``comparison[dt, n_steps]`` is a ``Difference``.

    Attributes:
        notes: List of sentences that name the settings and layers of only one of the reports.
    """

    def __init__(self, report: "Report", other: "Report"):
        pairs = [(a, b) for a in report for b in other if a.n_steps == b.n_steps and same_dt(a.dt, b.dt)]
        if not pairs:
            raise ValueError(
                f"The reports have no (dt, n_steps) in common: this has {report.settings()}, the other "
                f"{other.settings()}."
            )
        super().__init__(_difference(a, b) for a, b in pairs)
        self.notes = []
        for i, (title, whole) in enumerate((("this", report), ("the other", other))):
            unmatched: list = [
                key for key in whole.settings() if key not in [(pair[i].dt, pair[i].n_steps) for pair in pairs]
            ]
            layers = dict.fromkeys(name for pair in pairs for name in pair[i].layers)
            unmatched += [name for name in layers if not any(name in difference.rates for difference in self)]
            if unmatched:
                self.notes.append(f"Only in {title} report: {', '.join(map(repr, unmatched))}.")

    def table(self) -> str:
        """Return a text table with a row for each dt and layer: this report minus the other."""
        return "\n".join(text_table.plain(self._rows()) + self.notes)

    __str__ = table

    def _repr_html_(self):
        return tables.as_html(self._rows(), "Differences", self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the differences as nested dicts of Python numbers."""
        results = [asdict(result) for result in self]
        for result in results:  # with units, as in a report file
            result |= {"rates_hz": result.pop("rates"), "energy_j": result.pop("energy")}
        return {"results": results, "notes": self.notes}

    def _rows(self):
        devices = (*tables.SPIKING, *tables.ANN)
        rows = [(*_COLUMNS, *tables.DEVICE_COLUMNS, "layer", "mean rate (Hz)")]
        for difference in self:
            energy = difference.energy
            microjoules = [1e6 * energy[name] if energy else None for name in devices]
            cells = [
                tables.dt_label(difference.dt),
                tables.or_dash(difference.n_steps),
                tables.by_output(difference.accuracies, _points),
                *(tables.amount(value, "+") for value in (difference.synaptic_operations, *microjoules)),
            ]
            for name, rate in difference.rates.items() or [("-", None)]:
                rows.append((*cells, name, "-" if rate is None else f"{rate:+.4g}"))
                cells = [""] * len(cells)
        return rows


def _difference(a, b):
    rates = {name: a.layers[name].rate.mean - b.layers[name].rate.mean for name in a.layers if name in b.layers}
    both = bool(a.synapses and b.synapses)
    return Difference(
        a.dt,
        a.n_steps,
        {name: a.accuracies[name] - b.accuracies[name] for name in a.accuracies if name in b.accuracies},
        rates,
        a.synaptic_operations - b.synaptic_operations if both else None,
        {name: a.energy(name) - b.energy(name) for name in DEVICES} if both else {},
    )


def _points(accuracy):
    return f"{100 * accuracy:+.2f}"
