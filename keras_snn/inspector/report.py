"""The report of an inspection: tables, files and plots."""

import json
import pathlib
import textwrap
from collections.abc import Iterable
from typing import Any

from keras_snn import text_table
from keras_snn.energy import DEVICES, NOT_MODELED
from keras_snn.files import write_text
from keras_snn.inspector import html, plots, tables
from keras_snn.inspector.comparison import Comparison
from keras_snn.inspector.findings import (
    OPERATIONS,
    DtReport,
    Examples,
    Latency,
    LayerReport,
    Path,
    Rate,
    Results,
    finish,
)
from keras_snn.inspector.older_files import VERSION, upgrade
from keras_snn.inspector.panels import Figure
from keras_snn.inspector.samples import ClassNames

__all__ = ["DtReport", "Examples", "Latency", "LayerReport", "Rate", "Report"]

_FORMAT = "keras_snn report"
_ORIGIN = ("model", "data", "date")
_LAYER_COLUMNS = ("spikes_per_step", "spikes_per_inference", "silent", "saturated", "temporal_sparsity")


class Report(Results):
    """The results of one ``inspect`` call. ``report[dt]`` or ``report[dt, n_steps]`` is a ``DtReport``.

    Attributes:
        results: List of the ``DtReport``.
        n_samples: Number of samples.
        model: Name of the model.
        data: Description of the data, such as "10,000 samples of (28, 28)".
        date: Date and time of the run in the ISO format.

    ``model``, ``data`` and ``date`` are None in files of versions 1 and 2.

    Example:

    ```python
    report = keras_snn.inspect(model, x_test, y_test, dt=[0.01, 0.1])
    print(report)  # both tables
    report.save("report.html")  # one page with tables, plots and examples
    report.save("report.json")
    before = keras_snn.inspector.Report.load("report.json")
    print(report - before)
    ```
    """

    def __init__(
        self,
        results: Iterable[DtReport],
        n_samples: int,
        *,
        model: str | None = None,
        data: str | None = None,
        date: str | None = None,
    ):
        super().__init__(results)
        self.n_samples = n_samples
        self.model, self.data, self.date = model, data, date

    def table(self) -> str:
        """Return a text table with a row for each dt and layer: accuracy and firing rates.

        The first line gives the model, the data and the date, if they are known.
        """
        return "\n".join(tables.origin(self) + text_table.plain(tables.rates(self)) + tables.notes(self))

    def energy_table(self) -> str:
        """Return two text tables with a row for each dt and number of steps: operations and energy of one inference.

        The first lists accumulates, multiply-accumulates, neuron updates and memory traffic. The second compares the
        spiking model (45nm, loihi, spinnaker2) with the same layers in an ANN (45nm, cpu, gpu).
        """
        parts = ((tables.operations, [tables.OPERATIONS_NOTE]), (tables.energies, [tables.ENERGY_NOTE, NOT_MODELED]))
        return "\n\n".join(
            "\n".join([*text_table.plain(rows(self)), *(line for note in notes for line in textwrap.wrap(note, 110))])
            for rows, notes in parts
        )

    def __str__(self):
        return f"{self.table()}\n\n{self.energy_table()}"

    def _repr_html_(self):
        rates = tables.as_html(
            tables.rates(self), "Accuracy and firing rates", tables.origin(self) + tables.notes(self)
        )
        return "\n".join([rates, *html.energy_tables(self)])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as nested dicts and lists of Python numbers, for ``from_dict``."""
        results = [result.to_dict() for result in self.results]
        origin = {name: getattr(self, name) for name in _ORIGIN}
        return {"format": _FORMAT, "version": VERSION, **origin, "n_samples": self.n_samples, "results": results}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """Return the report for the result of ``to_dict``. Arrays of floats have six digits.

        Raises:
            ValueError: If ``values`` are not those of a report, or of a report by a newer version of this package.
        """
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise ValueError(f"`values` must be the dict of a report, with the format {_FORMAT!r}")
        if values.get("version") not in range(1, VERSION + 1):
            raise ValueError(
                f"this keras_snn reads reports up to version {VERSION}; got version {values.get('version')!r}. Install "
                "a newer version"
            )
        try:
            values = upgrade(values)
            results = [DtReport.from_dict(result) for result in values["results"]]
            return cls(results, values["n_samples"], **{name: values[name] for name in _ORIGIN})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"the report is damaged ({type(error).__name__}: {error})") from error

    def save(self, path: Path, *, class_names: ClassNames = None) -> None:
        """Write the report to ``path`` atomically.

        The suffix of ``path`` selects the format: ``.json`` for ``Report.load``, ``.html`` for the page of ``to_html``,
        ``.png`` or ``.pdf`` for the figure of ``plot``.

        Args:
            path: Path of the file.
            class_names: As in ``to_html``. Only the page uses them.

        Raises:
            ValueError: For another suffix.
            OSError: If the folder cannot be written.
        """
        suffix = pathlib.Path(path).suffix
        if suffix == ".json":
            write_text(path, json.dumps(self.to_dict(), separators=(",", ":")) + "\n")
        elif suffix == ".html":
            write_text(path, self.to_html(class_names=class_names))
        elif suffix in (".png", ".pdf"):
            self.plot(path)
        else:
            raise ValueError(f"`path` must end in .json, .html, .png or .pdf; got {str(path)!r}.")

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Return the report in the JSON file ``path``, written by ``save``. Arrays of floats have six digits.

        Raises:
            ValueError: If the file is not a report, is incomplete, or was written by a newer version of this package.
            OSError: If it cannot be read.
        """
        try:
            return cls.from_dict(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{str(path)!r} must be a .json file of `Report.save`: {error}.") from error

    def to_html(self, *, title: str | None = None, class_names: ClassNames = None) -> str:
        """Return a page with tables, plots, the examples at each dt and a glossary.

        The page needs no other file and no network. A slider selects the dt of the examples, drawn by
        ``DtReport.plot``. The page first shows the smallest dt within one percentage point of the best accuracy;
        without labels, the smallest dt. Without scripts, it shows this dt only.

        Args:
            title: String. Default: "Inspection of" and the name of the model.
            class_names: Sequence of the names of the classes 0, 1, ...; for a model with several outputs, also a dict
                from the name of each output to them. Default: "class 0", "class 1", ...
        """
        return html.page(self, title=title, class_names=class_names)

    def to_dataframe(self) -> Any:
        """Return a pandas ``DataFrame`` with a row for each dt, number of steps and layer.

        Rates are in Hz, energies of one inference in J. Values of the whole model are repeated in the row of each
        layer.

        Raises:
            ImportError: If pandas is not installed.
        """
        rows = []
        for result in self:
            model_values = {
                **{
                    f"accuracy {name}".strip(): accuracy for name, accuracy in (result.accuracies or {"": None}).items()
                },
                **result.metrics,
                "synaptic_operations": result.synaptic_operations if result.synapses else None,
                **{name: getattr(result, name) if result.synapses else None for name in OPERATIONS},
                "ann_macs": result.ann_macs if result.synapses else None,
                "ann_dense_macs": result.ann_dense_macs if result.synapses else None,
                **{f"energy_{name}": result.energy(name) if result.synapses else None for name in DEVICES},
            }
            for name, layer in result.layers.items():
                layer_values = {
                    **{f"rate_{key}": getattr(layer.rate, key) for key in ("min", "mean", "max")},
                    **{key: getattr(layer, key) for key in _LAYER_COLUMNS},
                    "units": layer.per_unit.size,
                }
                dt = layer.dt if result.dt is None else result.dt
                rows.append({"dt": dt, "n_steps": layer.n_steps, "layer": name, **layer_values, **model_values})
        return tables.dataframe(rows)

    def compare(self, other: "Report") -> Comparison:
        """Return a ``Comparison``: this report minus ``other``, at each (dt, n_steps) of both.

        Layers are matched by their names. ``report - other`` is the same.

        Raises:
            TypeError: If ``other`` is not a report.
            ValueError: If the reports have no (dt, n_steps) in common.
        """
        if not isinstance(other, Report):
            raise TypeError(f"`other` must be a Report; got {type(other).__name__}.")
        return Comparison(self, other)

    def __sub__(self, other):
        return self.compare(other) if isinstance(other, Report) else NotImplemented

    def plot(self, path: Path | None = None) -> Figure:
        """Draw accuracy and firing rates against dt, and write the figure to ``path`` if given. Return the figure."""
        return finish(plots.sweep(self), path)
