"""Whole figures of a report, and the panels that they consist of."""

import itertools

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
    trace,
)

__all__ = [
    "accuracy_and_energy",
    "examples",
    "histogram",
    "latency",
    "new_figure",
    "output_over_time",
    "raster",
    "rate_image",
    "sweep",
    "trace",
    "trade_offs",
]

_SECONDS = "dt (s)"


def sweep(report):
    """Draw accuracy, and the mean firing rate of each layer, against dt; return the figure."""
    figure = new_figure(9, 3.4)
    left, right = figure.subplots(1, 2)
    if not all(result.accuracies for result in report):
        left.text(0.5, 0.5, "no labels given", ha="center", transform=left.transAxes)
    else:
        for run, places, results, _ in _runs(report):
            for output in results[0].accuracies:
                shares = [100 * result.accuracies[output] for result in results]
                left.plot(places, shares, "o-", label=_joined(output, run))
        if len(left.lines) == 1:
            for place, share in zip(places, shares, strict=True):
                label = left.annotate(
                    f"{share:.1f}", (place, share), textcoords="offset points", xytext=(0, 9), ha="center"
                )
                label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # in front of the curve
        elif left.lines:
            left.legend(frameon=False, fontsize=8)
        left.margins(0.12, 0.2)
    left.set(ylabel="accuracy (%)", title=f"Accuracy on {report.n_samples:,} samples")

    for run, places, results, style in _runs(report):
        for i, name in enumerate(results[0].layers):
            rates = [result.layers[name].rate.mean for result in results]
            right.plot(places, rates, style, color=f"C{i}", marker="o", label=_joined(name, run))
    right.set(ylabel="mean firing rate (Hz)", title="Spikes")
    if right.lines:
        from_zero(right)
        right.legend(frameon=False, fontsize=8)
    else:
        right.text(0.5, 0.5, "no spiking layers", ha="center", transform=right.transAxes)
    for axis in (left, right):
        _dt_axis(axis, report)
    return figure


def examples(result, *, class_names=None):
    """Draw each example's input, the spikes of each unit at each step, and the output over time; return the figure."""
    few = result.examples
    if few is None:
        raise ValueError("the report holds no examples: call inspect with examples=4, say")
    n = len(next(iter(few.counts.values())))
    n_columns = 1 + len(few.counts) + len(few.outputs)
    figure = new_figure(3.2 * n_columns, 2.3 * n + 0.3)
    axes = figure.subplots(n, n_columns, squeeze=False)
    dt = "the model's own dt" if result.dt is None else f"dt = {result.dt:g} s"
    shares = [f"{_joined(name, 'accuracy')} {100 * share:.1f} %" for name, share in result.accuracies.items()]
    figure.suptitle(", ".join([dt, *shares]))
    for i, row in enumerate(axes):
        row = iter(row)
        sample_input(next(row), few, i, class_names)
        for name, counts in few.counts.items():
            axis = next(row)
            raster(axis, counts[i])
            if i == 0:
                axis.set_title(f"{name}: spikes in each step", fontsize=9)
        for name, of_output in few.outputs.items():
            axis = next(row)
            output_over_time(axis, few.steps, of_output[i], class_names=class_names)
            if i == 0:
                axis.set_title(f"{name or 'output'} given the first k steps", fontsize=9)
    for axis in axes[-1, 1:]:
        axis.set_xlabel("time step")
    for axis in axes[-1, 1 + len(few.counts) :]:
        axis.set_xlabel("steps k")
    return figure


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
    axis.margins(x=0.12)
    axis.set_ylabel("accuracy (%)", color="C0")
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
