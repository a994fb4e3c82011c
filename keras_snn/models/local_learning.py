"""Fit models that learn by local rules in their forward pass, and have neither a loss nor trainable weights."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def check_images(x: Any) -> None:
    """Raise a ValueError unless the values of the array ``x`` are in [0, 1]. A data set is not checked."""
    if isinstance(x, np.ndarray) and x.size and not 0 <= x.min() <= x.max() <= 1:
        raise ValueError(
            f"`x` must be in [0, 1]: intensities are rates of spikes. Got values from {x.min()} to {x.max()}. Divide "
            "images of 8 bits by 255."
        )


@contextlib.contextmanager
def fit_without_loss(model: keras.Model, x: Any) -> Iterator[None]:
    """Compile and build ``model`` if that is still to do. Inside, Keras does not warn about its missing weights.

    Args:
        model: Keras model.
        x: Array ``(samples, ...)``, the inputs; or a data set, which does not build the model.

    Raises:
        ValueError: If the array ``x`` is not in [0, 1].
    """
    check_images(x)
    if not model.compiled:
        model.compile()
    if hasattr(x, "shape") and not model.built:  # otherwise Keras builds it by a call, which learns
        model.build((None, *x.shape[1:]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have any trainable weights")
        yield
