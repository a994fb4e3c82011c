"""Reading of image sets whose images are stored as JPEG."""

import io
import itertools
import os

import numpy as np

from keras_snn.files import load_arrays

Split = tuple[np.ndarray, np.ndarray]


def read(path: str | os.PathLike) -> tuple[Split, Split]:
    """Return the training and the test images, uint8 (n, height, width, 3), with their labels.

    The file, of ``numpy.savez``, has for each SPLIT "train" and "test" three arrays: ``jpeg_SPLIT``, uint8, the JPEG
    files one after another; ``offset_SPLIT``, the index of the first byte of each JPEG file, followed by the number of
    all bytes; and ``y_SPLIT``, the labels.

    Args:
        path: Path of the file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is broken, an array is missing, or an image cannot be decoded.
        ImportError: Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"JPEG images need Pillow: pip install 'keras_snn[data]' ({error})") from error

    names = [f"{name}_{split}" for split in ("train", "test") for name in ("jpeg", "offset", "y")]
    arrays = load_arrays(path, "a file of JPEG images", names)

    def decode(split):
        content, offset = arrays[f"jpeg_{split}"].tobytes(), arrays[f"offset_{split}"]
        files = (io.BytesIO(content[start:stop]) for start, stop in itertools.pairwise(offset))
        return np.stack([np.asarray(Image.open(file)) for file in files]), arrays[f"y_{split}"]

    try:
        return decode("train"), decode("test")
    except (OSError, ValueError) as error:  # Pillow raises OSError without the name of the file
        raise ValueError(f"{os.fspath(path)!r} must be a file of JPEG images, and complete: {error}.") from error
