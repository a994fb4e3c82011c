"""Variations of image sets: rotated images, noisy backgrounds, and readers of the published files.

The variations are those of Larochelle, Erhan, Courville, Bergstra and Bengio, "An empirical evaluation of deep
architectures on problems with many factors of variation", ICML 2007 (DOI 10.1145/1273496.1273556): "mnist-rot" rotates
each digit, "mnist-back-rand" adds a noisy background. The functions here apply them to any set, with a seed.
"""

import os

import numpy as np
from keras import ops

from keras_snn import checks

# Bounds memory: a rotation holds about twenty numbers a pixel.
_BATCH_SIZE = 256
_PIXELS = 28 * 28


def turn(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    r"""Rotate each image counterclockwise about its center.

    With rows :math:`i` and columns :math:`j` counted from the center, the value of the rotated image at :math:`(i, j)`
    is that of the original, for the angle :math:`\alpha`, at

    .. math:: (i \cos\alpha + j \sin\alpha, \; j \cos\alpha - i \sin\alpha)

    interpolated between the four nearest pixels (bilinear). Pixels outside of the original are 0. The values are those
    of ``keras.ops.image.affine_transform``, computed in float32: backends differ by rounding, up to 1e-5.

    Args:
        images: Float array ``(n, height, width)``.
        angles: Float array ``(n,)``, in radians.

    Returns:
        An array like ``images``.

    Raises:
        TypeError: If ``images`` are not floating-point numbers.
        ValueError: If ``images`` is not ``(n, height, width)``, or the number of angles is not n.

    Example:

    ```python
    keras_snn.data.turn(np.array([[[1.0, 2.0], [3.0, 4.0]]]), [np.pi / 2]).round(6).tolist()
    # [[[2.0, 4.0], [1.0, 3.0]]]
    ```
    """
    _check_images(images)
    angles = np.asarray(angles, dtype="float64")
    if angles.shape != images.shape[:1]:
        raise ValueError(f"`angles` must hold one angle for each of {len(images)} images, got shape {angles.shape}.")
    rotated = np.empty_like(images)
    for start in range(0, len(images), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        rotated[batch] = _rotate_batch(images[batch], angles[batch])
    return rotated


def rotate(images: np.ndarray, seed: int) -> np.ndarray:
    """Rotate each image by a random angle, drawn uniformly from [0, 2 pi).

    Args:
        images: Float array ``(n, height, width)``.
        seed: Integer >= 0. The same seed gives the same angles, also for the first images of a longer array.

    Returns:
        An array like ``images``.

    Raises:
        TypeError, ValueError: As in ``turn``.

    Example:

    ```python
    (_, _), (x, y) = keras_snn.data.load("fashion_mnist_sample")
    keras_snn.data.rotate(x, seed=0).shape  # (1000, 28, 28)
    ```
    """
    _check_images(images)
    seed = checks.integer("seed", seed, least=0)
    return turn(images, np.random.default_rng(seed).uniform(0, 2 * np.pi, size=len(images)))


def random_background(images: np.ndarray, seed: int) -> np.ndarray:
    """Add a noisy background: pixel = max(pixel, u), with u uniform in [0, 1).

    Args:
        images: Float array ``(n, height, width)`` with values in [0, 1].
        seed: Integer >= 0. The same seed gives the same noise, also for the first images of a longer array.

    Returns:
        An array like ``images``.

    Raises:
        TypeError: If ``images`` are not floating-point numbers.
        ValueError: If ``images`` is not ``(n, height, width)``.

    Example:

    ```python
    noisy = keras_snn.data.random_background(np.zeros((1, 28, 28), "float32"), seed=0)
    bool(0.4 < noisy.mean() < 0.6)  # True
    ```
    """
    _check_images(images)
    seed = checks.integer("seed", seed, least=0)
    return np.maximum(images, np.random.default_rng(seed).random(images.shape, dtype="float32").astype(images.dtype))


def load_amat(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Read an .amat file of the digit sets of Larochelle et al. (2007), such as their mnist-rot.

    Each line of the text file is an image: 784 pixels in [0, 1], column by column, and the label.

    Args:
        path: Path of the file.

    Returns:
        The images, float32 ``(n, 28, 28)``, and the labels, int64 ``(n,)``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is empty, cut off or of another kind. The message names the file and the line.
    """
    parsed = []
    with open(path, encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                parsed.append(_parse_line(line, f"{os.fspath(path)}, line {number}"))
    if not parsed:
        raise ValueError(f"{os.fspath(path)} must have an image in each line; the file is empty.")
    rows = np.stack(parsed)
    images = rows[:, :_PIXELS].reshape(-1, 28, 28).transpose(0, 2, 1)
    return np.ascontiguousarray(images), rows[:, _PIXELS].astype("int64")


def _rotate_batch(images, angles):
    """Return the images, rotated about their centers, as float32."""
    height, width = images.shape[1:]
    center_i, center_j = (height - 1) / 2, (width - 1) / 2
    cosine, sine = np.cos(angles), np.sin(angles)
    # Keras samples at x = a0 j + a1 i + a2, y = b0 j + b1 i + b2, where x and j count columns, y and i rows.
    x_offset = center_j - cosine * center_j + sine * center_i
    y_offset = center_i - sine * center_j - cosine * center_i
    zero = np.zeros_like(angles)
    coefficients = np.stack([cosine, -sine, x_offset, sine, cosine, y_offset, zero, zero], axis=1)
    rotated = ops.image.affine_transform(
        ops.convert_to_tensor(images[..., None], "float32"),
        ops.convert_to_tensor(coefficients, "float32"),
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=0.0,
        data_format="channels_last",
    )
    return ops.convert_to_numpy(rotated)[..., 0]


def _parse_line(line, position):
    try:
        row = np.array(line.split(), dtype="float32")
    except ValueError as error:
        raise ValueError(f"{position}: must be a line of numbers ({error}).") from error
    if len(row) != _PIXELS + 1:
        raise ValueError(
            f"{position}: must have {_PIXELS} pixels and a label, got {len(row)} numbers. The file is cut off, or of "
            "another kind."
        )
    pixels, label = row[:_PIXELS], row[_PIXELS]
    if not np.all((pixels >= 0) & (pixels <= 1)):
        raise ValueError(f"{position}: pixels must be in [0, 1], got {pixels.min():g} to {pixels.max():g}.")
    if label not in range(10):
        raise ValueError(f"{position}: the last number must be a label 0, 1, ..., 9, got {label:g}.")
    return row


def _check_images(images):
    if images.ndim != 3:
        raise ValueError(f"`images` must be an array (n, height, width), got shape {images.shape}.")
    if images.dtype.kind != "f":
        raise TypeError(
            f"`images` must be floating-point numbers in [0, 1], got {images.dtype}. Divide them by the maximum first."
        )
