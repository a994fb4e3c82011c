"""Conversion to NumPy arrays: tensors of any backend, and pandas objects."""

from typing import Any

import numpy as np
from keras import tree


def as_array(leaf: Any) -> np.ndarray:
    """Return an array, a tensor of any backend or a pandas object as a NumPy array.

    Raises:
        TypeError: For a pandas object whose values are not numbers, or a sparse or ragged tensor.
    """
    type_name = type(leaf).__name__
    if hasattr(leaf, "to_numpy"):
        array = leaf.to_numpy()
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"A {type_name} must hold numbers only; got values of the dtype {array.dtype.name}. Select the "
                "columns that are numbers, or convert the others."
            )
        return array
    if hasattr(leaf, "detach"):  # PyTorch
        leaf = leaf.detach().cpu()
        leaf = leaf.float() if str(leaf.dtype) == "torch.bfloat16" else leaf  # NumPy lacks this dtype
    array = np.asarray(leaf)
    if array.dtype == object and not all(isinstance(value, (str, bytes)) for value in array.flat):
        raise TypeError(f"A {type_name} must be a dense array of numbers, with rows of one length. Pad it first.")
    return array


def as_arrays(nest: Any) -> Any:
    """Replace the pandas objects in ``nest`` with NumPy arrays."""
    return tree.map_structure(lambda leaf: as_array(leaf) if hasattr(leaf, "to_numpy") else leaf, nest)


def n_samples(x: Any) -> int:
    """Return the number of samples of the nest ``x``."""
    return len(tree.flatten(x)[0])


def rows(x: Any, start: int, stop: int) -> Any:
    """Return the samples from ``start`` to ``stop`` of a nest of arrays, tensors or pandas objects."""
    return tree.map_structure(lambda leaf: (leaf.iloc if hasattr(leaf, "iloc") else leaf)[start:stop], x)
