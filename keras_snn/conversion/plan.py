"""What a plain model is made of, and what stands in the way of making it spike."""

from dataclasses import dataclass, field

import keras
from keras import layers

from keras_snn import activations, probe
from keras_snn.checks import first_line
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
from keras_snn.graph import is_graph

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
class Call:
    """One call of a layer in the plain model, with what is done together with it.

    Attributes:
        layer: The layer.
        name: Its name; a number tells several calls of one layer apart.
        inputs: List of what goes in: the numbers of values.
        output: Number of the value that comes out.
        shape: Shape of that, with the batch axis.
        normalization: The ``BatchNormalization`` that is folded into the weights, or None.
        activation: Function that comes last, or None.
        activation_name: Name of the call that the activation was written in.
        dtype: Dtype policy of what comes out.
        is_output: Boolean, whether the value is an output of the model and nothing else: it is read out as it is.
    """

    layer: keras.layers.Layer
    name: str
    inputs: list
    output: int
    shape: tuple
    normalization: keras.layers.Layer | None = None
    activation: object = None
    activation_name: str | None = None
    dtype: object = None
    is_output: bool = False

    @property
    def spikes(self):
        """Whether neurons come last."""
        return self.activation is not None and not self.is_output


@dataclass
class Plan:
    """The calls of a model in the order in which they are made, and the numbers of its inputs and outputs.

    ``output_names`` are Keras's, which losses and metrics may be given by.
    """

    calls: list = field(default_factory=list)
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    output_names: list = field(default_factory=list)


def plan(model, neuron):
    """Return the ``Plan`` of ``model``.

    Args:
        model: Built Sequential or functional Keras model.
        neuron: "if", "lif" or "spiking_activation".

    Raises:
        TypeError: If it is another kind of model.
        ValueError: If a layer cannot be converted; the message lists all of them, and what to do.
    """
    found = _trace(model, neuron)
    problems = _problems(found)
    _take_activations(found)
    _join(found)
    for call in found.calls:
        alone = call.output in found.outputs and not _users(found, call.output)
        call.is_output = call.activation is not None and alone
        if call.spikes and (line := activation_problem(call.activation, neuron)):
            problems.append(f"{_title(call)}: {line}")
        elif call.spikes and None in call.shape[1:]:
            problems.append(
                f"{_title(call)}: its neurons have the shape {call.shape[1:]}; build the model with a keras.Input of "
                "which all sizes are given"
            )
    if not problems and not any(call.spikes for call in found.calls):
        problems.append("no layer has an activation between inputs and outputs: there is nothing to spike")
    if problems:
        raise _refusal(model, neuron, problems)
    return found


def _refusal(model, neuron, problems):
    listed = "\n  - ".join(problems)
    return ValueError(f"{model.name!r} cannot be converted with neuron={neuron!r}. Nothing was built.\n  - {listed}")


def _problems(found):
    return [line for call in found.calls if (line := _problem(call))]


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


def _trace(model, neuron):
    """Return the plan of a model, with a call for each call of a layer, also of those in models inside of it."""
    if not is_graph(model) or not getattr(model, "inputs", None):
        raise TypeError(
            f"`model` has to be a Sequential or functional Keras model that is built; got {type(model).__name__}. "
            "Rewrite a subclassed model as a functional one, and call a Sequential model, or give it an Input, first."
        )
    found, numbers, names = Plan(), {}, {}

    def number(tensor):
        return numbers.setdefault(id(tensor), (len(numbers), tensor))[0]  # kept, so that no other gets its id

    def same(tensor, other):
        numbers[id(tensor)] = (number(other), tensor)

    def call(layer, *args, **kwargs):
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        if is_graph(layer):
            outputs = _Stub(layer)(*tensors)
            for tensor, other in zip(outputs, walk(layer, tensors), strict=True):
                same(tensor, other)
            return keras.tree.pack_sequence_as(layer.output, outputs) if len(outputs) > 1 else outputs[0]
        name = probe.unique(layer.name, names)
        names[name] = layer
        dtype = getattr(layer, "dtype_policy", None)
        made = Call(layer, name, [number(x) for x in tensors], -1, (), dtype=dtype)
        found.calls.append(made)
        try:
            output = _Stub(layer)(*args, **kwargs)
        except Exception as error:  # of a layer that does not tell its shape: what comes after it cannot be looked at
            raise _refusal(model, neuron, _problems(found) or [f"{_title(made)}: {first_line(error)}"]) from error
        single = output if isinstance(output, keras.KerasTensor) else keras.tree.flatten(output)[0]
        made.output, made.shape = number(single), tuple(single.shape)
        return output

    def walk(inside, tensors):
        # From inputs of its own: Keras makes another graph of a model that begins in the middle of another.
        inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in inside.inputs]
        for tensor, other in zip(inputs, tensors, strict=True):
            same(tensor, other)
        return keras.models.clone_model(
            _functional(inside), input_tensors=inputs, clone_function=lambda layer: layer, call_function=call
        ).outputs

    found.inputs = [number(x) for x in model.inputs]
    found.outputs = [number(x) for x in walk(model, model.inputs)]
    found.output_names = _functional(model).output_names
    return found


def _functional(model):
    """Return the functional model of the same graph, which a Sequential has not."""
    return keras.Model(model.inputs, model.outputs)


class _Stub(keras.Operation):
    """The shape of what a layer gives, without calling it: the model is left as it was."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, *args, **kwargs):
        raise NotImplementedError

    def compute_output_spec(self, *args, **kwargs):
        if is_graph(self.layer):
            return [keras.KerasTensor(x.shape, x.dtype) for x in self.layer.outputs]
        tensors = keras.tree.flatten((args, kwargs))
        if isinstance(self.layer, MERGES):
            return keras.KerasTensor(self.layer.compute_output_shape([x.shape for x in tensors]), tensors[0].dtype)
        if isinstance(self.layer, keras.layers.Layer) and len(tensors) == 1 and not kwargs:
            shape = self.layer.compute_output_shape(tensors[0].shape)
            if isinstance(shape, tuple) and all(isinstance(n, int | None) for n in shape):
                return keras.KerasTensor(shape, tensors[0].dtype)
        return self.layer.compute_output_spec(*args, **kwargs)


def _problem(call):
    layer = call.layer
    if type(layer).__module__.startswith("keras_snn."):
        return f"{_title(call)}: it is a layer of keras_snn already; convert the plain model that was before it"
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
        return f"{_title(call)}: {instead}"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"{_title(call)}: it is quantized ({layer.quantization_mode}); convert the model before it is quantized"
    if isinstance(layer, layers.Concatenate) and layer.axis == 0:
        return f"{_title(call)}: it joins samples; choose another axis"
    return None


def _title(call):
    return f"{call.name!r} ({type(call.layer).__name__})"


def _take_activations(found):
    """Note the activation of every call; one of a layer by itself is a call of that alone."""
    for call in found.calls:
        layer = call.layer
        if isinstance(layer, (layers.Activation, *LINEAR)):
            call.activation = None if is_linear(layer.activation) else layer.activation
        elif isinstance(layer, ACTIVATIONS):
            call.activation = layer
        if call.activation is not None:
            call.activation_name = call.name


def _join(found):
    """Leave out what does nothing, and let linear layers have the normalization and the activation that follow them."""
    kept, made_by = [], {}
    for call in found.calls:
        call.inputs = [made_by.get(x, x) for x in call.inputs]
        empty = isinstance(call.layer, DROPPED) or (isinstance(call.layer, layers.Activation) and not call.activation)
        if empty:
            made_by[call.output] = call.inputs[0]
        else:
            kept.append(call)
    found.calls, found.outputs = kept, [made_by.get(x, x) for x in found.outputs]

    kept, makers = [], {}
    for call in found.calls:
        before = makers.get(call.inputs[0])
        joins = (
            before is not None
            and isinstance(before.layer, LINEAR)
            and before.activation is None
            and len(_users(found, before.output)) == 1
            and before.output not in found.outputs
        )
        if joins and isinstance(call.layer, layers.BatchNormalization) and before.normalization is None:
            joined = _is_of_channels(call.layer, before)
            if joined:
                before.normalization = call.layer
        elif joins and isinstance(call.layer, ACTIVATIONS):
            before.activation, before.activation_name, before.dtype = call.activation, call.activation_name, call.dtype
            joined = True
        else:
            joined = False
        if joined:
            before.output, before.shape = call.output, call.shape
            makers[call.output] = before
        else:
            kept.append(call)
            makers[call.output] = call
    found.calls = kept


def has_channels_last(layer):
    """Tell whether the last axis is that of the channels, as it is where a layer leaves no choice."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_of_channels(normalization, before):
    # Not with the channels first: on TensorFlow Keras may add a bias along another axis there.
    return has_channels_last(before.layer) and normalization.axis % len(before.shape) == len(before.shape) - 1


def _users(found, value):
    return [call for call in found.calls if value in call.inputs]
