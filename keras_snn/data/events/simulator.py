"""Events of images that an event camera looks at while it makes saccades, as in the recordings of N-MNIST."""

import itertools
from typing import Any

import numpy as np

from keras_snn import checks
from keras_snn.data.events.recording import EVENT

#: Corners of the path of the image, (x, y) in pixels from the middle of the sensor. Read off N-MNIST: the mean place
#: of the events of 1,000 recordings at the turning points.
PATH = ((-2.7, -1.0), (-0.2, 3.2), (2.6, -1.4), (-2.2, -1.4))

_DARK = 0.1  # light of a black pixel, of a white one 1: a screen is never dark
_STEP = 1000  # microseconds


def simulate_saccades(
    images: Any,
    size: tuple[int, int] = (34, 34),
    *,
    threshold: float = 0.35,
    duration: int = 300_000,
    noise_rate: float = 0.2,
    seed: int = 0,
) -> list[np.ndarray]:
    """Return the events that a camera gives while it looks at each image and makes three saccades.

    The image moves along the triangle ``PATH``, with a speed like half a sine wave on each side. A pixel gives an event
    when the logarithm of its light has changed by ``threshold`` since its last event (Rebecq et al. 2018, CoRL).
    N-MNIST was recorded in this way (Orchard et al. 2015, Front. Neurosci. 9, 437).

    Args:
        images: Array ``(n, height, width)`` of values in [0, 1].
        size: Pair of integers, height and width of the sensor. The image is in the middle, on black. Default (34, 34),
            for images of 28 x 28.
        threshold: Number > 0, change of the natural logarithm of light. Default 0.35: as many events as in N-MNIST.
        duration: Integer, microseconds of all three saccades, at least 3000. Default 300,000.
        noise_rate: Number >= 0, events per second and pixel at random times and polarities. Default 0.2, as in N-MNIST.
        seed: Integer. The noise of an image depends on it and on the number of the image.

    Returns:
        List of n structured arrays, as ``as_events`` returns, with times in microseconds from 0 to ``duration``. True
        is brighter.

    Raises:
        ValueError: For images of another shape or range, a sensor smaller than the image, or a number out of range.

    Example:

    ```python
    images = np.zeros((1, 28, 28))
    images[0, 10:18, 12:16] = 1
    events, = keras_snn.data.simulate_saccades(images, noise_rate=0.0)
    events["p"].mean().round(1)  # 0.5: each edge comes and goes
    ```
    """
    images = np.asarray(images, "float32")
    if images.ndim != 3 or not (images.min(initial=0) >= 0 and images.max(initial=0) <= 1):
        raise ValueError(
            f"`images` must be of shape (n, height, width), with values in [0, 1]; got shape {images.shape}, values "
            f"from {images.min(initial=0):g} to {images.max(initial=0):g}."
        )
    height, width = (checks.integer("size", n, least=1) for n in size)
    if height < images.shape[1] or width < images.shape[2]:
        raise ValueError(f"`size` must be at least the size of the images, {images.shape[1:]}; got {tuple(size)}.")
    threshold = checks.number("threshold", threshold, above=0)
    duration = checks.integer("duration", duration, least=3 * _STEP)
    noise_rate = checks.number("noise_rate", noise_rate, least=0)
    seed = checks.integer("seed", seed, least=0)
    recordings = []
    for number, image in enumerate(images):
        rng = np.random.default_rng([seed, number])
        events = np.concatenate(
            [_moving(image, (height, width), threshold, duration), _noise((height, width), noise_rate, duration, rng)]
        )
        recordings.append(events[np.argsort(events["t"], kind="stable")])
    return recordings


def _moving(image, size, threshold, duration):
    """Return the events of one image along the path."""
    steps = np.arange(1, duration // _STEP + 1)
    places = _path(steps * _STEP / duration)
    logs = np.log(_DARK + (1 - _DARK) * _shifted(image, size, np.concatenate([_path(np.zeros(1)), places])))
    reference = logs[0].copy()
    parts = []
    for step, (before, now) in enumerate(itertools.pairwise(logs)):
        n_events = np.trunc((now - reference) / threshold).astype("int64")
        y, x = np.nonzero(n_events)
        n = np.abs(n_events[y, x])
        y, x, sign = (np.repeat(values, n) for values in (y, x, np.sign(n_events[y, x])))
        level = reference[y, x] + sign * threshold * (np.arange(len(y)) - np.repeat(np.cumsum(n) - n, n) + 1)
        change = now[y, x] - before[y, x]
        part = np.clip((level - before[y, x]) / np.where(change == 0, 1, change), 0, 1)  # of the step, when it crosses
        events = np.empty(len(y), EVENT)
        events["x"], events["y"], events["p"] = x, y, sign > 0
        events["t"] = _STEP * step + (_STEP - 1) * part
        parts.append(events)
        reference += threshold * n_events
    return np.concatenate(parts)


def _path(part):
    """Return the places (n, 2) after these parts of the duration, from 0 to 1."""
    corners = np.array(PATH)
    side = np.minimum((part * 3).astype("int64"), 2)
    along = (1 - np.cos(np.pi * (part * 3 - side))) / 2
    return corners[side] + along[:, None] * (corners[side + 1] - corners[side])


def _shifted(image, size, places):
    """Return the image at each place, ``(places, *size)``, with bilinear interpolation."""
    pad = [((n - k) // 2 + 8, n - k - (n - k) // 2 + 8) for n, k in zip(size, image.shape, strict=True)]
    padded = np.pad(image, pad)
    frames = []
    for x, y in places:
        left, top = int(np.floor(x)), int(np.floor(y))
        right, down = x - left, y - top  # parts of a pixel
        rows, columns = slice(8 - top, 8 - top + size[0]), slice(8 - left, 8 - left + size[1])
        above, before = slice(7 - top, 7 - top + size[0]), slice(7 - left, 7 - left + size[1])
        frames.append(
            (1 - down) * ((1 - right) * padded[rows, columns] + right * padded[rows, before])
            + down * ((1 - right) * padded[above, columns] + right * padded[above, before])
        )
    return np.stack(frames)


def _noise(size, rate, duration, rng):
    n = rng.poisson(rate * 1e-6 * duration * size[0] * size[1])
    events = np.empty(n, EVENT)
    events["y"], events["x"] = rng.integers(size[0], size=n), rng.integers(size[1], size=n)
    events["t"], events["p"] = rng.integers(duration, size=n), rng.random(n) < 0.5
    return events
