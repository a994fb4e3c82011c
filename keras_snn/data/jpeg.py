"""Colour images that are stored as JPEG."""

import io
import itertools
import os
import zipfile

import numpy as np

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
        ValueError: It has not the arrays above.
        ImportError: Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"load_jpeg needs Pillow: pip install 'keras_snn[data]' ({error})") from error

    def read(file, split):
        data, offset = file[f"jpeg_{split}"].tobytes(), file[f"offset_{split}"]
        images = [np.asarray(Image.open(io.BytesIO(data[a:b]))) for a, b in itertools.pairwise(offset)]
        return np.divide(np.stack(images), 255, dtype=np.float32), file[f"y_{split}"].astype(np.int64)

    try:
        with np.load(path) as file:
            return read(file, "train"), read(file, "test")
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file of JPEG images: {error}") from error
