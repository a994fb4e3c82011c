"""Frames that count the events of cameras and audio sensors."""

from typing import Any

import numpy as np

from keras_snn import checks

SPLITS_BY = ("number", "time")


def event_frames(
    recordings: list[dict[str, np.ndarray]],
    n_steps: int,
    size: tuple[int, ...] | int,
    *,
    split_by: str = "number",
    sort: bool = False,
) -> np.ndarray:
    """Count events in frames.

    Args:
        recordings: List of dicts (or NumPy record arrays) of the arrays "x", "y", "p" and "t", as in
            ``load("nmnist", path=...)``. "x" and "y" are whole numbers. "p", the polarity, is 0 and 1, -1 and +1, or
            booleans. "t", the time, is in any unit: integers are compared in 64 bits, floats in float64. Audio has no
            "y".
        n_steps: Integer, number of frames for each recording.
        size: Pair of integers, height and width; or ``(n,)`` or n, the number of channels of events without "y".
        split_by: String. "number": each frame gets the same number of events, and the last frame also the remainder, as
            in Fang et al. 2021. "time": each frame covers the same time. Integer times count as intervals of one unit.
        sort: Boolean. Sort the events by time. False (the default): unsorted times are an error.

    Returns:
        float32 array ``(n, n_steps, height, width, 2)``, or ``(n, n_steps, channels, 2)`` without "y": the number of
        events by polarity, first 0, -1 or False, then 1 or True. A recording without events gives zeros.

    Raises:
        ValueError: For an unknown ``split_by``, an invalid ``size``, a missing array, or an event outside of ``size``,
            out of order or with an invalid value. The error names the first such event.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "p": [1, 0, 0], "t": [5, 6, 9]}
    keras_snn.data.event_frames([events], 2, (2, 3), split_by="time")[0, :, 0, 2, 0].tolist()  # [1.0, 1.0]
    ```
    """
    n_steps = checks.integer("n_steps", n_steps, least=1)
    checks.choice("split_by", split_by, SPLITS_BY)
    shape = _check_size(size)
    if isinstance(recordings, dict):
        raise ValueError("`recordings` must be a list of dicts, one for each recording; got a dict.")
    frames = np.zeros((len(recordings), n_steps, *shape, 2), "float32")
    for number, (frame, events) in enumerate(zip(frames, recordings, strict=True)):
        arrays = _check_events(events, shape, f"recordings[{number}]", sort)
        t = arrays.pop("t")
        if split_by == "number":
            step = np.minimum(np.arange(len(t)) // max(1, len(t) // n_steps), n_steps - 1)
        else:
            step = _bins(t, n_steps)
        axes = ("x",) if len(shape) == 1 else ("y", "x")
        np.add.at(frame, (step, *(arrays[name] for name in (*axes, "p"))), 1)
    return frames


def _check_size(size):
    sizes = tuple(size) if np.ndim(size) else (size,)
    if len(sizes) not in (1, 2):
        raise ValueError(
            '`size` must be (height, width), or (n,) for events without "y"; the axis of the two polarities is added. '
            f"Got {size!r}."
        )
    return tuple(checks.integer("size", n, least=1, meaning="along each axis") for n in sizes)


def _check_events(events, size, description, sort):
    """Return the sorted arrays of a recording, or raise an error: x, y, p as int64 indices, t as 64-bit numbers."""
    present = events.dtype.names or () if isinstance(events, np.ndarray) else events
    limits = {"x": size[-1], **({"y": size[0]} if len(size) == 2 else {})}
    if missing := [name for name in (*limits, "p", "t") if name not in present]:
        hint = ' Events without "y" need `size=(n,)`.' if "y" in missing else ""
        raise ValueError(
            f"{description} must have {', '.join(map(repr, (*limits, 'p', 't')))}; {missing[0]!r} is missing.{hint}"
        )
    if "y" in present and len(size) == 1:
        raise ValueError(f'{description} has a "y": `size` must be (height, width); got {size}.')
    arrays = {
        **{name: whole_numbers(events[name], f'"{name}" of {description}') for name in limits},
        "p": _polarities(events["p"], f'"p" of {description}'),
        "t": _times(events["t"], f'"t" of {description}'),
    }
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{len(array)} of {name!r}" for name, array in arrays.items())
        raise ValueError(f"The arrays of {description} must have the same length; got {lengths}.")
    for name, n in limits.items():
        _refuse(
            (arrays[name] < 0) | (arrays[name] >= n),
            arrays[name],
            f'"{name}" of {description}',
            f"from 0 to {n - 1}, within `size` {size}",
        )
    t = arrays["t"]
    if sort:
        order = np.argsort(t, kind="stable")
        return {name: array[order] for name, array in arrays.items()}
    _refuse(np.append(False, t[1:] < t[:-1])[: len(t)], t, f'"t" of {description}', "sorted (or give sort=True)")
    return arrays


def _refuse(wrong, values, description, expected):
    """Raise an error that names the first wrong value of the array and its index."""
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"{description} must be {expected}; got {values[first]} at event {first}.")


def _vector(values, description, kinds, expected):
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in kinds:
        raise ValueError(
            f"{description} must be a vector of {expected}; got an array of {values.dtype} of shape {values.shape}."
        )
    return values


def whole_numbers(values: Any, description: str) -> np.ndarray:
    """Return a vector of whole numbers as int64. Raise ValueError for other values."""
    values = _vector(values, description, "iuf", "whole numbers")
    fits = np.abs(values) < 2**63 if values.dtype.kind == "f" else values <= np.iinfo("int64").max
    whole = np.floor(values) == values if values.dtype.kind == "f" else True
    _refuse(~(fits & whole), values, description, "whole numbers")
    return values.astype("int64")


def _polarities(values, description):
    values = _vector(values, description, "biuf", "0 and 1, of -1 and +1, or of booleans")
    if values.dtype.kind == "b":
        return values.astype("int64")
    low = -1 if np.any(values == -1) else 0
    expected = "-1 or +1, as another event has -1" if low else "0 or 1 (or -1 and +1)"
    _refuse((values != low) & (values != 1), values, description, expected)
    return (values == 1).astype("int64")


def _times(values, description):
    values = _vector(values, description, "iuf", "integers or floats")
    if values.dtype.kind != "f":
        return values
    _refuse(~np.isfinite(values), values, description, "finite")
    return values.astype("float64")


def _bins(t, n_bins):
    """Return the bin of each sorted time. The bins have equal lengths."""
    if not len(t):
        return np.zeros(0, "int64")
    if t.dtype.kind == "f":
        span = t[-1] - t[0]
        return np.minimum((t - t[0]) / (span or 1) * n_bins, n_bins - 1).astype("int64")
    # uint64 wraps around and holds any difference of two 64-bit integers. Python's integers do not overflow.
    elapsed = t.astype("uint64") - t[0].astype("uint64")
    length = int(elapsed[-1]) + 1
    edges = np.array([-(-k * length // n_bins) for k in range(1, n_bins)], "uint64")
    return np.searchsorted(edges, elapsed, side="right")
