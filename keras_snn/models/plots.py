"""Pictures of networks that learn by plasticity, each drawn on an axis of Matplotlib."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: A Matplotlib axis, ``matplotlib.axes.Axes``, and a figure, ``matplotlib.figure.Figure``.
Axes = Any
Figure = Any

#: The panels of ``draw_traces``: name of the trace, label of its axis, number of lines drawn at most.
_PANELS = (
    ("rates", "input rate (Hz)", 8),
    ("a_inputs", "a of inputs (kHz)", 10),
    ("a", "a of neurons (kHz)", 10),
    ("I_inp", "input current", 10),
    ("I_neg", "lateral current", 10),
    ("w", "input weights", 12),
    ("w_lateral", "lateral weights", 12),
)


def draw_fields(
    axis: Axes, kernel: np.ndarray, shape: Sequence[int], labels: Sequence[int] | np.ndarray | None = None
) -> Axes:
    """Draw the input weights of each neuron as an image, in a square of images.

    Args:
        axis: Matplotlib axis.
        kernel: Array ``(n_inputs, n_neurons)``.
        shape: Pair of integers, height and width of the images that the network sees.
        labels: Class of each neuron, written into its image; -1: no class. Default None: not written.

    Returns:
        The axis.

    Raises:
        ValueError: If ``shape`` does not have ``n_inputs`` pixels.

    Example:

    ```python
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    keras_snn.models.draw_fields(axis, np.random.default_rng(0).random((64, 9)), (8, 8))
    ```
    """
    kernel = np.asarray(kernel)
    height, width = shape
    if len(kernel) != height * width:
        raise ValueError(f"`shape` must have {len(kernel):,} pixels, one for each input; got {tuple(shape)}.")
    n = kernel.shape[1]
    side = math.ceil(math.sqrt(n))
    tiles = np.full((side * side, height + 1, width + 1), np.nan)
    tiles[:n, :height, :width] = kernel.T.reshape(n, height, width)
    rows = -(-n // side)
    mosaic = tiles.reshape(side, side, height + 1, width + 1).swapaxes(1, 2).reshape(side * (height + 1), -1)
    image = axis.imshow(mosaic[: rows * (height + 1)], cmap="hot_r", vmin=0, vmax=max(np.max(kernel), 1e-9))
    for k, label in enumerate([] if labels is None else np.asarray(labels)):
        place = (k % side * (width + 1) + 0.5, k // side * (height + 1) + 0.5)
        axis.text(*place, "-" if label < 0 else str(label), fontsize=7 if side < 15 else 4, va="top", color="tab:blue")
    axis.set(xticks=[], yticks=[])
    axis.figure.colorbar(image, ax=axis, shrink=0.6, label="weight")
    return axis


def draw_raster(axis: Axes, spikes: np.ndarray, dt: float) -> Axes:
    """Draw a dot for each spike, and return the axis.

    Args:
        axis: Matplotlib axis.
        spikes: Array ``(time, n_neurons)`` of 0 and 1.
        dt: Number, seconds, the length of a time step.

    Example:

    ```python
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    keras_snn.models.draw_raster(axis, np.random.default_rng(0).random((700, 100)) < 0.01, dt=0.0005)
    ```
    """
    spikes = np.asarray(spikes)
    steps, units = np.nonzero(spikes)
    axis.plot(1000 * dt * steps, units, ".", markersize=3, color="C0")
    axis.set(xlim=(0, 1000 * dt * len(spikes)), ylim=(-1, spikes.shape[1]), xlabel="time (ms)", ylabel="neuron")
    return axis


def draw_traces(figure: Figure, traces: Mapping[str, np.ndarray], inputs: Sequence[int] | None = None) -> Figure:
    """Draw what ``TeacherSTDP.record`` returns over time: rates, traces, currents and weights, a panel each.

    Args:
        figure: Matplotlib figure.
        traces: Dict of arrays, as ``record`` returns it. Panels without a trace are left out.
        inputs: Indices of the inputs to draw. Default None: those with the highest rates.

    Returns:
        The figure.

    Example:

    ```python
    from matplotlib.figure import Figure

    model = keras_snn.models.TeacherSTDP(on=0.01, off=0.01)
    traces = model.record(np.random.default_rng(0).random((2, 8, 8)), [0, 1])
    keras_snn.models.draw_traces(Figure(figsize=(9, 9), layout="constrained"), traces)
    ```
    """
    chosen = np.argsort(-traces["rates"].mean(axis=0), kind="stable") if inputs is None else inputs
    panels = [panel for panel in _PANELS if panel[0] in traces]
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, label, n_lines) in zip(axes, panels, strict=True):
        for line, values in list(_lines(name, np.asarray(traces[name]), chosen))[:n_lines]:
            axis.plot(traces["t"], values, label=line, linewidth=0.8)
        axis.set_ylabel(label)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=6)
    axes[-1].set_xlabel("time (s)")
    figure.align_ylabels()
    return figure


def _lines(name, values, inputs):
    """Yield the label and the values over time of each line of a panel."""
    n = values.shape[-1]
    if name in ("rates", "a_inputs"):
        yield from ((f"input {i}", values[:, i]) for i in inputs)
    elif name == "w":
        yield from ((f"{i} to {j}", values[:, i, j]) for i in inputs for j in range(n))
    elif name == "w_lateral":
        yield from ((f"{i} to {j}", values[:, i, j]) for i in range(n) for j in range(n) if i != j)
    else:
        yield from ((f"neuron {j}", values[:, j]) for j in range(n))
