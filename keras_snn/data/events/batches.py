"""Batches of frames from recordings that are read when they are needed."""

import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_snn import checks, files
from keras_snn.data.events.files import file_format, read_events
from keras_snn.data.events.frames import frame_shape, to_frames


def find_recordings(folder: files.Path) -> tuple[list[str], np.ndarray | None, list[str]]:
    """Find the recordings in a folder with one folder for each class, as for Keras's image folders.

    Args:
        folder: Path of a folder of folders, whose names are the classes; or of a folder of recordings without classes.
            Hidden files, whose names begin with a dot, are left out.

    Returns:
        ``(paths, labels, class_names)``: sorted paths, int64 labels of the same length, sorted class names. Without
        classes: labels None, and no names.

    Raises:
        OSError: If a folder cannot be read.
        ValueError: For a folder without recordings, a file that is not a recording, or files beside class folders.

    Example:

    ```python
    event = {"x": [0], "y": [0], "t": [100], "p": [1]}
    for name in ("clap", "wave"):
        keras_snn.data.write_events(f"gestures/{name}/0.npz", event)
    paths, labels, class_names = keras_snn.data.find_recordings("gestures")
    labels.tolist(), class_names  # ([0, 1], ["clap", "wave"])
    ```
    """
    root = pathlib.Path(folder)
    entries = _visible(root)
    classes = [entry for entry in entries if entry.is_dir()]
    if stray := [entry for entry in entries if not entry.is_dir()] if classes else []:
        raise ValueError(
            f"{os.fspath(root)!r} must have only folders, one for each class, or only recordings; got both: "
            f"{stray[0].name!r}. Move the file."
        )
    paths, labels = [], []
    for label, group in enumerate(classes or [root]):
        found = _visible(group)
        for path in found:
            if path.is_dir():
                raise ValueError(f"{os.fspath(group)!r} must have only recordings; got the folder {path.name!r}.")
            file_format(path)
        paths += [os.fspath(path) for path in found]
        labels += [label] * len(found)
    if not paths:
        raise ValueError(f"{os.fspath(root)!r} must have recordings; got none.")
    return paths, np.array(labels, "int64") if classes else None, [entry.name for entry in classes]


def _visible(folder):
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


class EventFrames(keras.utils.PyDataset):
    """Batches of frames for ``fit``, ``evaluate`` and ``predict``. A recording is read when its batch is needed.

    With ``n_frames``, or with ``window`` between ``start`` and ``stop``, every recording has as many frames, and a
    batch is the array ``frames (batch, frames, height, width, channels)``. Otherwise the recordings of a batch are
    filled up with zeros, and a batch is ``{"frames": frames, "mask": mask}``: the mask, a boolean array ``(batch,
    frames)``, is True for frames of the recording. Such a model has two inputs of these names and gives the second to
    its layers: ``layer(x, mask=mask)``.

    Args:
        recordings: Sequence of paths (see ``read_events``) or of recordings (see ``as_events``).
        labels: Sequence of the labels, or None. Default None: batches without labels, for ``predict``.
        size: Pair of integers, height and width; or ``(n,)`` or n for audio.
        batch_size: Integer. Default 32.
        shuffle: Boolean. True: another order in each epoch. Default False.
        seed: Integer, for ``shuffle``. Default 0.
        transform: Function from a recording to a recording, such as a filter, called before the events are counted.
            Default None.
        n_frames, window, count, split_by, start, stop, polarity, sort: As in ``to_frames``.
        workers, use_multiprocessing, max_queue_size: As in ``keras.utils.PyDataset``.

    Raises:
        ValueError: For no recordings, labels of another length, or an argument that ``to_frames`` refuses; in a batch,
            for a recording that cannot be read: the error names it.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "t": [5, 6, 9], "p": [1, 0, 0]}
    batches = keras_snn.data.EventFrames([events, events], [0, 1], size=(2, 3), n_frames=4, batch_size=2)
    frames, labels = batches[0]
    frames.shape, labels.tolist()  # ((2, 4, 2, 3, 2), [0, 1])
    ```
    """

    def __init__(
        self,
        recordings: Sequence[Any],
        labels: Any = None,
        *,
        size: tuple[int, ...] | int,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        transform: Any = None,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
        **frames: Any,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=use_multiprocessing, max_queue_size=max_queue_size)
        self.recordings, self.size, self.frames, self.transform = list(recordings), size, frames, transform
        if not self.recordings:
            raise ValueError("`recordings` must have at least one recording; got none.")
        self.labels = None if labels is None else np.asarray(labels)
        if self.labels is not None and len(self.labels) != len(self.recordings):
            raise ValueError(
                f"`labels` must have a label for each of the {len(self.recordings)} recordings; got {len(self.labels)}."
            )
        self.batch_size = checks.integer("batch_size", batch_size, least=1)
        self.shuffle, self.seed, self.epoch = bool(shuffle), checks.integer("seed", seed, least=0), 0
        empty = {field: [] for field in ("x", "t", "p") + (("y",) if len(frame_shape(size, "signed")) == 3 else ())}
        self.frame_shape = to_frames(empty, size, **frames).shape[1:]  # refuses unknown options now
        self.same_length = frames.get("n_frames") is not None or (
            None not in (frames.get("window"), frames.get("start"), frames.get("stop"))
        )
        self._order = self._new_order()

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(len(self.recordings) / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        """Return a batch: frames, with a mask unless all recordings have as many frames, and labels if there are."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        clips = [self._frames(row) for row in rows]
        n_frames = [len(clip) for clip in clips]
        frames = np.zeros((len(clips), max(n_frames), *self.frame_shape), "float32")
        for row, clip in zip(frames, clips, strict=True):
            row[: len(clip)] = clip
        mask = np.arange(max(n_frames)) < np.array(n_frames)[:, None]
        x = frames if self.same_length else {"frames": frames, "mask": mask}
        return (x,) if self.labels is None else (x, self.labels[rows])

    def on_epoch_end(self) -> None:
        """Choose the order of the next epoch."""
        self.epoch += 1
        self._order = self._new_order()

    def _new_order(self):
        if not self.shuffle:
            return np.arange(len(self.recordings))
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self.recordings))

    def _frames(self, row):
        recording, name = self.recordings[row], f"recordings[{row}]"
        if isinstance(recording, str | os.PathLike):
            name = f"{os.fspath(recording)!r}"
            recording = read_events(recording, sort=bool(self.frames.get("sort")))
        try:
            events = recording if self.transform is None else self.transform(recording)
            return to_frames(events, self.size, **self.frames)
        except ValueError as error:
            raise ValueError(f"{name} cannot be counted in frames: {error}") from error

    def to_tf_data(self) -> Any:
        """Return the batches as a ``tf.data.Dataset``, read by ``workers`` calls at a time.

        Raises:
            ImportError: If TensorFlow is not installed.
        """
        try:
            import tensorflow as tf
        except ImportError as error:
            raise ImportError(
                f"A tf.data pipeline needs TensorFlow: pip install 'keras_snn[tensorflow]' ({error})"
            ) from error
        structure = self[0]
        flat = keras.tree.flatten(structure)

        def read(index):
            arrays = tf.numpy_function(
                lambda i: keras.tree.flatten(self[int(i)]), [index], [tf.as_dtype(array.dtype) for array in flat]
            )
            for tensor, array in zip(arrays, flat, strict=True):
                n_frames = array.shape[1:2] if self.same_length else (None,)
                tensor.set_shape((None, *n_frames, *array.shape[2:]) if array.ndim > 1 else (None,))
            return keras.tree.pack_sequence_as(structure, arrays)

        indices = tf.data.Dataset.range(len(self))
        return indices.map(read, num_parallel_calls=self.workers).prefetch(self.max_queue_size)
