"""Panels of the inspector's figures: each function draws one result on an axis of Matplotlib."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from keras_snn.inspector.samples import as_image, class_name, probabilities

if TYPE_CHECKING:
    from keras_snn.inspector.findings import Latency

#: A Matplotlib axis, ``matplotlib.axes.Axes``.
Axes: TypeAlias = Any

#: A Matplotlib figure, ``matplotlib.figure.Figure``.
Figure: TypeAlias = Any

#: Maximum numbers of steps and units of a raster, so that a cell is at least about a pixel.
MOST_STEPS, MOST_UNITS = 150, 150
_MAX_COLORS = 1000
#: Maximum number of letters of a class name in a legend.
_MAX_LETTERS = 20
_FONT_SIZE = 8


def sample_input(axis: Axes, x: np.ndarray) -> Axes:
    """Draw the input ``x`` of a sample if it is an image, a time series or a vector, else write its shape."""
    image = as_image(x)
    if image is not None:
        height, width = image.shape[:2]
        square = max(height, width) <= 3 * min(height, width)  # else it may be a time series
        axis.imshow(image, cmap="gray", aspect="equal" if square else "auto")
        axis.set(xticks=[], yticks=[])
    elif x.ndim == 1 and x.dtype.kind in "biuf":
        axis.plot(x)
        axis.set_xlabel("feature", fontsize=_FONT_SIZE)
        axis.tick_params(labelsize=_FONT_SIZE)
        open_axis(axis)
    else:
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"shape {x.shape},\nnot drawn", ha="center", va="center", fontsize=_FONT_SIZE)
    return axis


def raster(axis: Axes, counts: np.ndarray) -> Axes:
    """Draw the spikes ``counts (time, units)`` of one sample, negative spikes in orange; return ``axis``.

    If there are more than ``MOST_UNITS`` units, the units with most spikes in this sample are drawn, in ascending
    order. More than ``MOST_STEPS`` steps are summed in bins. The labels of the axis and of the color bar state both.
    """
    n_steps, n_units = counts.shape
    if n_units > MOST_UNITS:
        counts = counts[:, busiest(counts, MOST_UNITS)]
    steps_per_bin = math.ceil(n_steps / MOST_STEPS)
    counts = np.add.reduceat(counts, range(0, n_steps, steps_per_bin), axis=0)
    max_count = max(1, int(np.abs(counts).max()))
    signed = counts.min() < 0
    image = axis.imshow(
        counts.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap=_spike_colors(max_count, signed),
        vmin=-0.5 - (max_count if signed else 0),
        vmax=max_count + 0.5,
        extent=(0.5, len(counts) * steps_per_bin + 0.5, -0.5, counts.shape[1] - 0.5),
    )
    axis.set_xlim(0.5, n_steps + 0.5)
    ticks = list(range(0, max_count + 1, max(1, max_count // 4)))
    ticks = sorted({*ticks, *(-tick for tick in ticks)}) if signed else ticks
    bar = axis.figure.colorbar(image, ax=axis, ticks=ticks, pad=0.02)
    bar.ax.tick_params(labelsize=_FONT_SIZE)
    bar.set_label("spikes in a step" if steps_per_bin == 1 else f"spikes in {steps_per_bin} steps", fontsize=_FONT_SIZE)
    axis.tick_params(labelsize=_FONT_SIZE)
    if n_units > MOST_UNITS:
        axis.set_yticks([])
        axis.set_ylabel(f"{MOST_UNITS} most active of {n_units:,} units,\nin ascending order", fontsize=_FONT_SIZE)
    else:
        axis.set_ylabel("unit", fontsize=_FONT_SIZE)
        axis.yaxis.set_major_locator(_whole_numbers())
    axis.set_xlabel("time step", fontsize=_FONT_SIZE)
    whole_steps(axis)
    return axis


def busiest(counts: np.ndarray, n: int) -> np.ndarray:
    """Return the indices of the ``n`` units with most spikes in ``counts (time, units)``, in ascending order."""
    return np.sort(np.argsort(-np.abs(counts).sum(axis=0), kind="stable")[:n])


def _spike_colors(max_count, signed):
    """Return a color map with a color for each number of spikes from 0, or ``-max_count``, to ``max_count``.

    A single spike is visible for every ``max_count``.
    """
    from matplotlib.colors import LinearSegmentedColormap

    n, lowest = min(max_count, _MAX_COLORS), 0.5 / _MAX_COLORS
    colors = [(0.0, "white"), (lowest, "0.7"), (1.0, "black")]
    if signed:
        negative = [(0.0, "#7f3b08"), (0.5 - lowest, "#fdb863")]
        colors = negative + [(0.5 + 0.5 * position, color) for position, color in colors]
    return LinearSegmentedColormap.from_list("spikes", colors, N=(2 * n if signed else n) + 1)


def output_over_time(
    axis: Axes,
    steps: Sequence[int] | np.ndarray,
    outputs: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    n_classes: int = 3,
) -> Axes:
    """Draw ``outputs (len(steps), classes)`` as probabilities. Name the ``n_classes`` largest of the last step."""
    scores = probabilities(outputs)
    largest = np.argsort(scores[-1])[::-1][:n_classes].tolist()
    for k in sorted(set(range(scores.shape[1])) - set(largest)):
        axis.plot(steps, scores[:, k], color="0.8", label=f"_{k}")
    for k in largest:
        name = class_name(k, class_names)
        name = name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"
        axis.plot(steps, scores[:, k], marker=".", label=name)
    axis.set(ylim=(-0.03, 1.1 + 0.33 * len(largest)), yticks=(0, 0.5, 1))
    axis.set_xlabel("first k steps", fontsize=_FONT_SIZE)
    axis.set_ylabel("probability", fontsize=_FONT_SIZE)
    axis.tick_params(labelsize=_FONT_SIZE)
    whole_steps(axis)
    axis.legend(fontsize=_FONT_SIZE, frameon=False, loc="upper left").set_in_layout(False)
    return open_axis(axis)


def trace(
    axis: Axes,
    values: np.ndarray,
    *,
    dt: float | None = None,
    units: Sequence[int] = (0, 1, 2),
    threshold: float | np.ndarray | None = None,
    ylabel: str = "membrane voltage",
    names: Sequence[Any] | np.ndarray | None = None,
) -> Axes:
    """Draw some units of ``values (time, units)`` of one sample over time, such as their voltages.

    Args:
        axis: Axis of Matplotlib.
        values: Array ``(time, units)``; more axes of units count as one.
        dt: Number in seconds, for a time axis in ms. Default: time steps, from 1.
        units: Sequence of the indices of the units to draw.
        threshold: Number, drawn as a dashed line, or an array like ``values``, drawn as a dashed curve for each unit.
            Default: none.
        ylabel: String.
        names: Sequence of the names of the units, if ``values`` are of some units of a layer. Default: their indices.

    Returns:
        ``axis``.
    """
    values = np.asarray(values).reshape(len(values), -1)
    times = np.arange(1, len(values) + 1) * (1 if dt is None else 1000 * dt)
    lines = []
    for unit in units:
        if not 0 <= unit < values.shape[1]:
            raise ValueError(f"`units` must hold numbers from 0 to {values.shape[1] - 1}; got {unit!r}.")
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


def spike_ticks(axis: Axes, counts: np.ndarray, *, names: Sequence[Any] | np.ndarray | None = None) -> Axes:
    """Draw the spikes ``counts (time, units)`` of one sample as ticks, a row for each unit.

    The length of a tick is the number of spikes in the step divided by the largest number. Ticks of negative spikes
    point down.

    Args:
        axis: Axis of Matplotlib.
        counts: Array ``(time, units)``.
        names: Sequence of the names of the units. Default: their indices.

    Returns:
        ``axis``.
    """
    max_count = max(1, int(np.abs(counts).max()))
    for unit, unit_counts in enumerate(counts.T):
        steps = np.flatnonzero(unit_counts)
        axis.vlines(steps + 1, unit, unit + 0.8 * unit_counts[steps] / max_count, color=f"C{unit}")
    axis.set(ylim=(-0.9 if counts.min() < 0 else -0.1, counts.shape[1]), xlabel="time step")
    middle = 0 if counts.min() < 0 else 0.4
    axis.set_yticks(middle + np.arange(counts.shape[1]), range(counts.shape[1]) if names is None else names, fontsize=8)
    axis.set_ylabel("spikes" if max_count == 1 else f"spikes\n(max {max_count})")
    whole_steps(axis)
    return open_axis(axis)


def histogram(axis: Axes, counts: Mapping[str, int]) -> Axes:
    """Draw the histogram of the number of spikes in a step, a ``LayerReport.histogram``. Return ``axis``."""
    total = max(1, sum(counts.values()))
    last = max((i for i, n in enumerate(counts.values()) if n), default=1)
    bins = {name: 100 * n / total for name, n in list(counts.items())[: last + 1]}
    if not bins.get("<0"):
        bins.pop("<0", None)
    bars = axis.bar(list(bins), list(bins.values()), color="C0")
    axis.bar_label(bars, [_percent_label(percent) for percent in bins.values()], fontsize=7, padding=1)
    # A logarithmic scale shows the rare bins beside that without spikes.
    axis.set_yscale("log")
    axis.set(xlabel="spikes in a step", ylabel="fraction of steps (%)")
    axis.margins(y=0.2)
    return open_axis(axis)


def rate_image(
    axis: Axes, per_unit: np.ndarray, *, channels_first: bool = False, title: str = "mean firing rate"
) -> Axes:
    """Draw the rates of the units of a layer as an image: a ``LayerReport.per_unit``.

    Args:
        axis: Axis of Matplotlib.
        per_unit: Array ``(height, width)``, drawn as one image, or ``(height, width, channels)``, as a grid with one
            image for each channel, row by row.
        channels_first: Boolean. True: the shape is ``(channels, height, width)``. Default False.
        title: String.

    Returns:
        ``axis``.

    Raises:
        ValueError: For another number of axes.
    """
    if per_unit.ndim not in (2, 3):
        raise ValueError(
            f"`per_unit` must be (height, width) or (height, width, channels); got the shape {per_unit.shape}."
        )
    image = per_unit
    if per_unit.ndim == 3:
        maps = per_unit if channels_first else np.moveaxis(per_unit, -1, 0)
        n_columns = math.ceil(math.sqrt(len(maps)))
        n_rows = math.ceil(len(maps) / n_columns)
        height, width = maps.shape[1:]
        image = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
        for k, rates in enumerate(maps):
            row, column = (k // n_columns) * (height + 1), (k % n_columns) * (width + 1)
            image[row : row + height, column : column + width] = rates
        title = f"{title}, {len(maps)} channels"
    drawn = axis.imshow(image, interpolation="nearest", cmap="viridis", vmin=min(0, per_unit.min()))
    axis.figure.colorbar(drawn, ax=axis, label="Hz", shrink=0.8)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=9)
    return axis


def latency(axis: Axes, result: "Latency") -> Axes:
    """Draw accuracy and confidence against the number of first steps: a ``Latency``.

    Each cross is an early exit: inferences stop as soon as the largest probability reaches the threshold beside it.

    Returns:
        ``axis``.
    """
    if result.accuracy is not None:
        axis.plot(result.steps, 100 * result.accuracy, ".-", color="C0", label="accuracy")
        pairs = result.early_exit.items()
        exits = [(steps, 100 * (accuracy or 0), threshold) for threshold, (accuracy, steps) in pairs]
        if exits:
            axis.plot(*list(zip(*exits, strict=True))[:2], "x", color="C3", label="early exit")
        last = None
        for steps, accuracy, threshold in exits:
            # Labels of neighboring crosses would overlap.
            if last is None or abs(steps - last) > 0.1 * result.steps[-1]:
                axis.annotate(
                    f"{threshold:g}",
                    (steps, accuracy),
                    textcoords="offset points",
                    xytext=(3, -9),
                    fontsize=7,
                    color="C3",
                )
                last = steps
    axis.plot(result.steps, 100 * result.confidence, "--", color="0.5", label="confidence")
    axis.set(xlabel="first k steps", ylabel="%", ylim=(0, 125), yticks=range(0, 101, 20))
    whole_steps(axis)
    legend_on_top(axis)
    return open_axis(axis)


def bars(axis: Axes, values: Mapping[str, Mapping[str, tuple[float, float, float]]], *, ylabel: str) -> Axes:
    """Draw groups of bars on a logarithmic scale, with a thin line from minimum to maximum. Return ``axis``.

    Args:
        axis: Axis of Matplotlib.
        values: Dict from the legend of each bar to a dict from the name of a group to (value, minimum, maximum). A
            group without the bar, or with the value 0, leaves its place empty.
        ylabel: String.
    """
    groups = list(dict.fromkeys(group for of_bar in values.values() for group in of_bar))
    width = 0.8 / max(1, len(values))
    for k, (label, of_bar) in enumerate(values.items()):
        drawn = {group: numbers for group, numbers in of_bar.items() if numbers[0] > 0}
        positions = np.array([groups.index(group) + (k - (len(values) - 1) / 2) * width for group in drawn])
        numbers = np.array(list(drawn.values())).reshape(-1, 3)
        axis.bar(positions, numbers[:, 0], width, color=f"C{k}", label=label)
        has_range = numbers[:, 1] < numbers[:, 2]
        axis.vlines(positions[has_range], *numbers[has_range, 1:].T, color="0.2", linewidth=1)
    axis.set_xticks(range(len(groups)), groups, fontsize=_FONT_SIZE)
    axis.tick_params(axis="y", labelsize=_FONT_SIZE)
    axis.set_yscale("log")
    axis.set_ylabel(ylabel, fontsize=_FONT_SIZE)
    return open_axis(axis)


def open_axis(axis: Axes) -> Axes:
    """Hide the frame's upper and right sides; return ``axis``."""
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def legend_on_top(axis: Axes, handles: Sequence | None = None) -> None:
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
        handlelength=1.5 if len(handles) <= 3 else 2.6,  # long enough for dashes
    )
    legend.set_in_layout(False)  # a wide legend would make the axis narrow


def from_zero(axis: Axes, above: float = 0.15) -> None:
    """Start the vertical scale at 0, or at the minimum if it is negative."""
    values = np.concatenate([line.get_ydata() for line in axis.lines])
    low = min(0, values.min())
    axis.set_ylim(low, (low + (values.max() - low) * (1 + above)) or 1)


def whole_steps(axis: Axes) -> None:
    """Place the ticks of the horizontal axis at integers."""
    axis.xaxis.set_major_locator(_whole_numbers())


def _whole_numbers():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=True)


def _percent_label(percent):
    return f"{percent:.2g}" if percent < 1 else f"{percent:.0f}"
