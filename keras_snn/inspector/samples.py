"""Prepare an example for figures: input as an image, label and prediction as text, probabilities."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from keras import ops, tree

from keras_snn import data
from keras_snn.hints import Nest
from keras_snn.inspector import tables

if TYPE_CHECKING:
    from keras_snn.inspector.findings import Examples

#: Names of the classes 0, 1, ..., or a dict from the name of each output to such names.
ClassNames: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]] | None

#: Data sets whose class names the commands take.
CLASS_SETS = ("fashion_mnist", "mnist", "cifar10", "digits")


def inputs_of(x: Nest, i: int) -> dict[str, np.ndarray]:
    """Return a dict from a title to an input of sample ``i``; ``x`` is a nest of arrays of samples."""
    leaves = tree.flatten_with_path(x)
    return {" ".join(map(str, ("input", *path))): ops.convert_to_numpy(leaf)[i] for path, leaf in leaves}


def as_image(x: np.ndarray) -> np.ndarray | None:
    """Return the input of a sample as an image ``(height, width)`` or ``(height, width, 3)``; None for other shapes.

    Values that are not finite become 0. Colors are clipped to [0, 1], and divided by 255 first if any exceeds 1.
    """
    if x.ndim == 3 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.dtype.kind not in "biuf" or not (x.ndim == 2 or (x.ndim == 3 and x.shape[-1] == 3)):
        return None
    image = np.where(np.isfinite(x), x, 0).astype("float64")
    return image if x.ndim == 2 else np.clip(image / (255 if image.max(initial=0) > 1 else 1), 0, 1)


def in_words(examples: "Examples", i: int, class_names: ClassNames = None) -> tuple[list[str], bool]:
    """Return the label and prediction of sample ``i`` as text for each output, and whether a prediction is wrong.

    The prediction is the class of the largest output after all steps. A wrong one is marked "(wrong)".

    Args:
        examples: ``Examples``.
        i: Integer.
        class_names: Sequence of the names of the classes 0, 1, ...; or a dict from the name of each output to them.
    """
    lines, any_wrong = [], False
    for output in dict.fromkeys([*examples.labels, *examples.outputs]):
        names, parts = names_of_classes(class_names, output), []
        label = examples.labels[output][i] if output in examples.labels else None
        if label is not None:
            parts.append(label_in_words(label, names))
        if output in examples.outputs:
            prediction = int(np.argmax(examples.outputs[output][i][-1]))
            wrong = label is not None and label_class(label) not in (None, prediction)
            any_wrong |= wrong
            parts.append(f"prediction: {class_name(prediction, names)}{' (wrong)' if wrong else ''}")
        text = ", ".join(filter(None, parts))
        lines.append(f"{output}: {text}" if output else text)
    return [line for line in lines if line], any_wrong


def chosen_class_names(text: str | None) -> Sequence[str] | None:
    """Return the names of the classes for ``--classes``: a data set, names between commas, or None."""
    return data.class_names(text) if text in CLASS_SETS else text and text.split(",")


def names_of_classes(class_names: ClassNames, output: str) -> Sequence[str] | None:
    """Return the class names of an output, or None if they are not given."""
    return class_names.get(output) if isinstance(class_names, Mapping) else class_names


def label_in_words(label: Any, class_names: Sequence[str] | None = None) -> str:
    """Return the class name of a label, a number or a one-hot row; "" for other rows."""
    k = label_class(label)
    if k is not None:
        return class_name(k, class_names)
    return f"{np.asarray(label).item():g}" if np.size(label) == 1 else ""


def label_class(label: Any) -> int | None:
    """Return the class number of a label, a whole number or a one-hot row; None for other labels."""
    label = np.asarray(label)
    if label.size > 1:
        return int(label.argmax()) if np.isin(label, (0, 1)).all() and label.sum() == 1 else None
    k = float(label.reshape(()))
    return int(k) if k.is_integer() else None


def class_name(k: int, class_names: Sequence[str] | None = None) -> str:
    """Return the name of class ``k``; "class k" without a name."""
    return str(class_names[k]) if class_names is not None and 0 <= k < len(class_names) else f"class {k}"


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Return ``outputs`` if they are probabilities, else their softmax."""
    if np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return outputs
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def spikes_in(counts: Any) -> str:
    """Return the sum of an array of spike counts as text; negative spikes are subtracted."""
    return tables.counted(round(float(np.sum(counts))), "spike")
