"""Recordings of events: NumPy structured arrays with the fields x, y, t and p, as in tonic."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_snn import checks

#: Type of an event: column, row, time and polarity (True: brighter). tonic has the same fields.
EVENT = np.dtype([("x", "int16"), ("y", "int16"), ("t", "int64"), ("p", "bool")])

#: Fields of each kind of recording. Audio sensors have channels x and no y.
FIELDS = ("x", "y", "t", "p")

_COORDINATES = 2**15  # of each axis: the largest sensors have some 1,000


def as_events(recording: Any, size: tuple[int, ...] | int | None = None, *, sort: bool = False) -> np.ndarray:
    """Return a recording as a structured array, after checks.

    Args:
        recording: Structured or record array, or mapping of vectors, with the fields "x", "y", "t" and "p", in any
            order, number type and byte order. "x" and "y" are whole numbers from 0 to 32767. "p", the polarity, is 0
            and 1, -1 and +1, or booleans. "t", the time, is in any unit: whole numbers of up to 64 bits, or floats.
            Negative times are allowed. Audio has no "y".
        size: Pair of integers, height and width of the sensor; or ``(n,)`` or n, the number of channels of audio.
            Default None: coordinates are not compared with a size.
        sort: Boolean. Sort the events by time; events of equal times keep their order. False (the default): unsorted
            times are an error.

    Returns:
        Structured array of the fields x and y (int16), t (int64, or float64 if the times are floats) and p (bool).

    Raises:
        ValueError: For a missing field, fields of different lengths, or an event outside of ``size``, out of order or
            with an invalid value. The error names the first such event.

    Example:

    ```python
    events = keras_snn.data.as_events({"x": [0, 2], "y": [1, 0], "t": [5, 6], "p": [-1, 1]}, (2, 3))
    events["p"].tolist()  # [False, True]
    ```
    """
    return checked_events(recording, "`recording`", size=size, sort=sort)


def checked_events(recording: Any, name: str, *, size: Any = None, sort: bool = False) -> np.ndarray:
    """Return ``as_events(recording, size, sort=sort)``. Errors name the recording ``name``."""
    shape = None if size is None else checked_size(size)
    fields = fields_of(recording, name, shape)
    if isinstance(recording, np.ndarray) and recording.dtype == EVENT and recording.ndim == 1:
        events = recording
        _check_coordinates(events, fields, name, shape)
    else:
        events = converted(recording, fields, name, shape)
    t = events["t"]
    if (t[1:] >= t[:-1]).all():
        return events
    if sort:
        return events[np.argsort(t, kind="stable")]
    k = int(np.argmax(t[1:] < t[:-1])) + 1
    raise ValueError(f'"t" of {name} must be sorted (or give sort=True); got {t[k]} at event {k}, after {t[k - 1]}.')


def checked_size(size: Any) -> tuple[int, ...]:
    """Return ``size`` as a tuple: (height, width), or (channels,)."""
    sizes = tuple(size) if np.ndim(size) else (size,)
    if len(sizes) not in (1, 2):
        raise ValueError(
            '`size` must be (height, width), or (n,) for events without "y"; the axis of the two polarities is added. '
            f"Got {size!r}."
        )
    return tuple(checks.integer("size", n, least=1, meaning="along each axis") for n in sizes)


def fields_of(recording: Any, name: str, shape: tuple[int, ...] | None = None) -> tuple[str, ...]:
    """Return the names of the fields of a recording. Raise ValueError for a missing one."""
    present = recording.dtype.names or () if isinstance(recording, np.ndarray) else recording
    if not isinstance(present, tuple | Mapping):
        raise ValueError(
            f"{name} must be a structured array or a mapping with the fields 'x', 'y', 't' and 'p'; got a "
            f"{type(recording).__name__}."
        )
    has_y = "y" in present
    if has_y and shape is not None and len(shape) == 1:
        raise ValueError(f'{name} has a "y": `size` must be (height, width); got {shape}.')
    fields = FIELDS if has_y or (shape is not None and len(shape) == 2) else ("x", "t", "p")
    if missing := [field for field in fields if field not in present]:
        hint = ' Events without "y" need `size=(n,)`.' if "y" in missing else ""
        raise ValueError(f"{name} must have {', '.join(map(repr, fields))}; {missing[0]!r} is missing.{hint}")
    return fields


def converted(
    recording: Mapping[str, Any] | np.ndarray, fields: Sequence[str], name: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Return a structured array of ``fields``, unsorted. Errors name the recording ``name``."""
    convert = {"x": whole_numbers, "y": whole_numbers, "t": _times, "p": _polarities}
    vectors = {field: convert[field](recording[field], f'"{field}" of {name}') for field in fields}
    if len({len(vector) for vector in vectors.values()}) > 1:
        lengths = ", ".join(f"{len(vector)} of {field!r}" for field, vector in vectors.items())
        raise ValueError(f"The arrays of {name} must have the same length; got {lengths}.")
    _check_coordinates(vectors, fields, name, shape)  # before the conversion to 16 bits
    events = np.empty(len(vectors["t"]), [(f, vectors["t"].dtype if f == "t" else EVENT[f]) for f in fields])
    for field, vector in vectors.items():
        events[field] = vector
    return events


def _check_coordinates(vectors, fields, name, shape):
    within = "" if shape is None else f", within `size` {shape}"
    for field, limit in zip(("x", "y"), reversed(shape or (_COORDINATES, _COORDINATES)), strict=False):
        if field in fields:
            wrong = (vectors[field] < 0) | (vectors[field] >= limit)
            _refuse(wrong, vectors[field], f'"{field}" of {name}', f"from 0 to {limit - 1}{within}")


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
    if values.dtype.kind == "f":
        _refuse(~((np.floor(values) == values) & (np.abs(values) < 2**63)), values, description, "whole numbers")
    _refuse(values > np.iinfo("int64").max, values, description, "below 2**63: times are signed 64-bit integers")
    return values.astype("int64", copy=False)


def _polarities(values, description):
    values = _vector(values, description, "biuf", "0 and 1, of -1 and +1, or of booleans")
    if values.dtype.kind == "b":
        return values
    low = -1 if np.any(values == -1) else 0
    expected = "-1 or +1, as another event has -1" if low else "0 or 1 (or -1 and +1)"
    _refuse((values != low) & (values != 1), values, description, expected)
    return values == 1


def _times(values, description):
    values = _vector(values, description, "iuf", "integers or floats")
    if values.dtype.kind != "f" or not len(values):  # an empty list is of floats
        return whole_numbers(values, description)
    _refuse(~np.isfinite(values), values, description, "finite")
    return values.astype("float64")
