"""Event recordings of the experiments, by the argument ``data_name``."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_snn import data

#: Height and width of the sensor.
SIZE = (34, 34)

Recordings = tuple[list, np.ndarray]


def load(config: Mapping[str, Any]) -> list[Recordings]:
    """Return the pairs (recordings, labels) for training and test, limited to the configuration's sizes.

    ``config["data"]`` is "simulated" (digits of MNIST, seen by a simulated camera); a file, as for
    ``keras_snn.data.load("nmnist", path=...)``; or the folder of N-MNIST, with "Train" and "Test", which have a folder
    for each digit. The recordings of a folder are paths, in random order.

    Raises:
        ValueError: For another ``config["data"]``.
    """
    name, sizes = config["data"], (config["n_train"], config["n_test"])
    if name == "simulated":
        pairs = data.load("mnist")
        return [(data.simulate_saccades(x[:n], SIZE), y[:n]) for (x, y), n in zip(pairs, sizes, strict=True)]
    if os.path.isfile(name):
        splits = list(data.load("nmnist", path=name))
    elif os.path.isdir(os.path.join(name, "Train")):
        splits = [_folder(os.path.join(name, split)) for split in ("Train", "Test")]
    else:
        raise ValueError(
            "`data_name` must be 'simulated', a file of events, or a folder with the folders 'Train' and 'Test'; got "
            f"{name!r}."
        )
    return [(recordings[:n], labels[:n]) for (recordings, labels), n in zip(splits, sizes, strict=True)]


def _folder(path):
    paths, labels, _ = data.find_recordings(path)
    if labels is None:
        raise ValueError(f"{path!r} must have a folder for each class; got recordings.")
    order = np.random.default_rng(0).permutation(len(paths))
    return [paths[row] for row in order], labels[order]


def read(recordings: Sequence[Any]) -> list[np.ndarray]:
    """Return the recordings; those that are paths are read."""
    return [data.read_events(item) if isinstance(item, str) else item for item in recordings]


def frames(recordings: Sequence[Any], n_frames: int, **options: Any) -> np.ndarray:
    """Return the frames of recordings or paths ``(n, n_frames, 34, 34, 2)``. Options as in ``data.to_frames``."""
    batches = data.EventFrames(recordings, size=SIZE, n_frames=n_frames, **options)
    return np.concatenate([batches[i][0] for i in range(len(batches))])
