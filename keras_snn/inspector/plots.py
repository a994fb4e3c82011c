"""Whole figures of a report, and the panels that they consist of."""

import functools
import itertools
import math
import textwrap

from keras_snn import checks
from keras_snn.inspector import tables
from keras_snn.inspector.panels import (
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
from keras_snn.inspector.samples import in_words, inputs_of, names_of_classes, spikes_in

__all__ = [
    "accuracy_and_energy",
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

_SECONDS = "dt (s)"

#: Inches: width and height of a panel of an example, height of a line of words. Letters of a heading above a panel.
_PANEL, _LINE, _LETTERS = (2.35, 2.1), 0.22, 27
_MOST_COLUMNS = 5
#: Inches: width and height of the panels of a layer's trace.
_TRACE = 4.8, 3.5
#: The largest legend that stands inside an axis.
_MOST_NAMES = 6


def sweep(report):
    """Draw accuracy, and the mean firing rate of each layer, against dt; return the figure."""
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
    for run, places, results, _ in _runs(report):
        for output in results[0].accuracies:
            shares = [100 * result.accuracies[output] for result in results]
            axis.plot(places, shares, "o-", label=_joined(output, run))
    if len(axis.lines) == 1:
        for place, share in zip(places, shares, strict=True):
            label = axis.annotate(
                f"{share:.1f}", (place, share), textcoords="offset points", xytext=(0, 9), ha="center"
            )
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # in front of the curve
    elif axis.lines:
        axis.legend(frameon=False, fontsize=8)
    axis.margins(0.12, 0.2)


def _rates(axis, report):
    axis.set(ylabel="mean firing rate (Hz)", title="Firing rates")
    for run, places, results, style in _runs(report):
        for i, name in enumerate(results[0].layers):
            rates = [result.layers[name].rate.mean for result in results]
            axis.plot(places, rates, style, color=f"C{i}", marker="o", label=_joined(name, run))
    if not axis.lines:
        axis.text(0.5, 0.5, "no spiking layers", ha="center", transform=axis.transAxes)
        return
    from_zero(axis)
    if len(axis.lines) > _MOST_NAMES:
        axis.figure.legend(handles=axis.lines, loc="outside right upper", frameon=False, fontsize=7)
    else:
        axis.legend(frameon=False, fontsize=8)


def examples(result, *, class_names=None):
    """Draw each example's input, the spikes of each unit at each step, and the output over time; return the figure.

    The line above an example has its label, the answer after all steps, and its number of spikes. It is red, and says
    so, if the answer is wrong.

    Args:
        result: ``DtReport``.
        class_names: Sequence of strings, the names of the classes 0, 1, ...; a dict of them by output, for several.

    Raises:
        ValueError: If the report holds no examples.
    """
    from matplotlib import rc_context

    if result.examples is None:
        raise ValueError("The report holds no examples: call inspect with examples=4, say.")
    with rc_context({"text.parse_math": False}):  # names may hold dollar signs
        return _examples(result, class_names)


def _examples(result, class_names):
    lines = example_lines(result, class_names)
    panels = [_panels(result.examples, i, class_names) for i in range(len(lines))]
    n_rows = math.ceil(len(panels[0]) / _MOST_COLUMNS)
    n_columns = math.ceil(len(panels[0]) / n_rows)
    width = _LETTERS * n_columns
    headings = [textwrap.fill(text, width) for text, _ in lines]
    heights = [_LINE * (1 + text.count("\n")) for text in headings]
    figure = new_figure(_PANEL[0] * n_columns, 0.4 + sum(heights) + _PANEL[1] * n_rows * len(lines))
    figure.suptitle(textwrap.fill(summary(result), width), fontsize=11)
    ratios = [ratio for height in heights for ratio in (height, *[_PANEL[1]] * n_rows)]
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


def example_lines(result, class_names=None):
    """Return a pair for each example: its label, answer and number of spikes in words; whether the answer is wrong."""
    samples, lines = result.examples, []
    for i in range(len(next(iter(samples.counts.values())))):
        words, is_wrong = in_words(samples, i, class_names)
        spikes = spikes_in(sum(counts[i].sum() for counts in samples.counts.values()))
        lines.append((f"Example {i + 1}: {'; '.join([*words, spikes])}", is_wrong))
    return lines


def summary(result):
    """Return the dt, the steps, the accuracy and the spikes per inference of a result in words."""
    accuracies = [
        f"accuracy {f'of {name} ' if name else ''}{tables.percent(share)}" for name, share in result.accuracies.items()
    ]
    spikes = result.spikes_per_inference
    spikes = [] if spikes is None else [f"{tables.amount(spikes)} spikes per inference"]
    return ", ".join([tables.title(result), *accuracies, *spikes])


def _panels(samples, i, class_names):
    """Return a pair for each panel of an example: its title, and a function that draws it on an axis."""
    inputs = inputs_of(samples.x, i)
    panels = [(_wrapped(name), functools.partial(sample_input, x=x)) for name, x in inputs.items()]
    for name, counts in samples.counts.items():
        title = f"{_wrapped(name)}\n{spikes_in(counts[i])}"
        panels.append((title, functools.partial(raster, counts=counts[i])))
    for name, outputs in samples.outputs.items():
        names = names_of_classes(class_names, name)
        draw = functools.partial(output_over_time, steps=samples.steps, outputs=outputs[i], class_names=names)
        panels.append((f"{_wrapped(name or 'output')}\ngiven the first k steps", draw))
    return panels


def _wrapped(name):
    return textwrap.fill(name, 34)


def traces(result, *, layer=None, sample=0):
    """Draw the traces of one example: inputs, membrane with threshold, and spikes of each layer; return the figure.

    Args:
        result: ``DtReport``.
        layer: Name of the layer call to draw. Default: all.
        sample: Integer, the place of the example, from 0.

    Raises:
        ValueError: For a result without traces, an unknown layer, or a sample that is no example.
    """
    from matplotlib import rc_context

    if not result.traces:
        raise ValueError("The report holds no traces: call inspect with states=True.")
    names = list(result.traces) if layer is None else [checks.choice("layer", layer, tuple(result.traces))]
    n = len(next(iter(result.traces[names[0]].states.values())))
    sample = checks.integer("sample", sample, least=0, most=n - 1, meaning="the place of an example")
    n_columns = min(2, len(names))
    n_rows = math.ceil(len(names) / n_columns)
    with rc_context({"text.parse_math": False}):  # names may hold dollar signs
        figure = new_figure(_TRACE[0] * n_columns, 0.3 + _TRACE[1] * n_rows)
        figure.suptitle(f"{tables.title(result)}, example {sample + 1}", fontsize=11)
        for panel, name in zip(figure.subfigures(n_rows, n_columns, squeeze=False).flat, names, strict=False):
            panel.suptitle(name, fontsize=9)
            _trace(panel, result.traces[name], sample)
    return figure


def _trace(panel, recorded, sample):
    """Draw a ``Trace``: inputs, the membrane or else the first state, and spikes, one below the other."""
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
            axis.get_legend().remove()  # one above all axes does not cover the lines
    style = {"ncols": 4, "fontsize": 7, "frameon": False, "borderaxespad": 0.1, "columnspacing": 1}
    axes[rows[0]].legend(*lines, loc="lower left", bbox_to_anchor=(0, 1), **style)


def accuracy_and_energy(axis, report, *, device="loihi", output=None):
    """Draw accuracy (left axis) and energy (right axis) against dt, with a ring around each trade-off.

    A trade-off is a result such that no other is as accurate for less energy, or more accurate for as much.

    Args:
        axis: Axis of Matplotlib.
        report: ``Report``.
        device: Name of a device.
        output: Name of the output whose accuracy is drawn. Default: that of the only output with an accuracy.

    Returns:
        ``axis``; the right one shares its figure.

    Raises:
        ValueError: For an unknown device, or no ``output`` for a model with several.
    """
    output = _output_with_accuracy(report, output)
    right, best, known = axis.twinx(), trade_offs(report, device=device, output=output), False
    for run, places, results, style in _runs(report):
        energies = [1e6 * result.energy(device) for result in results]
        right.plot(places, energies, style, color="C1", marker="s", label=_joined("energy", run))
        if not results[0].accuracies:
            continue
        shares = [100 * result.accuracies[output] for result in results]
        axis.plot(places, shares, style, color="C0", marker="o", label=_joined("accuracy", run))
        rings = [(place, share) for place, share, result in zip(places, shares, results, strict=True) if result in best]
        if rings:
            first = None if known else "trade-off"
            axis.plot(*zip(*rings, strict=True), "o", color="k", fillstyle="none", markersize=12, label=first)
            known = True
    room = 0.3 if len(right.lines) == 1 else 0.6
    energies = [energy for line in right.lines for energy in line.get_ydata()]
    if energies and max(energies) > 10 * min(energies) > 0:
        right.set_yscale("log")
        right.margins(y=room)
    elif energies:
        from_zero(right, above=room + 0.3)  # lower than the accuracies, which rise as it does
    if axis.lines:
        from_zero(axis, above=room)
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


def trade_offs(report, *, device="loihi", output=None):
    """Return the results that no other one beats: as accurate for less energy, or more accurate for as much.

    Args:
        report: ``Report``.
        device: Name of a device.
        output: Name of the output whose accuracy counts. Default: that of the only output with an accuracy.

    Raises:
        ValueError: For an unknown device, or no ``output`` for a model with several.
    """
    output = _output_with_accuracy(report, output)
    known = [result for result in report if result.accuracies]
    of = {id(result): (result.accuracies[output], -result.energy(device)) for result in known}

    def beaten(a):
        return any(x != y and x[0] >= y[0] and x[1] >= y[1] for x, y in ((of[id(b)], of[id(a)]) for b in known))

    return [result for result in known if not beaten(result)]


def new_figure(width, height):
    """Return an empty figure of Matplotlib that needs no screen; sizes are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _runs(report):
    """Return (label, places, results, line style) for each number of steps; a place is a dt's number among all dt."""
    dts = _dts(report)
    several = len({result.n_steps for result in report}) > 1
    runs, styles = [], itertools.cycle(("-", "--", ":", "-."))
    for n_steps in dict.fromkeys(result.n_steps for result in report):
        results = [result for result in report if result.n_steps == n_steps]
        places = [dts.index(result.dt) for result in results]
        runs.append((f"{n_steps} steps" if several else "", places, results, next(styles)))
    return runs


def _dts(report):
    return list(dict.fromkeys(result.dt for result in report))


def _dt_axis(axis, report):
    dts = _dts(report)
    axis.set_xticks(range(len(dts)), [tables.dt_label(dt) for dt in dts])
    axis.set_xlabel(_SECONDS)
    open_axis(axis)


def _output_with_accuracy(report, output):
    """Return ``output``, or the name of the only output with an accuracy; None for a report without accuracies."""
    names = dict.fromkeys(name for result in report for name in result.accuracies)
    if output is None and len(names) <= 1:
        return next(iter(names), None)
    if output not in names:
        raise ValueError(f"`output` must be one of {sorted(names)}; got {output!r}.")
    return output


def _joined(*parts):
    return ", ".join(part for part in parts if part)
