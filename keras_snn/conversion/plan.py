"""Group the calls of a plain model for conversion, and list what cannot be converted."""

from dataclasses import dataclass

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
#: What is done at every step as it is: it is linear, or moves values about.
AS_IT_IS = (
    *PADDINGS,
    *(layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector),
    *(layers.Rescaling, layers.Normalization, layers.BatchNormalization),
)
ACTIVATIONS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax)
#: Layers for operations that are written without one.
_AS_LAYERS = {
    **{"Add": "Add()", "Subtract": "Subtract()", "Concatenate": "Concatenate()", "Relu": "ReLU()"},
    **{"Reshape": "Reshape(...)", "Softmax": "Softmax()", "Mean": "GlobalAveragePooling2D()"},
}
#: Activations of which no unit goes by itself.
_JOINT = ("softmax", "log_softmax", "sparsemax", "glu")
_LIF = (activations.LIFRate, activations.SoftLIF)


@dataclass
class Stage:
    """One call of a layer in the plain model, with the calls after it that are converted together with it.

    Attributes:
        node: ``graph.Node`` of the call.
        inputs: List of the numbers of the values that go in.
        output: Number of the value that comes out.
        shape: Shape of that, with the batch axis.
        dtype: Dtype policy of what comes out.
        normalization: The ``BatchNormalization`` that is folded into the weights, or None.
        activation: Function that comes last, or None.
        activation_name: Name of the call that the activation was written in.
        is_output: Boolean, whether the value is an output of the model and nothing else: it is read out as it is.
    """

    node: graph.Node
    inputs: list
    output: int
    shape: tuple
    dtype: object
    normalization: keras.layers.Layer | None = None
    activation: object = None
    activation_name: str | None = None
    is_output: bool = False

    @property
    def layer(self):
        """The layer that is called."""
        return self.node.layer

    @property
    def spikes(self):
        """Whether neurons come last."""
        return self.activation is not None and not self.is_output


@dataclass
class Plan:
    """The stages of a model in the order in which they run, and the numbers of its inputs and outputs.

    ``output_names`` are those of ``graph.Graph``.
    """

    stages: list
    inputs: tuple
    outputs: list
    output_names: tuple


def plan(model, neuron):
    """Return the ``Plan`` of ``model``.

    Args:
        model: Built Sequential or functional Keras model.
        neuron: "if", "lif" or "spiking_activation".

    Raises:
        TypeError: If it is another kind of model.
        ValueError: If a layer cannot be converted; the message lists all of them, and what to do.
    """
    traced = graph.trace(model)
    found = Plan([_stage(node) for node in traced.nodes], traced.inputs, list(traced.outputs), traced.output_names)
    problems = [line for node in traced.nodes if (line := _problem(node))]
    _take_activations(found)
    _join(found)
    for stage in found.stages:
        alone = stage.output in found.outputs and not _users(found, stage.output)
        stage.is_output = stage.activation is not None and alone
        if stage.spikes and (line := activation_problem(stage.activation, neuron)):
            problems.append(f"{_title(stage.node)}: {line}")
        elif stage.spikes and None in stage.shape[1:]:
            problems.append(
                f"{_title(stage.node)}: its neurons have the shape {stage.shape[1:]}; build the model with a "
                "keras.Input of which all sizes are given"
            )
    if not problems and not any(stage.spikes for stage in found.stages):
        problems.append("no layer has an activation between inputs and outputs: there is nothing to spike")
    if problems:
        listed = "\n  - ".join(problems)
        raise ValueError(f"{model.name!r} cannot be converted with neuron={neuron!r}. Nothing was built.\n  - {listed}")
    return found


def _stage(node):
    dtype = getattr(node.layer, "dtype_policy", None)
    return Stage(node, list(node.inputs), node.outputs[0], node.output_shapes[0], dtype)


def activation_problem(function, neuron):
    """Return why neurons of a kind cannot stand for an activation function, or None."""
    name = name_of(function)
    if name in _JOINT or isinstance(function, layers.Softmax):
        return f"the activation {name!r} is of all units together, and can only be the model's last; take another one"
    if neuron == "if" and ceiling(function) is None:
        return (
            f"integrate-and-fire neurons stand for relu, not for {_full_name(function)!r}; convert with "
            "neuron='spiking_activation', or train with activation='relu'"
        )
    if neuron == "lif" and lif_constants(function) is None:
        return (
            f"LIF neurons stand for lif_rate and soft_lif, not for {_full_name(function)!r}; convert with "
            "neuron='spiking_activation', or train with keras_snn.activations.SoftLIF()"
        )
    return None


def ceiling(function):
    """Return the largest value of a relu, infinite if it has none; None for another function."""
    if isinstance(function, layers.ReLU):
        plain = not float(function.negative_slope) and not float(function.threshold)
        return (function.max_value or float("inf")) if plain else None
    if function in (keras.activations.relu, keras.ops.relu):
        return float("inf")
    return 6.0 if function in (keras.activations.relu6, keras.ops.relu6) else None


def lif_constants(function):
    """Return the ``LIFRate`` or ``SoftLIF`` that a function is, or None."""
    if isinstance(function, _LIF):
        return function
    if function is activations.lif_rate:
        return activations.LIFRate()
    return activations.SoftLIF() if function is activations.soft_lif else None


def name_of(function):
    """Return the name of an activation function."""
    return getattr(function, "__name__", None) or type(function).__name__


def _full_name(function):
    """Return the name of a function, with where it is from unless that is ``keras.activations``."""
    module = getattr(function, "__module__", None) or ""
    ours = module.startswith("keras.src.activations") or not hasattr(function, "__name__")
    return name_of(function) if ours else f"{module}.{name_of(function)}"


def _problem(node):
    layer = node.layer
    if type(layer).__module__.startswith("keras_snn."):
        return f"{_title(node)}: it is a layer of keras_snn already; convert the plain model that was before it"
    known = (*LINEAR, *MAX_POOLINGS, *AVERAGE_POOLINGS, *AS_IT_IS, *MERGES, *DROPPED, *ACTIVATIONS)
    if type(layer) not in known:
        instead = {
            "Multiply": "products of two spike trains have no place in time; leave it out or use Add",
            "PReLU": "use LeakyReLU with a fixed slope",
        }.get(type(layer).__name__, "replace it by layers that are known to convert")
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
            instead = "masks are not converted: train without padding, or give the spiking network unpadded samples"
        elif not isinstance(layer, keras.layers.Layer):
            known = _AS_LAYERS.get(type(layer).__name__)
            instead = f"write it as keras.layers.{known}" if known else "no spiking layer stands for this operation"
        elif isinstance(layer, keras.Model):
            instead = "it is a subclassed model; write it as a functional one"
        return f"{_title(node)}: {instead}"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"{_title(node)}: it is quantized ({layer.quantization_mode}); convert the model before it is quantized"
    if isinstance(layer, layers.Concatenate) and layer.axis == 0:
        return f"{_title(node)}: it joins samples; choose another axis"
    return None


def _title(node):
    return f"{node.name!r} ({type(node.layer).__name__})"


def _take_activations(found):
    """Set the activation of every stage; a layer that is an activation is a stage of that alone."""
    for stage in found.stages:
        layer = stage.layer
        if isinstance(layer, (layers.Activation, *LINEAR)):
            stage.activation = None if is_linear(layer.activation) else layer.activation
        elif isinstance(layer, ACTIVATIONS):
            stage.activation = layer
        if stage.activation is not None:
            stage.activation_name = stage.node.name


def _join(found):
    """Leave out what does nothing, and let linear layers have the normalization and the activation that follow them."""
    kept, made_by = [], {}
    for stage in found.stages:
        stage.inputs = [made_by.get(x, x) for x in stage.inputs]
        if isinstance(stage.layer, (*DROPPED, layers.Activation)) and stage.activation is None:
            made_by[stage.output] = stage.inputs[0]
        else:
            kept.append(stage)
    found.stages, found.outputs = kept, [made_by.get(x, x) for x in found.outputs]

    kept, makers = [], {}
    for stage in found.stages:
        before = makers.get(stage.inputs[0])
        joins = (
            before is not None
            and isinstance(before.layer, LINEAR)
            and before.activation is None
            and len(_users(found, before.output)) == 1
            and before.output not in found.outputs
        )
        if joins and isinstance(stage.layer, layers.BatchNormalization) and before.normalization is None:
            joined = _is_of_channels(stage.layer, before)
            if joined:
                before.normalization = stage.layer
        elif joins and isinstance(stage.layer, ACTIVATIONS):
            before.activation, before.activation_name = stage.activation, stage.activation_name
            before.dtype = stage.dtype
            joined = True
        else:
            joined = False
        if joined:
            before.output, before.shape = stage.output, stage.shape
            makers[stage.output] = before
        else:
            kept.append(stage)
            makers[stage.output] = stage
    found.stages = kept


def has_channels_last(layer):
    """Tell whether the last axis is that of the channels, as it is where a layer leaves no choice."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_of_channels(normalization, before):
    # Not with the channels first: on TensorFlow Keras may add a bias along another axis there.
    return has_channels_last(before.layer) and normalization.axis % len(before.shape) == len(before.shape) - 1


def _users(found, value):
    return [stage for stage in found.stages if value in stage.inputs]
