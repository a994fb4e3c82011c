"""The report as one page of HTML that needs no other file and no network; its frame is ``page.html``."""

import base64
import io
import math
import string
from html import escape
from pathlib import Path

from keras_snn._version import __version__
from keras_snn.inspector import plots, tables

#: The page opens at the smallest dt whose accuracy is at most this far below the best one: a percentage point.
NEAR_THE_BEST = 0.01

#: Pixels of an inch on the page; with more in the file, pictures are sharp on dense screens too.
_CSS_PIXELS = 96

_NO_EXAMPLES = "<p>No examples were kept: <code>inspect(..., examples=4)</code> keeps four.</p>"


def page(report, *, title=None, class_names=None):
    """Return the page: tables, plots, a picture of the examples at each dt with a slider, and a glossary.

    Args:
        report: ``Report``.
        title: String. Default: the name of the model.
        class_names: As in ``plots.examples``.
    """
    if title is None:
        title = "Inspection of a spiking model" if report.model is None else f"Inspection of {report.model}"
    template = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    shown = [result for result in report if result.examples is not None]
    start = opening(shown) if shown else 0
    pictures = "\n".join(_examples(result, class_names, k != start) for k, result in enumerate(shown))
    return template.substitute(
        title=escape(title),
        origin=_origin(report),
        rates=tables.as_html(tables.rates(report), "Accuracy and firing rates", tables.notes(report)),
        spikes=tables.as_html(tables.spikes(report), "Spikes per inference") if len(report) else "",
        energies=tables.as_html(tables.energies(report), "Operations and energy", [tables.ENERGY_NOTE]),
        figures="\n".join(f"<figure>{_image(*figure)}</figure>" for figure in _figures(report)),
        last=max(len(shown) - 1, 0),
        start=start,
        shown=escape(tables.title(shown[start])) if shown else "",
        examples=pictures or _NO_EXAMPLES,
    )


def opening(results):
    """Return the index of the result at which the page opens.

    It has the smallest dt, and then the fewest steps, of the results within one percentage point of the best accuracy;
    of all results if there are no accuracies. The accuracy of several outputs is their mean.
    """
    accuracies = [sum(of.accuracies.values()) / max(1, len(of.accuracies)) for of in results]
    # 1e-9: 0.88 is one point below 0.89, and 0.89 - 0.88 > 0.01 in binary.
    near = [k for k, accuracy in enumerate(accuracies) if accuracy >= max(accuracies) - NEAR_THE_BEST - 1e-9]
    return min(near, key=lambda k: (results[k].dt or 0, results[k].n_steps or 0))


def _origin(report):
    data = report.data or tables.counted(report.n_samples, "sample")
    rows = [("Model", report.model), ("Data", data), ("Date", report.date)]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows if value is not None)
    return f'<dl class="origin">{rows}<dt>Made by</dt><dd>keras_snn {__version__}</dd></dl>'


def _examples(result, class_names, hidden):
    """Return the picture of the examples of a result; the script shows one of them."""
    words = ". ".join([plots.summary(result), *(line for line, _ in plots.example_lines(result, class_names))])
    image = _image(plots.examples(result, class_names=class_names), words)
    return f'<figure data-title="{escape(tables.title(result))}"{" hidden" if hidden else ""}>{image}</figure>'


def _figures(report):
    """Yield pairs (figure, description)."""
    if not len(report):
        return
    yield plots.sweep(report), "Accuracy, and mean firing rate of each layer, against dt: figures of the first table"
    if all(result.synapses for result in report):
        figure = plots.new_figure(9, 3.4)
        outputs = list(report.results[0].accuracies) or [None]
        for axis, output in zip(figure.subplots(1, len(outputs), squeeze=False)[0], outputs, strict=True):
            plots.accuracy_and_energy(axis, report, output=output)
            if output:
                axis.set_xlabel(f"dt (s): accuracy of {output}")
        yield figure, "Accuracy and energy on loihi against dt: figures of the tables"
    panels = [
        (", ".join(filter(None, (output, tables.title(result)))), found)
        for result in report
        for output, found in result.latencies.items()
    ]
    if panels:
        n_rows = math.ceil(len(panels) / 3)
        n_columns = math.ceil(len(panels) / n_rows)
        figure = plots.new_figure(9, 2.8 * n_rows)
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axis, (panel, found) in zip(axes, panels, strict=False):
            plots.latency(axis, found).set_title(panel, fontsize=9)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        last = "; ".join(_last_answer(panel, found) for panel, found in panels)
        yield figure, f"Accuracy and confidence after the first k steps. {last}"


def _last_answer(panel, found):
    accuracy = "" if found.accuracy is None else f"accuracy {tables.percent(found.accuracy[-1])}, "
    return f"{panel}: after {found.steps[-1]} {accuracy}confidence {tables.percent(found.confidence[-1])}"


def _image(figure, words):
    content = base64.b64encode(_png(figure)).decode("ascii")
    width, height = (figure.get_size_inches() * _CSS_PIXELS).round().astype(int)
    return f'<img width="{width}" height="{height}" src="data:image/png;base64,{content}" alt="{escape(words)}">'


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    return file.getvalue()
