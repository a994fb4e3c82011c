"""The engine: one pure step, run over time, with the gradient of the whole sequence."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops, tree

from keras_snn.ops import backend, masks
from keras_snn.ops.backend.purity import is_float, none_if_empty, pure_call


def scan(
    step,
    init,
    xs,
    params=(),
    *,
    length=None,
    reverse=False,
    unroll=False,
    gradient=True,
    pointwise=False,
    inference=False,
    mask=None,
):
    """Run ``step`` over axis 1 of ``xs``.

    The equations are those of a loop::

        state = init
        for t in range(T):
            state, outputs[:, t] = step(params, state, xs[:, t])

    The forward pass keeps the T states and nothing else; the backward pass walks time in reverse, computes one step at
    a time again and takes that step's vector-Jacobian product. Memory is that of inputs, states, outputs and their
    gradients, not that of a tape.

    ``step`` has to be pure, since it is traced once, run T times, and run again for the gradient: it closes over no
    tensor and no variable, and draws no random numbers. What it needs comes as ``params``, as state or in ``xs``.
    Compiled loops are kept by ``step`` (its hash and equality), so use the same object in every call, not a closure
    made anew.

    Args:
        step: Callable ``(params, state, x) -> (new_state, outputs)``. ``new_state`` has the structure, shapes and
            dtypes of ``state``; every output has shape ``(batch, ...)``.
        init: Nest of tensors or numbers, the state before the first step. Leaves of any shape and dtype.
        xs: Nest of tensors ``(batch, time, ...)``, or None (then ``x`` is None and ``length`` is needed).
        params: Nest of tensors that every step uses; their gradients are summed over time.
        length: Integer, number of steps T. Default: the length of axis 1 of ``xs``, which may be unknown until run
            time.
        reverse: Boolean, walk from the last step to the first. Outputs stay at the positions of their inputs.
        unroll: Boolean, write every step into the graph and leave the gradient to the backend. Needs a static T;
            memory and compile time grow with it. The way to second derivatives, which the loop has not on TensorFlow
            and PyTorch, and to forward-mode ones, which it has nowhere.
        gradient: Boolean. False stops the gradient at the inputs and keeps no states.
        pointwise: Boolean, the promise that every number of state and outputs depends on those at its own place alone,
            that ``params`` broadcast to the state, and ``step`` to one more axis. A loop then walks over the state
            alone; outputs and the gradients of ``xs`` and ``params`` are computed at once, all in about half of the
            time. This is so for one state of the shape of ``x``, all floats, walked forward; elsewhere the promise
            changes nothing.
        inference: Boolean. True: the forward pass keeps no states. A gradient, if one is taken, computes them first.
        mask: Bool tensor ``(batch, time)``, or None. Where it is False, the state is held and the output is undefined.
            With a mask, the first axis of every leaf of ``state`` must be the batch.

    Returns:
        The pair ``(outputs, final_state)``; outputs have shape ``(batch, time, ...)``.

    Raises:
        ValueError: If there is neither ``xs`` nor ``length``, if lengths disagree or are zero, or if ``step`` is not
            pure or changes the shape or dtype of its state.

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
    xs = () if xs is None else _tensors(xs)
    if mask is not None:
        step, xs, pointwise = _Held(step), (xs, ops.convert_to_tensor(mask, "bool")), False
    known = check_length(tree.flatten(xs), length)
    if unroll:
        if known is None:
            raise ValueError("`unroll=True` needs a static number of time steps: give `xs` a known time axis.")
        return _unrolled(step, init, xs, params, known, reverse, gradient)
    hash(step)  # TypeError for a step that cannot be remembered
    if pointwise := pointwise and not reverse and _is_one_number_for_each_input(init, xs, params):
        (state,) = tree.flatten(init)
        params = tree.map_structure(lambda p: keras.ops.broadcast_to(p, keras.ops.shape(state)), params)
    length = None if tree.flatten(xs) else length
    return backend.scan(step, init, xs, params, length, reverse, gradient, pointwise, inference)


@dataclass(frozen=True)
class _Held:
    """A step that keeps the old state of the samples for which it does not count."""

    step: Callable

    @property
    def __wrapped__(self):
        return self.step

    def __call__(self, params, state, x):
        x, counts = x
        new_state, outputs = self.step(params, state, none_if_empty(x))
        return held(counts, new_state, state), outputs


def held(counts, new_state, state):
    """Return the new state of the samples for which ``counts (batch,)`` is True, and the old one of the others."""
    return tree.map_structure(lambda new, old: ops.where(masks.along(counts, new), new, old), new_state, state)


def _tensors(nest):
    # Keras leaves a variable a variable on TensorFlow, and a step must not read one.
    values = tree.map_structure(lambda x: x.value if isinstance(x, keras.Variable) else x, nest)
    return tree.map_structure(keras.ops.convert_to_tensor, values)


def _is_one_number_for_each_input(init, xs, params):
    states, inputs, params = map(tree.flatten, (init, xs, params))
    same_rank = len(states) == 1 and inputs and all(len(x.shape) == len(states[0].shape) + 1 for x in inputs)
    return same_rank and all(map(is_float, (*states, *inputs, *params)))


def check_length(xs, length):
    """Return the static number of steps of the flat ``xs``, or None where only the run knows it."""
    if not xs and length is None:
        raise ValueError("`scan` needs `xs` or `length` to know the number of time steps; it got neither.")
    for x in xs:
        if len(x.shape) < 2:
            raise ValueError(f"`xs` needs shapes (batch, time, ...); got {tuple(x.shape)}, which has no time axis.")
    # PyTorch's tracer gives a tensor for each size.
    lengths = {int(n) for n in (*(x.shape[1] for x in xs), length) if n is not None}
    if len(lengths) > 1:
        raise ValueError(f"`xs` and `length` have to agree on the number of time steps; got {sorted(lengths)}.")
    known = lengths.pop() if lengths else None
    if known is not None and known < 1:
        raise ValueError(f"`scan` needs at least one time step; got {known}.")
    return known


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
