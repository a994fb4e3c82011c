"""The engine on TensorFlow: ``tf.while_loop`` inside ``tf.custom_gradient``.

Both loops are separate ``tf.function`` objects. XLA compiles them if the number of steps is static. It need not compile
the rest of the model.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from keras_snn.hints import Nest
from keras_snn.ops.backend.purity import is_float, outputs_that_are_states, pure_call, raise_captured, with_constants

#: In eager mode, every new (batch, time) shape needs a compilation. The first shape of a step is compiled at once, a
#: further one in its call number `_CALLS_TO_COMPILE`, up to `_MAX_SHAPES` shapes per step. Other calls run in
#: TensorFlow's loop.
_CALLS_TO_COMPILE = 20
_MAX_SHAPES = 8


def scan(
    step: Callable,
    init: Nest,
    xs: Nest,
    params: Nest,
    constants: Nest,
    length: int | None,
    reverse: bool,
    gradient: bool,
    pointwise: bool,
    inference: bool,
) -> tuple[Nest, Nest]:
    """Run ``step`` over axis 1 of ``xs``; see ``keras_snn.ops.scan``."""
    # Some may be tf.Variable.
    params, init, xs = (tf.nest.map_structure(tf.convert_to_tensor, nest) for nest in (params, init, xs))
    constants = None if constants is None else _detached(constants)
    loops = _Loops(step, reverse, pointwise, _static_shapes(params, init, xs))
    compiled = loops.choose(init, xs, length)
    if not compiled and length is not None:
        length = tf.constant(length)  # a Python integer would be traced again for each value
    if not gradient:
        outputs, final, _ = loops.forward(compiled, False)(constants, *_detached((params, init, xs)), length)
        return _with_shapes(outputs, final, init, xs)

    structure: Any = None

    @tf.custom_gradient
    def run(*flat):
        nonlocal structure
        inputs = _detached(tf.nest.pack_sequence_as((params, init, xs), flat))
        outputs, final, states = loops.forward(compiled, not inference)(constants, *inputs, length)
        structure = (outputs, final)

        def grad(*upstream):
            results = tf.nest.flatten(structure)
            d_results = [d for d, result in zip(upstream, results, strict=True) if is_float(result)]

            def backward():
                states_before = loops.forward(compiled, True)(constants, *inputs, length)[2] if inference else states
                results = _detached((states_before, outputs, d_results))
                return loops.backward(compiled)(constants, *inputs, *results, length)

            grads = iter(_once_differentiable(backward, [*flat, *d_results]))
            return [next(grads) if is_float(x) else None for x in flat]

        return tf.nest.flatten(structure), grad

    results = run(*tf.nest.flatten((params, init, xs)))
    outputs, final = tf.nest.pack_sequence_as(structure, tf.nest.flatten(results))
    return _with_shapes(outputs, final, init, xs)


def _with_shapes(outputs, final, init, xs):
    """Set the known batch size and length of the outputs and last states, and return them.

    The graph may contain a function traced for an earlier call, in which they were unknown.
    """
    sizes = [x.shape[:2] for x in tf.nest.flatten(xs)]
    batch, length = sizes[0] if sizes else (None, None)
    if not tf.executing_eagerly():
        for y in tf.nest.flatten(outputs):
            y.set_shape([batch, length, *[None] * (y.shape.rank - 2)])
        for end, start in zip(tf.nest.flatten(final), tf.nest.flatten(init), strict=True):
            end.set_shape(start.shape)
    return outputs, final


@functools.lru_cache(maxsize=256)
class _Loops:
    """The loops of one step, for one direction and one set of static shapes. Equal steps share them."""

    def __init__(self, step, reverse, pointwise, static_shapes):
        del static_shapes  # only a key of the cache
        self.step = step
        self.reverse = reverse
        self.pointwise = pointwise
        self.n_calls = {}
        self.compiled = set()
        self.functions = {}
        self.lock = threading.Lock()  # MirroredStrategy calls from one thread per replica

    def choose(self, init, xs, length):
        """Return whether to compile with XLA for inputs of these shapes."""
        xs, init = tf.nest.flatten(xs), tf.nest.flatten(init)
        if any(x.shape[1] is None for x in xs):
            return False  # sequences of many lengths
        if not tf.executing_eagerly():
            return True
        shapes = (length, *(tuple(leaf.shape) for leaf in init + xs))
        with self.lock:
            if len(self.compiled) < _MAX_SHAPES:
                self.n_calls[shapes] = self.n_calls.get(shapes, 0) + (1 if self.n_calls else _CALLS_TO_COMPILE)
                if self.n_calls[shapes] >= _CALLS_TO_COMPILE:
                    self.compiled.add(shapes)
            return shapes in self.compiled

    def forward(self, compiled, keep_states):
        """Return the function (constants, params, init, xs, length) -> (outputs, final state, states)."""
        if compiled and keep_states and self.pointwise:
            return self._function(_pointwise_forward, compiled)
        return self._function(_forward, compiled, keep_states=keep_states)

    def backward(self, compiled):
        """Return the function from constants and the arguments of ``_backward`` to the gradients of float inputs."""
        return self._function(_pointwise_backward if compiled and self.pointwise else _backward, compiled)

    def _function(self, loop, compiled, **kwargs):
        # Only in eager mode: a relaxed trace would hide static shapes from the surrounding graph.
        relaxed = tf.executing_eagerly() and not compiled
        key = (loop, compiled, relaxed, *kwargs.values())
        with self.lock:
            if key not in self.functions:

                def run(constants, *args):
                    try:
                        result = loop(with_constants(self.step, constants), self.reverse, compiled, *args, **kwargs)
                    except Exception:
                        self.functions.pop(key, None)  # otherwise TensorFlow returns None in the next call
                        raise
                    captured = tf.compat.v1.get_default_graph().external_captures
                    if captured:
                        raise_captured(f"{tensor.dtype.name} {tensor.shape}" for tensor in captured)
                    return result

                # A partial: TensorFlow counts traces by the code of a function, which these share, and would warn.
                unshared = functools.partial(run)
                self.functions[key] = tf.function(
                    unshared, jit_compile=compiled, autograph=False, reduce_retracing=relaxed
                )
            return self.functions[key]


def _pull_back(step, inputs, sources, d_results):
    """Return the gradients with respect to ``sources``, given those of the float outputs and new states."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        new_state, outputs = pure_call(step, *inputs)
        results = _floats((outputs, new_state))
    grads = tape.gradient(results, sources, d_results, tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(g) for g in grads]  # the gradient of a table lookup is an IndexedSlices


def _pointwise_forward(step, reverse, compiled, params, init, xs, length):
    def advance(t, state):
        return tf.nest.flatten(pure_call(step, params, _pack(init, state), _at(xs, t))[0])[0]

    length = _length(xs, length)
    (start,) = tf.nest.flatten(init)
    states = _rows(advance, start, length, xs)
    final = advance(length - 1, states[:, length - 1])
    _, outputs = pure_call(step, _over_time(params), _pack(init, states), xs)
    return outputs, _pack(init, final), [states]


def _pointwise_backward(step, reverse, compiled, params, init, xs, states, outputs, upstream, length):
    *d_outputs, d_final = upstream
    length, (states,) = _length(xs, length), states

    def retreat(t, d_state):
        inputs = (params, _pack(init, states[:, t]), _at(xs, t))
        return _pull_back(step, inputs, tf.nest.flatten(inputs[1]), [*_at(d_outputs, t), d_state])[0]

    d_states = _rows(retreat, d_final, length, d_outputs, reverse=True)
    d_init = retreat(0, d_states[:, 0])
    params_over_time = tf.nest.map_structure(lambda p: tf.broadcast_to(p, tf.shape(states)), _over_time(params))
    inputs = (params_over_time, _pack(init, states), xs)
    grads = _pull_back(step, inputs, tf.nest.flatten((params_over_time, xs)), [*d_outputs, d_states])
    n_params = len(tf.nest.flatten(params))
    return [*map(_sum_over_time, grads[:n_params]), d_init, *grads[n_params:]]


def _over_time(params):
    return tf.nest.map_structure(lambda p: tf.expand_dims(p, 1), params)


def _sum_over_time(rows):
    # Adding slices first is faster: XLA on a CPU adds slices as vectors, but reduces an axis number by number.
    length = rows.shape[1]
    n = max(1, length // 8)
    rest = length % n
    slices = [rows[:, t : t + n] for t in range(0, length - rest, n)]
    return tf.reduce_sum(tf.add_n(slices), 1) + tf.reduce_sum(rows[:, length - rest :], 1)


def _pack(init, leaf):
    return tf.nest.pack_sequence_as(init, [leaf])


def _rows(advance, start, length, source, *, reverse=False):
    """Return the rows ``start``, ``advance(t, start)`` and so on, joined along axis 1.

    ``source`` is as in ``_rows_to_fill``. The rows are the only state of the loop. XLA on a CPU would copy any further
    state in every step.
    """
    first, ahead = (length - 1, -1) if reverse else (0, 1)
    (rows,) = _rows_to_fill([(start, 1)], length, source)

    def iterate(i, rows):
        t = first + ahead * i
        return i + 1, _write(rows, t + ahead, advance(t, rows[:, t]), 1)

    rows = _write(rows, first, start, 1)
    return tf.while_loop(lambda i, _: i < length - 1, iterate, (tf.constant(0), rows))[1]


def _rows_to_fill(examples, length, source):
    """Return a tensor for ``length`` rows for each pair (row, axis), filled with a number of the nest ``source``."""
    # Not zeros: TensorFlow folds them into constants, six tensors of this size that it never frees. Not Empty: LiteRT
    # lacks it. A number read at run time is not folded. The numbers differ, because XLA would merge equal tensors and
    # copy them. All values are overwritten later.
    numbers = tf.cast(tf.reshape(tf.nest.flatten(source)[0], [-1])[: len(examples)], tf.int32)
    return [
        tf.fill(_insert(tf.shape(row), axis, length), tf.cast(tf.reduce_sum(numbers[k : k + 1]), row.dtype))
        for k, (row, axis) in enumerate(examples)
    ]


def _write(rows, t, row, axis):
    start = tf.one_hot(axis, len(rows.shape), t, 0, dtype=tf.int32)
    return ops.slice_update(rows, start, tf.expand_dims(row, axis))


def _forward(step, reverse, compiled, params, init, xs, length, *, keep_states):
    structure: Any = None

    def body(t, state):
        new_state, outputs = pure_call(step, params, state, _at(xs, t))
        nonlocal structure
        structure = outputs
        pairs = zip(tf.nest.flatten(state), outputs_that_are_states(new_state, outputs), strict=True)
        kept = [(leaf, 0) for leaf, same in pairs if same is None] if keep_states else []
        return new_state, [*((y, 1) for y in tf.nest.flatten(outputs)), *kept]

    final, rows = _walk(body, init, _length(xs, length), reverse, compiled, (xs, init))
    n_outputs = len(tf.nest.flatten(structure))
    return tf.nest.pack_sequence_as(structure, rows[:n_outputs]), final, rows[n_outputs:]


def _backward(step, reverse, compiled, params, init, xs, states, outputs, upstream, length):
    n_state = sum(map(is_float, tf.nest.flatten(init)))
    d_outputs, d_final = upstream[: len(upstream) - n_state], upstream[len(upstream) - n_state :]
    n_params = sum(map(is_float, tf.nest.flatten(params)))
    length, outputs = _length(xs, length), tf.nest.flatten(outputs)
    same = outputs_that_are_states(*pure_call(step, params, init, _at(xs, 0)))

    def body(t, carry):
        d_state, d_params = carry
        state = tf.nest.pack_sequence_as(init, list(state_before(t)))
        inputs = (params, state, _at(xs, t))
        grads = _pull_back(step, inputs, _floats(inputs), [*_at(d_outputs, t), *d_state])
        d_params = [a + b for a, b in zip(d_params, grads, strict=False)]
        grads = grads[n_params:]
        return (grads[:n_state], d_params), [(g, 1) for g in grads[n_state:]]

    def state_before(t):
        first, before = (length - 1, tf.minimum(t + 1, length - 1)) if reverse else (0, tf.maximum(t - 1, 0))
        kept = iter(states)
        for k, start in zip(same, tf.nest.flatten(init), strict=True):
            yield next(kept)[t] if k is None else tf.where(t == first, start, outputs[k][:, before])

    zeros = [tf.zeros_like(p) for p in _floats(params)]
    (d_init, d_params), d_xs = _walk(body, (d_final, zeros), length, not reverse, compiled, (d_outputs, xs, d_final))
    return [*d_params, *d_init, *d_xs]


def _walk(body, carry, length, reverse, compiled, source):
    """Run ``body(t, carry) -> (carry, [(row, axis), ...])`` over time, and join the rows along their axes.

    ``source`` is as in ``_rows_to_fill``.
    """
    _, examples = body(0, carry)  # for shapes and dtypes only: no value is computed
    if compiled:
        rows = _rows_to_fill(examples, length, source)
    else:
        rows = [tf.TensorArray(row.dtype, length, element_shape=row.shape) for row, _ in examples]

    def write(rows_t, t, row, axis):
        if not compiled:
            return rows_t.write(t, row)
        return _write(rows_t, t, row, axis)

    def iterate(i, carry, rows):
        t = length - 1 - i if reverse else i
        new_carry, new_rows = body(t, carry)
        for new, old in zip(tf.nest.flatten(new_carry), tf.nest.flatten(carry), strict=True):
            new.set_shape(old.shape)
        return i + 1, new_carry, [write(r, t, *new) for r, new in zip(rows, new_rows, strict=True)]

    _, carry, rows = tf.while_loop(lambda i, *_: i < length, iterate, (tf.constant(0), carry, rows))
    if not compiled:
        rows = [_move_time(r.stack(), axis) for r, (_, axis) in zip(rows, examples, strict=True)]
    return carry, rows


def _move_time(rows, axis):
    order = list(range(len(rows.shape)))
    order.insert(axis, order.pop(0))
    return tf.transpose(rows, order) if axis else rows


def _insert(shape, axis, length):
    return tf.concat([shape[:axis], [length], shape[axis:]], 0)


def _static_shapes(params, init, xs):
    """Return the shapes without batch and time, which may change between calls."""
    skips = ((params, 0), (init, 1), (xs, 2))
    return tuple(tuple(leaf.shape[skip:]) for nest, skip in skips for leaf in tf.nest.flatten(nest))


def _length(xs, length):
    return tf.shape(tf.nest.flatten(xs)[0])[1] if length is None else tf.convert_to_tensor(length)


def _at(xs, t):
    return tf.nest.map_structure(lambda x: x[:, t], xs)


def _floats(nest):
    return [leaf for leaf in tf.nest.flatten(nest) if is_float(leaf)]


def _detached(nest):
    # The tape must not record the inner function: its gradient would return TensorLists from XLA.
    return tf.nest.map_structure(lambda x: tf.stop_gradient(tf.convert_to_tensor(x)), nest)


def _once_differentiable(function, sources):
    """Return ``function()``. Its gradient with respect to ``sources`` raises NotImplementedError."""

    @tf.custom_gradient
    def run(*_):
        def refuse(*_):
            raise NotImplementedError(
                "`scan` has no second and no forward-mode derivative on TensorFlow: call it with unroll=True for those."
            )

        return function(), refuse

    return run(*sources)
