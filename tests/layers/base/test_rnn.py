import json

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients

from keras_snn import ModelEnergy, probe
from keras_snn.layers import RNN, AlphaCell, LowpassCell, SpikingActivationCell, SpikingCell

RNG = np.random.default_rng(0)


def to_numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape):
    return (100 * RNG.normal(size=shape)).astype("float32")


def test_dt_is_that_of_the_cell():
    cell = LowpassCell(3, 0.1, dt=0.02)
    layer = RNN(cell)
    assert layer.dt == 0.02
    layer.dt = 0.05
    assert cell.dt == layer.dt == 0.05
    variable = keras.Variable(0.03)
    layer = RNN(LowpassCell(3, 0.1, dt=variable))
    assert layer.dt is variable and layer.cell.dt is variable
    with pytest.raises(TypeError, match="dt"):
        RNN(cell, dt=0.1)


def test_config():
    layer = RNN(LowpassCell((2, 3), 0.1, dt=0.02, tau_constraint="non_neg"), return_state=True, time_major=True)
    config = layer.get_config()
    text = json.dumps(config)
    assert "dt" not in config and config["cell"]["config"]["dt"] == 0.02
    restored = RNN.from_config(config)
    assert isinstance(restored.cell, LowpassCell) and restored.cell is not layer.cell
    assert restored.dt == 0.02
    assert json.dumps(restored.get_config()) == json.dumps(config) == text


def test_units_of_any_rank():
    cell = SpikingActivationCell((4, 3, 2), "relu", dt=0.01, seed=0)
    x = normal(2, 5, 4, 3, 2)
    y = RNN(cell)(x)
    assert tuple(y.shape) == x.shape
    assert to_numpy(y).any()


def test_one_cell_in_two_layers_has_one_set_of_weights():
    cell = LowpassCell(3, 0.1)
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, RNN(cell)(RNN(cell)(inputs)))
    assert len(model.weights) == 2
    assert tuple(model(normal(2, 5, 3)).shape) == (2, 5, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpikingActivationCell(3, "relu", dt=0.01, seed=0),
        lambda: LowpassCell(3, 0.1, dt=0.01, level_initializer="ones"),
        lambda: AlphaCell(3, 0.1, dt=0.01, level_initializer="ones"),
    ],
    ids=["SpikingActivationCell", "LowpassCell", "AlphaCell"],
)
def test_the_rnn_of_keras_gives_the_same_outputs_and_trains(make):
    x = normal(2, 6, 3)
    layer, keras_layer = RNN(make()), keras.layers.RNN(make(), return_sequences=True)
    expected = to_numpy(layer(x, training=False))
    inputs = keras.Input((6, 3))
    model = keras.Model(inputs, keras_layer(keras.layers.Dense(3, kernel_initializer="identity")(inputs)))
    # Tolerances: a step at a time and all steps at once round differently.
    np.testing.assert_allclose(to_numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4)
    if isinstance(layer.cell, AlphaCell):
        return  # takes long to compile; Lowpass has the same code
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    before = [to_numpy(v) for v in model.trainable_variables]
    model.fit(x, np.zeros_like(x), verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(to_numpy(variable), old), variable.path


def test_other_cells_are_refused():
    for cell in (keras.layers.Dense(3), "lowpass", None):
        with pytest.raises(TypeError, match=r"`cell` must be a keras_snn.layers.SpikingCell or a Keras layer .*, got "):
            RNN(cell)
    stacked = keras.layers.StackedRNNCells([keras.layers.GRUCell(3, recurrent_dropout=0.2, name="gru")])
    for cell in (keras.layers.LSTMCell(3, dropout=0.5), stacked):
        with pytest.raises(ValueError, match=r"Cell\) must have `dropout` and `recurrent_dropout` of 0, got "):
            RNN(cell)


@keras.saving.register_keras_serializable(package="tests")
class PlainCell(keras.layers.Layer):
    """A minimal cell of Keras, without `output_size`, `training` and `get_initial_state`."""

    state_size = 3

    def call(self, inputs, states):
        total = states[0] + inputs
        return total, [total]


nightly = pytest.mark.nightly("the stack below has similar cells")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: keras.layers.SimpleRNNCell(4, seed=0), marks=nightly),
        pytest.param(lambda: keras.layers.LSTMCell(4, seed=0), marks=nightly),
        lambda: keras.layers.StackedRNNCells(
            [keras.layers.LSTMCell(5, seed=0), LowpassCell(5, 0.1, dt=0.05), keras.layers.GRUCell(4, seed=1)]
        ),
        PlainCell,
    ],
    ids=["SimpleRNNCell", "LSTMCell", "StackedRNNCells", "PlainCell"],
)
def test_keras_cells(make, tmp_path):
    x = normal(2, 6, 3) / 100
    inputs = keras.Input((6, 3))
    layer = RNN(make(), return_state=True)
    model = keras.Model(inputs, layer(inputs))
    keras_layer = keras.layers.RNN(make(), return_sequences=True, return_state=True)
    keras_model = keras.Model(inputs, keras_layer(inputs))
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.1, 0.3, w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    keras_model.set_weights(weights)
    assert layer.emits_spikes is False

    def loss_and_gradients(model, values):
        def loss(*values):
            (y, *states), _ = model.stateless_call(list(values), state, x, training=True)
            flat = keras.tree.flatten(states)
            return ops.sum(ops.square(y)) + sum(ops.sum(s) * i for i, s in enumerate(flat, 1)), [y, *flat]

        state = [ops.copy(v) for v in model.non_trainable_variables]
        results = loss(*values)[1]
        if not values:
            return [to_numpy(a) for a in results], []
        return [to_numpy(a) for a in results], gradients(COMPILED, lambda *v: loss(*v)[0], *values)

    values = [to_numpy(v) for v in model.trainable_variables]
    results, grads = loss_and_gradients(model, values)
    expected, expected_grads = loss_and_gradients(keras_model, values)
    for actual, wanted in zip((*results, *grads), (*expected, *expected_grads), strict=True):
        # Tolerances: the loops sum gradients over the steps in another order.
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(restored(x)[0]), to_numpy(model(x)[0]))


def test_the_connections_of_a_keras_cell_are_unknown():
    model = keras.Sequential([keras.Input((4, 3)), RNN(keras.layers.GRUCell(3), name="gru")])
    with pytest.warns(UserWarning, match=r"not known: gru \(RNN\)"):
        ModelEnergy(model)


def test_the_states_of_keras_cells_are_float32_in_half_precision():
    policy = {"dtype": "mixed_bfloat16"}
    stacked = keras.layers.StackedRNNCells([keras.layers.GRUCell(4, **policy)], **policy)
    for cell in (keras.layers.GRUCell(4, **policy), stacked):
        y, state = RNN(cell, return_state=True, **policy)(normal(2, 6, 3))
        assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
        assert keras.backend.standardize_dtype(state.dtype) == "float32"


def test_a_scope_reaches_the_cells_inside_a_keras_cell():
    cells = keras.layers.StackedRNNCells([LowpassCell(3, 0.1, dt=0.01), PlainCell()])
    layer, slow = RNN(cells), RNN(keras.layers.StackedRNNCells([LowpassCell(3, 0.1, dt=0.05), PlainCell()]))
    x = normal(2, 6, 3)
    with probe.scope(dt=0.05):
        in_scope = to_numpy(layer(x))
    np.testing.assert_allclose(in_scope, to_numpy(slow(x)), rtol=1e-6)  # dt as a number, and as a tensor
    assert not np.allclose(in_scope, to_numpy(layer(x)), rtol=1e-2)


def test_a_cell_may_change_the_number_of_units():
    class Sum(SpikingCell):
        def call_inference(self, inputs, states):
            total = ops.sum(inputs, axis=-1, keepdims=True) + states[0]
            return total, [total]

    x = normal(2, 4, 3)
    layer = RNN(Sum(1), return_state=True)
    symbolic = layer(keras.Input((None, 3)))
    assert [tuple(s.shape) for s in symbolic] == [(None, None, 1), (None, 1)]
    y, last = layer(x)
    np.testing.assert_allclose(to_numpy(y)[..., 0], np.cumsum(x.sum(axis=-1), axis=1), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(to_numpy(last), to_numpy(y)[:, -1])
