"""Whether a model can run over parts of its time axis, and how."""

import contextlib
import math
from collections.abc import Collection, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_snn import checks, layers, probe
from keras_snn.graph.calls import (
    MAKERS,
    WITH_TIME,
    WRAPPERS,
    Call,
    ends_time,
    is_graph,
    is_of_keras_or_ours,
    is_run_by,
    keeps_time,
    study,
)
from keras_snn.graph.methods import replaced, without_rematerialization
from keras_snn.graph.samples import static_batch_size
from keras_snn.graph.trace import trace
from keras_snn.hints import Nest, Tensor
from keras_snn.layers.base.sequence_layer import SequenceLayer

#: Bytes of the largest layer's inputs and outputs in a part of the time axis, if the number of steps is not given.
_MEMORY = 2**26


class TimeAxis:
    """The time axis of a model: its origin and length, and whether the model can run over parts of it.

    All of this is derived from the shapes of a run that computes no values.

    Attributes:
        model: The model.
        x: One of the samples.
        n_steps: Number of time steps.
        is_made: Boolean. True: a layer of the model creates the time axis. False: the inputs have it.
        why_not: The reason why the model cannot run over parts of its time axis, or None.
        calls: Dict from the names of the layer calls to ``Call``.
        emitters: Dict from the names of calls of spiking layers to the triple of the layer, the shape of the spikes of
            one step without the batch axis, and whether the layer has a mask.
        outputs: The model's outputs, a ``KerasTensor`` or a nest of them.
        ended: List with a Boolean for each output: False if it has a time axis. Empty if the model cannot run over
            parts.
        reads_dt: Boolean, whether a layer reads its dt.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Nest,
        *,
        n_steps: int | None = None,
        length: int | None = None,
        causal: bool = False,
    ) -> None:
        """Study a model.

        Args:
            model: A built Keras model.
            x: Samples, an array or a nest of them. Only shapes and dtypes matter.
            n_steps: Integer, number of steps of layers that create a time axis; None for that of each layer.
            length: As in ``study``.
            causal: Boolean. True asserts that no output depends on later inputs, if the graph cannot be read.
        """
        self.model = model
        self.emitters: dict[str, tuple] = {}
        self.x = tree.map_structure(lambda array: array[:1], x)
        n = static_batch_size(model) or 1
        specs = tree.map_structure(lambda a: keras.KerasTensor((n, *a.shape[1:]), _dtype(a)), x)

        def run_model(x):  # PyTorch runs it again if a layer needs values
            self.emitters = {}
            with probe.scope(carry=probe.Carry(), n_steps=n_steps, record=self._record) as opened:
                outputs = []
                self.calls, self.n_steps = study(model, lambda: outputs.append(model(x, training=False)), n, length)
            self.is_made, self.reads_dt = opened.makes_time, opened.reads_dt
            return outputs[0]

        try:
            self.outputs = _shapes(run_model, specs)
        except Exception as error:  # any backend's, or one of a user's layer
            cause = checks.plain_text(error.__context__ or error)  # without Keras's text about the layer of `_shapes`
            shapes = [tuple(a.shape) for a in tree.flatten(x)]
            raise ValueError(
                f"The model {model.name!r} cannot run on arrays of the shapes {shapes}: {cause}"
            ) from error
        self.why_not = self._why_not(x, causal)
        self.ended = self._ended(specs) if self.why_not is None else []

    def _ended(self, specs):
        flat = tree.flatten(self.outputs)
        has_length = any(y.shape[1:2] == (self.n_steps,) for y in flat)
        if not has_length or (len(flat) == 1 and ends_time(self.calls.values())):
            return [True] * len(flat)
        try:
            longer = tree.flatten(self._outputs_of_steps(specs, self.n_steps + 1))
        except Exception as error:  # any backend's, or one of a user's layer
            self.why_not = f"the model takes {self.n_steps} steps only ({checks.first_line(error)})"
            return []
        return [a.shape == b.shape for a, b in zip(flat, longer, strict=True)]

    def _record(self, layer, spikes, mask=None):
        name = probe.unique(layer.name, self.emitters)
        self.emitters[name] = layer, tuple(spikes.shape[2:]), mask is not None

    def _why_not(self, x, causal):
        calls, shapes = self.calls.values(), [a.shape for a in tree.flatten(x)]
        if not self.is_made and any(shape[1:2] != (self.n_steps,) for shape in shapes):
            # Inputs of another length may have a time axis too: a layer may change the length.
            may_have_time = len({shape[1:2] for shape in shapes}) == 1 and len(shapes[0]) > 2
            reason = why_not_in_parts(self.model, calls, causal=causal) if may_have_time else None
            return reason or "not all inputs have a time axis, and no layer of keras_snn creates one"
        if has_two_time_axes(calls):
            return "the model has two time axes, one of its input and one that a layer creates"
        lengths = {call.output_shapes[0][1] for call in calls if isinstance(call.layer, MAKERS)}
        if len(lengths) > 1:
            return f"its layers create time axes of different lengths, {' and '.join(map(str, sorted(lengths)))} steps"
        return why_not_in_parts(self.model, calls, causal=causal)

    def _outputs_of_steps(self, specs, n_steps):
        def longer(spec):
            batch, _, *units = spec.shape
            return keras.KerasTensor((batch, n_steps, *units), spec.dtype)

        if not self.is_made:
            specs = tree.map_structure(longer, specs)
        return _shapes(lambda x: self.run(x, n_steps, probe.Carry()), specs)

    def parts(self, steps_at_once: int) -> list[int]:
        """Return the list of the numbers of steps of all parts; the first may be smaller."""
        n_parts = -(-self.n_steps // steps_at_once)
        return [self.n_steps - (n_parts - 1) * steps_at_once, *[steps_at_once] * (n_parts - 1)]

    def scope_of(self, n_steps: int) -> dict[str, Any]:
        """Return the arguments of ``probe.scope`` for a part of ``n_steps`` steps."""
        return {"n_steps": n_steps, "code_steps": self.n_steps} if self.is_made else {}

    def check(self) -> None:
        """Raise ValueError if the model cannot run over parts of its time axis."""
        if self.why_not is not None:
            raise ValueError(
                f"The model {self.model.name!r} cannot run over parts of its time axis: {self.why_not}. If the graph "
                "cannot be read (a subclassed model, a Lambda layer, operations), but outputs depend on no later time "
                "step and only layers of keras_snn keep a state, pass causal=True."
            )

    def steps_at_once(self, batch_size: int) -> int:
        """Return the number of steps of a part: all steps, or fewer if they take too much memory."""
        bytes_per_step = 4 * batch_size * max(map(_size, self.calls.values())) / self.n_steps
        return int(min(self.n_steps, max(1, _MEMORY // bytes_per_step)))

    def batch_size(self, n_steps: int) -> int:
        """Return the number of samples in a batch for parts of ``n_steps`` steps: 128 to 512, by their memory."""
        sizes = []
        for call in self.calls.values():
            is_still = call.time is None and not isinstance(call.layer, MAKERS)
            sizes.append(_size(call) if is_still else _size(call) * n_steps / self.n_steps)
        return int(np.clip(_MEMORY // (4 * max(sizes)), 128, 512))

    @contextlib.contextmanager
    def scope(self, n_steps: int, carry: probe.Carry, **settings: Any) -> Iterator[None]:
        """Open a scope for a part of ``n_steps`` steps; other arguments are those of ``probe.scope``."""
        with any_length(self.model), probe.scope(carry=carry, **self.scope_of(n_steps), **settings):
            yield

    def run(self, x: Nest, n_steps: int, carry: probe.Carry, **settings: Any) -> Nest:
        """Call the model on a part of ``n_steps`` steps; ``x`` is the part, or the still input."""
        with self.scope(n_steps, carry, **settings):
            return self.model(x, training=False)

    def part(self, x: Nest, start: int | Tensor, n_steps: int) -> Nest:
        """Return the inputs of a part; ``start`` may be a tensor."""
        if self.is_made or tree.flatten(x)[0].shape[1:2] == (n_steps,):
            return x
        return tree.map_structure(lambda array: _steps_of(array, start, n_steps), x)


def _shapes(function, specs):
    """Return the outputs of a function of tensors as a nest of ``KerasTensor``, without computing values."""
    layer = keras.layers.Layer()
    layer.call = function
    return layer.compute_output_spec(specs)


def why_not_in_parts(model: keras.Model, calls: Collection[Call], *, causal: bool = False) -> str | None:
    """Return the reason why a model cannot run over parts of its time axis; None if it can.

    In a part of the time axis, outputs must not depend on later parts, and nothing but layers of this package may keep
    a state. The answer comes from the graph of the model and from the classes and configurations of its layers.

    Args:
        model: A built Keras model.
        calls: Its ``Call`` objects, from ``study``.
        causal: Boolean. True asserts that parts of the model that cannot be read do not mix time steps: subclassed
            models, a user's layers and functions, ``keras.layers.Lambda`` and operations of ``keras.ops``.
    """
    reason = None if causal else _why_unknown(model)
    if reason is not None:
        return reason
    for wrapper in model._flatten_layers():
        for part in wrapper.layer._flatten_layers() if isinstance(wrapper, WRAPPERS) else ():
            if isinstance(part, (*MAKERS, *WITH_TIME)):
                return f"{_described(part)} has a time axis of its own at each time step"
    for call in calls:
        if call.time == "axis" or isinstance(call.layer, MAKERS):
            reason = _why_not_step_by_step(call.layer, call.input_shapes[0], causal=causal)
            if reason is not None:
                return reason
    return None if causal else _why_not_by_graph(model)


def _why_not_by_graph(model):
    """Return which layer of a graph mixes time steps, or adds values after the time axis to them; or None.

    A call after the last layer that ends the time axis may still have a time axis: that of another branch.
    """
    model_graph = trace(model)
    is_made = any(isinstance(node.layer, MAKERS) for node in model_graph.nodes)
    in_time, after_time = set() if is_made else set(model_graph.inputs), set()
    for node in model_graph.nodes:
        layer = node.layer
        has_time = isinstance(layer, MAKERS) or not in_time.isdisjoint(node.inputs)
        comes_after = not after_time.isdisjoint(node.inputs)
        if isinstance(layer, WITH_TIME) and not has_time:
            return f"{_described(layer)} has a time axis of its own"
        if has_time and comes_after:
            return f"each time step of {_described(layer)} depends on the end of the time axis"
        timed = [shape for value, shape in zip(node.inputs, node.input_shapes, strict=True) if value in in_time]
        reason = _why_not_step_by_step(layer, timed[0], causal=False) if timed else None
        if reason is not None:
            return reason
        if comes_after or (has_time and not keeps_time(layer)):
            after_time.update(node.outputs)
        elif has_time:
            in_time.update(node.outputs)
    return None


def _why_not_step_by_step(layer, shape, causal):
    """Return the reason why a call does not compute each time step of ``(batch, time, ...)`` separately, or None."""
    while isinstance(layer, keras.layers.Wrapper) and not isinstance(layer, WRAPPERS):
        layer = layer.layer
    described = _described(layer)
    if isinstance(layer, keras.layers.RNN):
        return (
            f"{described} keeps a state that only keras_snn.layers.RNN carries between parts: use "
            "keras_snn.layers.RNN(keras.layers.LSTMCell(...)), for example"
        )
    is_known = is_of_keras_or_ours(layer) and not isinstance(layer, keras.layers.Lambda)
    if is_known and not _is_step_by_step(layer, shape, trusts=True):
        return f"{described} mixes time steps"
    if not causal and not _is_step_by_step(layer, shape, trusts=False):
        return f"{described} may mix time steps"
    return None


def _described(layer):
    kind = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    return f"the {kind} {layer.name!r} ({type(layer).__name__})"


def _why_unknown(model):
    """Return the first part of a model whose treatment of time cannot be read, or None."""
    runs = [
        part for part in model._flatten_layers() if isinstance(part, SequenceLayer) and is_run_by(part, "keras_snn")
    ]
    folds = [part.layer for part in model._flatten_layers() if isinstance(part, WRAPPERS)]
    known = {id(part) for run in (*runs, *folds) for part in run._flatten_layers()}  # with cells, and without time
    for part in model._flatten_layers():
        if id(part) in known:
            continue
        holds_layers = any(True for _ in part._flatten_layers(include_self=False, recursive=False))
        if isinstance(part, keras.Model) and not is_graph(part):
            return f"the graph of the subclassed model {part.name!r} cannot be read"
        if isinstance(part, keras.Model) and not getattr(part, "inputs", None):  # a Sequential of a dict
            return f"the graph of the model {part.name!r} cannot be read"
        if holds_layers and not is_of_keras_or_ours(part):
            return f"{_described(part)} holds other layers"
        for operation in getattr(part, "operations", ()):
            if not isinstance(operation, keras.layers.Layer) and type(operation).__name__ not in _OF_MASKS:
                return f"{_described(operation)} may mix time steps"
    return None


def has_two_time_axes(calls: Collection[Call]) -> bool:
    """Return whether layers with a time axis run before the first layer that creates one."""
    markers = [call.layer for call in calls if isinstance(call.layer, (*MAKERS, *WITH_TIME))]
    return any(isinstance(layer, MAKERS) for layer in markers) and not isinstance(markers[0], MAKERS)


def _is_step_by_step(layer, shape, trusts):
    """Return whether each time step of a layer's output ``(batch, time, ...)`` depends on no later step of its input.

    Args:
        layer: The layer, or an operation.
        shape: Shape of its first input.
        trusts: Boolean, whether to assume this of a user's functions.
    """
    rank = len(shape)
    activation = getattr(layer, "activation", None)
    if activation is not None and not (trusts or _is_known_activation(activation, shape)):
        return False  # a user's function may mix time steps
    is_ours = isinstance(layer, (*MAKERS, *WITH_TIME, layers.MaxRatePooling))
    if is_ours and not (trusts or is_run_by(layer, "keras_snn")):
        return False
    if isinstance(layer, SequenceLayer):
        # Consumers of the last states run after the last step. With time_major, axis 1 is the batch.
        return not (layer.go_backwards or layer.return_state or (layer.time_major and not trusts))
    if is_ours or isinstance(layer, WRAPPERS):
        return True
    if not isinstance(layer, keras.layers.Layer):
        return _is_of_masks(layer, rank)
    if type(layer) is keras.layers.Reshape:  # allowed if it reshapes the units of a step
        length, *units = layer.target_shape
        return length == -1 and None not in shape[2:] and math.prod(units) == math.prod(shape[2:])
    if rank == 2:  # the last axis is the time axis
        return type(layer) in (keras.layers.Embedding, keras.layers.Identity, keras.layers.Rescaling)
    if isinstance(layer, keras.layers.PReLU) and 1 not in (layer.shared_axes or ()):
        return False  # a slope for each time step
    if isinstance(layer, keras.layers.Rescaling) and max(np.ndim(layer.scale), np.ndim(layer.offset)) >= rank - 1:
        return False  # a scale for each time step
    axes = np.ravel(getattr(layer, "axis", -1)) % rank
    return type(layer) in _STEP_BY_STEP and axes.min() > 1


def _is_of_masks(operation, rank):
    """Return whether an operation may be one that makes or merges masks without mixing time steps."""
    name = type(operation).__name__
    if name not in _OF_MASKS or not hasattr(operation, "axis"):
        return name in _OF_MASKS
    axes, rank = np.ravel(operation.axis), rank + (name == "ExpandDims")
    return None not in axes and (axes % rank).min() > 1


def _is_known_activation(activation, shape):
    """Return whether an activation is one of Keras or of this package that acts on each time step separately."""
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in _STEP_BY_STEP and _is_step_by_step(activation, shape, trusts=False)
    if type(activation).__module__ == "keras_snn.activations":
        inner = getattr(activation, "activation", None)  # of Scaled
        return inner is None or _is_known_activation(inner, shape)
    name = getattr(activation, "__name__", "")
    known = [getattr(keras.activations, name, None)]
    if known[0] is not None or name in _ELEMENTWISE:  # others, such as flip, may mix time steps
        known.append(getattr(keras.ops, name, None))
    return activation in known


#: Elementwise functions of ``keras.ops`` in addition to those of ``keras.activations``.
_ELEMENTWISE = {
    *("abs", "absolute", "ceil", "cos", "exp", "expm1", "floor", "log", "log1p", "negative", "reciprocal", "round"),
    *("rsqrt", "sign", "sin", "sqrt", "square"),
}
#: Operations with which layers of Keras create and merge masks.
_OF_MASKS = {
    *("NotEqual", "Any", "Cast", "LogicalOr", "LogicalAnd"),
    *("ExpandDims", "ZerosLike", "OnesLike", "Concatenate"),  # of `Concatenate`
}
#: Layers that compute each time step of (batch, time, ...) separately, unless their ``axis`` is 1.
_STEP_BY_STEP = {
    *(keras.layers.Dense, keras.layers.Embedding, keras.layers.Rescaling, keras.layers.Identity),
    *(keras.layers.Masking,),
    *(keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU),
    *(keras.layers.Softmax, keras.layers.BatchNormalization, keras.layers.LayerNormalization),
    *(keras.layers.UnitNormalization, keras.layers.RMSNormalization),
    *(keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.AlphaDropout, keras.layers.GaussianDropout),
    *(keras.layers.GaussianNoise, keras.layers.ActivityRegularization),
    *(keras.layers.Add, keras.layers.Subtract, keras.layers.Multiply, keras.layers.Average, keras.layers.Maximum),
    *(keras.layers.Minimum, keras.layers.Concatenate),
}


def any_length(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    """Return a context in which a model accepts inputs with a time axis of any length."""
    graphs = [part for part in model._flatten_layers() if isinstance(part, keras.Model)]
    unchecked = {(part, "_assert_input_compatibility"): lambda _: lambda *_: None for part in graphs}
    return replaced({**unchecked, **without_rematerialization(model)})


def _size(call):
    """Return the number of elements of the inputs and outputs of a call."""
    return sum(map(math.prod, (*call.input_shapes, *call.output_shapes)))


def _dtype(array):
    return keras.backend.standardize_dtype(array.dtype)


def _steps_of(array, start, n_steps):
    """Return ``array (batch, time, ...)`` from step ``start``, which may be a tensor, on."""
    batch, _, *units = ops.shape(array)
    return ops.slice(array, (0, start, *[0] * len(units)), (batch, n_steps, *units))
