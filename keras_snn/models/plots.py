"""Pictures of networks that learn by plasticity, each drawn on an axis of Matplotlib."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

#: A Matplotlib axis, ``matplotlib.axes.Axes``.
Axes = Any


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
