"""Panels of the inspector's figures: each draws one result on an axis of Matplotlib."""

import math

import numpy as np

from keras_snn.inspector.samples import as_image, class_name, probabilities

#: The largest raster that is drawn whole: a cell of it is about a pixel.
MOST_STEPS, MOST_UNITS = 150, 150
_MOST_COLORS = 1000
_LONGEST = 20
_SMALL = 8


def sample_input(axis, x):
    """Draw one sample's input ``x`` if it is an image, a time series or a vector, else write its shape."""
    image = as_image(x)
    if image is not None:
        height, width = image.shape[:2]
        square = max(height, width) <= 3 * min(height, width)  # else it may be a time series
        axis.imshow(image, cmap="gray", aspect="equal" if square else "auto")
        axis.set(xticks=[], yticks=[])
    elif x.ndim == 1 and x.dtype.kind in "biuf":
        axis.plot(x)
        axis.set_xlabel("feature", fontsize=_SMALL)
        axis.tick_params(labelsize=_SMALL)
        open_axis(axis)
    else:
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"shape {x.shape},\nnot drawn", ha="center", va="center", fontsize=_SMALL)
    return axis


def raster(axis, counts):
    """Draw the spikes ``counts (time, units)`` of one sample, negative ones in orange; return ``axis``.

    Of more than ``MOST_UNITS`` units, those with the most spikes in this sample are drawn, in the order of their
    numbers. More than ``MOST_STEPS`` steps are added up in bins. The labels of the axis and of the color bar say so.
    """
    n_steps, n_units = counts.shape
    if n_units > MOST_UNITS:
        counts = counts[:, busiest(counts, MOST_UNITS)]
    steps_per_bin = math.ceil(n_steps / MOST_STEPS)
    counts = np.add.reduceat(counts, range(0, n_steps, steps_per_bin), axis=0)
    most = max(1, int(np.abs(counts).max()))
    signed = counts.min() < 0
    image = axis.imshow(
        counts.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap=_spike_colors(most, signed),
        vmin=-0.5 - (most if signed else 0),
        vmax=most + 0.5,
        extent=(0.5, len(counts) * steps_per_bin + 0.5, -0.5, counts.shape[1] - 0.5),
    )
    axis.set_xlim(0.5, n_steps + 0.5)
    ticks = range(0, most + 1, max(1, most // 4))
    ticks = sorted({*ticks, *(-tick for tick in ticks)}) if signed else ticks
    bar = axis.figure.colorbar(image, ax=axis, ticks=ticks, pad=0.02)
    bar.ax.tick_params(labelsize=_SMALL)
    bar.set_label("spikes in a step" if steps_per_bin == 1 else f"spikes in {steps_per_bin} steps", fontsize=_SMALL)
    axis.tick_params(labelsize=_SMALL)
    if n_units > MOST_UNITS:
        axis.set_yticks([])
        axis.set_ylabel(f"{MOST_UNITS} busiest of {n_units:,} units,\nordered by unit number", fontsize=_SMALL)
    else:
        axis.set_ylabel("unit", fontsize=_SMALL)
        axis.yaxis.set_major_locator(_whole_numbers())
    axis.set_xlabel("time step", fontsize=_SMALL)
    whole_steps(axis)
    return axis


def busiest(counts, n):
    """Return the numbers of the ``n`` units with the most spikes in ``counts (time, units)``, in ascending order."""
    return np.sort(np.argsort(-np.abs(counts).sum(axis=0), kind="stable")[:n])


def _spike_colors(most, signed):
    """Return a color map with a color for each number of spikes from 0, or from ``-most``, to ``most``.

    A single spike is visible whatever the largest number is.
    """
    from matplotlib.colors import LinearSegmentedColormap

    n, least = min(most, _MOST_COLORS), 0.5 / _MOST_COLORS
    colors = [(0.0, "white"), (least, "0.7"), (1.0, "black")]
    if signed:
        negative = [(0.0, "#7f3b08"), (0.5 - least, "#fdb863")]
        colors = negative + [(0.5 + 0.5 * at, color) for at, color in colors]
    return LinearSegmentedColormap.from_list("spikes", colors, N=(2 * n if signed else n) + 1)


def output_over_time(axis, steps, outputs, *, class_names=None, n_classes=3):
    """Draw ``outputs (len(steps), classes)`` as probabilities; name the last step's largest. Return ``axis``."""
    shares = probabilities(outputs)
    largest = np.argsort(shares[-1])[::-1][:n_classes].tolist()
    for k in sorted(set(range(shares.shape[1])) - set(largest)):
        axis.plot(steps, shares[:, k], color="0.8", label=f"_{k}")
    for k in largest:
        name = class_name(k, class_names)
        name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        axis.plot(steps, shares[:, k], marker=".", label=name)
    axis.set(ylim=(-0.03, 1.1 + 0.33 * len(largest)), yticks=(0, 0.5, 1))
    axis.set_xlabel("first k steps", fontsize=_SMALL)
    axis.set_ylabel("probability", fontsize=_SMALL)
    axis.tick_params(labelsize=_SMALL)
    whole_steps(axis)
    axis.legend(fontsize=_SMALL, frameon=False, loc="upper left").set_in_layout(False)
    return open_axis(axis)


def trace(axis, values, *, dt=None, units=(0, 1, 2), threshold=None, ylabel="membrane voltage", names=None):
    """Draw chosen units of ``values (time, units)`` of one sample over time, such as their voltages.

    Args:
        axis: Axis of Matplotlib.
        values: Array ``(time, units)``; more axes of units count as one.
        dt: Number in seconds, for a time axis in ms. Default: time steps, from 1.
        units: Sequence of the numbers of the units to draw.
        threshold: Number, drawn as a dashed line, or an array like ``values``, drawn as a dashed curve for each unit.
            Default: none.
        ylabel: String.
        names: Sequence of the names of the units, for values of a few units of a layer. Default: their numbers.

    Returns:
        ``axis``.
    """
    values = np.asarray(values).reshape(len(values), -1)
    times = np.arange(1, len(values) + 1) * (1 if dt is None else 1000 * dt)
    lines = []
    for unit in units:
        if not 0 <= unit < values.shape[1]:
            raise ValueError(f"`units` has to hold numbers from 0 to {values.shape[1] - 1}; got {unit!r}.")
        lines += axis.plot(times, values[:, unit], label=f"unit {unit if names is None else names[unit]}")
    if threshold is not None and np.ptp(threshold) == 0:
        axis.axhline(np.ravel(threshold)[0], linestyle="--", color="0.5", label="threshold")
    elif threshold is not None:
        curves = np.reshape(threshold, values.shape)
        for unit, line in zip(units, lines, strict=True):
            label = "threshold" if line is lines[0] else None
            axis.plot(times, curves[:, unit], "--", color=line.get_color(), alpha=0.6, label=label)
    axis.set(xlabel="time step" if dt is None else "time (ms)", ylabel=ylabel)
    axis.margins(y=0.2)
    legend_on_top(axis)
    if dt is None:
        whole_steps(axis)
    return open_axis(axis)


def spike_ticks(axis, counts, *, names=None):
    """Draw the spikes ``counts (time, units)`` of one sample as ticks, a row for each unit.

    The length of a tick is the number of spikes in the step over the largest one; ticks of negative spikes point down.

    Args:
        axis: Axis of Matplotlib.
        counts: Array ``(time, units)``.
        names: Sequence of the names of the units. Default: their numbers.

    Returns:
        ``axis``.
    """
    most = max(1, int(np.abs(counts).max()))
    for unit, of_unit in enumerate(counts.T):
        steps = np.flatnonzero(of_unit)
        axis.vlines(steps + 1, unit, unit + 0.8 * of_unit[steps] / most, color=f"C{unit}")
    axis.set(ylim=(-0.9 if counts.min() < 0 else -0.1, counts.shape[1]), xlabel="time step")
    middle = 0 if counts.min() < 0 else 0.4
    axis.set_yticks(middle + np.arange(counts.shape[1]), range(counts.shape[1]) if names is None else names, fontsize=8)
    axis.set_ylabel("spikes" if most == 1 else f"spikes\n(max {most})")
    whole_steps(axis)
    return open_axis(axis)


def histogram(axis, counts):
    """Draw how often a unit had no, one, ... spikes in a step, from a ``LayerReport.histogram``. Return ``axis``."""
    total = max(1, sum(counts.values()))
    last = max((i for i, n in enumerate(counts.values()) if n), default=1)
    bins = {name: 100 * n / total for name, n in list(counts.items())[: last + 1]}
    if not bins.get("<0"):
        bins.pop("<0", None)
    bars = axis.bar(list(bins), list(bins.values()), color="C0")
    axis.bar_label(bars, [_share(share) for share in bins.values()], fontsize=7, padding=1)
    # The rare bins matter, and "no spike" dwarfs them.
    axis.set_yscale("log")
    axis.set(xlabel="spikes in a step", ylabel="share of steps (%)")
    axis.margins(y=0.2)
    return open_axis(axis)


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
    axis.set(xlabel="first k steps", ylabel="%", ylim=(0, 125), yticks=range(0, 101, 20))
    whole_steps(axis)
    legend_on_top(axis)
    return open_axis(axis)


def open_axis(axis):
    """Hide the frame's upper and right sides; return ``axis``."""
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def legend_on_top(axis, handles=None):
    """Add a legend at the upper edge of the axis."""
    handles = handles or axis.get_legend_handles_labels()[0]
    legend = axis.legend(
        handles=handles,
        loc="upper left",
        ncols=3 if len(handles) <= 3 else 2,
        fontsize=7,
        frameon=False,
        borderaxespad=0.1,
        columnspacing=0.8,
        handlelength=1.5 if len(handles) <= 3 else 2.6,  # dashes are visible
    )
    legend.set_in_layout(False)  # a wide legend would make the axis narrow


def from_zero(axis, above=0.15):
    """Let the scale begin at 0, or at the least value if that is negative."""
    values = np.concatenate([line.get_ydata() for line in axis.lines])
    low = min(0, values.min())
    axis.set_ylim(low, (low + (values.max() - low) * (1 + above)) or 1)


def whole_steps(axis):
    """Put the ticks of the horizontal axis at integers."""
    axis.xaxis.set_major_locator(_whole_numbers())


def _whole_numbers():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=True)


def _share(share):
    return f"{share:.2g}" if share < 1 else f"{share:.0f}"
