"""A step of the engine on PyTorch: its forward pass and its vector-Jacobian product, traced and compiled."""

import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from keras import tree
from torch.fx.experimental.proxy_tensor import make_fx

from keras_snn.config import default
from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend.purity import none_if_empty, pure_call, raise_captured

#: A step is traced and compiled from call number `_CALLS_TO_COMPILE` with the same shapes on.
_CALLS_TO_COMPILE = 20


def find_step(function: Callable, structure: Nest, inputs: Sequence[Tensor]) -> "Step":
    """Return the ``Step`` of a function for these flat inputs, and count the call."""
    step = _step(function, repr(structure), tuple((*x.shape, x.dtype, x.device) for x in inputs))
    if step.results is None:
        step.prepare(structure, inputs)
    step.n_calls += 1
    return step


class Step:
    """A step for tensors of the same shapes, as functions of flat sequences of tensors.

    First, PyTorch runs the operations one by one, and autograd records them. From call number ``_CALLS_TO_COMPILE`` on,
    graphs run instead, without a record, and compiled if there is a compiler. Steps that draw random numbers, and calls
    in a trace or under autocast, never use graphs. States are contiguous.

    Args:
        function: The step, ``(params, state, x) -> (state, outputs)``.
    """

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.n_calls = 0
        #: The structures of the inputs (params, state, x) and of the results (outputs, state).
        self.structure: Any = None
        self.results: Any = None
        #: The shape, dtype and device of each output.
        self.outputs: list[tuple] = []
        #: Whether the step draws random numbers, as a cell with Dropout does.
        self.draws = False
        self.is_compiled = False
        self._graphs: dict[tuple, Callable] = {}

    def prepare(self, structure: Nest, inputs: Sequence[Tensor]) -> None:
        """Call the step once to learn the form of its results; raise ValueError for a step that is not pure."""
        before = generator_states(inputs)
        with torch.enable_grad():
            state, outputs = pure_call(self.function, *tree.pack_sequence_as(structure, list(inputs)))
        if any(leaf.requires_grad for leaf in tree.flatten((state, outputs))):
            raise_captured(["a tensor that requires a gradient"])
        self.draws = not all(map(torch.equal, before.values(), generator_states(inputs).values()))
        rewind(before)
        self.outputs = [(tuple(y.shape), y.dtype, y.device) for y in tree.flatten(outputs)]
        self.structure, self.results = structure, tree.map_structure(lambda _: 0, (outputs, state))

    def rows(self, length: int) -> list[Tensor]:
        """Return tensors for the outputs of ``length`` steps."""
        return [
            torch.empty((batch, length, *units), dtype=dtype, device=device)
            for (batch, *units), dtype, device in self.outputs
        ]

    def flat(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the flat (outputs, state) of a step."""
        params, state, x = tree.pack_sequence_as(self.structure, list(inputs))
        state, outputs = self.function(params, state, none_if_empty(x))
        return tree.flatten((outputs, state))

    def advance(self, *tensors: Tensor) -> list[Tensor]:
        """Write the outputs of a step to rows, and return its state. ``tensors`` are its inputs and the rows."""
        n = len(tensors) - len(self.outputs)
        results = self.flat(tensors[:n])
        for row, y in zip(tensors[n:], results, strict=False):
            row.copy_(y)
        return [leaf.contiguous() for leaf in results[len(self.outputs) :]]

    def retreat(self, sources: tuple[int, ...], *tensors: Tensor) -> list[Tensor]:
        """Go back one step; return the gradients of the state.

        Args:
            sources: The positions of the inputs that have a gradient, with all float states.
            *tensors: The inputs, the gradients of (outputs, state), and a tensor for each source that is not a state:
                the gradient of a parameter is added to it, that of an input x is written to it.
        """
        n_params, n_state, n_xs = (len(tree.flatten(part)) for part in self.structure)
        n = n_params + n_state + n_xs
        inputs, rest = [leaf.detach() for leaf in tensors[:n]], iter(tensors[n:])
        with torch.enable_grad():
            for k in sources:
                inputs[k].requires_grad_()
            results = self.flat(inputs)
        grads = gradients(results, [inputs[k] for k in sources], [next(rest) for _ in results])
        d_state = [torch.zeros_like(leaf) for leaf in inputs[n_params : n_params + n_state]]
        for k, grad in zip(sources, grads, strict=True):
            if k < n_params:
                next(rest).add_(grad)
            elif k < n_params + n_state:
                d_state[k - n_params] = grad.contiguous()
            else:
                next(rest).copy_(grad)
        return d_state

    def slopes(self, sources: tuple[int, ...], *tensors: Tensor) -> list[Tensor]:
        """Return the factors by which an elementwise step passes gradients back: two for each of ``sources``.

        The gradient of a source is that of the new state times the first, plus the second. ``tensors`` are the inputs
        of the step, at many times, and the gradients of its outputs. The inputs of index ``sources`` have a gradient.
        """
        n = len(tensors) - len(self.outputs)
        inputs = [leaf.detach() for leaf in tensors[:n]]
        with torch.enable_grad():
            for k in sources:
                inputs[k].requires_grad_()
            *outputs, state = self.flat(inputs)
        slopes = gradients([state], [inputs[k] for k in sources], [torch.ones_like(state)])
        direct = gradients(outputs, [inputs[k] for k in sources], tensors[n:])
        return [x for pair in zip(slopes, direct, strict=True) for x in pair]

    def fastest(self, name: str, sources: tuple[int, ...], tensors: Sequence[Tensor]) -> Callable:
        """Return the method ``name`` for these sources, or its graph from call ``_CALLS_TO_COMPILE`` on."""
        method = getattr(self, name)
        function = functools.partial(method, sources) if sources else method
        is_traced = torch.compiler.is_compiling() or torch.fx._symbolic_trace.is_fx_symbolic_tracing()
        converts = any(torch.is_autocast_enabled(device) for device in {x.device.type for x in tensors})
        is_traced |= any(type(x) is not torch.Tensor for x in tensors)  # FakeTensor and others
        if self.n_calls < _CALLS_TO_COMPILE or self.draws or is_traced or converts:
            return function
        # Not the first stride: a slice of a longer sequence has a larger one. Strides of 0 and 1 need other code.
        layouts = ((tuple(x.shape), x.stride()[1:], x.is_contiguous(), *_first_stride_in_code(x)) for x in tensors)
        key = name, sources, default.compile_steps, *layouts
        with _lock:
            if key not in self._graphs:
                self._graphs[key] = _graph(function, [_copy(x) for x in tensors])
        self.is_compiled = isinstance(self._graphs[key], _Compiled)
        return self._graphs[key]


_lock = threading.RLock()  # PyTorch traces in one thread only
_step = functools.lru_cache(maxsize=256)(lambda function, structure, shapes: Step(function))


def gradients(targets: Sequence[Tensor], sources: Sequence[Tensor], d_targets: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the gradients with respect to ``sources``; zeros if no target depends on a source. Keeps the graph."""
    pairs = [(target, d) for target, d in zip(targets, d_targets, strict=True) if target.requires_grad]
    if not pairs or not sources:
        return [torch.zeros_like(source) for source in sources]
    targets, d_targets = zip(*pairs, strict=True)
    return torch.autograd.grad(targets, sources, d_targets, retain_graph=True, materialize_grads=True)


def generator_states(tensors: Sequence[Tensor]) -> dict[Any, Tensor]:
    """Return the states of the default random generators of the CPU (key None) and of the tensors' devices."""
    cuda = {x.device: torch.cuda.get_rng_state(x.device) for x in tensors if x.is_cuda}
    return {None: torch.get_rng_state(), **cuda}


def rewind(states: dict[Any, Tensor]) -> None:
    """Set the states of random generators to those that ``generator_states`` returned."""
    for device, state in states.items():
        if device is None:
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, device)


def _copy(tensor, shifted=False):
    """Return a copy with the strides of ``tensor``, for a graph; floats have other values if ``shifted``."""
    once = tensor[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride())]
    values = once
    if shifted and tensor.is_floating_point():
        values = once + torch.arange(once.numel(), dtype=once.dtype, device=once.device).sin().view(once.shape)
    copy = torch.empty_strided(once.shape, once.stride(), dtype=once.dtype, device=once.device).copy_(values)
    return copy.expand(tensor.shape)


def _graph(function, tensors):
    """Return the graph of a function of tensors, compiled if possible; the function itself if it has no graph."""
    try:
        graph = make_fx(function)(*tensors)
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.detach.default:
                node.replace_all_uses_with(node.args[0])
        graph.graph.eliminate_dead_code()
        graph.recompile()
        is_equal = _are_equal(graph, function, tensors)
    except Exception as error:
        if "data-dependent" not in str(error):  # a step with `ops.cond` or a seed is not a failure
            _report("A step cannot be traced, so PyTorch's autograd runs it, which is slower", str(error))
        return function
    if not is_equal:  # the graph contains values that NumPy computed from the example
        return function
    if not default.compile_steps:
        return graph
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own, while it imports its compiler
            compiled = _compiled(graph, tensors)
            compiled(*tensors)
    except Exception as error:
        message = "torch.compile fails, so steps run uncompiled, which is several times slower"
        _report(f"{message}. keras_snn.default.compile_steps = False avoids this message", str(error))
        return graph
    return _Compiled(compiled, function)


def _compiled(graph, tensors):
    """Return the compiled graph. It accepts any first strides, which depend on the length of the sequence."""
    try:
        # Without Dynamo, whose guards take 40 us in each call. The work of a small step takes 5.
        fakes = _fakes(tensors)
        return torch._inductor.compile(make_fx(graph, tracing_mode="symbolic")(*fakes), fakes)
    except Exception:  # private parts of PyTorch, which may differ in other versions
        return torch.compile(graph, dynamic=True)


def _fakes(tensors):
    """Return tensors without values, of the same layouts. Each first stride is a separate symbol."""
    # Importing takes a quarter of a second.
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    mode = FakeTensorMode(shape_env=ShapeEnv(duck_shape=False), allow_non_fake_inputs=True)
    fakes = []
    for x in tensors:
        strides = [DimDynamic.INFER_STRIDE] * x.ndim
        if x.ndim and not x.is_contiguous() and not _first_stride_in_code(x):
            strides[0] = DimDynamic.DYNAMIC
        context = StatelessSymbolicContext([DimDynamic.STATIC] * x.ndim, strides)
        fakes.append(mode.from_tensor(x, symbolic_context=context))
    return fakes


def _first_stride_in_code(x):
    return [stride for stride in x.stride()[:1] if stride < 2]  # PyTorch's symbols do not stand for 0 and 1


def _are_equal(graph, function, tensors):
    """Return whether ``graph`` and ``function`` have the same results and effects for other values of the tensors."""
    runs = []
    for call in (graph, function):
        others = [_copy(x, shifted=True) for x in tensors]
        runs.append([*call(*others), *others])
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*runs, strict=True))


class _Compiled:
    """A compiled graph. During an FX trace, even one in another thread, it calls the function: the graph would fail."""

    def __init__(self, compiled, function):
        self.compiled = compiled
        self.function = function

    def __call__(self, *tensors):
        return (self.function if torch.fx._symbolic_trace.is_fx_symbolic_tracing() else self.compiled)(*tensors)


@functools.cache  # one report of each failure
def _report(message, error):
    warnings.warn(f"{message}. {error}", stacklevel=2)
