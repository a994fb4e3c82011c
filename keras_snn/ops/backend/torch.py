"""The engine on PyTorch: a loop inside a ``torch.autograd.Function``."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from keras import tree

from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend.purity import is_float, none_if_empty, pure_call, raise_captured, with_constants

#: Number of state values that one block of the elementwise backward pass holds: the size of a processor's cache.
_BLOCK_SIZE = 2**18
#: Smallest number of steps in a block. For fewer, the backward pass runs step by step.
_MIN_BLOCK_STEPS = 4


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
        length = tree.flatten(xs)[0].shape[1]
    step, inputs = with_constants(step, constants), (params, init, xs)
    walk = (_PointwiseWalk if pointwise else _Walk)(step, inputs, range(length)[:: -1 if reverse else 1])
    flat = tree.flatten(inputs)
    # Not while tracing: a trace of an autograd.Function records the results of the example as constants.
    gradient = gradient and torch.is_grad_enabled() and not torch.jit.is_tracing()
    if gradient and any(leaf.requires_grad for leaf in flat):
        results = _Scan.apply(walk, *flat)
    else:
        with torch.no_grad():
            results = walk.forward(flat, None)
    return tree.pack_sequence_as(walk.results, list(results))


def straight_through(value: Tensor, like: Tensor) -> Tensor:
    """Return ``value``. Its gradient is passed to ``like`` unchanged."""
    return _StraightThrough.apply(value, like)


def with_derivative(value: Tensor, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``value``. Its gradient is multiplied by ``derivative(x)`` and passed to ``x``."""
    return _WithDerivative.apply(value, x, derivative)


def has_float64() -> bool:
    """Return True: float64 is available."""
    return True


def floor(x: Tensor) -> Tensor:
    """Return the floor of ``x`` in its dtype. ``keras.ops.floor`` returns float32 for float64 on JAX and PyTorch."""
    return torch.floor(x)


def cumsum(x: Tensor) -> Tensor:
    """Return the cumulative sum over axis 1 in the dtype of ``x``. On PyTorch, Keras's is float32 for float64."""
    return torch.cumsum(x, dim=1)


def is_known(x: Tensor) -> bool:
    """Return whether the value of the tensor ``x`` can be read now."""
    return not (x.is_meta or torch.compiler.is_compiling())


def start_from(states: Sequence[Tensor], x: Tensor, message: str) -> tuple[Tensor, list[Tensor]]:
    """Return ``x`` and copies of ``states``. Their batch sizes are static, and the caller has compared them."""
    del message
    return x, [state.detach().clone() for state in states]


def by_events() -> bool:
    """Return whether loops over single spikes are faster than dense products: never, in Python."""
    return False


def compiled(function: Callable) -> Callable:
    """Return ``function`` unchanged: PyTorch's compiler needs a C++ compiler, which may not be installed."""
    return function


def inference(function: Callable, model: keras.Model) -> Callable:
    """Return ``function(n_steps, *nests)``, which calls ``model``, compiled for inference.

    ``n_steps`` is an integer; a nest may contain None. The states of seed generators are updated.
    """
    del model
    return torch.no_grad()(function)


def gradient(function: Callable, x: Tensor, variables: list) -> tuple[Tensor, Nest]:
    """Return the gradient of a scalar by ``x``, and results: ``function(x) -> (scalar, results)``.

    ``function`` may change variables of the list ``variables``.
    """
    del variables
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        scalar, results = function(x)
    results = tree.map_structure(torch.Tensor.detach, results)
    if not scalar.requires_grad:
        return torch.zeros_like(x), results
    return torch.autograd.grad(scalar, x, allow_unused=True, materialize_grads=True)[0], results


def loop(body: Callable, carry: Nest, n: int, like: Nest, variables: list) -> tuple[Nest, Nest]:
    """Run ``body(carry, i) -> (carry, outputs)`` for i = 0, ..., n - 1, without a gradient.

    ``body`` may read all variables, and assign to those in the list ``variables``. ``like`` is a nest of tensors with
    the structure and dtypes of the outputs.

    Returns:
        The last carry, and the nest of all outputs, with a leading axis of length ``n``.
    """
    del like, variables
    rows = []
    for i in range(n):
        carry, outputs = body(carry, i)
        rows.append(outputs)
    return carry, tree.map_structure(lambda *row: torch.stack(row), *rows)


def replica() -> int | Tensor:
    """Return the rank of this process in the default process group; 0 without one."""
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def with_pullback(value: Tensor, x: Tensor, pullback: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return ``value``. Its gradient is passed to ``x`` as ``pullback(upstream, x)``, which must capture no tensor."""
    # Not while tracing: the ONNX exporter fails on the function if x is a weight, and a trace has no gradients.
    return value if torch.jit.is_tracing() else _WithPullback.apply(value, x, pullback)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, like):
        ctx.dtype = like.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx, upstream):
        return None, upstream.to(ctx.dtype)


class _WithDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, x, derivative):
        ctx.save_for_backward(x)
        ctx.derivative, ctx.slope = derivative, None
        return value.view_as(value)

    @staticmethod
    def backward(ctx, upstream):
        if ctx.slope is None:  # cached: the engine calls this several times
            ctx.slope = ctx.derivative(*ctx.saved_tensors)
        return None, upstream * ctx.slope, None


class _WithPullback(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, x, pullback):
        ctx.save_for_backward(x)
        ctx.pullback = pullback
        return value.view_as(value)

    @staticmethod
    def backward(ctx, upstream):
        return None, ctx.pullback(upstream, *ctx.saved_tensors), None


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, walk, *flat):
        states = []
        results = walk.forward(flat, states)
        ctx.walk = walk
        ctx.n_inputs = len(flat)
        # Saved by PyTorch, not as attributes: it then frees the states after the backward pass, not with the loss.
        ctx.save_for_backward(*flat, *tree.flatten(states))
        ctx.mark_non_differentiable(*(r for r in results if not is_float(r)))
        return tuple(results)

    @staticmethod
    def backward(ctx, *upstream):
        flat, states = ctx.saved_tensors[: ctx.n_inputs], ctx.saved_tensors[ctx.n_inputs :]

        def walk_back():
            return ctx.walk.backward(flat, states, upstream, ctx.needs_input_grad[1:])

        return None, *_OnceDifferentiable.apply(walk_back, *flat, *upstream)


class _OnceDifferentiable(torch.autograd.Function):
    """The result of a function. Its gradient with respect to the other tensors raises an error: it is not zero."""

    @staticmethod
    def forward(ctx, function, *_):
        return tuple(function())

    @staticmethod
    def backward(ctx, *_):
        raise NotImplementedError("`scan` has no second derivative on PyTorch: call it with unroll=True for one.")


class _Walk:
    """The engine for one step: the structures of its inputs and results, and the order of the time steps."""

    def __init__(self, step, inputs, times):
        self.step = step
        self.inputs = _structure(inputs)
        self.times = times
        self.results = None
        self.rewinds = None

    def forward(self, flat, states):
        """Return the flat (outputs, final state); append the state before each step to ``states``."""
        params, state, xs = tree.pack_sequence_as(self.inputs, list(flat))
        joined: Any = None
        self.rewinds = None
        before = None if states is None else _generators(flat)  # only for the backward pass
        without_values = states is None and any(leaf.is_meta for leaf in flat)
        for t in self.times[:1] if without_values else self.times:  # one step shows all shapes
            if states is not None:
                states.append(state)
            if self.rewinds:
                self.rewinds.append(_generators(flat))
            x = tree.map_structure(lambda x: x[:, t], xs)  # noqa: B023
            if joined is None:
                state, outputs = self._first_step(params, state, x)
                if before is not None and not all(map(torch.equal, before.values(), _generators(flat).values())):
                    self.rewinds = [
                        before
                    ]  # the step draws, as a cell with Dropout: the backward pass must draw the same
                n = len(self.times)
                joined = [y.new_empty((y.shape[0], n, *y.shape[1:])) for y in tree.flatten(outputs)]
            else:
                state, outputs = self.step(params, state, none_if_empty(x))
            # Written at once: stacking a list of rows would hold every output twice.
            for rows, y in zip(joined, tree.flatten(outputs), strict=True):
                rows[:, t] = y
        self.results = _structure((outputs, state))
        # Copies: autograd does not support a final state that is the same tensor as an input or an output.
        return joined + [leaf.clone() for leaf in tree.flatten(state)]

    def _first_step(self, *inputs):
        with torch.enable_grad():
            state, outputs = pure_call(self.step, *tree.map_structure(torch.Tensor.detach, inputs))
        if any(leaf.requires_grad for leaf in tree.flatten((state, outputs))):
            raise_captured(["a tensor that requires a gradient"])
        return state, outputs

    def backward(self, flat, states, upstream, needed):
        """Return the gradients of the flat (params, init, xs); None for those that are not needed."""
        n_params, n_state = (len(tree.flatten(part)) for part in self.inputs[:2])
        params, xs = flat[:n_params], flat[n_params + n_state :]
        d_outputs, d_state = upstream[: len(upstream) - n_state], list(upstream[len(upstream) - n_state :])
        needed = list(needed)
        needed[n_params : n_params + n_state] = map(is_float, flat[n_params : n_params + n_state])
        sources = [i for i, need in enumerate(needed) if need]
        d_inputs = _to_fill(flat, n_params, needed)
        now = _generators(flat) if self.rewinds else None

        for i, t in reversed(list(enumerate(self.times))):
            state = states[i * n_state : (i + 1) * n_state]
            inputs = [leaf.detach() for leaf in (*params, *state, *(x[:, t] for x in xs))]
            if self.rewinds:
                _rewind(self.rewinds[i])
            with torch.enable_grad():
                for k in sources:
                    inputs[k].requires_grad_()
                params_t, state_t, x_t = tree.pack_sequence_as(self.inputs, inputs)
                new_state, y = self.step(params_t, state_t, none_if_empty(x_t))
            targets, d_targets = tree.flatten((y, new_state)), [*(d[:, t] for d in d_outputs), *d_state]
            d_state = [torch.zeros_like(leaf) for leaf in state]
            grads = _gradients(targets, [inputs[k] for k in sources], d_targets)
            for k, grad in zip(sources, grads, strict=True):
                if k < n_params:
                    d_inputs[k] += grad
                elif k < n_params + n_state:
                    d_state[k - n_params] = grad
                else:
                    d_inputs[k][:, t] = grad
        d_inputs[n_params : n_params + n_state] = d_state
        if now:
            _rewind(now)
        return [d if need else None for d, need in zip(d_inputs, needed, strict=True)]


class _PointwiseWalk(_Walk):
    """The engine for steps that are elementwise over a single state."""

    def backward(self, flat, states, upstream, needed):
        """Compute ``_Walk.backward`` for many steps at once.

        The slope ``dv'/dv`` of an elementwise step has one value for each value of the state. With all slopes known,
        each step back in time takes one multiplication and one addition.
        """
        steps = _BLOCK_SIZE // states[0].numel()
        if steps < _MIN_BLOCK_STEPS:
            return super().backward(flat, states, upstream, needed)
        *d_outputs, d_state = upstream
        v = len(tree.flatten(self.inputs[0]))
        sources = [i for i, need in enumerate(needed) if need and i != v]
        d_inputs = _to_fill(flat, v, needed)
        for stop in range(len(states), 0, -steps):
            now = slice(max(0, stop - steps), stop)
            inputs = [*(p[:, None] for p in flat[:v]), torch.stack(states[now], 1), *(x[:, now] for x in flat[v + 1 :])]
            inputs = [leaf.detach() for leaf in inputs]
            for k in (*sources, v):
                inputs[k].requires_grad_()
            with torch.enable_grad():
                new_state, outputs = self.step(*tree.pack_sequence_as(self.inputs, inputs))
            (new_state,), outputs = tree.flatten(new_state), tree.flatten(outputs)
            d_now = [d[:, now] for d in d_outputs]
            slope = _gradients([new_state], [inputs[v]], [torch.ones_like(new_state)])[0]
            direct = _gradients(outputs, [inputs[v]], d_now)[0]
            d_new = torch.empty_like(new_state)
            for t in reversed(range(d_new.shape[1])):
                d_new[:, t] = d_state
                d_state = torch.addcmul(direct[:, t], slope[:, t], d_state)
            grads = _gradients([new_state, *outputs], [inputs[k] for k in sources], [d_new, *d_now])
            for k, grad in zip(sources, grads, strict=True):
                if k < v:
                    d_inputs[k] += grad[:, 0]
                else:
                    d_inputs[k][:, now] = grad
        d_inputs[v] = d_state if needed[v] else None
        return d_inputs


def _to_fill(flat, n_params, needed):
    """Return zeros for the gradients of the parameters, and empty tensors for those of states and inputs."""
    makers = [torch.zeros_like if i < n_params else torch.empty_like for i in range(len(flat))]
    return [make(leaf) if need else None for make, leaf, need in zip(makers, flat, needed, strict=True)]


def _gradients(targets, sources, d_targets):
    """Return the gradients with respect to ``sources``; zeros if no target depends on a source. Keeps the graph."""
    targets = [(target, d) for target, d in zip(targets, d_targets, strict=True) if target.requires_grad]
    if not targets or not sources:
        return [torch.zeros_like(source) for source in sources]
    targets, d_targets = zip(*targets, strict=True)
    options = {"retain_graph": True, "materialize_grads": True}
    return torch.autograd.grad(targets, sources, d_targets, **options)


def _generators(flat):
    """Return a dict from each device to the state of its default random generator."""
    cuda = {leaf.device: torch.cuda.get_rng_state(leaf.device) for leaf in flat if leaf.is_cuda}
    return {None: torch.get_rng_state(), **cuda}


def _rewind(states):
    for device, state in states.items():
        if device is None:
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, device)


def _structure(nest):
    """Return ``nest`` with zeros in place of tensors, so that it keeps no tensor alive."""
    return tree.map_structure(lambda _: 0, nest)
