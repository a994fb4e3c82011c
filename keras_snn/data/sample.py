"""Reading of the embedded sample of Fashion-MNIST. ``tools/make_sample.py`` writes the file.

The file stores the images without loss: ``mask`` marks the nonzero pixels, and ``residuals`` holds for each of them the
difference modulo 256 from a prediction out of the pixels above and to the left. Both are compressed with LZMA, as are
the labels. General formats exceed the limit of 3 MB: ``numpy.savez_compressed`` takes 3.9 MB for these images, PNG 3.5
MB, LZMA 3.3 MB, and LZMA of the mask and the plain nonzero pixels 3.2 MB.
"""

import hashlib
import io
import lzma
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

PATH = Path(__file__).with_name("fashion_mnist_sample.npz")
SHA256 = "da0b370b3da3004559763f35f5784cd012ea33b50bba51e3f34c455aa8ac41b8"
N_TEST = 1000

Split = tuple[np.ndarray, np.ndarray]


def predict(west: np.ndarray, north: np.ndarray, northwest: np.ndarray) -> np.ndarray:
    """Return the median of ``west``, ``north`` and ``west + north - northwest``: the predictor of JPEG-LS."""
    return np.clip(west + north - northwest, np.minimum(west, north), np.maximum(west, north))


def unpack(file: str | os.PathLike | BinaryIO) -> Split:
    """Return the images, uint8 (n, 28, 28), and the labels, uint8 (n,), of an open sample file."""
    with np.load(file, allow_pickle=False) as arrays:
        mask, residuals, labels = (
            np.frombuffer(lzma.decompress(arrays[key]), np.uint8) for key in ("mask", "residuals", "labels")
        )
    mask = np.unpackbits(mask.reshape(-1, 28, 4), axis=-1, count=28).astype(bool)
    images = np.zeros(mask.shape, np.uint8)
    images[mask] = residuals

    # The axis of the images is last: each step of the loop reads one pixel of all images, contiguous in memory.
    mask, residuals = (np.ascontiguousarray(array.transpose(1, 2, 0)) for array in (mask, images))
    padded = np.zeros((29, 29, len(labels)), np.int16)
    for i, j in np.ndindex(28, 28):
        prediction = predict(padded[i + 1, j], padded[i, j + 1], padded[i, j])
        padded[i + 1, j + 1] = mask[i, j] * ((prediction + residuals[i, j]) & 255)
    return np.ascontiguousarray(padded[1:, 1:].transpose(2, 0, 1), np.uint8), labels


def read() -> tuple[Split, Split]:
    """Return ``(x_train, y_train), (x_test, y_test)`` of the embedded sample, as uint8.

    Raises:
        OSError: The file is missing, or its bytes differ from the released file.
    """
    content = PATH.read_bytes() if PATH.exists() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise OSError(f"{PATH} is missing or damaged ({len(content)} bytes): reinstall keras_snn.")
    x, y = unpack(io.BytesIO(content))
    return (x[:-N_TEST], y[:-N_TEST]), (x[-N_TEST:], y[-N_TEST:])
