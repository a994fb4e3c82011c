"""Reading of the embedded sample of Fashion-MNIST; ``tools/make_sample.py`` writes the file.

How an image is stored, without loss: which pixels are not zero (``mask``), and for each of these its difference from a
prediction out of the pixels above and to the left (``residuals``), modulo 256. Both go through LZMA, with the labels.
"""

import hashlib
import io
import lzma
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("fashion_mnist_sample.npz")
SHA256 = "da0b370b3da3004559763f35f5784cd012ea33b50bba51e3f34c455aa8ac41b8"
N_TEST = 1000


def predict(west, north, northwest):
    """Return the median of ``west``, ``north`` and the plane through all three (the predictor of JPEG-LS)."""
    return np.clip(west + north - northwest, np.minimum(west, north), np.maximum(west, north))


def unpack(file):
    """Return the images, uint8 (n, 28, 28), and the labels, uint8 (n,), of an open sample file."""
    with np.load(file) as arrays:
        mask, residuals, labels = (
            np.frombuffer(lzma.decompress(arrays[key]), np.uint8) for key in ("mask", "residuals", "labels")
        )
    mask = np.unpackbits(mask.reshape(-1, 28, 4), axis=-1, count=28).astype(bool)
    images = np.zeros(mask.shape, np.uint8)
    images[mask] = residuals

    # Pixels first, images last: a step of the loop then handles one pixel of all images, side by side in memory.
    mask, residuals = (np.ascontiguousarray(a.transpose(1, 2, 0)) for a in (mask, images))
    padded = np.zeros((29, 29, len(labels)), np.int16)
    for i, j in np.ndindex(28, 28):
        prediction = predict(padded[i + 1, j], padded[i, j + 1], padded[i, j])
        padded[i + 1, j + 1] = mask[i, j] * ((prediction + residuals[i, j]) & 255)
    return np.ascontiguousarray(padded[1:, 1:].transpose(2, 0, 1), np.uint8), labels


def read():
    """Return ``(x_train, y_train), (x_test, y_test)`` of the embedded sample, as uint8.

    Raises:
        OSError: The file is missing or is not, byte for byte, the one this version of the package was released with.
    """
    content = PATH.read_bytes() if PATH.exists() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise OSError(f"{PATH} is missing or damaged ({len(content)} bytes): reinstall keras_snn")
    x, y = unpack(io.BytesIO(content))
    return (x[:-N_TEST], y[:-N_TEST]), (x[-N_TEST:], y[-N_TEST:])
