"""Checks of a step function, common to all backends."""

import dis
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
from keras import ops, tree

from keras_snn.hints import Nest, Tensor

_HINT = "pass its inputs as `params`, state or `xs`"


class _PureScope(keras.StatelessScope):
    """A scope in which reading or changing a Keras variable raises an error."""

    def get_current_value(self, variable):
        raise ValueError(
            f"`step` must be pure, because it is traced once and run again for the gradient; it reads the variable "
            f"{variable.path!r}: {_HINT}."
        )

    def add_update(self, update):
        raise ValueError(
            f"`step` must be pure, because it is run again for the gradient; it changes the variable "
            f"{update[0].path!r} (as does a random number without a fixed seed): {_HINT}. Draw random numbers before "
            "the scan and pass them in `xs`."
        )


def pure_call(step: Callable, params: Nest, state: Nest, x: Nest) -> tuple[Nest, Nest]:
    """Call ``step`` without access to variables, and check the structure, shapes and dtypes of its results."""
    _check_closure(step)
    with _PureScope():
        result = step(params, state, none_if_empty(x))
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"`step` must return the pair (state, outputs); got {_describe(result)}.")
    new_state, outputs = result
    try:
        tree.assert_same_structure(state, new_state)
    except (ValueError, TypeError):
        same = False
    else:
        same = all(map(_same_shape_and_dtype, tree.flatten(state), tree.flatten(new_state)))
    if not same:
        raise ValueError(
            "`step` must return a state of the structure, shapes and dtypes of the state that it receives, "
            f"{_describe(state)}; got {_describe(new_state)}. Cast or broadcast `init` to match."
        )
    if not all(ops.is_tensor(leaf) and len(leaf.shape) > 0 for leaf in tree.flatten(outputs)):
        raise ValueError(
            "The outputs of `step` must be tensors (batch, ...), to be joined along axis 1, or () for none; got "
            f"{_describe(outputs)}."
        )
    return new_state, outputs


@dataclass(frozen=True)
class _WithConstants:
    step: Callable
    constants: Nest

    @property
    def __wrapped__(self):
        return self.step

    def __call__(self, params, state, x):
        return self.step((params, self.constants), state, x)


def with_constants(step: Callable, constants: Nest) -> Callable:
    """Return the step that passes ``(params, constants)`` to ``step``; ``step`` itself if ``constants`` is None."""
    return step if constants is None else _WithConstants(step, constants)


def outputs_that_are_states(state: Nest, outputs: Nest) -> list[int | None]:
    """Return for each leaf of ``state`` the index of the output that is the same tensor, or None.

    Such a state needs no copy for the backward pass: it is read from the outputs of earlier steps.
    """
    places = {id(leaf): k for k, leaf in enumerate(tree.flatten(outputs))}
    return [places.get(id(leaf)) for leaf in tree.flatten(state)]


def none_if_empty(x: Nest) -> Nest:
    """Return the input that a step receives: None in a scan without inputs, else ``x``."""
    return None if isinstance(x, tuple) and not x else x


def _check_closure(step):
    if hasattr(step, "__wrapped__"):
        _check_closure(step.__wrapped__)
    if not inspect.isfunction(step):
        return
    closure = inspect.getclosurevars(step)
    loaded = {i.argval for i in dis.get_instructions(step) if i.opname == "LOAD_GLOBAL"}
    values = {**{name: closure.globals[name] for name in loaded & closure.globals.keys()}, **closure.nonlocals}
    captured = [name for name, v in values.items() if ops.is_tensor(v) or isinstance(v, keras.Variable)]
    if captured:
        raise_captured(captured)


def raise_captured(names: Iterable[str]) -> None:
    """Raise ValueError for a step that captures tensors or variables."""
    raise ValueError(
        f"`step` closes over tensors or variables ({', '.join(sorted(names))}). No gradient would reach them: {_HINT}."
    )


def is_float(leaf: Tensor) -> bool:
    """Return whether ``leaf`` has a float dtype, and so may have a gradient."""
    return "float" in keras.backend.standardize_dtype(leaf.dtype)


def _same_shape_and_dtype(a, b):
    if not ops.is_tensor(b) or keras.backend.standardize_dtype(a.dtype) != keras.backend.standardize_dtype(b.dtype):
        return False
    return len(a.shape) == len(b.shape) and all(m == n or None in (m, n) for m, n in zip(a.shape, b.shape, strict=True))


def _describe(nest):
    def describe_leaf(leaf):
        if not ops.is_tensor(leaf):
            return repr(leaf)
        return f"{keras.backend.standardize_dtype(leaf.dtype)}{tuple(leaf.shape)}"

    return tree.map_structure(describe_leaf, nest)
