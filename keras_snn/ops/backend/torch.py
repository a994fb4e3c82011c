"""The functions of the PyTorch backend. The engine is in ``torch_scan``."""

from collections.abc import Callable, Sequence

import keras
import torch
from keras import tree

from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend.torch_scan import scan

__all__ = ["scan"]


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


def must_unroll() -> bool:
    """Return whether TorchScript is tracing. Its trace would store results of an ``autograd.Function`` as constants."""
    return torch.jit.is_tracing()


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
