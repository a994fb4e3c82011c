"""Types of arguments and results, for type hints."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

#: A tensor of the backend, a Keras variable or a NumPy array: the backends' tensors share no class.
Tensor: TypeAlias = Any

#: A value, or a list, tuple or dict of nests.
Nest: TypeAlias = Any

#: The size of each axis; None where it is unknown.
Shape: TypeAlias = Sequence[int | None]

#: The configuration of an object, as in Keras's ``get_config``.
Config: TypeAlias = Mapping[str, Any]
