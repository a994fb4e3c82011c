"""Colour images that are stored as JPEG."""

import io
import itertools
import os

import numpy as np

from keras_snn.files import load_arrays

Split = tuple[np.ndarray, np.ndarray]


def load_jpeg(path: str | os.PathLike) -> tuple[Split, Split]:
    """Load an image set whose images are JPEG files behind each other in a file of ``numpy.savez``.

    The file has the arrays ``jpeg_train`` (uint8, all files), ``offset_train`` (where each begins and the last one
    ends) and ``y_train`` (labels), and the same for "test".

    Args:
        path: str or path of the file.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: float32 images (n, height, width, 3) in [0, 1], and labels int64 (n,).

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is broken, lacks an array, or holds an image that cannot be decoded.
        ImportError: Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"load_jpeg needs Pillow: pip install 'keras_snn[data]' ({error})") from error

    names = [f"{name}_{split}" for split in ("train", "test") for name in ("jpeg", "offset", "y")]
    arrays = load_arrays(path, "a file of JPEG images", names)

    def read(split):
        data, offset = arrays[f"jpeg_{split}"].tobytes(), arrays[f"offset_{split}"]
        images = [np.asarray(Image.open(io.BytesIO(data[a:b]))) for a, b in itertools.pairwise(offset)]
        return np.divide(np.stack(images), 255, dtype=np.float32), arrays[f"y_{split}"].astype(np.int64)

    try:
        return read("train"), read("test")
    except (OSError, ValueError) as error:  # Pillow's error is an OSError, and names no file
        raise ValueError(f"{os.fspath(path)!r} must be a file of JPEG images, and complete: {error}.") from error
