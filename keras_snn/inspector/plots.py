"""Pictures of what the inspector found: whole figures, and panels that draw on any axis of Matplotlib."""

import itertools
import math

import numpy as np

from keras_snn.inspector import tables
from keras_snn.inspector.samples import as_image, by_output, class_name, label_of, probabilities

_SECONDS = "dt (s)"


def sweep(report):
    """Draw accuracy, and the mean firing rate of each layer, against dt; return the figure."""
    figure = new_figure(9, 3.4)
    left, right = figure.subplots(1, 2)
    if any(result.accuracy is None for result in report):
        left.text(0.5, 0.5, "no labels given", ha="center", transform=left.transAxes)
    else:
        for run, places, results, _ in _runs(report):
            for output in by_output(results[0].accuracy):
                shares = [100 * _of_output(result.accuracy, output) for result in results]
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
        _from_zero(right)
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
    outputs = by_output(few.outputs)
    n_columns = 1 + len(few.counts) + len(outputs)
    figure = new_figure(3.2 * n_columns, 2.3 * n + 0.3)
    axes = figure.subplots(n, n_columns, squeeze=False)
    dt = "the model's own dt" if result.dt is None else f"dt = {result.dt:g} s"
    shares = [f"{_joined(name, 'accuracy')} {100 * share:.1f} %" for name, share in by_output(result.accuracy).items()]
    figure.suptitle(", ".join([dt, *shares]))
    for i, row in enumerate(axes):
        row = iter(row)
        _input(next(row), few, i, class_names)
        for name, counts in few.counts.items():
            axis = next(row)
            raster(axis, counts[i])
            if i == 0:
                axis.set_title(f"{name}: spikes in each step", fontsize=9)
        for name, of_output in outputs.items():
            axis = next(row)
            output_over_time(axis, few.steps, of_output[i], class_names=class_names)
            if i == 0:
                axis.set_title(f"{name or 'output'} given the first k steps", fontsize=9)
    for axis in axes[-1, 1:]:
        axis.set_xlabel("time step")
    for axis in axes[-1, 1 + len(few.counts) :]:
        axis.set_xlabel("steps k")
    return figure


def raster(axis, counts):
    """Draw the spikes ``counts (time, units)`` of one sample, negative ones in orange; return ``axis``."""
    most = max(1, int(np.abs(counts).max()))
    signed = counts.min() < 0
    image = axis.imshow(
        counts.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap="PuOr" if signed else "Greys",
        vmin=-most if signed else 0,
        vmax=most,
        extent=(0.5, len(counts) + 0.5, -0.5, counts.shape[1] - 0.5),
    )
    ticks = range(0, most + 1, max(1, most // 4))
    ticks = sorted({*ticks, *(-tick for tick in ticks)}) if signed else ticks
    axis.figure.colorbar(image, ax=axis, ticks=ticks, pad=0.02)
    axis.set_ylabel("unit")
    _whole_steps(axis)
    return axis


def trace(axis, values, *, dt=None, units=(0, 1, 2), threshold=None, ylabel="membrane voltage"):
    """Draw chosen units of ``values (time, units)`` of one sample over time, such as their voltages.

    Args:
        axis: Axis of Matplotlib.
        values: Array ``(time, units)``; more axes of units count as one.
        dt: Number in seconds, for a time axis in ms. Default: time steps, from 1.
        units: Sequence of the numbers of the units to draw.
        threshold: Number, drawn as a dashed line. Default: none.
        ylabel: String.

    Returns:
        ``axis``.
    """
    values = np.asarray(values).reshape(len(values), -1)
    steps = np.arange(1, len(values) + 1)
    for unit in units:
        if not 0 <= unit < values.shape[1]:
            raise ValueError(f"`units` has to hold numbers from 0 to {values.shape[1] - 1}; got {unit!r}.")
        axis.plot(steps if dt is None else 1000 * dt * steps, values[:, unit], label=f"unit {unit}")
    if threshold is not None:
        axis.axhline(threshold, linestyle="--", color="0.5", label="threshold")
    axis.set(xlabel="time step" if dt is None else "time (ms)", ylabel=ylabel)
    axis.margins(y=0.2)
    _legend_on_top(axis)
    if dt is None:
        _whole_steps(axis)
    return _open(axis)


def histogram(axis, spikes_per_step):
    """Draw how often a unit had no, one, ... spikes in a step: a ``LayerReport.histogram``. Return ``axis``."""
    total = max(1, sum(spikes_per_step.values()))
    last = max((i for i, n in enumerate(spikes_per_step.values()) if n), default=1)
    bins = {name: 100 * n / total for name, n in list(spikes_per_step.items())[: last + 1]}
    if not bins.get("<0"):
        bins.pop("<0", None)
    bars = axis.bar(list(bins), list(bins.values()), color="C0")
    axis.bar_label(bars, [_share(share) for share in bins.values()], fontsize=7, padding=1)
    # The rare bins matter, and "no spike" dwarfs them.
    axis.set_yscale("log")
    axis.set(xlabel="spikes in a step", ylabel="share of steps (%)")
    axis.margins(y=0.2)
    return _open(axis)


def output_over_time(axis, steps, outputs, *, class_names=None, n_classes=3):
    """Draw ``outputs (len(steps), classes)`` as probabilities; name the last step's largest. Return ``axis``."""
    shares = probabilities(outputs)
    largest = np.argsort(shares[-1])[::-1][:n_classes]
    for k in range(shares.shape[1]):
        named = k in largest
        axis.plot(
            steps,
            shares[:, k],
            marker="." if named else None,
            color=None if named else "0.8",
            zorder=2 if named else 1,
            label=class_name(k, class_names) if named else None,
        )
    axis.set(ylim=(-0.03, 1.03), ylabel="probability")
    _whole_steps(axis)
    axis.legend(fontsize=7, frameon=False)
    return _open(axis)


def accuracy_and_energy(axis, report, *, device="loihi", output=None):
    """Draw accuracy (left axis) and energy (right axis) against dt, with a ring around each trade-off.

    A trade-off is a result such that no other is as accurate for less energy, or more accurate for as much.

    Args:
        axis: Axis of Matplotlib.
        report: ``Report``.
        device: Name of a device.
        output: Name of the output whose accuracy is drawn, for a model with several.

    Returns:
        ``axis``; the right one shares its figure.

    Raises:
        ValueError: For an unknown device, or no ``output`` for a model with several.
    """
    for result in report:
        if isinstance(result.accuracy, dict) and output not in result.accuracy:
            raise ValueError(f"`output` has to be one of {sorted(result.accuracy)}; got {output!r}.")
    right, best, known = axis.twinx(), trade_offs(report, device=device, output=output), False
    for run, places, results, style in _runs(report):
        energies = [1e6 * result.energy(device) for result in results]
        right.plot(places, energies, style, color="C1", marker="s", label=_joined("energy", run))
        if results[0].accuracy is None:
            continue
        shares = [100 * _of_output(result.accuracy, output) for result in results]
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
        _from_zero(right, above=room + 0.3)  # lower than the accuracies, which rise as it does
    if axis.lines:
        _from_zero(axis, above=room)
        axis.set_yticks([tick for tick in axis.get_yticks() if tick <= 100])
    axis.margins(x=0.12)
    axis.set_ylabel("accuracy (%)", color="C0")
    right.set_ylabel(f"energy on {device} (µJ)", color="C1")
    handles = [line for each in (axis, right) for line in each.lines if not line.get_label().startswith("_")]
    _legend_on_top(axis, handles=handles)
    _dt_axis(axis, report)
    axis.spines["right"].set_visible(True)
    right.spines[["top"]].set_visible(False)
    return axis


def trade_offs(report, *, device="loihi", output=None):
    """Return the results that no other one beats: as accurate for less energy, or more accurate for as much.

    Args:
        report: ``Report``.
        device: Name of a device.
        output: Name of the output whose accuracy counts, for a model with several.
    """
    known = [result for result in report if result.accuracy is not None]
    of = {id(result): (_of_output(result.accuracy, output), -result.energy(device)) for result in known}

    def beaten(a):
        return any(x != y and x[0] >= y[0] and x[1] >= y[1] for x, y in ((of[id(b)], of[id(a)]) for b in known))

    return [result for result in known if not beaten(result)]


def rate_image(axis, per_unit, *, channels_first=False, title="mean firing rate"):
    """Draw the rates of the units of one layer where they lie: a ``LayerReport.per_unit``.

    Args:
        axis: Axis of Matplotlib.
        per_unit: Array ``(height, width)``, drawn as one image, or ``(height, width, channels)``, as a grid with one
            image for each channel, row by row.
        channels_first: Boolean, whether it is ``(channels, height, width)``.
        title: String.

    Returns:
        ``axis``.

    Raises:
        ValueError: For units that do not lie in an image.
    """
    if per_unit.ndim not in (2, 3):
        raise ValueError(
            f"`per_unit` has to be (height, width) or (height, width, channels); got the shape {per_unit.shape}."
        )
    image = per_unit
    if per_unit.ndim == 3:
        maps = per_unit if channels_first else np.moveaxis(per_unit, -1, 0)
        n_columns = math.ceil(math.sqrt(len(maps)))
        n_rows = math.ceil(len(maps) / n_columns)
        height, width = maps.shape[1:]
        image = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
        for k, one in enumerate(maps):
            row, column = (k // n_columns) * (height + 1), (k % n_columns) * (width + 1)
            image[row : row + height, column : column + width] = one
        title = f"{title}, {len(maps)} channels"
    shown = axis.imshow(image, interpolation="nearest", cmap="viridis", vmin=min(0, per_unit.min()))
    axis.figure.colorbar(shown, ax=axis, label="Hz", shrink=0.8)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=9)
    return axis


def latency(axis, found):
    """Draw accuracy and confidence against the number of first steps: a ``Latency``.

    Each cross is an inference that stops at the step where the largest probability reaches the threshold beside it.

    Returns:
        ``axis``.
    """
    if found.accuracy is not None:
        axis.plot(found.steps, 100 * found.accuracy, ".-", color="C0", label="accuracy")
        exits = [(steps, 100 * accuracy, threshold) for threshold, (accuracy, steps) in found.early_exit.items()]
        if exits:
            axis.plot(*list(zip(*exits, strict=True))[:2], "x", color="C3", label="early exit")
        last = None
        for steps, share, threshold in exits:
            # Several thresholds at one place, as a confident network has them, would cover each other.
            if last is None or abs(steps - last) > 0.1 * found.steps[-1]:
                axis.annotate(
                    f"{threshold:g}", (steps, share), textcoords="offset points", xytext=(3, -9), fontsize=7, color="C3"
                )
                last = steps
    axis.plot(found.steps, 100 * found.confidence, "--", color="0.5", label="confidence")
    axis.set(xlabel="first steps", ylabel="%", ylim=(0, 125), yticks=range(0, 101, 20))
    _whole_steps(axis)
    _legend_on_top(axis)
    return _open(axis)


def new_figure(width, height):
    """Return an empty figure of Matplotlib that needs no screen; sizes are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _input(axis, few, i, class_names):
    x = few.x[i] if isinstance(few.x, np.ndarray) else None
    if x is not None and as_image(x) is not None:
        height, width = x.shape[:2]
        square = max(height, width) <= 3 * min(height, width)  # else it may be a time series
        axis.imshow(as_image(x), cmap="gray", aspect="equal" if square else "auto")
        axis.set(xticks=[], yticks=[])
    elif x is not None and x.ndim == 1:
        axis.plot(x)
        axis.set_xlabel("feature")
    else:
        axis.set_axis_off()
    axis.set_title(label_of(few.y, i, class_names), fontsize=9)


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
    _open(axis)


def _open(axis):
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def _legend_on_top(axis, handles=None):
    handles = handles or axis.get_legend_handles_labels()[0]
    legend = axis.legend(
        handles=handles,
        loc="upper left",
        ncols=3 if len(handles) <= 3 else 2,
        fontsize=7,
        frameon=False,
        borderaxespad=0.1,
        columnspacing=0.8,
        handlelength=1.5,
    )
    legend.set_in_layout(False)  # a wide legend would make the axis narrow


def _from_zero(axis, above=0.15):
    """Let the scale begin at 0, or at the least value if that is negative."""
    values = np.concatenate([line.get_ydata() for line in axis.lines])
    low = min(0, values.min())
    axis.set_ylim(low, (low + (values.max() - low) * (1 + above)) or 1)


def _whole_steps(axis):
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _of_output(accuracy, output):
    return accuracy[output] if isinstance(accuracy, dict) else accuracy


def _joined(*parts):
    return ", ".join(part for part in parts if part)


def _share(share):
    return f"{share:.2g}" if share < 1 else f"{share:.0f}"
