"""Argument checks, with one wording for every bad argument."""

import math
import numbers
import re
from collections.abc import Collection
from typing import Any, Literal, overload

import keras


@overload
def integer(
    name: str,
    value: Any,
    *,
    least: int | None = None,
    most: int | None = None,
    meaning: str = "",
    optional: Literal[False] = False,
) -> int: ...


@overload
def integer(
    name: str,
    value: Any,
    *,
    least: int | None = None,
    most: int | None = None,
    meaning: str = "",
    optional: Literal[True],
) -> int | None: ...


def integer(
    name: str,
    value: Any,
    *,
    least: int | None = None,
    most: int | None = None,
    meaning: str = "",
    optional: bool = False,
) -> int | None:
    """Return ``value`` as a Python integer, which JSON can hold. NumPy's integers are accepted, booleans are not.

    Args:
        name: Name of the argument, for the error.
        value: The argument.
        least: Smallest value accepted. Default: no limit.
        most: Largest value accepted. Default: no limit.
        meaning: Meaning of the argument, for the error. Default "".
        optional: Accept None too, and return it. Default False.

    Raises:
        ValueError: If ``value`` is not an integer, or out of range.
    """
    if value is None and optional:
        return None
    if not _is_a(numbers.Integral, value) or not _is_within(value, least=least, most=most):
        kind = f"an integer{_range_text(least=least, most=most)}{' or None' if optional else ''}"
        raise ValueError(f"`{name}` must be {kind}{meaning and ', ' + meaning}; got {value!r}.")
    return int(value)


def seed(value: Any) -> int | None:
    """Return a layer's seed as a Python integer, or None. Raise ValueError for anything else."""
    return integer("seed", value, optional=True)


def axes(name: str, value: Any) -> int | tuple[int, ...]:
    """Return an axis as an integer, or a tuple or list of axes as a tuple. Raise ValueError for anything else."""
    is_sequence = isinstance(value, (tuple, list)) and len(value) > 0
    checked: Any = [
        integer(name, axis, meaning="or a tuple of integers") for axis in (value if is_sequence else [value])
    ]
    return tuple(checked) if is_sequence else checked[0]


def number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    meaning: str = "",
) -> float:
    """Return ``value`` as a float.

    Args:
        name: Name of the argument, for the error.
        value: The argument.
        least: Smallest value accepted. Default: no limit.
        most: Largest value accepted. Default: no limit.
        above: Lower limit that is not accepted itself. Default: no limit.
        meaning: Meaning of the argument, for the error. Default "".

    Raises:
        TypeError: If ``value`` is not a number.
        ValueError: If it is not finite, or out of range.
    """
    if not _is_a(numbers.Real, value):
        raise TypeError(f"`{name}` must be a number; got {value!r}.")
    if not math.isfinite(value) or not _is_within(value, least=least, most=most, above=above):
        text = _range_text(least=least, most=most, above=above)
        raise ValueError(f"`{name}` must be a finite number{text}{meaning and ', ' + meaning}; got {value!r}.")
    return float(value)


def choice(name: str, value: Any, known: Collection) -> Any:
    """Return ``value`` if it is one of ``known``, else raise ValueError."""
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}; got {value!r}.")
    return value


def arrays(name: str, x: Any) -> int:
    """Return the number of samples of ``x``, an array ``(samples, ...)`` or a nest of such arrays.

    Raises:
        TypeError: For anything but arrays.
        ValueError: If the numbers of samples differ, or if there are no samples.
    """
    leaves = keras.tree.flatten(x)
    for leaf in leaves:
        if not getattr(leaf, "shape", ()):
            raise TypeError(
                f"`{name}` must be an array (samples, ...), or a nest of arrays for a model with several inputs; got "
                f"{leaf!r}. Convert lists of numbers with np.asarray."
            )
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) > 1:
        raise ValueError(f"The arrays of `{name}` must have the same number of samples; got {sorted(sizes)}.")
    if sizes in (set(), {0}):
        raise ValueError(f"`{name}` is empty: give at least one sample.")
    return sizes.pop()


def plain_text(error: BaseException) -> str:
    """Return the message of an error without the escape codes of Keras's bold text."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def first_line(error: BaseException) -> str:
    """Return the first informative line of an error's message, cut after 160 characters."""
    lines = [line.strip() for line in plain_text(error).splitlines() if line.strip()]
    text = next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)
    return text if len(text) <= 160 else text[:157] + "..."


def _is_a(kind, value):
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_within(value, *, least=None, most=None, above=None):
    return (least is None or value >= least) and (most is None or value <= most) and (above is None or value > above)


def _range_text(*, least=None, most=None, above=None):
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    limits = (("of at least", least), ("above", above), ("of at most", most))
    parts = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
    return f" {' and '.join(parts)}" if parts else ""
