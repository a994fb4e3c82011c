"""The engine on PyTorch: a loop inside a ``torch.autograd.Function``."""

from collections.abc import Callable

import torch
from keras import tree

from keras_snn.hints import Nest
from keras_snn.ops.backend.purity import is_float
from keras_snn.ops.backend.torch_step import find_step, generator_states, rewind

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
    if constants is not None:
        params = (params, constants)
    structure, flat = tree.map_structure(lambda _: 0, (params, init, xs)), tree.flatten((params, init, xs))
    walk = (_PointwiseWalk if pointwise else _Walk)(step, structure, flat, range(length)[:: -1 if reverse else 1])
    if gradient and torch.is_grad_enabled() and any(leaf.requires_grad for leaf in flat):
        results = _Scan.apply(walk, *flat)
    else:
        with torch.no_grad():
            results = walk.forward(flat, None)
    return tree.pack_sequence_as(walk.step.results, list(results))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, walk, *flat):
        states = []
        results = walk.forward(flat, states)
        ctx.walk = walk
        ctx.n_inputs = len(flat)
        # Saved by PyTorch, not as attributes: it then frees the states after the backward pass, not with the loss.
        ctx.save_for_backward(*flat, *(leaf for state in states for leaf in state))
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
    """The engine for one step: the order of the time steps, and the state of random generators before each."""

    def __init__(self, function, structure, flat, times):
        self.times = times
        self.n_params, self.n_state = (len(tree.flatten(part)) for part in structure[:2])
        params, state, xs = self.split(flat)
        self.step = find_step(function, structure, [*params, *state, *_at(xs, 0)])
        self.rewinds = []

    def split(self, flat):
        """Return the parameters, the states and the inputs."""
        flat = [leaf.detach() for leaf in flat]
        n, m = self.n_params, self.n_params + self.n_state
        return flat[:n], [leaf.contiguous() for leaf in flat[n:m]], flat[m:]

    def forward(self, flat, states):
        """Return the flat (outputs, final state); append the state before each step to ``states``."""
        params, state, xs = self.split(flat)
        rows, advance = self.step.rows(len(self.times)), None
        xs_and_rows = _by_time(xs + rows, len(self.times))
        # Tensors on the meta device have no values: the rows and states already have all shapes.
        for t in () if any(leaf.is_meta for leaf in flat) else self.times:
            if states is not None:
                states.append(state)
                if self.step.draws:  # the backward pass must draw the same
                    self.rewinds.append(generator_states(flat))
            tensors = [*params, *state, *xs_and_rows[t]]
            if advance is None:
                advance = self.step.fastest("advance", (), tensors)
            state = advance(*tensors)
        # Copies: autograd does not support a final state that is the same tensor as an input or an output.
        return rows + [leaf.clone() for leaf in state]

    def backward(self, flat, states, upstream, needed):
        """Return the gradients of the flat (params, init, xs); None for those that are not needed."""
        params, start, xs = self.split(flat)
        n, m = len(params), len(params) + len(start)
        n_outputs = len(upstream) - len(start)
        d_outputs, d_state = upstream[:n_outputs], [leaf.contiguous() for leaf in upstream[n_outputs:]]
        needed = list(needed)
        needed[n:m] = map(is_float, start)
        sources = tuple(i for i, need in enumerate(needed) if need)
        d_inputs = _to_fill(flat, n, needed)
        sums, rows = [d_inputs[k] for k in sources if k < n], [d_inputs[k] for k in sources if k >= m]
        retreat, now = None, generator_states(flat) if self.rewinds else {}
        xs, d_outputs, rows = (_by_time(part, len(self.times)) for part in (xs, d_outputs, rows))
        for i, t in reversed(list(enumerate(self.times))):
            state = states[i * len(start) : (i + 1) * len(start)]
            tensors = [*params, *state, *xs[t], *d_outputs[t], *d_state, *sums, *rows[t]]
            if self.rewinds:
                rewind(self.rewinds[i])
            if retreat is None:
                retreat = self.step.fastest("retreat", sources, tensors)
            d_state = retreat(*tensors)
        rewind(now)
        d_inputs[n:m] = d_state
        return [d if need else None for d, need in zip(d_inputs, needed, strict=True)]


def _at(tensors, t):
    return [x[:, t] for x in tensors]


def _by_time(tensors, length):
    """Return the tuples of the tensors at each time. All views at once take a tenth of the time of single ones."""
    return list(zip(*(x.unbind(1) for x in tensors), strict=True)) or [()] * length


class _PointwiseWalk(_Walk):
    """The engine for steps that are elementwise over a single state."""

    def backward(self, flat, states, upstream, needed):
        """Compute ``_Walk.backward`` for many steps at once.

        The slope ``dv'/dv`` of an elementwise step has one value for each value of the state. With all slopes known,
        each step back in time takes one multiplication and one addition.
        """
        steps = _BLOCK_SIZE // states[0].numel()
        if steps < _MIN_BLOCK_STEPS or self.step.is_compiled:
            return super().backward(flat, states, upstream, needed)
        *d_outputs, d_state = upstream
        v = self.n_params
        sources = tuple(i for i, need in enumerate(needed) if need or i == v)
        d_inputs = _to_fill(flat, v, needed)
        params = [p[:, None] if p.ndim else p for p in flat[:v]]  # constants are scalars
        for stop in range(len(states), 0, -steps):
            now = slice(max(0, stop - steps), stop)
            rows = torch.stack(states[now], 1)
            inputs = [*(p.expand_as(rows) for p in params), rows, *(x[:, now].expand_as(rows) for x in flat[v + 1 :])]
            tensors = [leaf.detach() for leaf in (*inputs, *(d[:, now] for d in d_outputs))]
            results = self.step.fastest("slopes", sources, tensors)(*tensors)
            slopes, direct = (dict(zip(sources, part, strict=True)) for part in (results[::2], results[1::2]))
            d_new = torch.empty_like(rows)
            for t in reversed(range(d_new.shape[1])):
                d_new[:, t] = d_state
                d_state = torch.addcmul(direct[v][:, t], slopes[v][:, t], d_state)
            for k in sources:
                grad = torch.addcmul(direct[k], slopes[k], d_new)
                if k < v:
                    d_inputs[k] += grad.sum(1)
                elif k > v:
                    d_inputs[k][:, now] = grad.sum_to_size(flat[k][:, now].shape)
        d_inputs[v] = d_state if needed[v] else None
        return d_inputs


def _to_fill(flat, n_params, needed):
    """Return zeros for the gradients of the parameters, and empty tensors for those of states and inputs."""
    makers = [torch.zeros_like if i < n_params else torch.empty_like for i in range(len(flat))]
    return [make(leaf) if need else None for make, leaf, need in zip(makers, flat, needed, strict=True)]
