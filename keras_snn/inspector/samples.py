"""What there is to show of an example: its input as an image, its label and answer in words, its probabilities."""

import numpy as np
from keras import ops, tree

from keras_snn.inspector import tables


def inputs_of(x, i):
    """Return a dict from words to sample ``i``'s inputs as arrays; ``x`` is a nest of arrays of samples."""
    leaves = tree.flatten_with_path(x)
    return {" ".join(map(str, ("input", *path))): ops.convert_to_numpy(leaf)[i] for path, leaf in leaves}


def as_image(x):
    """Return one sample's input as an image of grays ``(height, width)`` or colors ``(height, width, 3)``, else None.

    Values that are not finite become 0. Colors are scaled to [0, 1], from [0, 255] if any is above 1.
    """
    if x.ndim == 3 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.dtype.kind not in "biuf" or not (x.ndim == 2 or (x.ndim == 3 and x.shape[-1] == 3)):
        return None
    image = np.where(np.isfinite(x), x, 0).astype("float64")
    return image if x.ndim == 2 else np.clip(image / (255 if image.max(initial=0) > 1 else 1), 0, 1)


def in_words(examples, i, class_names=None):
    """Return a list of lines on sample ``i``, one for each output: its label and answer; and whether any is wrong.

    An answer is the class of the largest output after all steps. A wrong one has "(wrong)" after it.

    Args:
        examples: ``Examples``.
        i: Integer.
        class_names: Sequence of strings, the names of the classes 0, 1, ...; or a dict of them by output.
    """
    lines, any_wrong = [], False
    for output in dict.fromkeys([*examples.labels, *examples.outputs]):
        names, parts = names_of_classes(class_names, output), []
        label = examples.labels[output][i] if output in examples.labels else None
        if label is not None:
            parts.append(label_in_words(label, names))
        if output in examples.outputs:
            answer = int(np.argmax(examples.outputs[output][i][-1]))
            wrong = label is not None and label_class(label) not in (None, answer)
            any_wrong |= wrong
            parts.append(f"answer: {class_name(answer, names)}{' (wrong)' if wrong else ''}")
        words = ", ".join(filter(None, parts))
        lines.append(f"{output}: {words}" if output else words)
    return [line for line in lines if line], any_wrong


def names_of_classes(class_names, output):
    """Return the names of an output's classes, or None: those of its key if ``class_names`` is a dict by output."""
    return class_names.get(output) if isinstance(class_names, dict) else class_names


def label_in_words(label, class_names=None):
    """Return the class of a label, a number or a one-hot row; "" for other rows."""
    k = label_class(label)
    if k is not None:
        return class_name(k, class_names)
    return f"{np.asarray(label).item():g}" if np.size(label) == 1 else ""


def label_class(label):
    """Return the class number of a label, a whole number or a one-hot row; None for other labels."""
    label = np.asarray(label)
    if label.size > 1:
        return int(label.argmax()) if np.isin(label, (0, 1)).all() and label.sum() == 1 else None
    k = float(label.reshape(()))
    return int(k) if k.is_integer() else None


def class_name(k, class_names=None):
    """Return the name of class ``k``; its number where it has none."""
    return str(class_names[k]) if class_names is not None and 0 <= k < len(class_names) else f"class {k}"


def probabilities(outputs):
    """Return ``outputs`` if they are probabilities, else their softmax."""
    if np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return outputs
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def spikes_in(counts):
    """Return the number of spikes in an array of counts, negative ones subtracted, in words."""
    return tables.counted(round(float(np.sum(counts))), "spike")
