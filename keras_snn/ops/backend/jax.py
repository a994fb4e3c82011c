"""The engine on JAX: ``lax.fori_loop`` with a custom VJP."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax import lax

from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend.purity import is_float, outputs_that_are_states, pure_call, with_constants


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
    del inference  # states are kept only if a gradient is computed
    if length is None:
        length = jax.tree.leaves(xs)[0].shape[1]
    if gradient and pointwise:
        return _pointwise(step, length, constants, params, init, xs)
    run = _scan if gradient else _forward_only
    return run(step, length, reverse, constants, params, init, xs)


@jax.custom_jvp
def straight_through(value: Tensor, like: Tensor) -> Tensor:
    """Return ``value``. Its gradient is passed to ``like`` unchanged."""
    del like
    return value


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    value, _ = primals
    return value, tangents[1].astype(value.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def with_derivative(value: Tensor, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``value``. Its gradient is multiplied by ``derivative(x)`` and passed to ``x``."""
    del x, derivative
    return value


@with_derivative.defjvp
def _with_derivative_jvp(derivative, primals, tangents):
    value, x = primals
    return value, tangents[1] * derivative(x)


def has_float64() -> bool:
    """Return whether float64 is available: JAX replaces it by float32 unless ``jax_enable_x64`` is set."""
    return jax.config.jax_enable_x64


def floor(x: Tensor) -> Tensor:
    """Return the floor of ``x`` in its dtype. ``keras.ops.floor`` returns float32 for float64 on JAX and PyTorch."""
    return jnp.floor(x)


def cumsum(x: Tensor) -> Tensor:
    """Return the cumulative sum over axis 1 in the dtype of ``x``. On PyTorch, Keras's is float32 for float64."""
    return jnp.cumsum(x, axis=1)


def is_known(x: Tensor) -> bool:
    """Return whether the value of the tensor ``x`` can be read now."""
    return not isinstance(x, jax.core.Tracer)


def start_from(states: Sequence[Tensor], x: Tensor, message: str) -> tuple[Tensor, list[Tensor]]:
    """Return ``x`` and copies of ``states``. Their batch sizes are static, and the caller has compared them."""
    del message
    return x, [jnp.asarray(state) for state in states]


def by_events() -> bool:
    """Return whether loops over single spikes are faster than dense products: on a CPU, compiled by XLA."""
    return jax.default_backend() == "cpu"


def compiled(function: Callable) -> Callable:
    """Return a function of tensors, compiled: many small operations become one."""
    return jax.jit(function)


def inference(function: Callable, model: keras.Model) -> Callable:
    """Return ``function(n_steps, *nests)``, which calls ``model``, compiled for inference.

    ``n_steps`` is an integer; a nest may contain None. The states of seed generators are updated.
    """

    @functools.partial(jax.jit, static_argnums=1)
    def pure(values, n_steps, *nests):
        # Losses are collected for functions that compute the model's loss.
        scope = keras.StatelessScope(list(zip(model.variables, values, strict=True)), collect_losses=True)
        with scope:
            results = function(n_steps, *nests)
        after = [scope.get_current_value(variable) for variable in model.variables]
        # Unchanged values are left out: returning them would copy them.
        return results, {i: value for i, value in enumerate(after) if value is not values[i]}

    def run(n_steps, *nests):
        results, changed = pure([variable.value for variable in model.variables], n_steps, *nests)
        for i, value in changed.items():
            model.variables[i].assign(value)
        return results

    return run


def gradient(function: Callable, x: Tensor, variables: list) -> tuple[Tensor, Nest]:
    """Return the gradient of a scalar by ``x``, and results: ``function(x) -> (scalar, results)``.

    ``function`` may change variables of the list ``variables``.
    """
    before, changed = _values(variables), []

    def run(x):
        try:
            scalar, results = function(x)
            after = _values(variables)
        finally:
            _assign(variables, before)  # no value of the trace may stay in a variable
        changed[:] = [k for k, value in enumerate(after) if value is not before[k]]
        return scalar, (results, [after[k] for k in changed])

    d_x, (results, values) = jax.grad(run, has_aux=True)(x)
    _assign([variables[k] for k in changed], values)
    return d_x, results


def loop(body: Callable, carry: Nest, n: int, like: Nest, variables: list) -> tuple[Nest, Nest]:
    """Run ``body(carry, i) -> (carry, outputs)`` for i = 0, ..., n - 1, without a gradient.

    ``body`` may read all variables, and assign to those in the list ``variables``. ``like`` is a nest of tensors with
    the structure and dtypes of the outputs.

    Returns:
        The last carry, and the nest of all outputs, with a leading axis of length ``n``.
    """
    del like
    changed = set()

    def step(carry, i):
        carry, values = carry
        outside = _values(variables)
        _assign(variables, values)
        before = _values(variables)
        try:
            carry, outputs = body(carry, i)
            after = _values(variables)
        finally:
            _assign(variables, outside)  # no traced value may stay in a variable
        changed.update(k for k, value in enumerate(after) if value is not before[k])
        return (carry, after), outputs

    (carry, values), outputs = lax.scan(step, (carry, _values(variables)), jnp.arange(n, dtype="int32"))
    for k in changed:
        variables[k].assign(values[k])
    return carry, outputs


def _values(variables):
    return [variable.value for variable in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def must_unroll() -> bool:
    """Return False: the loop can be traced."""
    return False


def replica() -> int | Tensor:
    """Return 0: JAX traces a function with the global batch, on any number of devices."""
    return 0


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def with_pullback(value: Tensor, x: Tensor, pullback: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return ``value``. Its gradient is passed to ``x`` as ``pullback(upstream, x)``, which must capture no tensor."""
    del x, pullback
    return value


with_pullback.defvjp(lambda value, x, _: (value, x), lambda pullback, x, upstream: (None, pullback(upstream, x)))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _forward_only(step, length, reverse, constants, params, init, xs):
    step = with_constants(step, constants)
    params, init, xs = lax.stop_gradient((params, init, xs))
    return _forward(step, length, reverse, params, init, xs, keep_states=False)[:2]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _scan_rule(step, length, reverse, constants, params, init, xs):
    return _forward(with_constants(step, constants), length, reverse, params, init, xs, keep_states=False)[:2]


def _scan_forward(step, length, reverse, constants, params, init, xs):
    step = with_constants(step, constants)
    outputs, final, states = _forward(step, length, reverse, params, init, xs, keep_states=True)
    return (outputs, final), (constants, params, init, xs, states, outputs)


def _scan_backward(step, length, reverse, residuals, upstream):
    constants, params, init, xs, states, outputs = residuals
    step = with_constants(step, constants)
    inputs, structure = jax.tree.flatten((params, init, xs))
    d_outputs, d_final = (_real(nest) for nest in upstream)
    n_params, n_state = len(_floats(params)), len(d_final)
    outputs = jax.tree.leaves(outputs)
    same: list[int | None] = []

    def find_same(*inputs):
        same.extend(outputs_that_are_states(*pure_call(step, *inputs)))

    jax.eval_shape(find_same, params, init, _at(xs, 0))

    def body(t, carry):
        d_state, d_params = carry
        state = jax.tree.unflatten(jax.tree.structure(init), state_before(t))
        leaves = jax.tree.leaves((params, state, _at(xs, t)))

        def float_step(sources):
            sources = iter(sources)
            merged = [next(sources) if is_float(leaf) else leaf for leaf in leaves]
            new_state, outputs = pure_call(step, *jax.tree.unflatten(structure, merged))
            return _floats((outputs, new_state))

        _, vjp = jax.vjp(float_step, _floats(leaves))
        (grads,) = vjp([*_at(d_outputs, t), *d_state])
        d_params = [a + b for a, b in zip(d_params, grads, strict=False)]
        grads = grads[n_params:]
        return (grads[:n_state], d_params), [(g, 1) for g in grads[n_state:]]

    def state_before(t):
        first, before = (length - 1, jnp.minimum(t + 1, length - 1)) if reverse else (0, jnp.maximum(t - 1, 0))
        kept = iter(states)
        for k, start in zip(same, jax.tree.leaves(init), strict=True):
            yield next(kept)[t] if k is None else jnp.where(t == first, start, _at(outputs[k], before))

    zeros = [jnp.zeros_like(p) for p in _floats(params)]
    (d_init, d_params), d_xs = _walk(body, (d_final, zeros), length, not reverse, (d_outputs, xs))
    grads = iter([*d_params, *d_init, *d_xs])
    return None, *jax.tree.unflatten(structure, [next(grads) if is_float(x) else None for x in inputs])


_scan_rule.defvjp(_scan_forward, _scan_backward)
_scan = jax.jit(_scan_rule, static_argnums=(0, 1, 2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _pointwise_rule(step, length, constants, params, init, xs):
    return _forward(with_constants(step, constants), length, False, params, init, xs, keep_states=False)[:2]


def _pointwise_forward(step, length, constants, params, init, xs):
    step = with_constants(step, constants)

    def advance(t, state):
        return pure_call(step, params, state, _at(xs, t))[0]

    states = _rows(advance, init, length, xs)
    final = advance(length - 1, _at(states, length - 1))
    _, outputs = pure_call(step, _over_time(params), states, xs)
    return (outputs, final), (constants, params, xs, states)


def _pointwise_backward(step, length, residuals, upstream):
    # Without the barrier, XLA would store intermediate values that both passes compute.
    constants, params, xs, states = lax.optimization_barrier(residuals)
    step = with_constants(step, constants)
    d_outputs, d_final = upstream

    def retreat(t, d_state):
        def from_state(state):
            return pure_call(step, params, state, _at(xs, t))

        return jax.vjp(from_state, _at(states, t))[1]((d_state, _at(d_outputs, t)))[0]

    def from_others(params, xs):
        return pure_call(step, _over_time(params), states, xs)

    d_states = _rows(retreat, d_final, length, d_outputs, reverse=True)
    d_init = retreat(0, _at(d_states, 0))
    d_params, d_xs = jax.vjp(from_others, params, xs)[1]((d_states, d_outputs))
    return None, d_params, d_init, d_xs


_pointwise_rule.defvjp(_pointwise_forward, _pointwise_backward)
_pointwise = jax.jit(_pointwise_rule, static_argnums=(0, 1))


def _over_time(params):
    return jax.tree.map(lambda p: jnp.expand_dims(p, 1), params)


def _rows(advance, start, length, source, *, reverse=False):
    """Return the rows ``start``, ``advance(t, start)`` and so on, joined along axis 1.

    ``source`` is as in ``_rows_to_fill``. The rows are the only state of the loop. XLA on a CPU would copy any further
    state in every step.
    """
    first, ahead = (length - 1, -1) if reverse else (0, 1)
    rows = jax.tree.map(lambda s: _rows_to_fill(s, 1, length, source).at[:, first].set(s), start)

    def iterate(i, rows):
        t = first + ahead * i
        new = advance(t, _at(rows, t))
        return jax.tree.map(lambda r, row: lax.dynamic_update_index_in_dim(r, row, t + ahead, 1), rows, new)

    return lax.fori_loop(0, length - 1, iterate, rows)


def _rows_to_fill(row, axis, length, source, k=0):
    """Return an array for ``length`` rows like ``row`` along ``axis``, filled with number ``k`` of the nest ``source``.

    All values are overwritten. Not zeros, and not the same number twice: XLA would merge equal arrays into one, and
    copy it.
    """
    leaves = [leaf for leaf in jax.tree.leaves(source) if leaf.ndim and 0 not in leaf.shape]
    number = leaves[0][(0,) * (leaves[0].ndim - 1)][k % leaves[0].shape[-1]] if leaves else 0
    return jnp.full((*row.shape[:axis], length, *row.shape[axis:]), number, row.dtype)


def _forward(step, length, reverse, params, init, xs, *, keep_states):
    structure: Any = None

    def body(t, state):
        nonlocal structure
        new_state, outputs = pure_call(step, params, state, _at(xs, t))
        leaves, structure = jax.tree.flatten(outputs)
        pairs = zip(jax.tree.leaves(state), outputs_that_are_states(new_state, outputs), strict=True)
        kept = [(leaf, 0) for leaf, same in pairs if same is None] if keep_states else []
        return new_state, [*((y, 1) for y in leaves), *kept]

    final, rows = _walk(body, init, length, reverse, (xs, init))
    n_outputs = structure.num_leaves
    return jax.tree.unflatten(structure, rows[:n_outputs]), final, rows[n_outputs:]


def _walk(body, carry, length, reverse, source):
    """Run ``body(t, carry) -> (carry, [(row, axis), ...])`` over time, and join the rows along their axes.

    ``source`` is as in ``_rows_to_fill``.
    """
    axes: list[int] = []

    def first_rows(carry):
        rows = body(0, carry)[1]
        axes.extend(axis for _, axis in rows)
        return [row for row, _ in rows]

    examples = jax.eval_shape(first_rows, carry)
    rows = [_rows_to_fill(e, a, length, source, k) for k, (e, a) in enumerate(zip(examples, axes, strict=True))]

    def iterate(i, loop):
        carry, rows = loop
        t = length - 1 - i if reverse else i
        carry, new_rows = body(t, carry)
        # Writing along axis 1 in place is faster than transposing to time-major and back, at every size measured.
        update = lax.dynamic_update_index_in_dim
        return carry, [update(r, row, t, axis) for r, (row, axis) in zip(rows, new_rows, strict=True)]

    return lax.fori_loop(0, length, iterate, (carry, rows))


def _at(xs, t):
    return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, t, 1, keepdims=False), xs)


def _floats(nest):
    return [leaf for leaf in jax.tree.leaves(nest) if is_float(leaf)]


def _real(cotangents):
    return [ct for ct in jax.tree.leaves(cotangents) if ct.dtype != jax.dtypes.float0]
