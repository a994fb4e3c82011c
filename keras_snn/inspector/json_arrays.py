"""Arrays in a JSON file: lists of numbers to six digits, and their dtypes."""

import numpy as np
from keras import ops


def listed(nest):
    """Return a nest of arrays as dicts and lists; each array becomes a dict of its dtype and values."""
    if nest is None:
        return None
    if isinstance(nest, dict):
        return {str(name): listed(part) for name, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [listed(part) for part in nest]
    array = ops.convert_to_numpy(nest)
    return {"dtype": "str" if array.dtype.kind == "U" else array.dtype.name, "values": numbers(array)}


def arrays(values):
    """Return the nest of arrays of which ``listed`` gave ``values``."""
    if values is None:
        return None
    if isinstance(values, list):
        return [arrays(part) for part in values]
    if isinstance(values.get("dtype"), str):
        return np.array(values["values"], values["dtype"])
    return {name: arrays(part) for name, part in values.items()}


def numbers(array):
    """Return an array as nested lists, with integral floats as integers and other floats to six digits."""
    if array.dtype.kind != "f":
        return array.tolist()
    array = array.astype("float64")
    if np.all(np.abs(array) < 2**53) and np.all(array == np.rint(array)):
        return array.astype("int64").tolist()
    return np.array([float(f"{value:.6g}") for value in array.ravel().tolist()]).reshape(array.shape).tolist()
