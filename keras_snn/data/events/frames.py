"""Frames that count the events of cameras and audio sensors, and events with given counts."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from keras_snn import checks
from keras_snn.data.events.recording import EVENT, checked_events, checked_size

SPLITS_BY = ("number", "time")
POLARITIES = ("channels", "signed")


def event_frames(
    recordings: Sequence[Any],
    n_steps: int,
    size: tuple[int, ...] | int,
    *,
    split_by: str = "number",
    sort: bool = False,
    start: float | None = None,
    stop: float | None = None,
    polarity: str = "channels",
) -> np.ndarray:
    """Count the events of several recordings in as many frames each.

    Args:
        recordings: Sequence of recordings, each as in ``as_events``.
        n_steps: Integer, number of frames for each recording.
        size, split_by, start, stop, polarity, sort: As in ``to_frames``.

    Returns:
        float32 array ``(n, n_steps, height, width, channels)``, or ``(n, n_steps, n_channels, channels)`` for audio.

    Raises:
        ValueError: As in ``to_frames``.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "p": [1, 0, 0], "t": [5, 6, 9]}
    keras_snn.data.event_frames([events], 2, (2, 3), split_by="time")[0, :, 0, 2, 0].tolist()  # [1.0, 1.0]
    ```
    """
    if isinstance(recordings, dict) or (isinstance(recordings, np.ndarray) and recordings.dtype.names):
        raise ValueError(
            "`recordings` must be a list of recordings; got one recording. Give [recording], or call `to_frames`."
        )
    options = {"split_by": split_by, "start": start, "stop": stop, "polarity": polarity, "sort": sort}
    n_steps = checks.integer("n_steps", n_steps, least=1)
    frames = np.zeros((len(recordings), n_steps, *frame_shape(size, polarity)), "float32")
    for number, recording in enumerate(recordings):
        frames[number] = _frames(recording, size, f"recordings[{number}]", n_frames=n_steps, **options)
    return frames


def to_frames(
    recording: Any,
    size: tuple[int, ...] | int,
    *,
    n_frames: int | None = None,
    window: float | None = None,
    count: int | None = None,
    split_by: str = "time",
    start: float | None = None,
    stop: float | None = None,
    polarity: str = "channels",
    sort: bool = False,
) -> np.ndarray:
    """Count the events of a recording in frames: a fixed number of them, or one for each window or number of events.

    Give one of ``n_frames``, ``window`` and ``count``. The frame k of ``window`` has the events with ``start +
    k window <= t < start + (k + 1) window``. The last frame has the events at ``stop`` too. There is at least one
    frame. Frames without events are zeros.

    Args:
        recording: Recording of events, as in ``as_events``.
        size: Pair of integers, height and width; or ``(n,)`` or n, the number of channels of audio, without "y".
        n_frames: Integer, number of frames.
        window: Number > 0, the time of a frame in the unit of "t". The last frame may be shorter.
        count: Integer, number of events in a frame. The last frame may have fewer.
        split_by: String, for ``n_frames``. "time" (the default): each frame covers the same time. "number": each frame
            has the same number of events, and the last frame also the remainder, as in Fang et al. 2021.
        start: Number, the time at which the first frame begins. Earlier events are left out. Default None: the time of
            the first event.
        stop: Number, the time at which the last frame ends. Later events are left out. Default None: the time of the
            last event, plus one unit for integer times.
        polarity: String. "channels" (the default): two channels, first the events of polarity 0, then of 1. "signed":
            one channel, events of polarity 1 minus events of polarity 0.
        sort: Boolean. Sort the events by time. False (the default): unsorted times are an error.

    Returns:
        float32 array ``(frames, height, width, channels)``, or ``(frames, n, channels)`` for audio.

    Raises:
        ValueError: For none or several of ``n_frames``, ``window`` and ``count``, an argument out of range, or a
            recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "p": [1, 0, 0], "t": [5, 6, 9]}
    frames = keras_snn.data.to_frames(events, (2, 3), window=2, start=4, stop=10)
    frames.shape, frames.sum((1, 2, 3)).tolist()  # ((3, 2, 3, 2), [1.0, 1.0, 1.0])
    ```
    """
    return _frames(
        recording,
        size,
        "`recording`",
        n_frames=n_frames,
        window=window,
        count=count,
        split_by=split_by,
        start=start,
        stop=stop,
        polarity=polarity,
        sort=sort,
    )


def _frames(recording, size, name, *, n_frames=None, window=None, count=None, split_by, start, stop, polarity, sort):
    checks.choice("split_by", split_by, SPLITS_BY)
    given = [argument is not None for argument in (n_frames, window, count)]
    if sum(given) != 1:
        raise ValueError(
            f"Give one of `n_frames`, `window` and `count`; got n_frames={n_frames}, window={window}, count={count}."
        )
    shape = frame_shape(size, polarity)
    events = checked_events(recording, name, size=size, sort=sort)
    events = within(events, start, stop)
    if window is not None:
        checks.number("window", window, above=0)
        inner = window_edges(events["t"], window, start, stop)
        steps, n_frames = steps_between(events["t"], inner), len(inner) + 1
    elif count is not None:
        count = checks.integer("count", count, least=1)
        steps, n_frames = np.arange(len(events)) // count, max(1, -(-len(events) // count))
    else:
        n_frames = checks.integer("n_frames", n_frames, least=1)
        if split_by == "time":
            steps = steps_between(events["t"], bin_edges(events["t"], n_frames, start, stop))
        else:
            steps = np.minimum(np.arange(len(events)) // max(1, len(events) // n_frames), n_frames - 1)
    return _counted(events, steps, (n_frames, *shape))


def frame_shape(size: Any, polarity: str) -> tuple[int, ...]:
    """Return the shape of a frame: height and width, or the number of channels of audio; then 2 or 1."""
    checks.choice("polarity", polarity, POLARITIES)
    return (*checked_size(size), 2 if polarity == "channels" else 1)


def _counted(events, steps, shape):
    """Return float32 frames of ``shape`` with the number of the events at each place."""
    place = steps.astype("int64")
    for field, n in zip(("x",) if len(shape) == 3 else ("y", "x"), shape[1:], strict=False):
        place = place * n + events[field]
    n_places = math.prod(shape[:-1])
    if shape[-1] == 2:
        return np.bincount(2 * place + events["p"], minlength=2 * n_places).astype("float32").reshape(shape)
    signs = np.where(events["p"], 1.0, -1.0)
    return np.bincount(place, signs, minlength=n_places).astype("float32").reshape(shape)


def within(events: np.ndarray, start: float | None, stop: float | None) -> np.ndarray:
    """Return the events with ``start <= t <= stop``, as a view. None: no limit."""
    check_edges(start, stop)
    t = events["t"]
    first = 0 if start is None else np.searchsorted(t, start, side="left")
    last = len(t) if stop is None else np.searchsorted(t, stop, side="right")
    return events[first:last]


def check_edges(start: float | None, stop: float | None) -> None:
    """Raise an error unless both are numbers or None, and ``stop`` is after ``start``."""
    for name, edge in (("start", start), ("stop", stop)):
        if edge is not None:
            checks.number(name, edge)
    if start is not None and stop is not None and not stop > start:
        raise ValueError(f"`stop` must be after `start`; got start={start} and stop={stop}.")


def limits(t: np.ndarray, start: float | None, stop: float | None) -> tuple[float, float]:
    """Return start and stop. None is replaced by the first time, and by the last time plus a unit if it is whole."""
    unit = 0 if t.dtype.kind == "f" else 1
    first, last = (t[0].item(), t[-1].item() + unit) if len(t) else (start or 0, stop or 0)
    return first if start is None else _exact(start), last if stop is None else _exact(stop)


def _exact(value):
    """Return a number as Python's int if it is whole, else as float: products of ints neither overflow nor round."""
    return int(value) if value == int(value) else float(value)


def bin_edges(t: np.ndarray, n_bins: int, start: float | None, stop: float | None) -> np.ndarray:
    """Return the times between bins of equal lengths, ``n_bins - 1`` of them. ``t`` is sorted."""
    first, last = limits(t, start, stop)
    if t.dtype.kind == "f":
        return first + ((last - first) or 1.0) * np.arange(1, n_bins) / n_bins
    begin, length = Fraction(first), Fraction(last) - Fraction(first)
    return np.array([math.ceil(begin + k * length / n_bins) for k in range(1, n_bins)], "int64")


def window_edges(t: np.ndarray, window: float, start: float | None, stop: float | None) -> np.ndarray:
    """Return the times between windows, one fewer than there are windows. ``t`` is sorted."""
    first, last = limits(t, start, stop)
    n_windows = max(1, math.ceil((Fraction(last) - Fraction(first)) / Fraction(_exact(window))))
    return first + _exact(window) * np.arange(1, n_windows)  # integers if times and arguments are whole


def steps_between(t: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the step of each sorted time: the number of the edges that it has reached."""
    n_before = np.searchsorted(t, inner)
    return np.repeat(np.arange(len(inner) + 1), np.diff(n_before, prepend=0, append=len(t)))


def to_events(frames: Any, *, window: int = 1, start: int = 0) -> np.ndarray:
    """Return a recording with the counts of ``frames``. The events of a pixel are evenly spaced within the frame.

    The inverse of ``to_frames`` with the same ``window`` and ``start``, if ``window`` is at least the largest count.

    Args:
        frames: Array of whole numbers ``(frames, height, width, channels)``, or ``(frames, n, channels)`` for audio.
            Two channels are polarity 0, then polarity 1, counts >= 0. One channel is signed.
        window: Integer, the time of a frame. Default 1.
        start: Integer, the time of the first frame. Default 0.

    Returns:
        Structured array, as ``as_events`` returns, sorted by time.

    Raises:
        ValueError: For another shape or values that are not whole numbers.

    Example:

    ```python
    frames = keras_snn.data.to_frames({"x": [0], "y": [0], "t": [7], "p": [1]}, (1, 2), n_frames=1)
    keras_snn.data.to_events(frames, window=10)["t"].tolist()  # [5]
    ```
    """
    counts = np.asarray(frames)
    window, start = checks.integer("window", window, least=1), checks.integer("start", start)
    if counts.ndim not in (3, 4) or counts.shape[-1] not in (1, 2):
        raise ValueError(
            "`frames` must be of shape (frames, height, width, 2) or (frames, height, width, 1), or without the height "
            f"for audio; got {counts.shape}."
        )
    least = 0 if counts.shape[-1] == 2 else -np.inf
    if not (np.isfinite(counts).all() and (counts == np.floor(counts)).all() and (counts >= least).all()):
        raise ValueError("`frames` must be whole numbers, >= 0 with two channels; got other values.")
    where = np.nonzero(counts)
    n = np.abs(counts[where]).astype("int64")
    step, *place, channel = (np.repeat(index, n) for index in where)
    number = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)  # of an event among those of its pixel and frame
    dtype = EVENT if counts.ndim == 4 else [(field, EVENT[field]) for field in ("x", "t", "p")]
    events = np.empty(len(step), dtype)
    events["t"] = start + step * window + (2 * number + 1) * window // (2 * np.repeat(n, n))
    events["p"] = channel == 1 if counts.shape[-1] == 2 else np.repeat(counts[where] > 0, n)
    for field, index in zip(("y", "x") if counts.ndim == 4 else ("x",), place, strict=True):
        events[field] = index
    return events[np.argsort(events["t"], kind="stable")]
