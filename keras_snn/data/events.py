"""Recordings of event cameras, counted in frames."""

import itertools
import os
import zipfile

import numpy as np

SPLITS_BY = ("number", "time")


def load_events(path: str | os.PathLike, split: str) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Read the recordings of one split from a file of ``numpy.savez``.

    The file has the arrays ``x_SPLIT``, ``y_SPLIT``, ``p_SPLIT`` (polarity, 0 or 1) and ``t_SPLIT`` of all events
    behind each other, ``offset_SPLIT``, at which each recording begins and the last one ends, and ``label_SPLIT``.

    Args:
        path: str or path of the file.
        split: str, "train" or "test".

    Returns:
        Pair of the recordings, each a dict of the arrays "x", "y", "p" and "t", and of the labels int64 (n,).

    Raises:
        OSError: The file cannot be read.
        ValueError: It has not the arrays above.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[f"{name}_{split}"] for name in ("x", "y", "p", "t", "offset", "label")}
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file of events with the split {split!r}: {error}") from error
    offset = arrays["offset"].astype("int64")
    recordings = [{name: arrays[name][a:b] for name in ("x", "y", "p", "t")} for a, b in itertools.pairwise(offset)]
    return recordings, arrays["label"].astype("int64")


def event_frames(
    recordings: list[dict[str, np.ndarray]], n_steps: int, size: tuple[int, int], *, split_by: str = "number"
) -> np.ndarray:
    """Count events in frames.

    Args:
        recordings: list of dicts of the arrays "x", "y", "p" and "t", as ``load_events`` returns them.
        n_steps: int, number of frames for each recording.
        size: pair of ints, height and width.
        split_by: str. "number": each frame gets the same number of events, and the last one what is left over, as in
            Fang et al. 2021. "time": each frame covers the same time.

    Returns:
        float32 array (n, n_steps, height, width, 2), the numbers of events by polarity.

    Raises:
        ValueError: An unknown ``split_by``, or events outside of ``size``.

    Example:
        >>> from keras_snn.data import event_frames
        >>> events = {"x": [0, 2, 2], "y": [1, 0, 0], "p": [1, 0, 0], "t": [5, 6, 9]}
        >>> event_frames([events], 2, (2, 3), split_by="time")[0, :, 0, 2, 0].tolist()
        [1.0, 1.0]
    """
    if split_by not in SPLITS_BY:
        raise ValueError(f"split_by must be one of {', '.join(map(repr, SPLITS_BY))}, got {split_by!r}")
    height, width = size
    frames = np.zeros((len(recordings), n_steps, height, width, 2), "float32")
    for frame, events in zip(frames, recordings, strict=True):
        x, y, p, t = (np.asarray(events[name]).astype("int64") for name in ("x", "y", "p", "t"))
        if not len(t):
            continue
        if x.max() >= width or y.max() >= height or min(x.min(), y.min()) < 0:
            raise ValueError(f"size must hold all events, got {size} for events up to y = {y.max()} and x = {x.max()}")
        if split_by == "number":
            step = np.minimum(np.arange(len(t)) // max(1, len(t) // n_steps), n_steps - 1)
        else:
            step = (t - t.min()) * n_steps // (t.max() - t.min() + 1)
        np.add.at(frame, (step, y, x, p), 1)
    return frames
