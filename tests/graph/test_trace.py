"""The graph of a model: calls in order, their connections, and shapes."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.layers import LSTM, Add, Bidirectional, Dense, Embedding, Flatten, Reshape
from reference.read_only import only_read

from keras_snn import graph, layers

pytestmark = pytest.mark.backend_free


def nodes(model):
    return [(node.name, node.inputs, node.outputs) for node in graph.trace(model).nodes]


@pytest.mark.every_backend
def test_shared_layers_and_inner_models():
    """Each call of a layer is a node, and each call of a nested model adds all of its nodes."""
    shared = Dense(4, name="shared")
    block = keras.Sequential([keras.Input((4,)), shared, Dense(2, name="last")], name="block")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    summed = Add(name="sum")([block(a), block(b)])
    model = keras.Model([a, b], {"y": shared(a), "x": summed, "again": summed})
    trace = graph.trace(model)
    by_name = {node.name: node for node in trace.nodes}
    assert list(by_name) == [node.name for node in trace.nodes]
    assert by_name.keys() == {"shared", "shared (call 2)", "shared (call 3)", "last", "last (call 2)", "sum"}
    assert trace.inputs == (0, 1)
    # Keras orders outputs by key, and names them by layer.
    total = by_name["sum"].outputs
    assert trace.outputs[:2] == total * 2
    assert list(trace.output_names) == ["sum", "sum", "shared"]
    maker = {node.outputs[0]: node for node in trace.nodes}
    ends = [maker[value] for value in by_name["sum"].inputs]
    assert {node.name for node in ends} == {"last", "last (call 2)"}
    starts = [maker[node.inputs[0]] for node in ends]
    assert all(node.layer is shared for node in starts)
    assert [node.inputs for node in starts] == [(0,), (1,)]
    outer_call = maker[trace.outputs[2]]
    assert (outer_call.layer, outer_call.inputs) == (shared, (0,))
    assert len({outer_call.name, *(node.name for node in starts)}) == 3
    assert (by_name["sum"].input_shapes, by_name["sum"].output_shapes) == (((None, 2),) * 2, ((None, 2),))
    values = {value for node in trace.nodes for value in node.outputs}
    assert values == set(range(2, 2 + len(trace.nodes)))  # each value has one node


def test_the_nodes_of_a_sequential_model():
    model = keras.Sequential([keras.Input((4, 6)), Flatten(name="flat"), Dense(5, name="dense"), Reshape((5, 1))])
    trace = graph.trace(model)
    assert nodes(model) == [("flat", (0,), (1,)), ("dense", (1,), (2,)), ("reshape", (2,), (3,))]
    assert [node.output_shapes for node in trace.nodes] == [((None, 24),), ((None, 5),), ((None, 5, 1),)]
    assert (trace.inputs, trace.outputs) == ((0,), (3,))
    called = keras.Sequential([Dense(5, name="dense")])
    called(np.zeros((2, 3)))
    assert nodes(called) == [("dense", (0,), (1,))]


def test_operations_wrappers_and_several_outputs():
    inputs = keras.Input((7, 3), batch_size=2)
    sequence, last, carry = LSTM(4, return_sequences=True, return_state=True, name="lstm")(inputs)
    bidirectional = Bidirectional(LSTM(3), name="both")(sequence)
    folded = layers.TimeFold(Dense(6), name="folded")(sequence)
    model = keras.Model(inputs, [ops.add(bidirectional, last[:, :1]), carry, folded])
    by_name = {node.name: node for node in graph.trace(model).nodes}
    lstm = by_name["lstm"]
    assert lstm.output_shapes == ((2, 7, 4), (2, 4), (2, 4))
    assert by_name["both"].inputs == by_name["folded"].inputs == lstm.outputs[:1]
    assert by_name["add"].inputs[0] == by_name["both"].outputs[0]
    assert by_name["get_item"].inputs == lstm.outputs[1:2]
    assert not isinstance(by_name["add"].layer, keras.layers.Layer)
    assert graph.trace(model).outputs == (*by_name["add"].outputs, lstm.outputs[2], *by_name["folded"].outputs)


def test_models_that_start_inside_another_model():
    inputs = keras.Input((4,))
    middle = Dense(5, name="first")(inputs)
    last = Dense(6, name="last")(middle)
    part = keras.Model(middle, last)
    assert nodes(part) == [("last", (0,), (1,))]
    outer = keras.Input((5,))
    assert nodes(keras.Model(outer, part(part(outer)[:, :5]))) == [
        ("last", (0,), (1,)),
        ("get_item", (1,), (2,)),
        ("last (call 2)", (2,), (3,)),
    ]


def test_nested_models_with_a_mask():
    words, masked = keras.Input((6,), dtype="int32"), keras.Input((6, 3))
    inner = keras.Model(masked, LSTM(4, name="lstm")(masked))
    inner.supports_masking = True
    model = keras.Model(words, inner(Embedding(9, 3, mask_zero=True, name="embedding")(words)))
    values = {name: (arrived, left) for name, arrived, left in nodes(model)}
    assert values["lstm"][0][:1] == values["embedding"][1]
    assert graph.trace(model).outputs == values["lstm"][1]


def test_names_equal_those_of_the_calls_in_a_run():
    shared, single = Dense(3, name="shared"), Dense(3, name="single")
    body = keras.Sequential([keras.Input((3,)), shared, single])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Add(name="sum")([body(shared(inputs)), single(body(inputs))]))
    ran = []
    with graph.calls(model, lambda name, *_: ran.append(name)):
        model(np.zeros((2, 3), "float32"))
    assert ran == [node.name for node in graph.trace(model).nodes]
    assert len(ran) == 7


def test_the_model_is_not_changed():
    shared = Dense(4)
    model = keras.Sequential([keras.Input((4,)), keras.Sequential([shared]), shared])
    with only_read(model):
        assert len(graph.trace(model).nodes) == 2


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize("make", [Subclassed, keras.Sequential, lambda: Dense(3)])
def test_models_without_a_graph_are_refused(make):
    with pytest.raises(TypeError, match="`model` must be a Sequential or functional Keras model that is built; got"):
        graph.trace(make())
