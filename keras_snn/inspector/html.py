"""The report as one page of HTML that needs no other file and no network; its frame is ``page.html``."""

import base64
import io
import json
import math
import string
from html import escape
from pathlib import Path

import numpy as np
from keras import ops, tree

from keras_snn._version import __version__
from keras_snn.inspector import plots, tables
from keras_snn.inspector.samples import as_image, class_name, labels_of, probabilities

#: The largest raster on the page; more steps are added up in bins, of more units some are shown.
MOST_STEPS, MOST_UNITS = 1000, 256


def page(report, *, title, class_names=None):
    """Return the page: tables, plots, and a slider over dt for the examples.

    Args:
        report: ``Report``.
        title: String.
        class_names: Sequence of strings, what the labels 0, 1, ... stand for.
    """
    template = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    samples = f"{report.n_samples:,} {'sample' if report.n_samples == 1 else 'samples'}"
    return template.substitute(
        title=escape(title),
        summary=escape(f"{samples}. Made by keras_snn {__version__}."),
        rates=tables.as_html(tables.rates(report), "Accuracy and firing rates", tables.notes(report)),
        energies=tables.as_html(tables.energies(report), "Operations and energy", [tables.ENERGY_NOTE]),
        figures="\n".join(f"<figure>{_image(*figure)}</figure>" for figure in _figures(report)),
        data=_as_script(_data(report, class_names)),
    )


def _figures(report):
    """Yield (figure, what it shows in words)."""
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
        yield figure, "Accuracy and energy on loihi against dt: figures of the two tables"
    panels = [
        (", ".join(filter(None, (output, tables.title(result)))), found)
        for result in report
        for output, found in result.latencies.items()
    ]
    if panels:
        n_columns = min(3, len(panels))
        n_rows = math.ceil(len(panels) / n_columns)
        figure = plots.new_figure(9, 2.8 * n_rows)
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axis, (panel, found) in zip(axes, panels, strict=False):
            plots.latency(axis, found).set_title(panel, fontsize=9)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        last = "; ".join(_last_answer(panel, found) for panel, found in panels)
        yield figure, f"Accuracy and confidence after the first steps. {last}"


def _last_answer(panel, found):
    accuracy = "" if found.accuracy is None else f"accuracy {tables.percent(found.accuracy[-1])}, "
    return f"{panel}: after {found.steps[-1]} {accuracy}confidence {tables.percent(found.confidence[-1])}"


def _image(figure, words):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return f'<img src="data:image/png;base64,{_base64(file.getvalue())}" alt="{escape(words)}">'


def _data(report, class_names):
    """Return what the page's script shows: inputs, and the examples' spikes and outputs of each result."""
    inputs, results = {}, []
    for result in report:
        few = result.examples
        if few is None:
            continue
        leaves = [ops.convert_to_numpy(leaf) for leaf in tree.flatten(few.x)]
        n = len(leaves[0])
        accuracy = [
            ", ".join(filter(None, (output, f"accuracy {tables.percent(share)}")))
            for output, share in result.accuracies.items()
        ]
        results.append(
            {
                "title": tables.title(result),
                "accuracy": "; ".join(accuracy),
                # The same input comes at every dt.
                "inputs": [
                    inputs.setdefault(json.dumps([_input(leaf[i]) for leaf in leaves]), len(inputs)) for i in range(n)
                ],
                "labels": [labels_of(few.labels, i, class_names) for i in range(n)],
                "layers": [{"name": name, **_rasters(counts)} for name, counts in few.counts.items()],
                "outputs": [
                    {"name": output, "steps": few.steps.tolist(), "shares": _shares(answers)}
                    for output, answers in few.outputs.items()
                ],
            }
        )
    n_classes = max((np.shape(of["shares"])[-1] for result in results for of in result["outputs"]), default=0)
    return {
        "inputs": [json.loads(listed) for listed in inputs],
        "classes": [class_name(k, class_names) for k in range(n_classes)],
        "results": results,
    }


def _shares(answers):
    return np.nan_to_num(probabilities(answers)).round(4).tolist()


def _input(x):
    x = np.where(np.isfinite(x), x, 0) if x.dtype.kind == "f" else x
    image = as_image(x)
    if image is not None:
        image = image.astype("float64")
        # As Matplotlib has it: colours are from 0 to 1 or to 255, greys from their least to their largest.
        low, high = (image.min(), image.max()) if image.ndim == 2 else (0, 255 if image.max() > 1 else 1)
        grey = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
        return {"height": image.shape[0], "width": image.shape[1], "pixels": _bytes(255 * grey)}
    if x.ndim == 1 and x.dtype.kind in "biuf":
        return {"values": [float(f"{value:.4g}") for value in x.tolist()]}
    return {"shape": "(" + ", ".join(map(str, x.shape)) + ")"}


def _rasters(counts):
    """Return the rasters of the samples ``counts (sample, time, units)``, byte by byte, 128 for no spike."""
    _, n_steps, n_units = counts.shape
    bin_, every = math.ceil(n_steps / MOST_STEPS), math.ceil(n_units / MOST_UNITS)
    shown = np.add.reduceat(counts[:, :, ::every], range(0, n_steps, bin_), axis=1)
    return {
        "steps": n_steps,
        "units": n_units,
        "bin": bin_,
        "every": every,
        "columns": shown.shape[1],
        "rows": shown.shape[2],
        "most": max(1, int(np.abs(shown).max())),
        "spikes": [int(np.abs(of_sample).sum()) for of_sample in counts],
        "bytes": [_bytes(np.clip(of_sample, -128, 127) + 128) for of_sample in shown],
    }


def _bytes(array):
    return _base64(np.rint(array).astype("uint8").tobytes())


def _base64(content):
    return base64.b64encode(content).decode("ascii")


def _as_script(values):
    """Return JSON that cannot end the script element in which it stands, nor begin a comment."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
