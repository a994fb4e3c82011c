import keras
import numpy as np
import pytest
from keras import ops

from keras_snn import probe
from keras_snn.layers import RNN, Alpha, Lowpass, SpikingActivation, SpikingCell, SpikingLayer

RNG = np.random.default_rng(0)


def to_numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape):
    return (100 * RNG.normal(size=shape)).astype("float32")


class Sum(SpikingCell):
    def call_inference(self, inputs, states):
        total = states[0] + inputs * self.dt
        return total, [total]


class SumLayer(SpikingLayer):
    def build_cell(self, input_shape):
        self.built_shape = input_shape
        return Sum(input_shape[2:], dt=self._dt)


def test_build_cell_receives_batch_and_time_first_and_is_called_once():
    for options, shape in [({}, (2, 5, 3)), ({"time_major": True}, (5, 2, 3))]:
        layer = SumLayer(dt=0.5, **options)
        x = np.ones(shape, "float32")
        y = layer(x)
        assert tuple(layer.built_shape) == (2, 5, 3)
        cell = layer.cell
        np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(y))
        assert layer.cell is cell
        np.testing.assert_array_equal(
            to_numpy(y)[0, 0] if not options else to_numpy(y)[:, 0, 0],
            np.full(3, 0.5) if not options else 0.5 * np.arange(1, 6),
        )


def test_a_layer_without_a_cell_is_refused():
    class Empty(SpikingLayer):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty must override `build_cell\(input_shape\)`"):
        Empty()(normal(2, 5, 3))


def test_a_new_dt_is_passed_to_the_cell():
    layer, x = SumLayer(dt=0.5), np.ones((1, 1, 1), "float32")
    assert float(to_numpy(layer(x))[0, 0, 0]) == 0.5
    layer.dt = 0.25
    assert layer.cell.dt == 0.25
    assert float(to_numpy(layer(x))[0, 0, 0]) == 0.25


def test_weights_can_be_moved_between_layers_of_different_dt():
    slow, fast = (Lowpass(0.1, dt=dt, level_initializer="ones", stateful=True) for dt in (0.01, 0.001))
    for layer in (slow, fast):
        layer.build((2, 5, 3))
    fast.cell.tau.assign(np.full((1, 3), 0.7))
    slow.set_weights(fast.get_weights())
    np.testing.assert_array_equal(to_numpy(slow.cell.tau), to_numpy(fast.cell.tau))
    assert (slow.dt, fast.dt) == (0.01, 0.001)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dt, policy: SpikingActivation("linear", dt=dt, seed=0, dtype=policy),
        lambda dt, policy: Lowpass(0.1, dt=dt, dtype=policy),
        lambda dt, policy: RNN(Sum(3, dt=dt, dtype=policy), dtype=policy),
    ],
    ids=["SpikingActivation", "Lowpass", "RNN"],
)
def test_a_variable_dt_is_not_rounded_in_half_precision(make, policy):
    dt = keras.Variable(0.001, dtype="float32")  # float16 and bfloat16 round it
    x = np.full((2, 4, 3), 4096.0, "float32")
    variable, number = make(dt, policy), make(0.001, policy)
    inputs = keras.Input((4, 3))
    expected = to_numpy(ops.cast(number(x, training=False), "float32"))
    for call in (variable, keras.Model(inputs, variable(inputs))):
        actual = to_numpy(ops.cast(call(x, training=False), "float32"))
        np.testing.assert_array_equal(actual, expected)
        assert to_numpy(dt) == np.float32(0.001)


def test_initial_states_of_several_kinds():
    layer = Alpha(0.1, return_state=True)
    x = normal(2, 5, 3)
    layer.build(x.shape)
    state = RNG.normal(size=(2, 2, 3))
    y = to_numpy(layer(x, initial_state=state.astype("float32"))[0])
    for same in ([state.astype("float32")], (ops.convert_to_tensor(state, "float32"),), state):
        # Tolerances: eager TensorFlow compiles only some of its loops with XLA, which rounds differently.
        np.testing.assert_allclose(to_numpy(layer(x, initial_state=same)[0]), y, rtol=1e-5, atol=1e-5)
    variables = keras.Variable(state, dtype="float32")
    np.testing.assert_allclose(to_numpy(layer(x, initial_state=variables.value)[0]), y, rtol=1e-5, atol=1e-5)


def test_with_an_initial_state_no_voltages_are_drawn():
    layer, fresh = SpikingActivation("relu"), SpikingActivation("relu")
    x = normal(2, 5, 3)
    for each in (layer, fresh):
        each.build(x.shape)
        each.cell.seed_generator.state.assign([7, 0])
    for _ in range(3):
        layer(x, initial_state=np.zeros((2, 3), "float32"))
    np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(fresh(x)))


def test_resetting_draws_new_initial_voltages():
    layer = SpikingActivation("relu", stateful=True)
    layer.build((2, 5, 30))
    drawn = [to_numpy(layer.states[0])]
    for _ in range(2):
        layer.reset_states()
        drawn.append(to_numpy(layer.states[0]))
    assert all(np.all((v >= 0) & (v < 1)) and np.unique(v).size == v.size for v in drawn)
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])
    assert layer.reset_state.__func__ is SpikingLayer.reset_states


def test_states_for_a_reset_must_match():
    layer = Lowpass(0.1, stateful=True)
    layer.build((2, 5, 3))
    layer.reset_states(np.full((2, 3), 0.5))
    layer.reset_states([ops.full((2, 3), 0.25)])
    np.testing.assert_array_equal(to_numpy(layer.states[0]), 0.25)
    with pytest.raises(ValueError, match="must match"):
        layer.reset_states(np.full((1, 3), 0.5))


def test_a_scope_overrides_dt_and_records_spikes():
    records = []
    layer = SpikingActivation("linear", dt=0.5, seed=0, time_major=True)
    x = np.full((5, 2, 3), 4.0, "float32")
    outside = to_numpy(layer(x, training=False))
    with probe.scope(dt=0.25, record=lambda layer, spikes: records.append((layer, to_numpy(spikes)))):
        y = to_numpy(layer(x, training=False))
        Lowpass(0.1)(x)  # not recorded: a filter does not spike
    np.testing.assert_array_equal(y, np.full(x.shape, 4.0))  # one spike of 1 / 0.25 Hz in every step
    assert [recorded for recorded, _ in records] == [layer]
    np.testing.assert_array_equal(records[0][1], np.swapaxes(y, 0, 1))  # (batch, time, ...)
    np.testing.assert_array_equal(to_numpy(layer(x, training=False)), outside)


def test_a_scope_with_sample_indices_does_not_change_states():
    layer = SpikingActivation("relu", dt=0.01, stateful=True)
    x = np.full((2, 5, 3), 30.0, "float32")
    layer.build(x.shape)
    before = to_numpy(layer.states[0])
    with probe.scope(sample_index=np.arange(4)):
        four_samples = to_numpy(layer(np.concatenate([x, x]), training=False))  # another batch size
    with probe.scope(sample_index=np.arange(2, 4)):
        part = to_numpy(layer(x, training=False))
    np.testing.assert_array_equal(part, four_samples[2:])
    np.testing.assert_array_equal(to_numpy(layer.states[0]), before)


def test_draws_in_a_scope_do_not_depend_on_where_the_layer_is_built():
    x = np.full((2, 5, 3), 30.0, "float32")
    first, second = SpikingActivation("relu", dt=0.01), SpikingActivation("relu", dt=0.01)
    first.build(x.shape)
    outputs = []
    for layer in (first, second):
        with probe.scope(sample_index=np.arange(2)):
            outputs.append(to_numpy(layer(x, training=False)))
    np.testing.assert_array_equal(outputs[1], outputs[0])


@pytest.mark.torch("only PyTorch modules have a mode")
def test_reading_the_mode_leaves_no_call_context():
    # A remaining call context would pass `training` from one layer to the next.
    layer, x = Lowpass(0.1, apply_during_training=False), normal(2, 5, 3)
    layer.build(x.shape)
    weights = [v.value for v in layer.non_trainable_variables]
    layer.stateless_call([], weights, ops.convert_to_tensor(x))
    dropout = keras.layers.Dropout(0.5)
    dropout(x, training=True)
    np.testing.assert_array_equal(to_numpy(dropout(x)), x)


def test_shapes_of_an_unbuilt_layer():
    layer = Alpha(0.1, return_state=True, return_sequences=False)
    assert layer.compute_output_shape((2, None, 4, 3)) == ((2, 4, 3), (2, 2, 12))
    assert not layer.built and layer.cell is None
    assert SumLayer(time_major=True).compute_output_shape((None, 2, 3)) == (None, 2, 3)
