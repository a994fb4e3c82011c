"""The engine on PyTorch: a loop inside a ``torch.autograd.Function``."""

import torch
from keras import tree
from torch.autograd.function import once_differentiable

from keras_snn.ops.backend.purity import is_float, pure_call, raise_captured


def scan(step, init, xs, params, length, reverse, gradient):
    """Run ``step`` over axis 1 of ``xs``; see ``keras_snn.ops.scan``."""
    if length is None:
        length = tree.flatten(xs)[0].shape[1]
    walk = _Walk(step, (params, init, xs), range(length)[:: -1 if reverse else 1])
    flat = tree.flatten(walk.inputs)
    if gradient and torch.is_grad_enabled() and any(leaf.requires_grad for leaf in flat):
        results = _Scan.apply(walk, *flat)
    else:
        with torch.no_grad():
            results = walk.forward(flat, None)
    return tree.pack_sequence_as(walk.structure, list(results))


def straight_through(value, like):
    """Return ``value``; its gradient goes to ``like`` unchanged."""
    return _StraightThrough.apply(value, like)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, like):
        ctx.dtype = like.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx, upstream):
        return None, upstream.to(ctx.dtype)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, walk, *flat):
        ctx.walk = walk
        ctx.save_for_backward(*flat)
        ctx.states = []
        results = walk.forward(flat, ctx.states)
        ctx.mark_non_differentiable(*(r for r in results if not is_float(r)))
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx, *upstream):
        return None, *ctx.walk.backward(ctx.saved_tensors, ctx.states, upstream, ctx.needs_input_grad[1:])


class _Walk:
    """One step, the structure of its inputs and the order in which time is walked."""

    def __init__(self, step, inputs, times):
        self.step = step
        self.inputs = inputs
        self.times = times
        self.structure = None

    def forward(self, flat, states):
        """Return the flat (outputs, final state); append to ``states`` the state before each step."""
        params, state, xs = tree.pack_sequence_as(self.inputs, list(flat))
        rows = []
        for t in self.times:
            if states is not None:
                states.append(state)
            if rows:
                state, outputs = self.step(params, state, _at(xs, t))
            else:
                state, outputs = self._first_step(params, state, _at(xs, t))
            rows.append(tree.flatten(outputs))
        order = sorted(range(len(rows)), key=self.times.__getitem__)
        joined = [torch.stack([rows[i][k] for i in order], 1) for k in range(len(rows[0]))]
        self.structure = (outputs, state)
        # A final state that is also an input or an output would confuse autograd: it must be a tensor of its own.
        return joined + [leaf.clone() for leaf in tree.flatten(state)]

    def _first_step(self, *inputs):
        with torch.enable_grad():
            state, outputs = pure_call(self.step, *tree.map_structure(torch.Tensor.detach, inputs))
        results = tree.flatten((state, outputs))
        if any(leaf.requires_grad for leaf in results):
            raise_captured(["a tensor that requires a gradient"])
        return state, outputs

    def backward(self, flat, states, upstream, needed):
        """Return the gradients of the flat (params, init, xs), None where none is needed."""
        params, _, xs = tree.pack_sequence_as(self.inputs, list(flat))
        outputs, final = (tree.flatten(part) for part in self.structure)
        d_outputs, d_state = upstream[: len(outputs)], list(upstream[len(outputs) :])
        n_params, n_state = len(tree.flatten(params)), len(final)
        needed = list(needed)
        needed[n_params : n_params + n_state] = map(is_float, final)
        d_inputs = [torch.zeros_like(leaf) if need else None for leaf, need in zip(flat, needed, strict=True)]

        for t, state in zip(reversed(self.times), reversed(states), strict=True):
            inputs = [leaf.detach() for leaf in tree.flatten((params, state, _at(xs, t)))]
            sources = [i for i, need in enumerate(needed) if need]
            with torch.enable_grad():
                for i in sources:
                    inputs[i].requires_grad_()
                new_state, y = self.step(*tree.pack_sequence_as(self.inputs, inputs))
            pairs = zip(tree.flatten((y, new_state)), [*(d[:, t] for d in d_outputs), *d_state], strict=True)
            targets, d_targets = zip(*((a, d) for a, d in pairs if a.requires_grad), strict=True)
            grads = torch.autograd.grad(targets, [inputs[i] for i in sources], d_targets, allow_unused=True)
            d_state = [torch.zeros_like(s) for s in tree.flatten(state)]
            for i, grad in zip(sources, grads, strict=True):
                if grad is None:
                    continue
                if i < n_params:
                    d_inputs[i] += grad
                elif i < n_params + n_state:
                    d_state[i - n_params] = grad
                else:
                    d_inputs[i][:, t] = grad
        d_inputs[n_params : n_params + n_state] = d_state
        return [d if need else None for d, need in zip(d_inputs, needed, strict=True)]


def _at(xs, t):
    return tree.map_structure(lambda x: x[:, t], xs)
