"""The layer calls inside a model, and the time axis of their inputs."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import tree

from keras_snn import layers, probe
from keras_snn.graph.methods import replaced, without_rematerialization
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.layers.time.end_of_time import EndOfTime


@contextlib.contextmanager
def calls(model: keras.Model, record: Callable | None) -> Iterator[list[tuple]]:
    """Report every call of a layer inside ``model``, at any depth, while the block runs.

    Models, wrappers such as ``TimeFold`` and a user's layers that hold others are not reported. The layers inside them
    are reported. While the block runs, ``TimeDistributed`` folds its steps into the batch as ``TimeFold`` does: its
    layer is called once. Calls in other threads are not affected.

    Args:
        model: A built Keras model.
        record: Callable ``(name, layer, inputs, outputs)``; repeated calls of one layer are numbered. A return value
            other than None replaces the outputs. None: report nothing.

    Yields:
        List that grows by the pair of layer and number of time steps in each call of a layer with a time axis.
    """
    names: set[str] = set()
    sizes: list[tuple] = []
    watched, wrappers = {}, {}
    _find(model, watched, wrappers)

    def watch(layer, call, record=record):
        def watched_call(*args, **kwargs):
            outputs = call(*args, **kwargs)
            inputs = args[0] if args else next(iter(kwargs.values()))
            size = _time_steps(layer, inputs, outputs)
            if size is not None:
                sizes.append((layer, size))
            if record is None:
                return outputs
            name = probe.unique(layer.name, names)
            names.add(name)
            replacement = record(name, layer, inputs, outputs)
            return outputs if replacement is None else replacement

        return watched_call

    replacements: dict[tuple, Callable] = {
        # Keras calls the second method in a quantized layer.
        **{(x, name): partial(watch, x) for x in watched for name in ("call", "quantized_call") if hasattr(x, name)},
        **without_rematerialization(model),
    }
    for layer in wrappers:
        replacements[layer, "call"] = partial(watch, layer, record=None)
        if isinstance(layer, keras.layers.TimeDistributed):
            folded = watch(layer, layers.TimeFold(layer.layer).call, record=None)
            replacements[layer, "call"] = lambda _, folded=folded: folded
    with replaced(replacements):
        yield sizes


def _find(layer, watched, wrappers):
    """Collect the layers to report, and the wrappers whose inputs have a time axis."""
    parts = list(layer._flatten_layers(include_self=False, recursive=False))
    parts = [] if isinstance(layer, SequenceLayer) else parts  # the cell is run by the layer
    wraps = isinstance(layer, _CONTAINERS) or getattr(layer, "is_composite", False)
    if parts and (wraps or not is_of_keras_or_ours(layer)):
        if isinstance(layer, WRAPPERS):
            wrappers[layer] = None
        for part in parts:
            _find(part, watched, wrappers)
    else:
        watched[layer] = None


def is_of_keras_or_ours(thing: Any) -> bool:
    """Return whether the class of a layer or function is one of Keras or of this package."""
    return type(thing).__module__.partition(".")[0] in ("keras", "keras_snn")


def _time_steps(layer, inputs, outputs):
    """Return the number of time steps in a call of a layer with a time axis; None for other layers."""
    if isinstance(layer, MAKERS):
        return tree.flatten(outputs)[0].shape[1]
    if isinstance(layer, (*WITH_TIME, *WRAPPERS)):
        return tree.flatten(inputs)[0].shape[0 if getattr(layer, "time_major", False) else 1]
    return None


#: Layers that create a time axis.
MAKERS = (layers.Repeat, StillEncoder)
#: Layers that receive a time axis.
WITH_TIME = (SequenceLayer, EndOfTime, layers.Delta)
#: Wrappers that fold the time axis into the batch.
WRAPPERS = (layers.TimeFold, keras.layers.TimeDistributed)
_CONTAINERS = (keras.Model, keras.layers.Wrapper, keras.layers.Bidirectional)


@dataclass(eq=False)
class Call:
    """One call of a layer for a batch of samples.

    Attributes:
        name: Name of the layer, with a number from its second call on.
        layer: The layer.
        input_shapes: List of the shapes of its inputs, with all axes.
        output_shapes: List of the shapes of its outputs.
        time: Place of the time axis in the first input: "axis" for axis 1, "batch" if the steps are folded into the
            batch axis, None for an input without time.
        runs: Number of runs of the layer per inference: the number of time steps. 1 without time, and for a convolution
            or pooling over time.
        uses: Number of applications in one run: above 1 inside a wrapper that folds another axis.
    """

    name: str
    layer: keras.layers.Layer
    input_shapes: list
    output_shapes: list
    time: str | None = None
    runs: int = 1
    uses: int = 1

    @property
    def input_shape(self) -> tuple:
        """Shape ``(batch, ...)`` of the first input in one run of the layer."""
        return self._shape_of_run(self.input_shapes[0])

    @property
    def output_shape(self) -> tuple:
        """Shape ``(batch, ...)`` of the first output in one run of the layer."""
        return self._shape_of_run(self.output_shapes[0])

    @property
    def is_over_time(self) -> bool:
        """Whether the time axis is one of the axes of a convolution or of a pooling window."""
        rank = window_rank(self.layer)
        return self.time == "axis" and rank > 0 and len(self.input_shapes[0]) <= rank + 2

    def _shape_of_run(self, shape):
        has_time = self.time == "axis" and not self.is_over_time and len(shape) > 2 and shape[1] == self.runs
        return (shape[0], *shape[2 if has_time else 1 :])

    def set_time(self, time: str | None, n_steps: int, uses: int = 1) -> None:
        """Set the place of the time axis, its length, and the number of applications in one run."""
        self.time, self.uses = time, uses
        self.runs = n_steps if time is not None and not self.is_over_time else 1


def window_rank(layer: Any) -> int:
    """Return the number of axes of a convolution's kernel or of a pooling window; 0 for other layers."""
    return getattr(layer, "rank", None) or len(getattr(layer, "pool_size", ()))


def study(
    model: keras.Model, run: Callable[[], Any], n_samples: int, length: int | None = None
) -> tuple[dict[str, Call], int]:
    """Return the calls of a model's layers and its number of time steps, derived from the shapes of one run.

    Layers with a time axis, such as neurons, determine its length. In any other call, axis 1 is the time axis if it has
    this length. Calls before the first layer that creates a time axis, or after the last layer that ends it, have none.

    Args:
        model: A built Keras model.
        run: Function that calls the model, eagerly, on a batch of ``n_samples`` samples.
        length: Integer, the length of the time axis of the model's input; None if the input has no time axis, or if
            layers with a time axis receive it.

    Returns:
        Pair of a dict from each call's name to its ``Call``, and the number of time steps.
    """
    found: dict[str, Call] = {}

    def shapes(tensors):
        return [tuple(t.shape) for t in tree.flatten(tensors) if hasattr(t, "shape")] or [(n_samples,)]

    def record(name, layer, inputs, outputs):
        found[name] = Call(name, layer, shapes(inputs), shapes(outputs))

    with calls(model, record) as sizes:
        run()
    # A wrapper may fold an axis other than time. Its length counts only if no other layer has one.
    known = {n for layer, n in sizes if not isinstance(layer, WRAPPERS)} or {n for _, n in sizes}
    lengths = sorted(known | {length or 1}, reverse=True)
    markers = [name for name, call in found.items() if isinstance(call.layer, (*MAKERS, *WITH_TIME))]
    has_time = length is not None or not any(isinstance(found[name].layer, MAKERS) for name in markers)
    for name, call in found.items():
        if isinstance(call.layer, MAKERS):
            has_time = True
        elif has_time:
            call.set_time(*_time_of(call, n_samples, lengths))
        else:
            call.uses = max(1, call.input_shapes[0][0] // n_samples)
        if markers and name == markers[-1] and not keeps_time(call.layer):
            has_time = False
    return found, lengths[0]


def _time_of(call, n_samples, lengths):
    """Return the place of the time axis in the first input of a call, its length, and the uses in one run."""
    rows, *axes = call.input_shapes[0]
    if isinstance(call.layer, SequenceLayer):
        return "axis", rows if call.layer.time_major else axes[0]
    uses = max(1, rows // n_samples)
    for n_steps in lengths:
        if n_steps > 1 and uses % n_steps == 0:
            return "batch", n_steps, uses // n_steps
    if uses == 1 and len(axes) > 1 and axes[0] in lengths:
        return "axis", axes[0]
    return None, 1, uses


def keeps_time(layer: Any) -> bool:
    """Return whether the output of a layer with a time axis also has a time axis."""
    return not isinstance(layer, EndOfTime) and getattr(layer, "return_sequences", True)


def ends_time(ordered_calls: Iterable[Call]) -> bool:
    """Return whether the last layer with a time axis ends it."""
    markers = [call.layer for call in ordered_calls if isinstance(call.layer, (*MAKERS, *WITH_TIME))]
    return bool(markers) and not keeps_time(markers[-1])


def is_graph(model: Any) -> bool:
    """Return whether this is a Sequential or functional model, not a subclass that overrides ``call``."""
    return isinstance(model, keras.Model) and is_run_by(model, "keras")


def is_run_by(layer: Any, package: str) -> bool:
    """Return whether a package defines the methods that run a layer: no user's class overrides them."""
    definers = [next((cls for cls in type(layer).__mro__ if name in vars(cls)), None) for name in ("call", "run")]
    return {cls.__module__.partition(".")[0] for cls in definers if cls is not None} == {package}
