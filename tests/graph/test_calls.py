"""Reports of the calls inside a model, from several threads."""

import threading

import keras
import numpy as np
import pytest
from keras import ops
from keras.layers import Dense, TimeDistributed

from keras_snn import graph, layers

X = np.ones((2, 5, 3), "float32")


def network():
    inner = [TimeDistributed(Dense(3, name="inner")), layers.IF(name="spikes")]
    return keras.Sequential([keras.Input((5, 3)), Dense(3, name="first"), *inner])


def methods(model):
    """Return the functions that are attributes of a model's layers and override methods of their classes."""
    return [(x.name, name) for x in model._flatten_layers() for name, value in vars(x).items() if callable(value)]


def in_another_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_several_threads_observe_one_model():
    """Each thread receives its own calls, and the last one restores the model."""
    model = network()
    expected = ops.convert_to_numpy(model(X))
    before, calls_of, outputs = methods(model), {"first": [], "second": []}, []
    opened, closed = threading.Event(), threading.Event()

    def observe(thread, size):
        with graph.calls(model, lambda name, layer, x, y: calls_of[thread].append((name, len(x)))):
            if thread == "second":
                opened.set()
                assert closed.wait(60)
            outputs.append(model(X[:size]))

    second = threading.Thread(target=observe, args=("second", 1))
    with graph.calls(model, lambda name, layer, x, y: calls_of["first"].append((name, len(x)))) as n_samples:
        assert methods(model) != before
        second.start()
        assert opened.wait(60)
        in_another_thread(lambda: outputs.append(model(X)))
        assert calls_of == {"first": [], "second": []}
        outputs.append(model(X))
        assert [(layer.name, n) for layer, n in n_samples] == [("time_distributed", 5), ("spikes", 5)]
    closed.set()  # the first block ends before the second
    second.join(60)
    assert calls_of["first"] == [("first", 2), ("inner", 10), ("spikes", 2)]  # TimeDistributed folds 5 steps
    assert calls_of["second"] == [("first", 1), ("inner", 5), ("spikes", 1)]
    for output in outputs:
        # rtol: folded steps are one matrix product, single steps are five.
        np.testing.assert_allclose(ops.convert_to_numpy(output), expected[: len(output)], rtol=1e-6)
    assert methods(model) == before


@pytest.mark.backend_free
def test_nested_blocks_in_one_thread():
    model = network()
    before, names = methods(model), []

    def outer(name, layer, inputs, outputs):
        names.append(f"outer {name}")
        return outputs + 1 if name == "spikes" else None

    def inner(name, layer, inputs, outputs):
        names.append(f"inner {name}")
        if name == "spikes":
            assert ops.convert_to_numpy(outputs).min() >= 1  # outputs changed by the outer block
            raise KeyError("a fault of the caller")

    with graph.calls(model, outer):
        with pytest.raises(KeyError, match="a fault"), graph.calls(model, inner):
            model(X)
        assert names == [f"{block} {name}" for name in ("first", "inner", "spikes") for block in ("outer", "inner")]
        model(X)
        assert names[6:] == [f"outer {name} (call 2)" for name in ("first", "inner", "spikes")]
    assert methods(model) == before
    model(X)
    assert len(names) == 9
