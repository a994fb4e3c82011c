"""The report of an inspection: tables, files and pictures."""

import json
import pathlib
import textwrap

from keras_snn.energy import DEVICES
from keras_snn.files import write_text
from keras_snn.inspector import html, plots, tables
from keras_snn.inspector.comparison import Comparison
from keras_snn.inspector.findings import (
    DtReport,
    Examples,
    Latency,
    LayerReport,
    Rate,
    Results,
    finish,
)
from keras_snn.inspector.older_files import VERSION, upgrade

__all__ = ["DtReport", "Examples", "Latency", "LayerReport", "Rate", "Report"]

_FORMAT = "keras_snn report"
_ABOUT = ("model", "data", "date")
_LAYER_COLUMNS = ("spikes_per_step", "spikes_per_inference", "silent", "saturated", "temporal_sparsity")


class Report(Results):
    """The findings of one ``inspect`` call; ``report[dt]`` or ``report[dt, n_steps]`` is a ``DtReport``.

    Attributes:
        results: List of the ``DtReport``.
        n_samples: Number of samples.
        model: Name of the model.
        data: Description of the data, such as "10,000 samples of (28, 28)".
        date: Date and time of the run in the ISO format. This and the two before are None in files of versions 1 and 2.

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

    def __init__(self, results, n_samples, *, model=None, data=None, date=None):
        super().__init__(results)
        self.n_samples = n_samples
        self.model, self.data, self.date = model, data, date

    def table(self):
        """Return a text table with a line for each dt and layer: accuracy and firing rates.

        The first line names the model, the data and the date, if they are known.
        """
        return "\n".join(tables.origin(self) + tables.as_text(tables.rates(self)) + tables.notes(self))

    def energy_table(self):
        """Return a text table with a line for each dt and number of steps: operations and energy of one inference.

        Operations and energy of the spiking model (loihi, spinnaker2) stand beside those of the same layers in an ANN
        (cpu, gpu). ``ratio`` is synaptic operations over multiply-accumulates.
        """
        return "\n".join([*tables.as_text(tables.energies(self)), *textwrap.wrap(tables.ENERGY_NOTE, 110)])

    def __str__(self):
        return f"{self.table()}\n\n{self.energy_table()}"

    def _repr_html_(self):
        rates = tables.as_html(
            tables.rates(self), "Accuracy and firing rates", tables.origin(self) + tables.notes(self)
        )
        energies = tables.as_html(tables.energies(self), "Operations and energy", [tables.ENERGY_NOTE])
        return f"{rates}\n{energies}"

    def to_dict(self):
        """Return the report as nested dicts and lists of plain numbers, with all that ``from_dict`` needs."""
        results = [result.to_dict() for result in self.results]
        about = {name: getattr(self, name) for name in _ABOUT}
        return {"format": _FORMAT, "version": VERSION, **about, "n_samples": self.n_samples, "results": results}

    @classmethod
    def from_dict(cls, values):
        """Return the report of which ``to_dict`` gave ``values``; arrays of floats come with six digits.

        Raises:
            ValueError: If ``values`` are those of no report, or of one by a newer version of this package.
        """
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise ValueError(f"no report: `values` must be a dict with the format {_FORMAT!r}")
        if values.get("version") not in range(1, VERSION + 1):
            raise ValueError(
                f"a report of version {values.get('version')!r}, while this keras_snn reads versions up to {VERSION}: "
                "it takes a newer keras_snn"
            )
        try:
            values = upgrade(values)
            results = [DtReport.from_dict(result) for result in values["results"]]
            return cls(results, values["n_samples"], **{name: values[name] for name in _ABOUT})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"a damaged report ({type(error).__name__}: {error})") from error

    def save(self, path, *, class_names=None):
        """Write the report to ``path`` atomically.

        The ending of ``path`` decides: ``.json`` for the file that ``Report.load`` reads, ``.html`` for the page of
        ``to_html``, ``.png`` or ``.pdf`` for the picture of ``plot``.

        Args:
            path: Path of the file.
            class_names: As in ``to_html``; the other files hold no names of classes.

        Raises:
            ValueError: For another ending.
            OSError: If the folder cannot be written.
        """
        ending = pathlib.Path(path).suffix
        if ending == ".json":
            write_text(path, json.dumps(self.to_dict(), separators=(",", ":")) + "\n")
        elif ending == ".html":
            write_text(path, self.to_html(class_names=class_names))
        elif ending in (".png", ".pdf"):
            self.plot(path)
        else:
            raise ValueError(f"`path` must end in .json, .html, .png or .pdf; got {str(path)!r}.")

    @classmethod
    def load(cls, path):
        """Return the report that ``save`` wrote to ``path``, a JSON file; arrays of floats come with six digits.

        Raises:
            ValueError: If the file holds no report, only a part of one, or one by a newer version of this package.
            OSError: If it cannot be read.
        """
        try:
            return cls.from_dict(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(
                f"{str(path)!r} cannot be read as a report that `save` wrote as .json: {error}."
            ) from error

    def to_html(self, *, title=None, class_names=None):
        """Return a page with tables, plots, the examples at each dt and a glossary.

        The page needs no other file and no network. A slider chooses the dt whose picture of the examples is shown, the
        one of ``DtReport.plot``. The page opens at the smallest dt within one percentage point of the best accuracy, or
        at the smallest dt if there are no labels; without scripts, it shows that dt alone.

        Args:
            title: String. Default: "Inspection of" and the name of the model.
            class_names: Sequence of strings, the names of the classes 0, 1, ...; for a model with several outputs,
                also a dict of them from the outputs' names. Default: "class 0", "class 1", ...
        """
        return html.page(self, title=title, class_names=class_names)

    def to_dataframe(self):
        """Return a pandas ``DataFrame`` with a row for each dt, number of steps and layer.

        Rates are in Hz, energies of one inference in J. What belongs to all layers stands in each one's row.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`to_dataframe` needs pandas: pip install pandas") from error
        rows = []
        for result in self:
            of_all = {
                **{f"accuracy {name}".strip(): share for name, share in (result.accuracies or {"": None}).items()},
                **result.metrics,
                "synaptic_operations": result.synaptic_operations if result.synapses else None,
                "ann_macs": result.ann_macs if result.synapses else None,
                "ann_dense_macs": result.ann_dense_macs if result.synapses else None,
                **{f"energy_{name}": result.energy(name) if result.synapses else None for name in DEVICES},
            }
            for name, layer in result.layers.items():
                of_layer = {
                    **{f"rate_{which}": getattr(layer.rate, which) for which in ("min", "mean", "max")},
                    **{what: getattr(layer, what) for what in _LAYER_COLUMNS},
                    "units": layer.per_unit.size,
                }
                dt = layer.dt if result.dt is None else result.dt
                rows.append({"dt": dt, "n_steps": layer.n_steps, "layer": name, **of_layer, **of_all})
        return pd.DataFrame(rows)

    def compare(self, other):
        """Return a ``Comparison``: this report less ``other``, at each (dt, n_steps) that both have.

        Layers are matched by their names. ``report - other`` is the same.

        Raises:
            TypeError: If ``other`` is no report.
            ValueError: If the two have no (dt, n_steps) in common.
        """
        if not isinstance(other, Report):
            raise TypeError(f"`other` has to be a Report; got {type(other).__name__}.")
        return Comparison(self, other)

    def __sub__(self, other):
        return self.compare(other) if isinstance(other, Report) else NotImplemented

    def plot(self, path=None):
        """Draw accuracy and firing rates against dt, and write the picture to ``path`` if given. Return the figure."""
        return finish(plots.sweep(self), path)
