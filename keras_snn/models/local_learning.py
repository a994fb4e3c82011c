"""Fit models that learn by local rules in their forward pass, and have neither a loss nor trainable weights."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def fit_without_loss(model: keras.Model, x: Any) -> Iterator[None]:
    """Compile and build ``model`` if that is still to do. Inside, Keras does not warn about its missing weights.

    Args:
        model: Keras model.
        x: Array ``(samples, ...)``, the inputs; or a data set, which does not build the model.
    """
    if not model.compiled:
        model.compile()
    if hasattr(x, "shape") and not model.built:  # otherwise Keras builds it by a call, which learns
        model.build((None, *x.shape[1:]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have any trainable weights")
        yield
