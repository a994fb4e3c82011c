"""Analysis of graphs: models that can run over parts of their time axis."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn import graph, layers

pytestmark = pytest.mark.backend_free
T, UNITS = 12, 6
DENSE, POOL, LIF = keras.layers.Dense, layers.TemporalAveragePooling, layers.LIF


class LowpassOfUser(layers.SpikingLayer):
    def build_cell(self, input_shape):
        return layers.LowpassCell(input_shape[2:], 0.1)


class Differences(layers.Delta):
    """A user's layer that mixes all time steps."""

    def call(self, inputs, mask=None):
        return super().call(inputs - ops.mean(inputs, axis=1, keepdims=True))


def sequential(*parts, shape=(T, UNITS)):
    return keras.Sequential([keras.Input(shape), *parts])


def beside_the_end(branch):
    """Return a model with a branch whose layers run after the end of the time axis in another branch."""
    inputs = keras.Input((T, UNITS))
    return keras.Model(inputs, [DENSE(2)(DENSE(2)(LIF(return_sequences=False)(inputs))), branch(inputs)])


def repeated(*numbers):
    inputs = keras.Input((UNITS,))
    return keras.Model(inputs, [POOL()(LIF()(layers.Repeat(n)(inputs))) for n in numbers])


def still_added():
    inputs = keras.Input((UNITS,))
    return keras.Model(inputs, LIF()(keras.layers.add([inputs, layers.Repeat(T)(inputs)])))


def column():
    return keras.layers.Reshape((-1, 1))


def why_not(model):
    x = [np.zeros((2, *(n or T for n in tensor.shape[1:])), tensor.dtype) for tensor in model.inputs]
    return graph.TimeAxis(model, x[0] if len(x) == 1 else x).why_not


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            lambda: beside_the_end(lambda x: keras.layers.GlobalAveragePooling1D()(x)),
            r"\(GlobalAveragePooling1D\) mixes",
        ),
        (lambda: beside_the_end(keras.layers.LSTM(3)), r"\(LSTM\) keeps a"),
        (lambda: beside_the_end(lambda x: ops.any(ops.not_equal(x, 0.0), axis=1)), r"the operation .* \(Any\) mixes"),
        (lambda: sequential(keras.layers.UpSampling1D(2), LIF()), r"\(UpSampling1D\) mixes"),
        (lambda: sequential(LIF(), POOL(), keras.layers.RepeatVector(T), LIF()), r"\(LIF\) has a time axis of its own"),
        (lambda: sequential(keras.layers.Activation(ops.flip), LIF()), r"\(Activation\) may mix"),
        # Weights per time step.
        (lambda: sequential(keras.layers.PReLU(), LIF(), POOL()), "mixes time steps"),
        # Time is the last axis.
        (lambda: sequential(keras.layers.Softmax(), column(), LIF(), POOL(), shape=(T,)), r"\(Softmax\) mixes"),
        (lambda: sequential(layers.TimeFold(sequential(column(), LIF(), shape=(UNITS,)))), r"\(LIF\) has a time axis"),
        (lambda: repeated(3, 5), "time axes of different lengths, 3 and 5 steps"),
        (lambda: keras.Sequential([keras.Input(batch_shape=(T, T, 3)), LIF(time_major=True)]), r"\(LIF\) may mix"),
        (lambda: sequential(LowpassOfUser(go_backwards=True), LIF()), r"\(LowpassOfUser\) may mix"),
        (lambda: sequential(Differences(0.1), LIF()), r"\(Differences\) may mix"),
    ],
)
def test_models_that_cannot_run_in_parts(model, reason):
    assert re.search(reason, why_not(model()) or "")


def masked(merge, **options):
    inputs = keras.Input((T, UNITS), name="values"), keras.Input((T,), dtype="int32", name="numbers")
    masks = keras.layers.Masking(**options)(inputs[0]), keras.layers.Embedding(9, UNITS, mask_zero=True)(inputs[1])
    return keras.Model(inputs, LIF()(merge(masks)))


def folded_operation():
    inputs = keras.Input((UNITS,))
    return layers.TimeFold(keras.Model(inputs, ops.sum(inputs, axis=1, keepdims=True)))


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "model",
    [
        lambda: masked(keras.layers.add),
        lambda: masked(keras.layers.concatenate),
        lambda: masked(keras.layers.multiply, dtype="mixed_float16"),
        lambda: sequential(LowpassOfUser()),
        lambda: sequential(folded_operation(), LIF()),
        lambda: sequential(keras.layers.Rescaling(2.0), column(), LIF(), POOL(), shape=(None,)),
        lambda: sequential(keras.layers.UnitNormalization(), keras.layers.Reshape((-1, 2, 3)), LIF()),
        lambda: beside_the_end(DENSE(2)),
        still_added,
        lambda: sequential(keras.layers.Activation(ops.square), keras.layers.Activation(ops.relu), LIF()),
        lambda: repeated(3, 3),
    ],
)
def test_models_that_can_run_in_parts(model):
    assert why_not(model()) is None


@pytest.mark.parametrize(
    ("units", "n_steps", "expected"),
    [
        (64, 1, 512),
        # Inputs and outputs of one step take 8 * 2**15 bytes in float32: 256 samples take 64 MiB.
        (2**15, 1, 256),
        (2**15, 4, 128),  # 64 samples would take 64 MiB
    ],
)
def test_batches_are_smaller_for_large_layers(units, n_steps, expected):
    model = sequential(LIF(), shape=(T, units))
    assert graph.TimeAxis(model, np.zeros((1, T, units), "float32")).batch_size(n_steps) == expected


def test_the_batch_size_includes_layers_without_time():
    units = 2**15
    model = sequential(DENSE(units), keras.layers.Activation("relu"), layers.Repeat(T), shape=(1,))
    assert graph.TimeAxis(model, np.zeros((1, 1), "float32")).batch_size(1) == 256
