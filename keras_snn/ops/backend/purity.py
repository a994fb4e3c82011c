"""The checks that every backend makes of a step function while it traces it."""

import dis
import inspect

import keras
from keras import ops, tree

_HINT = "pass what it needs as `params`, as state or as `xs`"


class _PureScope(keras.StatelessScope):
    """A scope in which touching a Keras variable is an error."""

    def get_current_value(self, variable):
        raise ValueError(
            f"`step` reads the variable {variable.path!r}. A step has to be pure, as it is traced once, run many "
            f"times and run again for the gradient: {_HINT}."
        )

    def add_update(self, update):
        raise ValueError(
            f"`step` changes the variable {update[0].path!r} (a random number without a fixed seed does that too). "
            f"A step has to be pure, as it is run again for the gradient: {_HINT}; draw random numbers before the "
            "scan and pass them in `xs`."
        )


def pure_call(step, params, state, x):
    """Call ``step`` where it can touch no variable, and check that it returns a state like the one it was given."""
    _check_closure(step)
    with _PureScope():
        result = step(params, state, none_if_empty(x))
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"`step` has to return the pair (state, outputs); it returned {_describe(result)}.")
    new_state, outputs = result
    try:
        tree.assert_same_structure(state, new_state)
    except (ValueError, TypeError):
        same = False
    else:
        same = all(map(_alike, tree.flatten(state), tree.flatten(new_state)))
    if not same:
        raise ValueError(
            "`step` has to return a state of the structure, shapes and dtypes that it was given. "
            f"Given: {_describe(state)}. Returned: {_describe(new_state)}. Cast or broadcast `init` to match."
        )
    if not all(ops.is_tensor(leaf) and len(leaf.shape) > 0 for leaf in tree.flatten(outputs)):
        raise ValueError(
            "`step` has to return outputs that are tensors (batch, ...), to be joined along axis 1, or () for none; it "
            f"returned {_describe(outputs)}."
        )
    return new_state, outputs


def outputs_that_are_states(state, outputs):
    """Return for each leaf of ``state`` the index of the output that is the same tensor, or None.

    Such a state needs no copy for the backward pass: the outputs of the steps before have it.
    """
    outputs = {id(leaf): k for k, leaf in enumerate(tree.flatten(outputs))}
    return [outputs.get(id(leaf)) for leaf in tree.flatten(state)]


def none_if_empty(x):
    """Return what a step sees of ``x``: None in a scan without inputs."""
    return None if isinstance(x, tuple) and not x else x


def _check_closure(step):
    if hasattr(step, "__wrapped__"):
        _check_closure(step.__wrapped__)
    if not inspect.isfunction(step):
        return
    around = inspect.getclosurevars(step)
    loaded = {i.argval for i in dis.get_instructions(step) if i.opname == "LOAD_GLOBAL"}
    values = {name: around.globals[name] for name in loaded & around.globals.keys()} | around.nonlocals
    captured = [name for name, v in values.items() if ops.is_tensor(v) or isinstance(v, keras.Variable)]
    if captured:
        raise_captured(captured)


def raise_captured(names):
    """Refuse a step that closes over tensors or variables."""
    raise ValueError(
        f"`step` closes over tensors or variables ({', '.join(sorted(names))}). No gradient would reach them: {_HINT}."
    )


def is_float(leaf):
    """Tell whether a gradient can flow through ``leaf``."""
    return "float" in keras.backend.standardize_dtype(leaf.dtype)


def _alike(a, b):
    if not ops.is_tensor(b) or keras.backend.standardize_dtype(a.dtype) != keras.backend.standardize_dtype(b.dtype):
        return False
    return len(a.shape) == len(b.shape) and all(m == n or None in (m, n) for m, n in zip(a.shape, b.shape, strict=True))


def _describe(nest):
    def one(leaf):
        if not ops.is_tensor(leaf):
            return repr(leaf)
        return f"{keras.backend.standardize_dtype(leaf.dtype)}{tuple(leaf.shape)}"

    return tree.map_structure(one, nest)
