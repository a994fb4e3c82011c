"""Voxel grids and time surfaces of recordings."""

import math
from typing import Any

import numpy as np

from keras_snn import checks
from keras_snn.data.events.frames import frame_shape, limits, window_edges, within
from keras_snn.data.events.recording import checked_events


def to_voxel_grid(
    recording: Any,
    size: tuple[int, int],
    n_bins: int,
    *,
    start: float | None = None,
    stop: float | None = None,
    sort: bool = False,
) -> np.ndarray:
    """Add up polarities in time bins, with linear interpolation between the bins.

    An event at ``u = n_bins (t - start) / (stop - start)`` adds its polarity, -1 or +1, to the bins ``floor(u)`` and
    ``floor(u) + 1``, with the weights ``1 - (u - floor(u))`` and ``u - floor(u)``. There is no bin ``n_bins``: that
    part is left out. Reference: Zhu et al. 2019, CVPR, arXiv:1812.08156; tonic has the same.

    Args:
        recording: Recording of events, as in ``as_events``.
        size: Pair of integers, height and width.
        n_bins: Integer.
        start: Number, the time of the first bin. Earlier events are left out. Default None: the first event.
        stop: Number, the end of the last bin. Later events are left out. Default None: the last event.
        sort: Boolean. Sort the events by time. Default False.

    Returns:
        float32 array ``(n_bins, height, width, 1)``. If start and stop are equal (one event): all at the first bin.

    Raises:
        ValueError: For an argument out of range, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 0], "y": [0, 0], "t": [0, 25], "p": [1, 0]}
    keras_snn.data.to_voxel_grid(events, (1, 1), 2, stop=100).ravel().tolist()  # [0.5, -0.5]
    ```
    """
    shape = frame_shape(size, "signed")
    n_bins = checks.integer("n_bins", n_bins, least=1)
    events = within(checked_events(recording, "`recording`", size=size, sort=sort), start, stop)
    t = events["t"]
    first, last = limits(t.astype("float64"), start, stop)
    u = (t - first) / ((last - first) or 1) * n_bins
    left = u.astype("int64")  # u >= 0
    right_part = u - left
    sign = np.where(events["p"], 1.0, -1.0)
    n_pixels = math.prod(shape)
    place = (left * shape[0] + events["y"]) * shape[1] + events["x"]
    n_places = (n_bins + 2) * n_pixels  # two bins more than are returned: an event at `stop` is in them
    grid = np.bincount(place, sign * (1 - right_part), n_places)
    grid += np.bincount(place + n_pixels, sign * right_part, n_places)
    return grid[: n_bins * n_pixels].astype("float32").reshape(n_bins, *shape)


def to_time_surface(
    recording: Any,
    size: tuple[int, int],
    window: float,
    tau: float,
    *,
    start: float | None = None,
    stop: float | None = None,
    sort: bool = False,
) -> np.ndarray:
    """Return the age of the last event of each pixel and polarity, ``exp(-age / tau)``, at the end of each window.

    Reference: Lagorce et al. 2017, IEEE TPAMI 39, 1346 (surfaces of the whole sensor here, as in tonic).

    Args:
        recording: Recording of events, as in ``as_events``.
        size: Pair of integers, height and width.
        window: Number > 0, the time between two surfaces. The first is at ``start + window``.
        tau: Number > 0, the time constant of the decay. ``window`` and ``tau`` are in the unit of "t".
        start, stop: As in ``to_frames``.
        sort: Boolean. Sort the events by time. Default False.

    Returns:
        float32 array ``(surfaces, height, width, 2)`` of values from 0 (no event yet) to 1.

    Raises:
        ValueError: For an argument out of range, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 0], "y": [0, 0], "t": [100, 150], "p": [1, 1]}
    surfaces = keras_snn.data.to_time_surface(events, (1, 1), window=50, tau=50)
    surfaces.shape, round(float(surfaces[1].max()), 3)  # ((2, 1, 1, 2), 0.368): the event is 50 old
    ```
    """
    shape = frame_shape(size, "channels")
    tau = checks.number("tau", tau, above=0)
    checks.number("window", window, above=0)
    events = within(checked_events(recording, "`recording`", size=size, sort=sort), start, stop)
    t = events["t"]
    first, _ = limits(t, start, stop)
    inner = window_edges(t, window, start, stop)
    n_before = [0, *np.searchsorted(t, inner), len(t)]
    place = (events["y"].astype("int64") * shape[1] + events["x"]) * 2 + events["p"]
    latest = np.full(shape, -np.inf)
    surfaces = np.empty((len(inner) + 1, *shape), "float32")
    for step, surface in enumerate(surfaces):  # one surface fits into the processor's cache, all of them do not
        new = slice(n_before[step], n_before[step + 1])
        latest.ravel()[place[new]] = t[new]  # of equal places the last one stays
        age = (first + (step + 1) * window) - latest
        np.exp((age / -tau).astype("float32"), out=surface)
    return surfaces
