"""Checks of the data given to ``inspect``, and its batches."""

import keras
import numpy as np
from keras import ops, tree

from keras_snn import checks


def check_model(model):
    """Raise an error unless ``model`` is a built Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built. Call it on a batch first, or begin a Sequential with keras.Input."
        )


def as_arrays(nest):
    """Return ``nest`` with arrays in place of the pandas objects in it."""
    return tree.map_structure(_as_array, nest)


def _as_array(leaf):
    if not hasattr(leaf, "to_numpy"):
        return leaf
    array = leaf.to_numpy()
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"A {type(leaf).__name__} must hold numbers only; its values have the dtype {array.dtype.name}. Select the "
            "columns that are numbers, or convert the others."
        )
    return array


def check_data(x, y):
    """Check that ``x`` and ``y`` have the same number of samples; return a dict of the labels as NumPy arrays."""
    n_samples = checks.arrays("x", x)
    if isinstance(y, (list, tuple)) and any(np.ndim(values) for values in y) and len({np.shape(v) for v in y}) > 1:
        raise ValueError("`y` holds arrays of several shapes: give a dict of labels from the names of the outputs.")
    labels = y if isinstance(y, dict) else {"": y}
    labels = {name: None if values is None else ops.convert_to_numpy(values) for name, values in labels.items()}
    for name, values in labels.items():
        if values is not None and values.shape[:1] != (n_samples,):
            which = f"`y[{name!r}]`" if name else "`y`"
            raise ValueError(f"{which} needs a label for each of the {n_samples} samples of `x`; got {values.shape}.")
    return {name: values for name, values in labels.items() if values is not None}


def n_samples(x):
    """Return the number of samples of the nest ``x``."""
    return len(tree.flatten(x)[0])


def rows(x, start, stop):
    """Return the samples from ``start`` to ``stop``."""
    return tree.map_structure(lambda array: array[start:stop], x)


def default_batch_size(n_samples):
    """Return 128 or less: a number that leaves no smaller last batch to compile for, if there is one."""
    return next((size for size in range(128, 63, -1) if n_samples % size == 0), 128)


def classes(y, n_classes):
    """Return labels as class numbers ``(batch,)``."""
    has_rows = y.shape[1:] == (n_classes,)
    if has_rows and not are_soft(y, n_classes):
        return y.argmax(axis=1)
    if y.shape[1:] not in ((), (1,)) or y.dtype.kind not in "biuf" or not np.isin(y, np.arange(n_classes)).all():
        raise ValueError(
            f"`y` must hold class numbers from 0 to {n_classes - 1}, (samples,), or one-hot rows "
            f"(samples, {n_classes}); got an array of {y.dtype.name} whose first is {y[0].tolist()!r}."
            + (" If the largest value of a row marks its class, use y.argmax(axis=-1)." if has_rows else "")
        )
    return y.reshape(-1)


def are_soft(y, n_classes):
    """Return whether the labels are rows ``(samples, n_classes)`` of which some are not one-hot."""
    return y.shape[1:] == (n_classes,) and not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
