"""Checks of the data given to ``inspect``, and its batches."""

import keras
from keras import tree

from keras_snn import checks
from keras_snn.data import labels
from keras_snn.data.arrays import as_array, as_arrays, n_samples, rows
from keras_snn.data.batches import default_batch_size
from keras_snn.data.labels import are_soft, classes

__all__ = ["are_soft", "as_arrays", "check_data", "check_model", "classes", "default_batch_size", "n_samples", "rows"]


def check_model(model):
    """Raise an error unless ``model`` is a built Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built. Call it on a batch first, or begin a Sequential with keras.Input."
        )


def check_data(x, y):
    """Check that ``x`` and ``y`` have the same number of samples; return a dict of the labels as NumPy arrays."""
    n = checks.arrays("x", x)
    found = {name: as_array(values) for name, values in labels.by_output(y).items()}
    labels.check_number(found, n)
    return found


def describe(x):
    """Return the number of samples and their shape in words; for several inputs, the shape of each."""
    n, shapes = n_samples(x), [tuple(map(int, leaf.shape[1:])) for leaf in tree.flatten(x)]
    return f"{n:,} {'sample' if n == 1 else 'samples'} of {' and '.join(map(str, shapes))}"
