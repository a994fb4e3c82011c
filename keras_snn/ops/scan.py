"""The engine: run a pure step function over time, with the gradient of the whole sequence."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
from keras import ops, tree

from keras_snn.hints import Nest, Tensor
from keras_snn.ops import backend, masks
from keras_snn.ops.backend.purity import is_float, none_if_empty, pure_call, with_constants

_local = threading.local()


@contextlib.contextmanager
def unrolled() -> Iterator[None]:
    """Let each ``scan`` of this thread in the block add every step to the graph, as with ``unroll=True``."""
    before = getattr(_local, "unrolls", False)
    _local.unrolls = True
    try:
        yield
    finally:
        _local.unrolls = before


def scan(
    step: Callable,
    init: Nest,
    xs: Nest,
    params: Nest = (),
    *,
    constants: Nest = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: bool = False,
    gradient: bool = True,
    pointwise: bool = False,
    inference: bool = False,
    mask: Tensor | None = None,
) -> tuple[Nest, Nest]:
    """Run ``step`` over axis 1 of ``xs``.

    Equivalent to the loop::

        state = init
        for t in range(T):
            state, outputs[:, t] = step(params, state, xs[:, t])

    The forward pass keeps only the T states. The backward pass runs over time in reverse: it computes each step again
    and takes the vector-Jacobian product of this step. Memory holds the inputs, states, outputs and their gradients,
    but no tape.

    ``step`` must be pure, because it is traced once, run T times, and run again for the gradient. It must not close
    over tensors or variables, and must not draw random numbers: pass them as ``params``, ``constants``, state or
    ``xs``. Compiled loops are cached by ``step`` (its hash and equality). Use the same object in every call, not a new
    closure.

    Args:
        step: Callable ``(params, state, x) -> (new_state, outputs)``. ``new_state`` has the structure, shapes and
            dtypes of ``state``. Every output has the shape ``(batch, ...)``.
        init: Nest of tensors or numbers of any shape and dtype, the state before the first step.
        xs: Nest of tensors ``(batch, time, ...)``, or None: then ``x`` is None, and ``length`` is required.
        params: Nest of tensors that every step uses. Their gradients are summed over time.
        constants: Nest of tensors that every step uses, without a gradient, or None. If it is given, the first argument
            of ``step`` is the pair ``(params, constants)``. New values do not compile the loop again.
        length: Integer, number of steps T. Default: the length of axis 1 of ``xs``, which need not be static.
        reverse: Boolean. True: run from the last step to the first. Outputs stay at the positions of their inputs.
        unroll: Boolean. True: add every step to the graph, and use the backend's automatic differentiation. Requires a
            static T. Memory and compile time grow with T. Required for second derivatives on TensorFlow and PyTorch,
            and for forward-mode derivatives.
        gradient: Boolean. False stops the gradient at the inputs and keeps no states.
        pointwise: Boolean. True asserts that ``step`` is elementwise over the state, that ``params`` broadcast to the
            state, and that ``step`` accepts inputs with one more axis. The loop then computes only the state. Outputs
            and the gradients of ``xs`` and ``params`` are computed for all steps at once, in total about twice as
            fast. No effect unless there is a single state, of the shape of ``x``, all tensors are floats, all constants
            are scalars, and ``reverse`` is False. With XLA the step may see one axis of units instead of several.
        inference: Boolean. True: the forward pass keeps no states. If a gradient is taken, they are computed first.
        mask: Bool tensor ``(batch, time)``, or None. Where it is False, the state is held and the output is undefined.
            With a mask, the first axis of every leaf of ``state`` must be the batch.

    Returns:
        The pair ``(outputs, final_state)``. Outputs have the shape ``(batch, time, ...)``.

    Raises:
        ValueError: If ``xs`` and ``length`` are both None, if lengths differ or are zero, or if ``step`` is not pure or
            changes the shape or dtype of its state.

    Example:

    ```python
    def leaky(decay, voltage, x):
        voltage = decay * voltage + x
        return voltage, voltage

    x = keras.random.normal((2, 100, 3))
    outputs, last = scan(leaky, keras.ops.zeros((2, 3)), x, params=0.9)
    ```
    """
    params, init = _tensors(params), _tensors(init)
    constants = None if constants is None else tree.map_structure(ops.stop_gradient, _tensors(constants))
    xs = () if xs is None else _tensors(xs)
    if mask is not None:
        step, xs, pointwise = _Held(step), (xs, ops.convert_to_tensor(mask, "bool")), False
    n_steps = check_length(tree.flatten(xs), length)
    if unroll or backend.must_unroll() or getattr(_local, "unrolls", False):
        if n_steps is None:
            raise ValueError("`unroll` must be False if `xs` has no static number of time steps; got True.")
        return _unrolled(with_constants(step, constants), init, xs, params, n_steps, reverse, gradient)
    hash(step)  # TypeError for a step that cannot be a key of the cache
    length = None if tree.flatten(xs) else length
    pointwise = pointwise and not reverse and all(len(number.shape) == 0 for number in tree.flatten(constants or ()))
    # In training on JAX, XLA would fuse the reshapes into the passes over all steps, and compute an index per number.
    join = {"tensorflow": pointwise, "jax": pointwise and inference, "torch": False}[keras.config.backend()]
    features = _features(init, xs, params) if join else None
    if features:
        init, xs, params = _reshaped((init, xs, params), len(features), (math.prod(features),))
    if pointwise := pointwise and _has_single_float_state(init, xs, params):
        (state,) = tree.flatten(init)
        params = tree.map_structure(lambda p: keras.ops.broadcast_to(p, keras.ops.shape(state)), params)
    results = backend.scan(step, init, xs, params, constants, length, reverse, gradient, pointwise, inference)
    return _reshaped(results, 1, features) if features else results


def _features(init, xs, params):
    """Return the axes after the batch, if there are several, and all tensors have them; else None.

    An elementwise step may then run on one axis of all features. XLA on a CPU is slow in loops over short inner axes.
    """
    states = tree.flatten((init, params))
    shapes = {*(tuple(state.shape[1:]) for state in states), *(tuple(x.shape[2:]) for x in tree.flatten(xs))}
    features = shapes.pop() if len(shapes) == 1 else ()
    return features if len(features) > 1 and None not in features else None


def _reshaped(nest, n, features):
    """Return the tensors of ``nest`` with ``features`` in place of their last ``n`` axes."""
    return tree.map_structure(lambda x: ops.reshape(x, (*ops.shape(x)[: len(x.shape) - n], *features)), nest)


@dataclass(frozen=True)
class _Held:
    """A step that holds the state of samples at masked steps."""

    step: Callable

    @property
    def __wrapped__(self):
        return self.step

    def __call__(self, params, state, x):
        x, counts = x
        new_state, outputs = self.step(params, state, none_if_empty(x))
        return held(counts, new_state, state), outputs


def held(counts: Tensor, new_state: Nest, state: Nest) -> Nest:
    """Return the new state of the samples for which ``counts (batch,)`` is True, and the old state of the others."""
    return tree.map_structure(lambda new, old: ops.where(masks.along(counts, new), new, old), new_state, state)


def _tensors(nest):
    # `convert_to_tensor` keeps variables on TensorFlow, and a step must not read a variable.
    values = tree.map_structure(lambda x: x.value if isinstance(x, keras.Variable) else x, nest)
    return tree.map_structure(keras.ops.convert_to_tensor, values)


def _has_single_float_state(init, xs, params):
    """Return whether there is one state, of the rank of a step's inputs, and all tensors are floats."""
    states, inputs, params = map(tree.flatten, (init, xs, params))
    same_rank = len(states) == 1 and inputs and all(len(x.shape) == len(states[0].shape) + 1 for x in inputs)
    return same_rank and all(map(is_float, (*states, *inputs, *params)))


def check_length(xs: Sequence[Tensor], length: int | None) -> int | None:
    """Return the static number of steps of the flat ``xs``, or None if it is not static."""
    if not xs and length is None:
        raise ValueError("`xs` or `length` must be given, for the number of time steps; got None for both.")
    for x in xs:
        if len(x.shape) < 2:
            raise ValueError(f"`xs` must have shapes (batch, time, ...); got {tuple(x.shape)}, which has no time axis.")
    # While PyTorch traces, sizes are tensors.
    lengths = {int(n) for n in (*(x.shape[1] for x in xs), length) if n is not None}
    if len(lengths) > 1:
        raise ValueError(f"`xs` and `length` must have the same number of time steps; got {sorted(lengths)}.")
    n_steps = lengths.pop() if lengths else None
    if n_steps is not None and n_steps < 1:
        raise ValueError(f"The number of time steps must be at least 1; got {n_steps}.")
    return n_steps


def _unrolled(step, state, xs, params, length, reverse, gradient):
    if not gradient:
        state, xs, params = tree.map_structure(keras.ops.stop_gradient, (state, xs, params))
    rows = []
    for t in range(length)[:: -1 if reverse else 1]:
        state, outputs = pure_call(step, params, state, tree.map_structure(lambda x: x[:, t], xs))  # noqa: B023
        rows.append(outputs)
    if reverse:
        rows.reverse()
    return tree.map_structure(lambda *row: keras.ops.stack(row, axis=1), *rows), state
