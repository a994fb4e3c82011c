"""Fit models that learn by local rules in their forward pass, and have neither a loss nor trainable weights."""

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def check_images(model: keras.Model, x: Any) -> None:
    """Raise a ValueError unless an array ``x`` has values in [0, 1] and the size for which ``model`` was built.

    A data set is not checked.
    """
    if isinstance(x, np.ndarray) and x.size and not 0 <= x.min() <= x.max() <= 1:
        raise ValueError(
            f"`x` must be in [0, 1]: intensities are rates of spikes. Got values from {x.min()} to {x.max()}. Divide "
            "images of 8 bits by 255."
        )
    if model.built and hasattr(x, "shape") and math.prod(x.shape[1:]) != model.n_inputs:
        raise ValueError(
            f"`x` must be images of {model.n_inputs:,} values, for which {model.name!r} was built; got images of shape "
            f"{tuple(x.shape[1:])}."
        )


def checked_labels(y: Any, n_classes: int, n_images: int) -> np.ndarray:
    """Return labels as int32 ``(images,)``.

    Args:
        y: Array ``(images,)`` or ``(images, 1)``.
        n_classes: Integer.
        n_images: Integer, the number of labels.

    Raises:
        ValueError: For labels that are not integers, of another number, or out of range.
    """
    y = np.asarray(y)
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    are_integers = flat.shape == (n_images,) and flat.dtype.kind in "iu"
    if not are_integers or (flat.size and not 0 <= flat.min() <= flat.max() < n_classes):
        raise ValueError(
            f"`y` must be {n_images:,} integers from 0 to {n_classes - 1}, the classes of the images; got {y!r:.80} of "
            f"shape {y.shape} and dtype {y.dtype}."
        )
    return flat.astype("int32")


@contextlib.contextmanager
def fit_without_loss(model: keras.Model, x: Any) -> Iterator[None]:
    """Compile and build ``model`` if that is still to do. Inside, Keras does not warn about its missing weights.

    Args:
        model: Keras model.
        x: Array ``(samples, ...)``, the inputs; or a data set, which does not build the model.

    Raises:
        ValueError: If the array ``x`` is not in [0, 1], or has images of another size.
    """
    check_images(model, x)
    if not model.compiled:
        model.compile()
    if hasattr(x, "shape") and not model.built:  # otherwise Keras builds it by a call, which learns
        model.build((None, *x.shape[1:]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have any trainable weights")
        yield
