"""Samples in the shapes of a model's inputs."""

import keras
import numpy as np
from keras import tree

from keras_snn.hints import Nest

#: Number of steps of a sample for an input whose time axis has no known length.
_STEPS = 8


def static_batch_size(model: keras.Model) -> int | None:
    """Return the batch size that a model was built for, or None."""
    inputs = tree.flatten(getattr(model, "inputs", None) or [])
    return next((leaf.shape[0] for leaf in inputs if leaf.shape[0] is not None), None)


def zero_sample(model: keras.Model) -> tuple[Nest, int | None]:
    """Return one sample of zeros in the shapes of a model's inputs, and the length of a leading unknown axis.

    An unknown axis after the batch axis is time, as in KerasSpiking; the length is None if no input has one.

    Raises:
        ValueError: If another axis is unknown.
    """
    lengths = []

    def zeros(tensor):
        batch, *axes = tensor.shape
        if axes and axes[0] is None:
            axes[0] = _STEPS
            lengths.append(_STEPS)
        if None in axes:
            raise ValueError(
                f"The input {tensor.name!r} of the model {model.name!r} has the shape {tuple(tensor.shape)}: only the "
                "batch axis and axis 1 (time) may be unknown. Give `example_data`, or build the model with known sizes."
            )
        return np.zeros((batch or 1, *axes), tensor.dtype)

    inputs = getattr(model, "_inputs_struct", model.inputs)
    sample = tree.map_structure(zeros, inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs)
    return sample, max(lengths, default=None)
