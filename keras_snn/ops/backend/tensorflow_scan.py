"""The engine on TensorFlow: ``tf.while_loop`` inside ``tf.custom_gradient``.

Each of the two loops is a ``tf.function`` of its own, compiled by XLA where the number of steps is static. XLA needs
not own the model around it: the loop alone is what it makes fast.
"""

import functools
import threading

import tensorflow as tf

# The public API has no dynamic_update_slice, which alone writes axis 1 in place: TensorArray and two transposes take
# twice the time. The module has been part of every TensorFlow wheel since 2018.
from tensorflow.compiler.tf2xla.python import xla

from keras_snn.ops.backend.purity import is_float, outputs_that_are_states, pure_call, raise_captured

#: In eager mode every new (batch, time) shape costs a compilation. The first one is compiled at once, a later one when
#: it has come `_PATIENCE` times, and no more than `_MOST_SHAPES` a step: others run in the graph's own loop.
_PATIENCE = 20
_MOST_SHAPES = 8


def scan(step, init, xs, params, length, reverse, gradient, pointwise, inference):
    """Run ``step`` over axis 1 of ``xs``; see ``keras_snn.ops.scan``."""
    params, init, xs = tf.nest.map_structure(tf.convert_to_tensor, (params, init, xs))  # some may be tf.Variable
    loops = _Loops(step, reverse, pointwise, _static_shapes(params, init, xs))
    compiled = loops.choose(init, xs, length)
    if not compiled and length is not None:
        length = tf.constant(length)  # an integer would be traced anew for each value
    if not gradient:
        outputs, final, _ = loops.forward(compiled, False)(*_detached((params, init, xs)), length)
        return _with_shapes(outputs, final, init, xs)

    structure = None

    @tf.custom_gradient
    def run(*flat):
        nonlocal structure
        inputs = _detached(tf.nest.pack_sequence_as((params, init, xs), flat))
        outputs, final, states = loops.forward(compiled, not inference)(*inputs, length)
        structure = (outputs, final)

        def grad(*upstream):
            upstream = [u for u, result in zip(upstream, tf.nest.flatten(structure), strict=True) if is_float(result)]

            def backward():
                states_before = loops.forward(compiled, True)(*inputs, length)[2] if inference else states
                return loops.backward(compiled)(*inputs, *_detached((states_before, outputs, upstream)), length)

            grads = iter(_once_differentiable(backward, [*flat, *upstream]))
            return [next(grads) if is_float(x) else None for x in flat]

        return tf.nest.flatten(structure), grad

    results = run(*tf.nest.flatten((params, init, xs)))
    return _with_shapes(*tf.nest.pack_sequence_as(structure, tf.nest.flatten(results)), init, xs)


def _with_shapes(outputs, final, init, xs):
    """Return outputs and last states with the batch size and length that are known.

    A graph may contain the function of an earlier call, in which they were unknown.
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
    """The compiled loops of one step, in one direction, for one kind of inputs; equal steps share them."""

    def __init__(self, step, reverse, pointwise, static_shapes):
        del static_shapes  # it only tells the loops of one step apart
        self.step = step
        self.reverse = reverse
        self.pointwise = pointwise
        self.seen = {}
        self.compiled = set()
        self.functions = {}
        self.lock = threading.Lock()  # MirroredStrategy calls from one thread a replica

    def choose(self, init, xs, length):
        """Tell whether XLA is worth its compilation for inputs of these shapes."""
        xs, init = tf.nest.flatten(xs), tf.nest.flatten(init)
        if any(x.shape[1] is None for x in xs):
            return False  # sequences of many lengths
        if not tf.executing_eagerly():
            return True
        shapes = (length, *(tuple(leaf.shape) for leaf in init + xs))
        with self.lock:
            if len(self.compiled) < _MOST_SHAPES:
                self.seen[shapes] = self.seen.get(shapes, 0) + (1 if self.seen else _PATIENCE)
                if self.seen[shapes] >= _PATIENCE:
                    self.compiled.add(shapes)
            return shapes in self.compiled

    def forward(self, compiled, keep_states):
        """Return the function (params, init, xs, length) -> (outputs, final state, states)."""
        if compiled and keep_states and self.pointwise:
            return self._function(_pointwise_forward, compiled)
        return self._function(_forward, compiled, keep_states=keep_states)

    def backward(self, compiled):
        """Return the function from all that ``_backward`` takes to the gradients of the float inputs."""
        return self._function(_pointwise_backward if compiled and self.pointwise else _backward, compiled)

    def _function(self, loop, compiled, **kwargs):
        # Only eagerly: a relaxed trace would hide the static shapes from the graph around it.
        relaxed = tf.executing_eagerly() and not compiled
        key = (loop, compiled, relaxed, *kwargs.values())
        with self.lock:
            if key not in self.functions:

                def run(*args):
                    try:
                        result = loop(self.step, self.reverse, compiled, *args, **kwargs)
                    except Exception:
                        self.functions.pop(key, None)  # TensorFlow would return None from it the next time
                        raise
                    captured = tf.compat.v1.get_default_graph().external_captures
                    if captured:
                        raise_captured(f"{tensor.dtype.name} {tensor.shape}" for tensor in captured)
                    return result

                # A partial, as TensorFlow warns of many traces by the code of a function, which all of these share.
                own = functools.partial(run)
                self.functions[key] = tf.function(own, jit_compile=compiled, autograph=False, reduce_retracing=relaxed)
            return self.functions[key]


def _pull_back(step, inputs, sources, d_results):
    """Return the gradients by ``sources``, given those of the float outputs and new states."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        new_state, outputs = pure_call(step, *inputs)
        results = _floats((outputs, new_state))
    grads = tape.gradient(results, sources, d_results, tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(g) for g in grads]  # that of a table lookup comes as IndexedSlices


def _pointwise_forward(step, reverse, compiled, params, init, xs, length):
    def advance(t, state):
        return tf.nest.flatten(pure_call(step, params, _like(init, state), _at(xs, t))[0])[0]

    length = _length(xs, length)
    states = _rows(advance, *tf.nest.flatten(init), length)
    final = advance(length - 1, states[:, length - 1])
    _, outputs = pure_call(step, _over_time(params), _like(init, states), xs)
    return outputs, _like(init, final), [states]


def _pointwise_backward(step, reverse, compiled, params, init, xs, states, outputs, upstream, length):
    *d_outputs, d_final = upstream
    length, (states,) = _length(xs, length), states

    def retreat(t, d_state):
        inputs = (params, _like(init, states[:, t]), _at(xs, t))
        return _pull_back(step, inputs, tf.nest.flatten(inputs[1]), [*_at(d_outputs, t), d_state])[0]

    d_states = _rows(retreat, d_final, length, reverse=True)
    d_init = retreat(0, d_states[:, 0])
    wide = tf.nest.map_structure(lambda p: tf.broadcast_to(p, tf.shape(states)), _over_time(params))
    inputs = (wide, _like(init, states), xs)
    grads = _pull_back(step, inputs, tf.nest.flatten((wide, xs)), [*d_outputs, d_states])
    n_params = len(tf.nest.flatten(params))
    return [*map(_sum_over_time, grads[:n_params]), d_init, *grads[n_params:]]


def _over_time(params):
    return tf.nest.map_structure(lambda p: tf.expand_dims(p, 1), params)


def _sum_over_time(rows):
    # XLA on a CPU adds up an axis number by number; to add slices first, which it does in vectors, is faster.
    length = rows.shape[1]
    n = max(1, length // 8)
    rest = length % n
    slices = [rows[:, t : t + n] for t in range(0, length - rest, n)]
    return tf.reduce_sum(tf.add_n(slices), 1) + tf.reduce_sum(rows[:, length - rest :], 1)


def _like(init, leaf):
    return tf.nest.pack_sequence_as(init, [leaf])


def _rows(advance, start, length, *, reverse=False):
    """Return ``start`` and what ``advance(t, row)`` makes of row after row, all along axis 1.

    The rows are the loop's whole state: XLA writes no two results in one pass, and copies what is carried beside them.
    """
    first, ahead = (length - 1, -1) if reverse else (0, 1)
    rows = _room(start, 1, length, start)

    def iterate(i, rows):
        t = first + ahead * i
        return i + 1, _write(rows, t + ahead, advance(t, rows[:, t]), 1)

    rows = _write(rows, first, start, 1)
    return tf.while_loop(lambda i, _: i < length - 1, iterate, (tf.constant(0), rows))[1]


def _room(row, axis, length, source):
    """Return a tensor for ``length`` rows like ``row`` along ``axis``, full of the first number of ``source``."""
    # Not zeros: TensorFlow would fold them to constants, six tensors of this size that it never gives back. Not Empty,
    # which LiteRT does not have. A number read at run time is not folded. Every place is overwritten later.
    number = tf.reduce_sum(tf.cast(tf.reshape(source, [-1])[:1], tf.int32))
    return tf.fill(_insert(tf.shape(row), axis, length), tf.cast(number, row.dtype))


def _write(rows, t, row, axis):
    start = tf.one_hot(axis, len(rows.shape), t, 0, dtype=tf.int32)
    return xla.dynamic_update_slice(rows, tf.expand_dims(row, axis), start)


def _forward(step, reverse, compiled, params, init, xs, length, *, keep_states):
    def body(t, state):
        new_state, outputs = pure_call(step, params, state, _at(xs, t))
        kept = zip(tf.nest.flatten(state), outputs_that_are_states(new_state, outputs), strict=True)
        kept = [(s, 0) for s, same in kept if same is None] if keep_states else []
        nonlocal structure
        structure = outputs
        return new_state, [*((y, 1) for y in tf.nest.flatten(outputs)), *kept]

    structure = None
    final, rows = _walk(body, init, _length(xs, length), reverse, compiled)
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
    (d_init, d_params), d_xs = _walk(body, (d_final, zeros), length, not reverse, compiled)
    return [*d_params, *d_init, *d_xs]


def _walk(body, carry, length, reverse, compiled):
    """Run ``body(t, carry) -> (carry, [(row, axis), ...])`` over time; join each row along its axis."""
    _, examples = body(0, carry)  # for shapes and dtypes only: nothing of it is computed
    if compiled:
        rows = [_room(row, axis, length, (*tf.nest.flatten(carry), row)[0]) for row, axis in examples]
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
    """Return the shapes without batch and time, which alone change from call to call."""
    skips = ((params, 0), (init, 1), (xs, 2))
    return tuple(tuple(leaf.shape[skip:]) for nest, skip in skips for leaf in tf.nest.flatten(nest))


def _length(xs, length):
    return tf.shape(tf.nest.flatten(xs)[0])[1] if length is None else tf.convert_to_tensor(length)


def _at(xs, t):
    return tf.nest.map_structure(lambda x: x[:, t], xs)


def _floats(nest):
    return [leaf for leaf in tf.nest.flatten(nest) if is_float(leaf)]


def _detached(nest):
    # The tape must not record the inner function: its own gradient would carry TensorLists out of XLA.
    return tf.nest.map_structure(lambda x: tf.stop_gradient(tf.convert_to_tensor(x)), nest)


def _once_differentiable(function, sources):
    """Return ``function()``; a gradient of it by ``sources``, which it does not show to the tape, is an error."""

    @tf.custom_gradient
    def run(*_):
        def refuse(*_):
            raise NotImplementedError(
                "`scan` has no second and no forward-mode derivative on TensorFlow: call it with unroll=True for those."
            )

        return function(), refuse

    return run(*sources)
