"""Errors of rebuilt images, bytes of sampled images, and the same for codecs of images."""

import io
import math
import zlib

import numpy as np

#: Qualities of JPEG.
QUALITIES = (5, 10, 25, 50, 75, 90)


def squared_errors(rebuilt: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each image."""
    return np.square(rebuilt - x).reshape(len(x), -1).mean(axis=1)


def psnr(errors: np.ndarray) -> float:
    """Return the mean over the images of ``10 log10(1 / error)``, in dB, for values in [0, 1]."""
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-10))))


def sample_bytes(n_pixels: int, n_ones: int, n_channels: int) -> float:
    """Return the bytes of a sampled image: 8 bits for each value, and the positions as numbers or as a mask."""
    positions = min(n_ones * math.log2(n_pixels), n_pixels)
    return n_ones * n_channels + positions / 8


def codecs(x: np.ndarray) -> dict[str, dict]:
    """Return the mean bytes of images under zlib, PNG and JPEG, and the images that JPEG returns.

    Raises:
        ImportError: If Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"PNG and JPEG need Pillow: pip install 'keras_snn[data]' ({error})") from error
    pixels = np.rint(255 * x).astype("uint8")
    gray = pixels.shape[-1] == 1
    images = [Image.fromarray(image[..., 0] if gray else image) for image in pixels]

    def encoded(image, **options):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        return buffer.getvalue()

    found: dict[str, dict] = {
        "zlib": {"bytes": _mean_length([zlib.compress(image.tobytes(), 9) for image in pixels])},
        "PNG": {"bytes": _mean_length([encoded(image, format="PNG", optimize=True) for image in images])},
    }
    for quality in QUALITIES:
        files = [encoded(image, format="JPEG", quality=quality, optimize=True) for image in images]
        decoded = np.stack([np.asarray(Image.open(io.BytesIO(file)), "float32") for file in files]) / 255
        found[f"JPEG {quality}"] = {"bytes": _mean_length(files), "images": decoded.reshape(x.shape)}
    return found


def _mean_length(files):
    return float(np.mean([len(file) for file in files]))
