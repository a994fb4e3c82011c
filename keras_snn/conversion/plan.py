"""Analyze a model's graph for conversion, and list the layers that cannot be converted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_snn import activations, graph
from keras_snn.energy.connections import (
    CONVOLUTIONS,
    DEPTHWISE,
    DROPPED,
    MERGES,
    PADDINGS,
    SEPARABLE,
    TRANSPOSED,
    is_linear,
)

LINEAR = (layers.Dense, *CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)
MAX_POOLINGS = (
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
)
AVERAGE_POOLINGS = (
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
)
#: Linear layers, and layers that move values. They run unchanged at every step.
UNCHANGED = (
    *PADDINGS,
    *(layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector),
    *(layers.Rescaling, layers.Normalization, layers.BatchNormalization),
)
ACTIVATIONS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax)
#: Layers that replace operations of ``keras.ops``.
_AS_LAYERS = {
    **{"Add": "Add()", "Subtract": "Subtract()", "Concatenate": "Concatenate()", "Relu": "ReLU()"},
    **{"Reshape": "Reshape(...)", "Softmax": "Softmax()", "Mean": "GlobalAveragePooling2D()"},
}
#: Activations that depend on several units.
_JOINT = ("softmax", "log_softmax", "sparsemax", "glu")
_LIF = (activations.LIFRate, activations.SoftLIF)


@dataclass
class Stage:
    """One call of a layer in the ANN, and the calls after it that are converted together with it.

    Attributes:
        node: ``graph.Node`` of the call.
        inputs: List of the numbers of the input values.
        output: Number of the output value.
        shape: Shape of the output, with the batch axis.
        dtype: Dtype policy of the output.
        normalization: The ``BatchNormalization`` to fold into the weights, or None.
        activation: The activation function at the end, or None.
        activation_name: Name of the call with the activation.
        is_output: Boolean, whether the output is only an output of the model. Its activation stays as it is.
    """

    node: graph.Node
    inputs: list[int]
    output: int
    shape: tuple
    dtype: Any
    normalization: keras.layers.Layer | None = None
    activation: Any = None
    activation_name: str | None = None
    is_output: bool = False

    @property
    def layer(self) -> keras.layers.Layer:
        """The layer of the call."""
        return self.node.layer

    @property
    def spikes(self) -> bool:
        """Whether the activation is replaced by neurons."""
        return self.activation is not None and not self.is_output


@dataclass
class Plan:
    """The stages of a model in the order of the calls, and the numbers of its inputs and outputs.

    ``output_names`` are those of ``graph.Graph``.
    """

    stages: list[Stage]
    inputs: tuple
    outputs: list[int]
    output_names: tuple


def plan(model: keras.Model, neuron: str) -> Plan:
    """Return the ``Plan`` of ``model``.

    Args:
        model: Built Sequential or functional Keras model.
        neuron: "if", "lif" or "spiking_activation".

    Raises:
        TypeError: If it is another kind of model.
        ValueError: If a layer cannot be converted. The message lists all such layers, with a solution for each.
    """
    traced = graph.trace(model)
    result = Plan([_stage(node) for node in traced.nodes], traced.inputs, list(traced.outputs), traced.output_names)
    problems = [line for node in traced.nodes if (line := _problem(node))]
    _set_activations(result)
    _drop_inactive(result)
    _join(result)
    for stage in result.stages:
        only_output = stage.output in result.outputs and not _users(result, stage.output)
        stage.is_output = stage.activation is not None and only_output
        if stage.spikes and (line := activation_problem(stage.activation, neuron)):
            problems.append(f"{_title(stage.node)}: {line}")
        elif stage.spikes and None in stage.shape[1:]:
            problems.append(
                f"{_title(stage.node)}: its neurons have the shape {stage.shape[1:]}; build the model with a "
                "keras.Input without unknown sizes"
            )
    if not problems and not any(stage.spikes for stage in result.stages):
        problems.append("no layer has an activation between inputs and outputs that neurons could replace")
    if problems:
        lines = "\n  - ".join(problems)
        raise ValueError(f"{model.name!r} cannot be converted with neuron={neuron!r}. Nothing was built.\n  - {lines}")
    return result


def _stage(node):
    dtype = getattr(node.layer, "dtype_policy", None)
    return Stage(node, list(node.inputs), node.outputs[0], node.output_shapes[0], dtype)


def activation_problem(function: Callable, neuron: str) -> str | None:
    """Return the reason why a kind of neuron cannot replace an activation function, or None."""
    name = name_of(function)
    if name in _JOINT or isinstance(function, layers.Softmax):
        return f"the activation {name!r} depends on several units, and can only be the last of the model; use another"
    if neuron == "if" and ceiling(function) is None:
        return (
            f"integrate-and-fire neurons replace relu, not {_full_name(function)!r}; convert with "
            "neuron='spiking_activation', or train with activation='relu'"
        )
    if neuron == "lif" and lif_constants(function) is None:
        return (
            f"LIF neurons replace lif_rate and soft_lif, not {_full_name(function)!r}; convert with "
            "neuron='spiking_activation', or train with keras_snn.activations.SoftLIF()"
        )
    return None


def ceiling(function: Callable) -> float | None:
    """Return the maximum of a relu, infinity if it has none; None for another function."""
    if isinstance(function, layers.ReLU):
        is_relu = not float(function.negative_slope) and not float(function.threshold)
        return (function.max_value or float("inf")) if is_relu else None
    if function in (keras.activations.relu, keras.ops.relu):
        return float("inf")
    return 6.0 if function in (keras.activations.relu6, keras.ops.relu6) else None


def lif_constants(function: Callable) -> Any:
    """Return a LIF activation function as a ``LIFRate`` or ``SoftLIF``; None for another function."""
    if isinstance(function, _LIF):
        return function
    if function is activations.lif_rate:
        return activations.LIFRate()
    return activations.SoftLIF() if function is activations.soft_lif else None


def name_of(function: Callable) -> str:
    """Return the name of an activation function."""
    return getattr(function, "__name__", None) or type(function).__name__


def _full_name(function):
    """Return the name of a function, with its module if that is not ``keras.activations``."""
    module = getattr(function, "__module__", None) or ""
    is_keras = module.startswith("keras.src.activations") or not hasattr(function, "__name__")
    return name_of(function) if is_keras else f"{module}.{name_of(function)}"


def _problem(node):
    layer = node.layer
    if type(layer).__module__.startswith("keras_snn."):
        return f"{_title(node)}: it is a layer of keras_snn; convert a model without spiking layers"
    convertible = (*LINEAR, *MAX_POOLINGS, *AVERAGE_POOLINGS, *UNCHANGED, *MERGES, *DROPPED, *ACTIVATIONS)
    if type(layer) not in convertible:
        solution = {
            "Multiply": "products of spike trains are not converted; remove it or use Add",
            "PReLU": "use LeakyReLU with a fixed slope",
        }.get(type(layer).__name__, "replace it with layers that can be converted")
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
            solution = "masks are not converted: train without padding, or give the spiking network unpadded samples"
        elif not isinstance(layer, keras.layers.Layer):
            equivalent = _AS_LAYERS.get(type(layer).__name__)
            solution = f"write it as keras.layers.{equivalent}" if equivalent else "this operation cannot be converted"
        elif isinstance(layer, keras.Model):
            solution = "it is a subclassed model; write it as a functional one"
        return f"{_title(node)}: {solution}"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"{_title(node)}: it is quantized ({layer.quantization_mode}); convert the model before quantization"
    if isinstance(layer, layers.Concatenate) and layer.axis == 0:
        return f"{_title(node)}: it concatenates samples; use another axis"
    return None


def _title(node):
    return f"{node.name!r} ({type(node.layer).__name__})"


def _set_activations(result):
    """Set the activation of each stage."""
    for stage in result.stages:
        layer = stage.layer
        if isinstance(layer, (layers.Activation, *LINEAR)):
            stage.activation = None if is_linear(layer.activation) else layer.activation
        elif isinstance(layer, ACTIVATIONS):
            stage.activation = layer
        if stage.activation is not None:
            stage.activation_name = stage.node.name


def _drop_inactive(result):
    """Remove the stages of layers without effect at inference."""
    active, sources = [], {}
    for stage in result.stages:
        stage.inputs = [sources.get(number, number) for number in stage.inputs]
        if isinstance(stage.layer, (*DROPPED, layers.Activation)) and stage.activation is None:
            sources[stage.output] = stage.inputs[0]
        else:
            active.append(stage)
    result.stages, result.outputs = active, [sources.get(number, number) for number in result.outputs]


def _join(result):
    """Join normalizations and activations with the linear layers before them."""
    stages: list[Stage] = []
    by_output: dict[int, Stage] = {}
    for stage in result.stages:
        before = by_output.get(stage.inputs[0])
        if before is not None and _can_join(result, before) and _append(before, stage):
            before.output, before.shape = stage.output, stage.shape
            by_output[stage.output] = before
        else:
            stages.append(stage)
            by_output[stage.output] = stage
    result.stages = stages


def _can_join(result, stage):
    """Return whether a stage is a linear layer without activation whose output is the input of one stage only."""
    return (
        isinstance(stage.layer, LINEAR)
        and stage.activation is None
        and len(_users(result, stage.output)) == 1
        and stage.output not in result.outputs
    )


def _append(before, stage):
    """Add the normalization or activation of ``stage`` to ``before``; return whether that is possible."""
    if isinstance(stage.layer, layers.BatchNormalization) and before.normalization is None:
        if not _normalizes_channels(stage.layer, before):
            return False
        before.normalization = stage.layer
        return True
    if isinstance(stage.layer, ACTIVATIONS):
        before.activation, before.activation_name = stage.activation, stage.activation_name
        before.dtype = stage.dtype
        return True
    return False


def has_channels_last(layer: keras.layers.Layer) -> bool:
    """Return whether the last axis is the channel axis; True for layers without ``data_format``."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _normalizes_channels(normalization, before):
    # Not with channels first: Keras on TensorFlow may then add a bias along another axis.
    return has_channels_last(before.layer) and normalization.axis % len(before.shape) == len(before.shape) - 1


def _users(result, value):
    return [stage for stage in result.stages if value in stage.inputs]
