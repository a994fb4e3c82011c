"""Functions from a recording to a recording with fewer events."""

from typing import Any

import numpy as np

from keras_snn import checks
from keras_snn.data.events.frames import bin_edges, check_edges, steps_between, within
from keras_snn.data.events.recording import checked_events


def crop_time(
    recording: Any, start: float | None = None, stop: float | None = None, *, shift: bool = False
) -> np.ndarray:
    """Keep the events with ``start <= t < stop``: parts that follow each other share no event.

    Args:
        recording: Recording of events, as in ``as_events``.
        start: Number. Default None: no limit.
        stop: Number. Default None: no limit.
        shift: Boolean. True: subtract ``start``, or the first time without it. Default False.

    Returns:
        Structured array, as ``as_events`` returns.

    Raises:
        ValueError: If ``stop`` is not after ``start``, or for a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 0, 0], "y": [0, 0, 0], "t": [1, 5, 9], "p": [1, 1, 1]}
    keras_snn.data.crop_time(events, 5, 9)["t"].tolist()  # [5]
    ```
    """
    check_edges(start, stop)
    events = checked_events(recording, "`recording`")
    first = 0 if start is None else np.searchsorted(events["t"], start)
    last = len(events) if stop is None else np.searchsorted(events["t"], stop)
    events = events[first:last].copy()
    if shift and len(events):
        events["t"] -= events["t"].dtype.type(events["t"][0] if start is None else start)
    return events


def downsample(recording: Any, factor: int) -> np.ndarray:
    """Divide the coordinates by ``factor`` and round down. All events are kept.

    Args:
        recording: Recording of events, as in ``as_events``.
        factor: Integer, the side of the square of pixels that become one.

    Returns:
        Structured array, as ``as_events`` returns. A sensor of ``n`` pixels has ``ceil(n / factor)`` afterwards.

    Raises:
        ValueError: If ``factor`` is not an integer >= 1, or for a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [33, 5], "y": [0, 7], "t": [1, 5], "p": [1, 1]}
    keras_snn.data.downsample(events, 2)["x"].tolist()  # [16, 2]
    ```
    """
    factor = checks.integer("factor", factor, least=1)
    events = checked_events(recording, "`recording`").copy()
    for field in _pixel_fields(events):
        events[field] //= factor
    return events


def hot_pixels(recording: Any, max_rate: float, *, unit: float = 1e-6) -> np.ndarray:
    """Return the pixels with more events per second than ``max_rate``, over the whole recording.

    Args:
        recording: Recording of events, as in ``as_events``.
        max_rate: Number >= 0, events per second, of both polarities.
        unit: Number, the unit of "t" in seconds. Default 1e-6: microseconds.

    Returns:
        int array ``(n, 2)`` of rows (x, y), or ``(n, 1)`` of channels x for audio. Empty for a recording without
        duration, such as a single event.

    Raises:
        ValueError: For an argument out of range, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [1, 1, 1, 0], "y": [0, 0, 0, 0], "t": [0, 1, 2, 1000], "p": [1, 1, 1, 0]}
    keras_snn.data.hot_pixels(events, 2000.0).tolist()  # [[1, 0]]
    ```
    """
    events = checked_events(recording, "`recording`")
    hot = _hot(events, max_rate, unit)
    return np.stack([hot // 2**15, hot % 2**15][: len(_pixel_fields(events))], axis=1)


def remove_hot_pixels(recording: Any, max_rate: float, *, unit: float = 1e-6) -> np.ndarray:
    """Remove all events of the pixels with more events per second than ``max_rate``. See ``hot_pixels``.

    Args and errors: as in ``hot_pixels``.

    Returns:
        Structured array, as ``as_events`` returns.

    Example:

    ```python
    events = {"x": [1, 1, 1, 0], "y": [0, 0, 0, 0], "t": [0, 1, 2, 1000], "p": [1, 1, 1, 0]}
    keras_snn.data.remove_hot_pixels(events, 2000.0)["x"].tolist()  # [0]
    ```
    """
    events = checked_events(recording, "`recording`")
    return events[~np.isin(_pixels(events), _hot(events, max_rate, unit))]


def _hot(events, max_rate, unit):
    """Return the numbers of the hot pixels, as ``_pixels`` numbers them."""
    max_rate = checks.number("max_rate", max_rate, least=0)
    unit = checks.number("unit", unit, above=0)
    pixels, counts = np.unique(_pixels(events), return_counts=True)
    duration = unit * float(events["t"][-1] - events["t"][0]) if len(events) else 0.0
    return pixels[counts > max_rate * duration] if duration else pixels[:0]


def refractory_filter(recording: Any, period: float) -> np.ndarray:
    """Remove events within ``period`` after the previous event of the same pixel, whether that one is kept or not.

    The first event of a pixel is kept. Polarity has no effect.

    Args:
        recording: Recording of events, as in ``as_events``.
        period: Number >= 0, in the unit of "t". An event is kept if more time than this passed.

    Returns:
        Structured array, as ``as_events`` returns.

    Raises:
        ValueError: For a negative ``period``, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 0, 0, 0], "y": [0, 0, 0, 0], "t": [0, 5, 12, 30], "p": [1, 0, 1, 1]}
    keras_snn.data.refractory_filter(events, 10)["t"].tolist()  # [0, 30]
    ```
    """
    period = checks.number("period", period, least=0)
    events = checked_events(recording, "`recording`")
    pixels = _pixels(events)
    order = np.argsort(pixels, kind="stable")  # events of a pixel stay in the order of time
    pixels, t = pixels[order], events["t"][order]
    keep = np.ones(len(events), bool)
    keep[order[1:]] = (pixels[1:] != pixels[:-1]) | (t[1:] - t[:-1] > period)
    return events[keep]


def mask_events(recording: Any, mask: Any, *, start: float | None = None, stop: float | None = None) -> np.ndarray:
    """Keep the events at which ``mask`` is nonzero. Their times stay as they are.

    Args:
        recording: Recording of events, as in ``as_events``.
        mask: Array ``(height, width)``, ``(height, width, 2)`` with the two polarities, or ``(frames, height, width,
            2)`` with equal parts of the time from ``start`` to ``stop``, as in ``to_frames``. Nonzero: keep.
        start, stop: Numbers, the time of a mask with frames. Events outside are removed. Default None: the first and
            the last event.

    Returns:
        Structured array, as ``as_events`` returns.

    Raises:
        ValueError: For another shape, an event outside of the mask, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 1, 1], "y": [0, 0, 0], "t": [1, 5, 9], "p": [1, 1, 0]}
    keras_snn.data.mask_events(events, [[0, 1]])["t"].tolist()  # [5, 9]
    ```
    """
    mask = np.asarray(mask)
    if mask.ndim not in (2, 3, 4) or (mask.ndim > 2 and mask.shape[-1] != 2):
        raise ValueError(
            "`mask` must be of shape (height, width), (height, width, 2) or (frames, height, width, 2); got "
            f"{mask.shape}."
        )
    size = mask.shape[:2] if mask.ndim < 4 else mask.shape[1:3]
    events = checked_events(recording, "`recording`", size=size)
    place: list[np.ndarray] = []
    if mask.ndim == 4:
        events = within(events, start, stop)
        place = [steps_between(events["t"], bin_edges(events["t"], len(mask), start, stop))]
    place += [events["y"], events["x"], events["p"].astype("int8")]
    return events[mask[tuple(place[: mask.ndim])] != 0]


def _pixel_fields(events):
    return [field for field in ("x", "y") if field in events.dtype.names]


def _pixels(events):
    """Return a number for the pixel of each event, of 32 bits: NumPy sorts them faster than 64 bits."""
    x = events["x"].astype("int32") * 2**15
    return x + events["y"] if "y" in events.dtype.names else x
