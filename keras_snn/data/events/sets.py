"""Reading of sets of event recordings."""

import itertools
import os

import numpy as np

from keras_snn.data.events.recording import FIELDS, converted, whole_numbers
from keras_snn.files import load_arrays

Split = tuple[list[np.ndarray], np.ndarray]


def read(path: str | os.PathLike) -> tuple[Split, Split]:
    """Return the recordings for training and for testing, structured arrays, with their labels, int64 (n,).

    The file, of ``numpy.savez``, has for each SPLIT "train" and "test" the arrays ``x_SPLIT``, ``y_SPLIT`` (missing for
    audio), ``p_SPLIT`` and ``t_SPLIT`` of the events of all recordings, one recording after another; ``offset_SPLIT``,
    the index of the first event of each recording, followed by the number of all events; and ``label_SPLIT``.

    Args:
        path: Path of the file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is broken, an array is missing, or the arrays do not fit each other.
    """
    return _read_split(path, "train"), _read_split(path, "test")


def _read_split(path, split):
    required = [f"{name}_{split}" for name in ("x", "p", "t", "offset", "label")]
    loaded = load_arrays(path, f"a file of events with the split {split!r}", required, optional=[f"y_{split}"])
    arrays = {name.removesuffix(f"_{split}"): array for name, array in loaded.items()}
    names = [name for name in ("x", "y", "p", "t") if name in arrays]
    offset, labels = (whole_numbers(arrays[name], f"`{name}_{split}` of {path}") for name in ("offset", "label"))
    limits = {0, *(len(arrays[name]) for name in names)}
    if limits != {*offset[:1].tolist(), *offset[-1:].tolist()} or np.any(np.diff(offset) < 0):
        lengths = ", ".join(f"{len(arrays[name])} {name}" for name in names)
        raise ValueError(
            f"`offset_{split}` of {path} must rise from 0 to the number of events; got {offset.tolist()[:3]} ... "
            f"{offset.tolist()[-1:]} for {lengths}."
        )
    if len(labels) != len(offset) - 1:
        raise ValueError(f"{path} must have a label for each of {len(offset) - 1} recordings; got {len(labels)}.")
    fields = [name for name in FIELDS if name in names]
    events = converted(arrays, fields, f"the split {split!r} of {path}")
    return [events[start:stop] for start, stop in itertools.pairwise(offset)], labels
