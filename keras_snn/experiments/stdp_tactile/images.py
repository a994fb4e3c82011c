"""Signals as images. The publication does not describe its method: this file has two readings of it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from keras_snn import checks
from keras_snn.experiments.stdp_tactile.augmentation import Samples, joined

#: Height and width of an image.
SIZE = (28, 28)


def resample(signal: np.ndarray, n: int = SIZE[0] * SIZE[1]) -> np.ndarray:
    """Return the means of ``signal`` over ``n`` intervals of equal length.

    The signal is taken as constant during each of its samples. The mean of the result is that of the signal, for any
    two lengths.

    Args:
        signal: Vector with at least one value.
        n: Number of points. Default 784.
    """
    sums = np.concatenate([[0.0], np.cumsum(signal, dtype="float64")])
    edges = np.interp(np.linspace(0, len(signal), n + 1), np.arange(len(signal) + 1), sums)
    return np.diff(edges) * (n / len(signal))


def envelopes(signals: Sequence[np.ndarray], samples: Samples, n: int = SIZE[0] * SIZE[1]) -> np.ndarray:
    """Return the rectified signals of the samples, resampled to ``n`` points: a float32 array ``(samples, n)``."""
    return np.array([resample(np.abs(joined(signals, row)), n) for row in samples.rows], "float32")


def as_images(
    signals: Sequence[np.ndarray],
    train: Samples,
    *others: Samples,
    reading: Literal["rectified", "waveform"] = "rectified",
) -> list[np.ndarray]:
    """Return the images of training samples, and of other samples with the same scale, from 0 to 255.

    With "rectified", an image has the 784 points of the rectified signal row by row. The largest point of all training
    samples is 255: one scale for all samples, because the amplitude differs between surfaces. With "waveform", the
    signal is drawn as a curve of 255 on 0, from left to right. The vertical axis spans all training samples and 0. In
    both, larger values of other samples are clipped. Values are not rounded.

    Args:
        signals: Sequence of vectors, the signals of one sensor. Each sensor has its own scale.
        train: ``Samples``, which set the scale.
        *others: ``Samples``.
        reading: "rectified" or "waveform". Default "rectified".

    Returns:
        List of float32 arrays ``(samples, 28, 28)``: the images of ``train``, and of each of ``others``.

    Raises:
        ValueError: For another ``reading``.
    """
    checks.choice("reading", reading, ("rectified", "waveform"))
    if reading == "waveform":
        limits = _limits(signals, train)
        return [
            np.array([_curve(joined(signals, row), *limits) for row in samples.rows], "float32")
            for samples in (train, *others)
        ]
    points = [envelopes(signals, samples) for samples in (train, *others)]
    largest = points[0].max()
    scale = 255 / largest if largest > 0 else 0.0
    return [np.minimum(scale * values, 255).astype("float32").reshape(-1, *SIZE) for values in points]


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the images of two sensors as one image of each sample: ``(samples, 28, 56)``, 1568 values.

    The publication does not say how it fuses its two films.
    """
    return np.concatenate([left, right], axis=2)


def _limits(signals, samples):
    """Return the smallest and largest value of all samples and 0."""
    used = [signals[slide] for slide in np.unique(samples.rows)]
    return min(0.0, *(signal.min() for signal in used)), max(0.0, *(signal.max() for signal in used))


def _curve(signal, low, high):
    """Draw a signal, with straight lines between its samples: each column has a bar from its minimum to its maximum."""
    height, width = SIZE
    times = np.arange(len(signal))
    edges = np.linspace(0, len(signal) - 1, width + 1)
    at_edges = np.interp(edges, times, signal)
    image = np.zeros(SIZE)
    for column in range(width):
        inside = signal[(times > edges[column]) & (times < edges[column + 1])]
        values = np.concatenate([at_edges[column : column + 2], inside])
        share = (high - np.array([values.max(), values.min()])) / (high - low or 1.0)
        top, bottom = np.clip(np.round(share * (height - 1)), 0, height - 1).astype(int)
        image[top : bottom + 1, column] = 255
    return image
