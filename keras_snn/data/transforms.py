"""Variations of image sets: turned images, noisy backgrounds, and the text files of the published ones.

The variations are those of Larochelle, Erhan, Courville, Bergstra and Bengio, "An empirical evaluation of deep
architectures on problems with many factors of variation", ICML 2007 (DOI 10.1145/1273496.1273556): "mnist-rot" turns
each digit, "mnist-back-rand" puts noise behind it. Here they are made from any set, with a seed.
"""

import os

import numpy as np

from keras_snn import checks

# Turning takes some twenty numbers a pixel at once.
_BATCH = 256
_PIXELS = 28 * 28


def turn(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    r"""Turn every image counterclockwise about its centre.

    With rows :math:`i` and columns :math:`j` counted from the centre, the image turned by :math:`\alpha` has at
    :math:`(i, j)` the value that the original has at

    .. math:: (i \cos\alpha + j \sin\alpha, \; j \cos\alpha - i \sin\alpha)

    interpolated between the four pixels around (bilinear). Outside of the original everything is 0.

    Args:
        images: float array (n, height, width).
        angles: float array (n,), in radians.

    Returns:
        An array like ``images``.

    Raises:
        TypeError: ``images`` are not floating-point numbers.
        ValueError: ``images`` is not (n, height, width), or there is not one angle for each.

    Example:
        >>> import numpy as np
        >>> from keras_snn.data import turn
        >>> turn(np.array([[[1.0, 2.0], [3.0, 4.0]]]), [np.pi / 2]).round(6).tolist()
        [[[2.0, 4.0], [1.0, 3.0]]]
    """
    _check_images(images)
    angles = np.asarray(angles, dtype="float64")
    if angles.shape != images.shape[:1]:
        raise ValueError(f"`angles` must hold one angle for each of {len(images)} images, got shape {angles.shape}")
    turned = np.empty_like(images)
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        turned[part] = _turn(images[part], angles[part, None, None])
    return turned


def rotate(images: np.ndarray, seed: int) -> np.ndarray:
    """Turn every image by an angle of its own, drawn uniformly from [0, 2 pi).

    Args:
        images: float array (n, height, width).
        seed: int; the same seed gives the same angles, and the first images those of a longer array.

    Returns:
        An array like ``images``.

    Raises:
        TypeError, ValueError: As in ``turn``.

    Example:
        >>> from keras_snn import data
        >>> (_, _), (x, y) = data.load("fashion_mnist_sample")
        >>> data.rotate(x, seed=0).shape
        (1000, 28, 28)
    """
    _check_images(images)
    seed = checks.integer("seed", seed, least=0)
    return turn(images, np.random.default_rng(seed).uniform(0, 2 * np.pi, size=len(images)))


def random_background(images: np.ndarray, seed: int) -> np.ndarray:
    """Replace what is darker than uniform noise by the noise: pixel = max(pixel, u), u from U[0, 1).

    Args:
        images: float array (n, height, width) with values in [0, 1].
        seed: int; the same seed gives the same noise, and the first images those of a longer array.

    Returns:
        An array like ``images``.

    Raises:
        TypeError: ``images`` are not floating-point numbers.
        ValueError: ``images`` is not (n, height, width).

    Example:
        >>> import numpy as np
        >>> from keras_snn.data import random_background
        >>> noisy = random_background(np.zeros((1, 28, 28), "float32"), seed=0)
        >>> bool(0.4 < noisy.mean() < 0.6)
        True
    """
    _check_images(images)
    seed = checks.integer("seed", seed, least=0)
    return np.maximum(images, np.random.default_rng(seed).random(images.shape, dtype="float32").astype(images.dtype))


def load_amat(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Read an .amat file of the digit sets of Larochelle et al. (2007), such as their mnist-rot.

    It is text: an image a line, 784 pixels in [0, 1] column by column, and the label.

    Args:
        path: str or path of the file.

    Returns:
        The images, float32 (n, 28, 28), and the labels, int64 (n,).

    Raises:
        OSError: The file cannot be read.
        ValueError: It is empty, cut off, or no such file; the message names the file and the line.
    """
    rows = []
    with open(path, encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_row(line, f"{os.fspath(path)}, line {number}"))
    if not rows:
        raise ValueError(f"{os.fspath(path)} holds no images: it is empty")
    rows = np.stack(rows)
    images = rows[:, :_PIXELS].reshape(-1, 28, 28).transpose(0, 2, 1)
    return np.ascontiguousarray(images), rows[:, _PIXELS].astype("int64")


def _turn(images, angles):
    n, height, width = images.shape
    middle = (height - 1) / 2, (width - 1) / 2
    i, j = np.arange(height)[:, None] - middle[0], np.arange(width) - middle[1]
    i, j = i * np.cos(angles) + j * np.sin(angles) + middle[0], j * np.cos(angles) - i * np.sin(angles) + middle[1]

    # A frame of zeros stands for all that is outside.
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    i, j = np.clip(i + 1, 0, height + 1), np.clip(j + 1, 0, width + 1)
    top, left = np.minimum(i.astype(int), height), np.minimum(j.astype(int), width)
    down, right = i - top, j - left
    image = np.arange(n)[:, None, None]
    return (
        framed[image, top, left] * (1 - down) * (1 - right)
        + framed[image, top, left + 1] * (1 - down) * right
        + framed[image, top + 1, left] * down * (1 - right)
        + framed[image, top + 1, left + 1] * down * right
    )


def _row(line, place):
    try:
        row = np.array(line.split(), dtype="float32")
    except ValueError as error:
        raise ValueError(f"{place}: not a line of numbers ({error})") from error
    if len(row) != _PIXELS + 1:
        raise ValueError(
            f"{place}: {len(row)} numbers instead of {_PIXELS} pixels and a label. Is the file cut off, or another one?"
        )
    pixels, label = row[:_PIXELS], row[_PIXELS]
    if not np.all((pixels >= 0) & (pixels <= 1)):
        raise ValueError(f"{place}: pixels must be in [0, 1], got {pixels.min():g} to {pixels.max():g}")
    if label not in range(10):
        raise ValueError(f"{place}: the last number must be a label 0, 1, ..., 9, got {label:g}")
    return row


def _check_images(images):
    if images.ndim != 3:
        raise ValueError(f"`images` must be an array (n, height, width), got shape {images.shape}")
    if images.dtype.kind != "f":
        raise TypeError(
            f"`images` must be floating-point numbers in [0, 1], got {images.dtype}; divide by the largest value first"
        )
