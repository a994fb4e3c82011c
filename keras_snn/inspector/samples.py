"""What there is to show of an example: its input as an image, its label in words, its outputs as probabilities."""

import numpy as np


def as_image(x):
    """Return one sample's input as an array ``(height, width)`` or ``(height, width, 3)``; None if it is no image."""
    if x.ndim == 3 and x.shape[-1] == 1:
        x = x[..., 0]
    return x if x.dtype.kind in "biuf" and (x.ndim == 2 or (x.ndim == 3 and x.shape[-1] == 3)) else None


def labels_of(labels, i, class_names=None):
    """Return in words the labels of sample ``i`` in ``Examples.labels``, after the names of their outputs."""
    words = {name: label_in_words(values[i], class_names) for name, values in labels.items()}
    return ", ".join(f"{name}: {label}" if name else label for name, label in words.items())


def label_in_words(label, class_names=None):
    """Return the class of a label, a number or a one-hot row; "" for other rows."""
    label = np.asarray(label)
    if label.size > 1:
        one_hot = np.isin(label, (0, 1)).all() and label.sum() == 1
        return class_name(int(label.argmax()), class_names) if one_hot else ""
    k = float(label.reshape(()))
    return class_name(int(k), class_names) if k.is_integer() else f"{k:g}"


def class_name(k, class_names=None):
    """Return the name of class ``k``; its number where it has none."""
    return class_names[k] if class_names is not None and 0 <= k < len(class_names) else f"class {k}"


def probabilities(outputs):
    """Return ``outputs`` if they are probabilities, else their softmax."""
    if np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return outputs
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
