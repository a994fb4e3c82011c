"""The report as a self-contained HTML page, from the template ``page.html``."""

import base64
import io
import math
import string
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from keras_snn._version import __version__
from keras_snn.energy import NOT_MODELED
from keras_snn.inspector import plots, tables
from keras_snn.inspector.samples import ClassNames

if TYPE_CHECKING:
    from keras_snn.inspector.findings import DtReport
    from keras_snn.inspector.report import Report

#: The page opens at the smallest dt whose accuracy is at most this far below the best accuracy: a percentage point.
NEAR_THE_BEST = 0.01

#: Pixels per inch on the page. The files have more, so that pictures are sharp on high-resolution screens.
_CSS_PIXELS = 96

_NO_EXAMPLES = "<p>The report has no examples: <code>inspect(..., examples=4)</code> records four.</p>"


def page(report: "Report", *, title: str | None = None, class_names: ClassNames = None) -> str:
    """Return the page: tables, plots, a picture of the examples at each dt with a slider, and a glossary.

    Args:
        report: ``Report``.
        title: String. Default: the name of the model.
        class_names: As in ``plots.examples``.
    """
    if title is None:
        title = "Inspection of a spiking model" if report.model is None else f"Inspection of {report.model}"
    template = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    with_examples = [result for result in report if result.examples is not None]
    start = opening(with_examples) if with_examples else 0
    pictures = "\n".join(_examples(result, class_names, k != start) for k, result in enumerate(with_examples))
    return template.substitute(
        title=escape(title),
        origin=_origin(report),
        rates=tables.as_html(tables.rates(report), "Accuracy and firing rates", tables.notes(report)),
        spikes=tables.as_html(tables.spikes(report), "Spikes per inference") if len(report) else "",
        energies="\n".join(energy_tables(report)),
        figures="\n".join(f"<figure>{_image(*figure)}</figure>" for figure in _figures(report)),
        last=max(len(with_examples) - 1, 0),
        start=start,
        shown=escape(tables.title(with_examples[start])) if with_examples else "",
        examples=pictures or _NO_EXAMPLES,
    )


def energy_tables(results: Iterable["DtReport"]) -> list[str]:
    """Return the tables of operations and of energy with their notes."""
    return [
        tables.as_html(tables.operations(results), "Operations and memory traffic", [tables.OPERATIONS_NOTE]),
        tables.as_html(tables.energies(results), "Energy", [tables.ENERGY_NOTE, NOT_MODELED]),
    ]


def opening(results: Sequence["DtReport"]) -> int:
    """Return the index of the result that the page shows first.

    It has the smallest dt, and then the smallest number of steps, of the results within one percentage point of the
    best accuracy; of all results if there are no accuracies. For several outputs, the mean accuracy counts.
    """
    accuracies = [sum(result.accuracies.values()) / max(1, len(result.accuracies)) for result in results]
    # 1e-9 covers rounding: 0.88 is one point below 0.89, but 0.89 - 0.88 > 0.01 in binary.
    near = [k for k, accuracy in enumerate(accuracies) if accuracy >= max(accuracies) - NEAR_THE_BEST - 1e-9]
    return min(near, key=lambda k: (results[k].dt or 0, results[k].n_steps or 0))


def _origin(report):
    data = report.data or tables.counted(report.n_samples, "sample")
    entries = [("Model", report.model), ("Data", data), ("Date", report.date)]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in entries if value is not None)
    return f'<dl class="origin">{rows}<dt>Made by</dt><dd>keras_snn {__version__}</dd></dl>'


def _examples(result, class_names, hidden):
    """Return the picture of a result's examples. The script of the page shows one picture at a time."""
    description = ". ".join([plots.summary(result), *(line for line, _ in plots.example_lines(result, class_names))])
    image = _image(plots.examples(result, class_names=class_names), description)
    return f'<figure data-title="{escape(tables.title(result))}"{" hidden" if hidden else ""}>{image}</figure>'


def _figures(report):
    """Yield pairs (figure, description)."""
    if not len(report):
        return
    yield plots.sweep(report), "Accuracy, and mean firing rate of each layer, against dt: the values of the first table"
    if all(result.synapses for result in report):
        figure = plots.new_figure(9, 3.4)
        outputs = list(report.results[0].accuracies) or [None]
        for axis, output in zip(figure.subplots(1, len(outputs), squeeze=False)[0], outputs, strict=True):
            plots.accuracy_and_energy(axis, report, output=output)
            if output:
                axis.set_xlabel(f"dt (s): accuracy of {output}")
        yield figure, "Accuracy and energy on loihi against dt: the values of the tables"
        yield plots.energies(report), "Energy on each device at each dt, and of the ANN: the values of the energy table"
    panels = [
        (", ".join(filter(None, (output, tables.title(result)))), latency)
        for result in report
        for output, latency in result.latencies.items()
    ]
    if panels:
        n_rows = math.ceil(len(panels) / 3)
        n_columns = math.ceil(len(panels) / n_rows)
        figure = plots.new_figure(9, 2.8 * n_rows)
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axis, (title, latency) in zip(axes, panels, strict=False):
            plots.latency(axis, latency).set_title(title, fontsize=9)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        last = "; ".join(_last_values(title, latency) for title, latency in panels)
        yield figure, f"Accuracy and confidence after the first k steps. {last}"


def _last_values(title, latency):
    accuracy = "" if latency.accuracy is None else f"accuracy {tables.percent(latency.accuracy[-1])}, "
    return f"{title}: after {latency.steps[-1]} {accuracy}confidence {tables.percent(latency.confidence[-1])}"


def _image(figure, description):
    content = base64.b64encode(_png(figure)).decode("ascii")
    width, height = (figure.get_size_inches() * _CSS_PIXELS).round().astype(int)
    return f'<img width="{width}" height="{height}" src="data:image/png;base64,{content}" alt="{escape(description)}">'


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    return file.getvalue()
