"""Convert arrays to the lists of a JSON file, with their dtypes and numbers of six digits, and back."""

from typing import Any

import numpy as np
from keras import ops

from keras_snn.hints import Nest


def to_lists(nest: Nest) -> Any:
    """Return a nest of arrays as dicts and lists. An array becomes a dict of its dtype and values."""
    if nest is None:
        return None
    if isinstance(nest, dict):
        return {str(name): to_lists(part) for name, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [to_lists(part) for part in nest]
    array = ops.convert_to_numpy(nest)
    return {"dtype": "str" if array.dtype.kind == "U" else array.dtype.name, "values": rounded_lists(array)}


def from_lists(values: Any) -> Nest:
    """Return the nest of arrays for the result of ``to_lists``."""
    if values is None:
        return None
    if isinstance(values, list):
        return [from_lists(part) for part in values]
    if isinstance(values.get("dtype"), str):
        return np.array(values["values"], values["dtype"])
    return {name: from_lists(part) for name, part in values.items()}


def rounded_lists(array: np.ndarray) -> list:
    """Return an array as nested lists: floats with six digits, or as integers if all are whole numbers."""
    if array.dtype.kind != "f":
        return array.tolist()
    array = array.astype("float64")
    if np.all(np.abs(array) < 2**53) and np.all(array == np.rint(array)):
        return array.astype("int64").tolist()
    return np.array([float(f"{value:.6g}") for value in array.ravel().tolist()]).reshape(array.shape).tolist()
