"""One report less another."""

from dataclasses import asdict, dataclass

from keras_snn.energy import DEVICES
from keras_snn.inspector import tables
from keras_snn.inspector.findings import Results, only, same_dt

_COLUMNS = ("dt (s)", "steps", "accuracy (points)", "synaptic operations")


@dataclass(frozen=True)
class Difference:
    """A report's figures less those of another one, at one dt and number of steps.

    Attributes:
        dt: Time step in seconds; None for every layer's own.
        n_steps: Number of time steps.
        accuracies: Dict from the name of each output that has an accuracy in both, "" for an only output, to the
            difference: 0.01 for a percentage point.
        rates: Dict from the name of each layer that is in both to the difference of the mean rates, Hz.
        synaptic_operations: Difference for one inference; None where one report has no layers with synapses.
        energy: Dict from a device's name to the difference for one inference, J; empty for the same reason.
    """

    dt: float | None
    n_steps: int | None
    accuracies: dict
    rates: dict
    synaptic_operations: float | None
    energy: dict

    @property
    def accuracy(self):
        """The difference of the only output; None without one; for a model with several outputs, ``accuracies``."""
        return only(self.accuracies)


class Comparison(Results):
    """What ``report.compare(other)`` finds; ``comparison[dt]`` or ``comparison[dt, n_steps]`` is a ``Difference``.

    Attributes:
        notes: What only one of the reports has: a list of sentences.
    """

    def __init__(self, report, other):
        pairs = [(a, b) for a in report for b in other if a.n_steps == b.n_steps and same_dt(a.dt, b.dt)]
        if not pairs:
            raise ValueError(
                f"The reports have no (dt, n_steps) in common: this has {report.settings()}, the other "
                f"{other.settings()}."
            )
        super().__init__(_difference(a, b) for a, b in pairs)
        self.notes = []
        for i, (which, whole) in enumerate((("this", report), ("the other", other))):
            only = [key for key in whole.settings() if key not in [(pair[i].dt, pair[i].n_steps) for pair in pairs]]
            layers = dict.fromkeys(name for pair in pairs for name in pair[i].layers)
            only += [name for name in layers if not any(name in of.rates for of in self)]
            if only:
                self.notes.append(f"Only in {which} report: {', '.join(map(repr, only))}.")

    def table(self):
        """Return a text table with a line for each dt and layer; differences are this report less the other."""
        return "\n".join(tables.as_text(self._rows()) + self.notes)

    __str__ = table

    def _repr_html_(self):
        return tables.as_html(self._rows(), "Differences", self.notes)

    def to_dict(self):
        """Return the differences as nested dicts of plain numbers."""
        results = [asdict(result) for result in self]
        for result in results:  # the units, as in the file of a report
            result |= {"rates_hz": result.pop("rates"), "energy_j": result.pop("energy")}
        return {"results": results, "notes": self.notes}

    def _rows(self):
        devices = (*tables.SPIKING, *tables.ANN)
        rows = [(*_COLUMNS, *tables.DEVICE_COLUMNS, "layer", "mean rate (Hz)")]
        for of in self:
            microjoules = [1e6 * of.energy[name] if of.energy else None for name in devices]
            first = (tables.dt_label(of.dt), tables.or_dash(of.n_steps), tables.by_output(of.accuracies, _points))
            first += tuple(tables.amount(value, "+") for value in (of.synaptic_operations, *microjoules))
            for name, rate in of.rates.items() or [("-", None)]:
                rows.append((*first, name, "-" if rate is None else f"{rate:+.4g}"))
                first = ("",) * len(first)
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
