"""Labels by output, and class numbers."""

from typing import Any

import numpy as np

from keras_snn.data.arrays import as_array


def by_output(y: Any) -> dict[str, Any]:
    """Return a dict from the name of each output to its labels; a single output has the name "".

    Outputs without labels are omitted. A list of numbers or rows becomes a NumPy array; arrays stay as they are.

    Raises:
        ValueError: For a list or tuple of arrays of different shapes, as for several outputs.
    """
    named = y if isinstance(y, dict) else {"": y}
    return {name: _to_array(values) for name, values in named.items() if values is not None}


def _to_array(values):
    if not isinstance(values, (list, tuple)):
        return values
    values = [as_array(row) for row in values]
    if len({row.shape for row in values}) > 1:
        raise ValueError(
            "`y` must be one array, got a list of arrays of different shapes. For several outputs, give a dict from "
            "the name of each output to its labels."
        )
    return np.asarray(values)


def check_number(y: dict[str, Any], n_samples: int) -> None:
    """Raise ValueError unless each array of ``y`` has ``n_samples`` labels."""
    for name, values in y.items():
        shape = tuple(np.shape(values))
        if shape[:1] != (n_samples,):
            argument = f"`y[{name!r}]`" if name else "`y`"
            hint = " Give a dict from the name of each output to its labels." if shape[1:2] == (n_samples,) else ""
            raise ValueError(
                f"{argument} must have a label for each of the {n_samples} samples of `x`; got the shape {shape}.{hint}"
            )


def classes(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return labels as class numbers ``(batch,)``.

    Args:
        y: Class numbers ``(batch,)`` or ``(batch, 1)``, or one-hot rows ``(batch, n_classes)``.
        n_classes: Integer.

    Raises:
        ValueError: For other labels.
    """
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


def are_soft(y: np.ndarray, n_classes: int) -> bool:
    """Return whether the labels are rows ``(batch, n_classes)``, some of them not one-hot.

    In data in batches, one such batch makes all labels soft: other batches may be one-hot by chance.
    """
    return y.shape[1:] == (n_classes,) and not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
