"""The figures of a report, and their panels."""

import functools
import itertools
import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_snn import checks
from keras_snn.inspector import tables
from keras_snn.inspector.panels import (
    Axes,
    Figure,
    bars,
    from_zero,
    histogram,
    latency,
    legend_on_top,
    open_axis,
    output_over_time,
    raster,
    rate_image,
    sample_input,
    spike_ticks,
    trace,
)
from keras_snn.inspector.samples import ClassNames, in_words, inputs_of, names_of_classes, spikes_in

if TYPE_CHECKING:
    from keras_snn.inspector.findings import DtReport
    from keras_snn.inspector.report import Report

__all__ = [
    "accuracy_and_energy",
    "bars",
    "energies",
    "examples",
    "histogram",
    "latency",
    "new_figure",
    "output_over_time",
    "raster",
    "rate_image",
    "spike_ticks",
    "sweep",
    "trace",
    "traces",
    "trade_offs",
]

_DT_LABEL = "dt (s)"

#: Width and height of a panel of an example, in inches; height of a line of text, in inches; letters of a heading per
#: panel.
_PANEL_SIZE, _LINE_HEIGHT, _HEADING_LETTERS = (2.35, 2.1), 0.22, 27
_MAX_COLUMNS = 5
#: Width and height of the panels of a trace, in inches.
_TRACE_SIZE = 4.8, 3.5
#: Maximum number of entries of a legend inside an axis.
_MAX_ENTRIES = 6


def sweep(report: "Report") -> Figure:
    """Draw accuracy, and the mean firing rate of each layer, against dt. Return the figure."""
    figure = new_figure(9, 3.4)
    left, right = figure.subplots(1, 2)
    _accuracies(left, report)
    _rates(right, report)
    for axis in (left, right):
        _dt_axis(axis, report)
    return figure


def _accuracies(axis, report):
    axis.set(ylabel="accuracy (%)", title=f"Accuracy on {report.n_samples:,} samples")
    if not all(result.accuracies for result in report):
        axis.text(0.5, 0.5, "no labels given", ha="center", transform=axis.transAxes)
        axis.set(xlim=(-0.5, len(_dts(report)) - 0.5), yticks=[])
        return
    for run, positions, results, _ in _runs(report):
        for output in results[0].accuracies:
            percents = [100 * result.accuracies[output] for result in results]
            axis.plot(positions, percents, "o-", label=_join_names(output, run))
    if len(axis.lines) == 1:
        for position, percent in zip(positions, percents, strict=True):
            label = axis.annotate(
                f"{percent:.1f}", (position, percent), textcoords="offset points", xytext=(0, 9), ha="center"
            )
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # in front of the curve
    elif axis.lines:
        axis.legend(frameon=False, fontsize=8)
    axis.margins(0.12, 0.2)


def _rates(axis, report):
    axis.set(ylabel="mean firing rate (Hz)", title="Firing rates")
    for run, positions, results, style in _runs(report):
        for i, name in enumerate(results[0].layers):
            rates = [result.layers[name].rate.mean for result in results]
            axis.plot(positions, rates, style, color=f"C{i}", marker="o", label=_join_names(name, run))
    if not axis.lines:
        axis.text(0.5, 0.5, "no spiking layers", ha="center", transform=axis.transAxes)
        return
    from_zero(axis)
    if len(axis.lines) > _MAX_ENTRIES:
        axis.figure.legend(handles=axis.lines, loc="outside right upper", frameon=False, fontsize=7)
    else:
        axis.legend(frameon=False, fontsize=8)


def examples(result: "DtReport", *, class_names: ClassNames = None) -> Figure:
    """Draw each example's input, the spikes of each unit at each step, and the output over time. Return the figure.

    The heading of an example gives its label, the prediction after all steps, and the number of spikes. If the
    prediction is wrong, the heading is red and marked "wrong".

    Args:
        result: ``DtReport``.
        class_names: Sequence of the names of the classes 0, 1, ...; for several outputs, also a dict from the name of
            each output to them.

    Raises:
        ValueError: If the report has no examples.
    """
    from matplotlib import rc_context

    if result.examples is None:
        raise ValueError("The report has no examples. Call inspect with examples=4, for instance.")
    with rc_context({"text.parse_math": False}):  # names may contain dollar signs
        return _examples(result, class_names)


def _examples(result, class_names):
    lines = example_lines(result, class_names)
    panels = [_panels(result.examples, i, class_names) for i in range(len(lines))]
    n_rows = math.ceil(len(panels[0]) / _MAX_COLUMNS)
    n_columns = math.ceil(len(panels[0]) / n_rows)
    width = _HEADING_LETTERS * n_columns
    headings = [textwrap.fill(text, width) for text, _ in lines]
    heights = [_LINE_HEIGHT * (1 + text.count("\n")) for text in headings]
    figure = new_figure(_PANEL_SIZE[0] * n_columns, 0.4 + sum(heights) + _PANEL_SIZE[1] * n_rows * len(lines))
    figure.suptitle(textwrap.fill(summary(result), width), fontsize=11)
    ratios = [ratio for height in heights for ratio in (height, *[_PANEL_SIZE[1]] * n_rows)]
    grid = figure.add_gridspec(len(ratios), n_columns, height_ratios=ratios)
    for i, (_, is_wrong) in enumerate(lines):
        top = i * (1 + n_rows)
        axis = figure.add_subplot(grid[top, :], label="heading")
        axis.set_axis_off()
        heading = axis.text(0, 0, headings[i], va="bottom", weight="bold", fontsize=10)
        heading.set_color("C3" if is_wrong else "black")
        heading.set_in_layout(False)
        for k, (title, draw) in enumerate(panels[i]):
            axis = figure.add_subplot(grid[top + 1 + k // n_columns, k % n_columns])
            draw(axis)
            axis.set_title(title, fontsize=8)
    return figure


def example_lines(result: "DtReport", class_names: ClassNames = None) -> list[tuple[str, bool]]:
    """Return a pair for each example: label, prediction and number of spikes as text; whether it is wrong."""
    samples, lines = result.examples, []
    if samples is None:
        return []
    for i in range(len(next(iter(samples.counts.values())))):
        texts, is_wrong = in_words(samples, i, class_names)
        spikes = spikes_in(sum(counts[i].sum() for counts in samples.counts.values()))
        lines.append((f"Example {i + 1}: {'; '.join([*texts, spikes])}", is_wrong))
    return lines


def summary(result: "DtReport") -> str:
    """Return the dt, the steps, the accuracy and the spikes per inference of a result as text."""
    parts = [tables.title(result)]
    for name, accuracy in result.accuracies.items():
        parts.append(f"accuracy {f'of {name} ' if name else ''}{tables.percent(accuracy)}")
    if result.spikes_per_inference is not None:
        parts.append(f"{tables.amount(result.spikes_per_inference)} spikes per inference")
    return ", ".join(parts)


def _panels(samples, i, class_names):
    """Return for each panel of an example its title and a function that draws it on an axis."""
    inputs = inputs_of(samples.x, i)
    panels = [(_wrap(name), functools.partial(sample_input, x=x)) for name, x in inputs.items()]
    for name, counts in samples.counts.items():
        title = f"{_wrap(name)}\n{spikes_in(counts[i])}"
        panels.append((title, functools.partial(raster, counts=counts[i])))
    for name, outputs in samples.outputs.items():
        names = names_of_classes(class_names, name)
        draw = functools.partial(output_over_time, steps=samples.steps, outputs=outputs[i], class_names=names)
        panels.append((f"{_wrap(name or 'output')}\nafter the first k steps", draw))
    return panels


def _wrap(name):
    return textwrap.fill(name, 34)


def traces(result: "DtReport", *, layer: str | None = None, sample: int = 0) -> Figure:
    """Draw the traces of one example: inputs, membrane with threshold, and spikes of each layer. Return the figure.

    Args:
        result: ``DtReport``.
        layer: Name of the layer call to draw. Default: all layer calls.
        sample: Integer, the index of the example, from 0.

    Raises:
        ValueError: For a result without traces, an unknown layer, or an index without an example.
    """
    from matplotlib import rc_context

    if not result.traces:
        raise ValueError("The report has no traces. Call inspect with states=True.")
    names = list(result.traces) if layer is None else [checks.choice("layer", layer, tuple(result.traces))]
    n = len(next(iter(result.traces[names[0]].states.values())))
    sample = checks.integer("sample", sample, least=0, most=n - 1, meaning="the index of an example")
    n_columns = min(2, len(names))
    n_rows = math.ceil(len(names) / n_columns)
    with rc_context({"text.parse_math": False}):  # names may contain dollar signs
        figure = new_figure(_TRACE_SIZE[0] * n_columns, 0.3 + _TRACE_SIZE[1] * n_rows)
        figure.suptitle(f"{tables.title(result)}, example {sample + 1}", fontsize=11)
        for panel, name in zip(figure.subfigures(n_rows, n_columns, squeeze=False).flat, names, strict=False):
            panel.suptitle(name, fontsize=9)
            _trace(panel, result.traces[name], sample)
    return figure


def _trace(panel, recorded, sample):
    """Draw a ``Trace`` in rows: inputs; the membrane, or the first state without a membrane; spikes."""
    state = next(iter(recorded.states)) if recorded.membrane is None else "v"
    options = {"units": range(len(recorded.units)), "names": recorded.units}
    heights = {"inputs": 2, "state": 3, "spikes": 0.4 + 0.4 * len(recorded.units)}
    rows = [name for name in heights if name == "state" or getattr(recorded, name) is not None]
    axes = panel.subplots(len(rows), sharex=True, squeeze=False, height_ratios=[heights[name] for name in rows])
    axes = dict(zip(rows, axes.flat, strict=True))
    if "inputs" in axes:
        trace(axes["inputs"], recorded.inputs[sample], ylabel="input", **options)
    ylabel = f"state {state}" if state != "v" else "membrane" if recorded.spikes is None else "membrane\nafter reset"
    threshold = None if recorded.threshold is None else recorded.threshold[sample]
    trace(axes["state"], recorded.states[state][sample], threshold=threshold, ylabel=ylabel, **options)
    if "spikes" in axes:
        spike_ticks(axes["spikes"], recorded.spikes[sample], names=recorded.units)
    lines = axes["state"].get_legend_handles_labels()
    for axis in axes.values():
        axis.label_outer()
        if axis.get_legend():
            axis.get_legend().remove()  # the legend above all axes covers no lines
    style = {"ncols": 4, "fontsize": 7, "frameon": False, "borderaxespad": 0.1, "columnspacing": 1}
    axes[rows[0]].legend(*lines, loc="lower left", bbox_to_anchor=(0, 1), **style)


def accuracy_and_energy(axis: Axes, report: "Report", *, device: str = "loihi", output: str | None = None) -> Axes:
    """Draw accuracy (left axis) and energy (right axis) against dt, with a ring around each of ``trade_offs``.

    Args:
        axis: Axis of Matplotlib.
        report: ``Report``.
        device: Name of a device.
        output: Name of the output whose accuracy is drawn. Default: the single output with an accuracy.

    Returns:
        ``axis``. The right axis is in the same figure.

    Raises:
        ValueError: For an unknown device, or no ``output`` for several outputs.
    """
    output = _output_with_accuracy(report, output)
    right, best, has_entry = axis.twinx(), trade_offs(report, device=device, output=output), False
    for run, positions, results, style in _runs(report):
        energies = [1e6 * result.energy(device) for result in results]
        right.plot(positions, energies, style, color="C1", marker="s", label=_join_names("energy", run))
        if output is None or not results[0].accuracies:
            continue
        percents = [100 * result.accuracies[output] for result in results]
        axis.plot(positions, percents, style, color="C0", marker="o", label=_join_names("accuracy", run))
        points = zip(positions, percents, results, strict=True)
        rings = [(position, percent) for position, percent, result in points if result in best]
        if rings:
            label = None if has_entry else "trade-off"
            axis.plot(*zip(*rings, strict=True), "o", color="k", fillstyle="none", markersize=12, label=label)
            has_entry = True
    margin = 0.3 if len(right.lines) == 1 else 0.6
    energies = [energy for line in right.lines for energy in line.get_ydata()]
    if energies and max(energies) > 10 * min(energies) > 0:
        right.set_yscale("log")
        right.margins(y=margin)
    elif energies:
        from_zero(right, above=margin + 0.3)  # below the accuracies, which often rise with the energy
    if axis.lines:
        from_zero(axis, above=margin)
        axis.set_yticks([tick for tick in axis.get_yticks() if tick <= 100])
        axis.set_ylabel("accuracy (%)", color="C0")
    else:
        axis.set_yticks([])
    axis.margins(x=0.12)
    right.set_ylabel(f"energy on {device} (µJ)", color="C1")
    handles = [line for each in (axis, right) for line in each.lines if not line.get_label().startswith("_")]
    legend_on_top(axis, handles=handles)
    _dt_axis(axis, report)
    axis.spines["right"].set_visible(True)
    right.spines[["top"]].set_visible(False)
    return axis


def energies(results: Iterable["DtReport"]) -> Figure:
    """Draw the energy of one inference on each device at each dt, and that of the ANN. Return the figure."""
    values: dict[str, dict] = {}
    for result in results:
        values[tables.title(result)] = _energies(result, (tables.ARITHMETIC, *tables.SPIKING))
    values["ANN"] = _energies(result, (tables.ARITHMETIC, *tables.ANN), as_ann=True)  # the same at each dt
    figure = new_figure(9, 3.4)
    axis = bars(figure.subplots(), values, ylabel="energy per inference (µJ)")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=7)
    return figure


def _energies(result, names, as_ann=False):
    return {name: tuple(1e6 * joules for joules in result.energy_range(name, as_ann=as_ann)) for name in names}


def trade_offs(report: "Report", *, device: str = "loihi", output: str | None = None) -> list["DtReport"]:
    """Return the Pareto-optimal results in accuracy and energy.

    No other result has a higher accuracy without more energy, or less energy without a lower accuracy.

    Args:
        report: ``Report``.
        device: Name of a device.
        output: Name of the output whose accuracy counts. Default: the single output with an accuracy.

    Raises:
        ValueError: For an unknown device, or no ``output`` for several outputs.
    """
    output = _output_with_accuracy(report, output)
    if output is None:
        return []
    candidates = [result for result in report if result.accuracies]
    scores = [(result.accuracies[output], -result.energy(device)) for result in candidates]

    def is_dominated(score):
        return any(other != score and other[0] >= score[0] and other[1] >= score[1] for other in scores)

    return [result for result, score in zip(candidates, scores, strict=True) if not is_dominated(score)]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty Matplotlib figure that needs no screen. Sizes are in inches."""
    from matplotlib import figure

    return figure.Figure(figsize=(width, height), layout="constrained")


def _runs(report):
    """Return (label, positions, results, line style) for each number of steps. A position is the index of a dt."""
    dts = _dts(report)
    several = len({result.n_steps for result in report}) > 1
    runs, styles = [], itertools.cycle(("-", "--", ":", "-."))
    for n_steps in dict.fromkeys(result.n_steps for result in report):
        results = [result for result in report if result.n_steps == n_steps]
        positions = [dts.index(result.dt) for result in results]
        runs.append((f"{n_steps} steps" if several else "", positions, results, next(styles)))
    return runs


def _dts(report):
    return list(dict.fromkeys(result.dt for result in report))


def _dt_axis(axis, report):
    dts = _dts(report)
    axis.set_xticks(range(len(dts)), [tables.dt_label(dt) for dt in dts])
    axis.set_xlabel(_DT_LABEL)
    open_axis(axis)


def _output_with_accuracy(report, output):
    """Return ``output``, or the name of the single output with an accuracy; None for a report without accuracies."""
    names = dict.fromkeys(name for result in report for name in result.accuracies)
    if output is None and len(names) <= 1:
        return next(iter(names), None)
    if output not in names:
        raise ValueError(f"`output` must be one of {sorted(names)}; got {output!r}.")
    return output


def _join_names(*parts):
    return ", ".join(part for part in parts if part)
