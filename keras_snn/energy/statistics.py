"""Connections and neurons of one run of a layer."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_snn import graph
from keras_snn import layers as ours
from keras_snn.energy.connections import DROPPED, MERGES, PADDINGS, connections, is_linear
from keras_snn.layers.base.sequence_layer import SequenceLayer

#: Functions of ``ModelEnergy.register_layer``, by layer class.
COMPUTERS: dict[type, Callable] = {}
STATISTICS = ("connections", "neurons", "spiking")


class Node(NamedTuple):
    """One call of a layer: the argument of a function that ``ModelEnergy.register_layer`` registers.

    Attributes:
        layer: The layer.
        input_shapes: Shape ``(batch, ...)`` of the input tensor; a list of shapes for several tensors.
        output_shapes: Shape or shapes of the output.
    """

    layer: keras.layers.Layer
    input_shapes: tuple | list
    output_shapes: tuple | list


def registered(layer: keras.layers.Layer) -> Callable | None:
    """Return the function registered with ``ModelEnergy.register_layer`` for the class of a layer, or None."""
    return next((COMPUTERS[cls] for cls in type(layer).__mro__ if cls in COMPUTERS), None)


def statistics(call: graph.Call) -> dict[str, Any] | None:
    """Return a dict with "connections", "dense_connections", "neurons" and "spiking" of one run of a call's layer.

    A missing count means 0, a missing "spiking" True. None for a layer of unknown class.

    Raises:
        ValueError: If a registered function returns an unknown statistic, or if a size is unknown.
    """
    layer, compute = call.layer, registered(call.layer)
    if compute is not None:
        input_shapes, output_shapes = (
            shapes[0] if len(shapes) == 1 else shapes for shapes in (call.input_shapes, call.output_shapes)
        )
        counted = compute(Node(layer, input_shapes, output_shapes))
        if not isinstance(counted, dict):
            raise TypeError(f"The function registered for {type(layer).__name__} must return a dict; got {counted!r}.")
        if unknown := set(counted) - set(STATISTICS):
            raise ValueError(
                f"The function registered for {type(layer).__name__} must return a dict with keys out of {STATISTICS}; "
                f"got {', '.join(map(repr, sorted(unknown)))}."
            )
        return counted
    if None in (*call.input_shape[1:], *call.output_shape[1:]):
        raise ValueError(
            f"The sizes of the layer {layer.name!r} are unknown: its input has the shape {call.input_shapes[0]}, its "
            f"output {call.output_shapes[0]}. Only the batch axis and a time axis (axis 1) may be unknown."
        )
    n_outputs = math.prod(call.output_shape[1:])
    if isinstance(layer, SequenceLayer):
        if isinstance(layer, ours.SpikingLayer) and not isinstance(layer.cell, ours.SpikingCell):
            return None  # a Keras cell
        # The operations of a recurrent kernel depend on the layer's own spikes.
        recurrent = hasattr(layer, "recurrent_kernel")
        return {"neurons": math.prod(call.input_shapes[0][2:]) * layer.emits_spikes, "known": not recurrent}
    count = connections(layer, call.input_shape, call.output_shape)
    if count is not None or isinstance(layer, _ACTIVATIONS):
        linear = is_linear(getattr(layer, "activation", None if count is not None else keras.activations.relu))
        dense = None if count is None else connections(layer, call.input_shape, call.output_shape, dense=True)
        return {
            **({} if count is None else {"connections": count, "dense_connections": dense}),
            **({} if linear else {"neurons": n_outputs, "spiking": False}),
        }
    return {} if isinstance(layer, _NO_OPERATIONS) or type(layer).__module__.startswith("keras_snn.") else None


_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)
#: Layers that do no multiply-accumulates and update no neurons.
_NO_OPERATIONS = (
    *(*PADDINGS, *MERGES, *DROPPED, keras.layers.InputLayer, keras.layers.Masking, keras.layers.Embedding),
    *(keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute, keras.layers.RepeatVector),
    *(keras.layers.Multiply, keras.layers.Maximum, keras.layers.Minimum, keras.layers.Rescaling),
    keras.layers.BatchNormalization,  # at inference it can be merged into the layer before it
    *(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D, keras.layers.GlobalAveragePooling3D),
    *(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D, keras.layers.GlobalMaxPooling3D),
)
