"""Files of event recordings. Maintained libraries decode the formats of cameras; their results are checked here."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from keras_snn import checks, files
from keras_snn.data.events.recording import EVENT, checked_events, converted, fields_of

CLOCKS = ("file", "first")

_HEAD = 2**16  # bytes: headers of cameras have some 500
_NUMBER = r"(\d+)"


def read_events(path: files.Path, *, clock: str = "file", sort: bool = False) -> np.ndarray:
    """Read the events of a recording. The content of the file decides on the format, its name does not.

    | format | read by |
    |---|---|
    | ``.npz`` of ``write_events``, ``.npy`` of a structured array | NumPy |
    | EVT 2.0, DAT (Prophesee), AEDAT 4 (iniVation) | faery |
    | EVT 3.0 (Prophesee) | evt3 |
    | events of 5 bytes (N-MNIST, N-Caltech101) | tonic |

    The libraries are in the extra ``events``. Triggers and other data beside the events are left out.

    Args:
        path: Path of the file.
        clock: String. "file" (the default): the times of the file. "first": times since the first event.
        sort: Boolean. Sort the events by time. False (the default): unsorted times are an error.

    Returns:
        Structured array of the fields x, y, t and p, as ``as_events`` returns. Times are int64, in microseconds for
        cameras.

    Raises:
        OSError: If the file cannot be read.
        ValueError: For an unknown format, a file that ends within an event, times that go back, or coordinates outside
            of the sensor. The error names the event or the byte.
        ImportError: If the library of the format is missing.

    Example:

    ```python
    keras_snn.data.write_events("recording.npz", {"x": [0], "y": [0], "t": [100], "p": [1]})
    keras_snn.data.read_events("recording.npz", clock="first")["t"].tolist()  # [0]
    ```
    """
    checks.choice("clock", clock, CLOCKS)
    parts = list(iter_events(path))
    events = np.concatenate(parts) if parts else np.zeros(0, EVENT)
    events = checked_events(events, f"{os.fspath(path)!r}", size=sensor_size(path), sort=sort)
    if clock == "first" and len(events):
        events["t"] -= events["t"][0]
    return events


def iter_events(path: files.Path) -> Iterator[np.ndarray]:
    """Yield the events of a recording in parts, without checks of times and coordinates. See ``read_events``."""
    name = file_format(path)
    if name in ("npz", "npy"):
        yield from _READERS[name](os.fspath(path))
        return
    try:
        yield from _READERS[name](os.fspath(path))
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:  # each library has errors of its own
        raise ValueError(f"{os.fspath(path)!r} must be a complete {name} file: {checks.plain_text(error)}.") from error


def sensor_size(path: files.Path) -> tuple[int, ...] | None:
    """Return height and width of the sensor, or (channels,) for audio, from the header of a recording.

    None if the file has no size.

    Raises:
        OSError, ValueError, ImportError: As in ``read_events``.
    """
    name = file_format(path)
    if name == "npz":
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(files.parsed(lambda: arrays["size"]).tolist()) if "size" in arrays else None
    if name == "AEDAT 4":
        width, height = _faery().events_stream_from_file(path, file_type="aedat").dimensions()
        return height, width
    header = _header(_head(path)).decode("ascii", "replace")
    height, width = (re.search(rf"(?:{side}=|{side.title()} ){_NUMBER}", header) for side in ("height", "width"))
    if geometry := re.search(rf"geometry {_NUMBER}x{_NUMBER}", header):
        return int(geometry[2]), int(geometry[1])
    return (int(height[1]), int(width[1])) if height and width else None


def write_events(path: files.Path, recording: Any, size: tuple[int, ...] | int | None = None) -> None:
    """Write a recording to a compressed ``.npz`` file with the arrays x, y, t and p, atomically.

    Args:
        path: Path of the file. It must end in ``.npz``.
        recording: Recording of events, as in ``as_events``; or an iterator of parts of a recording, such as
            ``iter_events``: only one part is in memory at a time.
        size: As in ``as_events``; written to the array "size". Default None.

    Raises:
        OSError: If the file cannot be written.
        ValueError: For another ending, a recording that ``as_events`` refuses, or a part that begins before the last
            event of the previous part.

    Example:

    ```python
    events = {"x": [0, 2], "y": [1, 0], "t": [5, 6], "p": [0, 1]}
    keras_snn.data.write_events("recording.npz", events, size=(2, 3))
    ```
    """
    if not os.fspath(path).endswith(".npz"):
        raise ValueError(f"`path` must end in .npz; got {os.fspath(path)!r}.")
    parts = in_order(recording if isinstance(recording, Iterator) else iter([recording]), "`recording`", size)
    vectors = ({field: events[field] for field in events.dtype.names or ()} for events in parts)
    further = {} if size is None else {"size": np.array(size if np.ndim(size) else (size,))}
    files.write_vectors(path, vectors, **further)


def in_order(parts: Iterable[Any], name: str, size: tuple[int, ...] | int | None = None) -> Iterator[np.ndarray]:
    """Yield the parts of a recording after the checks of ``as_events``. There is at least one part.

    Raises:
        ValueError: For a part that ``as_events`` refuses, or that begins before the last event of the previous one.
    """
    last, n, events = None, 0, None
    for part in parts:
        events = checked_events(part, _part_name(name, n), size=size)
        if len(events):
            if last is not None and events["t"][0] < last:
                raise ValueError(f'"t" of {name} must be sorted; got {events["t"][0]} at event {n}, after {last}.')
            last, n = events["t"][-1], n + len(events)
        yield events
    if events is None:
        yield np.zeros(0, EVENT)


def _part_name(name, first):
    """Return the name of the part of a recording that begins at the event ``first``, for errors."""
    return f"{name}, from event {first:,} on," if first else name


def file_format(path: files.Path) -> str:
    """Return the name of the format of a recording.

    Raises:
        OSError: If the file cannot be read.
        ValueError: For an unknown or unsupported format.
    """
    head = _head(path)
    header = _header(head)
    if reason := next((text for pattern, text in _REFUSED.items() if re.match(pattern, header or head)), None):
        raise ValueError(f"{os.fspath(path)!r} must be a recording of events; {reason}")
    for name, start in (("npz", b"PK\x03\x04"), ("npy", b"\x93NUMPY"), ("AEDAT 4", b"#!AER-DAT4")):
        if head.startswith(start):
            return name
    for name, pattern in (("EVT 3.0", rb"% (evt 3|format EVT3)"), ("EVT 2.0", rb"% (evt 2\.0|format EVT2;)")):
        if re.search(pattern, header):
            return name
    if header and re.search(rb"% (Data file|Version|Width|Height)", header):
        return "DAT"
    if head and os.path.getsize(path) % 5 == 0 and _is_five_byte(head):
        return "events of 5 bytes"
    reason = "its content has no known format" if head else "the file is empty"
    raise ValueError(
        f"{os.fspath(path)!r} must be a recording of events; {reason}. Formats: npz and npy (NumPy), EVT 2.0, EVT 3.0, "
        "DAT, AEDAT 4, events of 5 bytes (N-MNIST). Use `as_events` for arrays from another reader."
    )


#: Formats without a reader that passed the tests: the text says what to do.
_REFUSED = {
    rb"#!AER-DAT[23]": "AEDAT 2 and 3 are not supported. Convert it to AEDAT 4, for example with DV or jAER.",
    rb"(?s).*% (evt 2\.1|format EVT21)": "EVT 2.1 is not supported. Convert it to EVT 3.0 with the camera's software.",
    rb"(?s).*endianness[= ]big": "big-endian EVT is not supported. Convert it with the camera's software.",
    rb"\x89HDF": "HDF5 has no common layout of events. Read it with h5py and give the arrays to `as_events`.",
    rb"#ROSBAG": "ROS bags are not supported. Convert it to AEDAT 4 or EVT 3.0.",
    rb"Event Stream": "the Event Stream format has no length: a cut file would be read without an error. Convert it.",
}


def _head(path):
    with open(path, "rb") as file:
        return file.read(_HEAD)


def _header(head):
    """Return the lines that begin with "%"."""
    match = re.match(rb"(?:%[^\n]*\n)*", head)
    text = match[0] if match else b""
    end = text.find(b"% end\n")
    return text if end < 0 else text[: end + 6]


def _is_five_byte(head):
    """Return whether the bytes are sorted events of x, y, and polarity and time in three bytes, and not a text."""
    if re.fullmatch(rb"[\t\n\r -~]*", head):
        return False
    rows = np.frombuffer(head[: len(head) // 5 * 5], "uint8").reshape(-1, 5).astype("int64")
    t = (rows[:, 2] & 127) * 2**16 + rows[:, 3] * 2**8 + rows[:, 4] + 2**13 * np.cumsum(rows[:, 1] == 240)
    return bool((np.diff(t) >= 0).all())


def _check_words(path, n_bytes, skipped=0):
    """Raise an error unless the rest of the file after the header is a whole number of words."""
    start = len(_header(_head(path))) + skipped
    left = (os.path.getsize(path) - start) % n_bytes
    if left:
        raise ValueError(f"it ends within an event, {left} bytes after byte {os.path.getsize(path) - left}")


def _read_npz(path):
    n = 0
    for part in files.vector_parts(path, "a file of `write_events`", ["x", "t", "p"], optional=["y"]):
        name = _part_name(repr(path), n)
        yield converted(part, fields_of(part, name), name)
        n += len(part["t"])


def _read_npy(path):
    try:
        array = files.parsed(lambda: np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path!r} must be a complete file of `numpy.save`: {error}.") from error
    yield converted(array, fields_of(array, repr(path)), repr(path))


def _read_evt3(path):
    try:
        import evt3
    except ImportError as error:
        raise _missing("EVT 3.0", "evt3", error) from error
    _check_words(path, 2)
    for batch in evt3.decode_file_batches(path):
        yield _events(x=batch.x, y=batch.y, t=batch.timestamp, p=batch.polarity)


def _read_evt2(path):
    _check_words(path, 4)
    yield from _read_by_faery(path, "evt")


def _read_dat(path):
    _check_words(path, 8, skipped=2)  # type and size of an event, a byte each
    yield from _read_by_faery(path, "dat")


def _read_aedat4(path):
    yield from _read_by_faery(path, "aedat")


def _read_by_faery(path, file_type):
    # A header without a size: the coordinates of the formats have at most 14 bits.
    stream = _faery().events_stream_from_file(path, file_type=file_type, dimensions_fallback=(2**14, 2**14))
    for packet in stream:
        yield _events(x=packet["x"], y=packet["y"], t=packet["t"], p=packet["on"])


def _faery():
    try:
        import faery
    except ImportError as error:
        raise _missing("EVT 2.0, DAT and AEDAT 4", "faery", error) from error
    return faery


def _read_five_byte(path):
    try:
        from tonic.io import read_mnist_file
    except ImportError as error:
        raise _missing("events of 5 bytes", "tonic", error) from error
    yield read_mnist_file(path, dtype=EVENT)


def _missing(formats, library, error):
    return ImportError(f"{formats} files need {library}: pip install 'keras_snn[events]' ({error})")


def _events(**vectors):
    events = np.empty(len(vectors["t"]), EVENT)
    for field, vector in vectors.items():
        events[field] = vector
    return events


_READERS: dict[str, Callable] = {
    "npz": _read_npz,
    "npy": _read_npy,
    "EVT 3.0": _read_evt3,
    "EVT 2.0": _read_evt2,
    "DAT": _read_dat,
    "AEDAT 4": _read_aedat4,
    "events of 5 bytes": _read_five_byte,
}
