"""The graph of a Sequential or functional model: its layer calls in order, and the values that connect them."""

import itertools
from dataclasses import dataclass

import keras

from keras_snn import probe
from keras_snn.graph.calls import is_graph


@dataclass(frozen=True, eq=False)
class Node:
    """One call of a layer in the graph of a model.

    Attributes:
        name: Name of the layer, with a number from its second call on.
        layer: The layer; for a call of ``keras.ops``, the ``keras.Operation``.
        inputs: Tuple of the numbers of the input values.
        outputs: Tuple of the numbers of the output values.
        input_shapes: Tuple of the shapes of the inputs, with the batch axis. Unknown sizes are None.
        output_shapes: Tuple of the shapes of the outputs.
    """

    name: str
    layer: keras.Operation
    inputs: tuple
    outputs: tuple
    input_shapes: tuple
    output_shapes: tuple


@dataclass(frozen=True, eq=False)
class Graph:
    """The graph of a model. Two nodes are connected if an output value of one is an input value of the other.

    Attributes:
        nodes: Tuple of the ``Node`` objects, in the order in which Keras runs them.
        inputs: Tuple of the numbers of the model's inputs.
        outputs: Tuple of the numbers of the model's outputs.
        output_names: Tuple of Keras's names of the outputs, which the losses and metrics of ``compile`` may use.
    """

    nodes: tuple
    inputs: tuple
    outputs: tuple
    output_names: tuple


def trace(model: keras.Model) -> Graph:
    """Return the ``Graph`` of a model. No layer is called, and the model is not changed.

    A model inside the model is replaced by its nodes, for each call of it. A wrapper such as ``TimeFold`` is one node.
    The shapes inside an inner model are those that it was built with. ``calls`` uses the same names for the layers when
    the model runs, but reports the layer inside a wrapper instead of the wrapper.

    Args:
        model: A built Sequential or functional model.

    Raises:
        TypeError: If it is another kind of model, or not built.

    Example:

    ```python
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    graph = keras_snn.graph.trace(keras.Model(inputs, shared(shared(inputs))))
    [(node.name, node.inputs, node.outputs) for node in graph.nodes]
    # [("shared", (0,), (1,)), ("shared (call 2)", (1,), (2,))]
    ```
    """
    if not is_graph(model) or not getattr(model, "inputs", None):
        raise TypeError(
            f"`model` must be a Sequential or functional Keras model that is built; got {type(model).__name__}. "
            "Rewrite a subclassed model as a functional one, and call a Sequential model, or give it an Input, first."
        )
    nodes, names, numbers = [], set(), itertools.count()

    def walk(part, inputs):
        """Add the nodes of a model; return the numbers of its outputs, given those of its inputs."""
        values = dict(zip(map(id, part.inputs), inputs, strict=True))
        for call in _calls(part):
            layer, entering = call.operation, tuple(values[id(x)] for x in call.input_tensors)
            if is_graph(layer):  # a mask, if Keras passes one, follows the inputs
                leaving = walk(layer, entering[: len(layer.inputs)])
            else:
                leaving = tuple(itertools.islice(numbers, len(call.outputs)))
                name = probe.unique(layer.name, names)
                names.add(name)
                nodes.append(Node(name, layer, entering, leaving, _shapes(call.input_tensors), _shapes(call.outputs)))
            values.update(zip(map(id, call.outputs), leaving, strict=True))
        return tuple(values[id(x)] for x in part.outputs)

    inputs = tuple(itertools.islice(numbers, len(model.inputs)))
    outputs = walk(model, inputs)
    return Graph(tuple(nodes), inputs, outputs, tuple(_functional(model).output_names))


def _shapes(tensors):
    return tuple(tuple(x.shape) for x in tensors)


def _functional(model):
    """Return the functional model of a model's graph."""
    # Another `keras.Model` of the same tensors would be public, but on TensorFlow it sets attributes of their layers.
    return model._functional if isinstance(model, keras.Sequential) else model


def _calls(model):
    """Return Keras's records of the calls in a model, without those of its inputs, in the order in which they run."""
    by_depth = _functional(model)._nodes_by_depth
    return [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth] if not call.is_input]
