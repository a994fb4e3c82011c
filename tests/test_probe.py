"""The scope: overridden values, records, draws, and carried states."""

import threading

import keras
import numpy as np
import pytest
from keras import ops
from reference import loops

from keras_snn import layers, probe
from keras_snn.ops.random import uniform_by_index

RNG = np.random.default_rng(0)


def to_numpy(x):
    return ops.convert_to_numpy(x)


# Scopes


def test_there_is_no_scope_outside():
    assert probe.current() is None
    assert not probe.draws_by_index()
    assert probe.n_steps(7) == 7
    probe.record(None, None)


def test_the_innermost_scope_counts():
    with probe.scope(dt=1, n_steps=2) as outer:
        assert probe.current() is outer
        with probe.scope() as inner:
            assert probe.current() is inner
            assert (inner.dt, probe.n_steps(7)) == (None, 7)
        assert (probe.current().dt, probe.n_steps(7)) == (1, 2)
    assert probe.current() is None


def test_an_error_closes_the_scope():
    with pytest.raises(KeyboardInterrupt), probe.scope(dt=1), probe.scope(dt=2):
        raise KeyboardInterrupt
    assert probe.current() is None


def test_a_scope_is_local_to_its_thread():
    scopes = []
    with probe.scope(dt=1):
        thread = threading.Thread(target=lambda: scopes.append(probe.current()))
        thread.start()
        thread.join()
    assert scopes == [None]


def test_the_scope_reports_whether_a_layer_created_the_time_axis():
    with probe.scope(n_steps=3) as scope:
        assert not scope.makes_time
        assert layers.Repeat(5)(ops.ones((2, 4))).shape == (2, 3, 4)
        assert scope.makes_time
    assert layers.Repeat(5)(ops.ones((2, 4))).shape == (2, 5, 4)


# Layers in a scope


def test_layers_use_the_dt_of_the_scope():
    x = RNG.uniform(0, 40, size=(3, 20, 4)).astype("float32")
    layer = layers.SpikingActivation("linear", dt=0.5, seed=0)
    before = to_numpy(layer(x))
    for dt in (0.0625, ops.convert_to_tensor(0.0625)):
        with probe.scope(dt=dt):
            assert float(layer.dt) == float(layer.cell.dt) == 0.0625
            spikes = to_numpy(layer(x))
        # dt is a power of two: spike heights and their sums are exact.
        assert np.abs(spikes.sum(axis=1) * 0.0625 - (x * 0.0625).sum(axis=1)).max() < 1
        assert set(np.unique(spikes)) <= {0, 16, 32, 48}
    assert (layer.dt, layer.cell.dt) == (0.5, 0.5)
    np.testing.assert_array_equal(to_numpy(layer(x)), before)


def test_filters_use_the_dt_of_the_scope():
    x = RNG.normal(size=(2, 6, 3)).astype("float32")
    layer = layers.Lowpass(0.2, dt=0.001)
    with probe.scope(dt=0.1):
        y = to_numpy(layer(x))
    # rtol, atol: float32 rounding over six steps
    np.testing.assert_allclose(y, loops.lowpass(x, np.zeros((2, 3)), 0.2, 0.1)[0], rtol=1e-5, atol=1e-6)


def test_without_a_dt_each_layer_keeps_its_own():
    with probe.scope():
        assert layers.SpikingActivation("relu", dt=0.25).dt == 0.25


def test_spikes_are_recorded_in_the_order_of_calls():
    records = []
    x = RNG.uniform(0, 9, size=(2, 5, 3)).astype("float32")
    first, second = (layers.SpikingActivation("relu", dt=0.125, name=name) for name in ("first", "second"))
    with probe.scope(record=lambda layer, spikes: records.append((layer.name, to_numpy(spikes)))):
        y = first(x)
        layers.Lowpass(0.1)(y)  # not recorded: a filter does not spike
        second(y)
        first(x)
    first(x)
    assert [name for name, _ in records] == ["first", "second", "first"]
    np.testing.assert_array_equal(records[0][1], to_numpy(y))


@pytest.mark.parametrize(
    "options", [{"return_sequences": False}, {"time_major": True}, {"return_state": True}, {"stateful": True}]
)
def test_recorded_spikes_have_batch_and_time_first(options):
    records = []
    x = RNG.uniform(0, 9, size=(2, 5, 3)).astype("float32")
    layer = layers.SpikingActivation("relu", dt=0.125, **options)
    inputs = np.swapaxes(x, 0, 1) if layer.time_major else x
    layer(inputs)
    with probe.scope(record=lambda layer, spikes: records.append(to_numpy(spikes)), sample_index=ops.arange(2)):
        layer(inputs)
    counts, _ = loops.integrate_and_fire(x, loops.uniform_by_index(range(2), (3,), 1), 0.125)
    np.testing.assert_array_equal(records[0], counts / 0.125)


def test_drawing_by_index_changes_no_variable():
    x = np.full((2, 3, 2), 5, "float32")
    layer = layers.SpikingActivation("relu", dt=0.125, stateful=True)
    layer(x)
    before = [to_numpy(v).copy() for v in layer.variables]
    with probe.scope(sample_index=ops.arange(2)):
        layer(x)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), value)


class Counter(keras.layers.Layer):
    """A user's layer that counts its calls in a weight."""

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return x * self.calls


def test_alternating_runs_keep_separate_variables():
    model, x = keras.Sequential([keras.Input((1,)), Counter()]), np.ones((1, 1), "float32")
    with probe.left_as_it_was(model) as before:
        turns, counts = probe.Turns(before), []
        for run in "ababb":
            with turns.turn(run):
                counts.append(int(to_numpy(model(x))[0, 0]))
    assert counts == [1, 1, 2, 2, 3]
    assert int(model.layers[0].calls) == 0


# Draws by index


def test_draws_are_the_hash_of_seed_index_and_unit():
    index = [0, 1, 2, 127, 70_000, 2**31 - 1]
    draws = to_numpy(uniform_by_index(ops.convert_to_tensor(index, dtype="int32"), (2, 3), 5))
    assert draws.dtype == np.float32
    np.testing.assert_array_equal(draws, loops.uniform_by_index(index, (2, 3), 5))


def test_draws_are_uniform_and_independent():
    draws = to_numpy(uniform_by_index(ops.arange(400), (300,), 0)).astype("float64")
    assert draws.min() >= 0
    assert draws.max() < 1
    # 120,000 values in 100 bins: chi-square has mean 99 and standard deviation 14. 170 is five deviations above.
    counts = np.histogram(draws, bins=100, range=(0, 1))[0]
    assert ((counts - 1200) ** 2 / 1200).sum() < 170
    # Correlations of 400 and of 300 independent values have standard deviations of 0.05 and 0.058. Some of the 80,000
    # pairs are five deviations from 0.
    for matrix, deviation in ((np.corrcoef(draws.T), 0.05), (np.corrcoef(draws), 0.058)):
        assert np.abs(matrix - np.eye(len(matrix))).max() < 6 * deviation


def draw(index, *, seed=0, n=1):
    with probe.scope(sample_index=ops.convert_to_tensor(index, dtype="int32"), seed=seed):
        drawn = [probe.draw(None, None, len(index)) for _ in range(n)]
    return [to_numpy(uniform_by_index(index, (4,), seed)) for index, seed in drawn]


def test_a_draw_depends_only_on_sample_index_order_of_draws_and_seed():
    (whole,) = draw(range(10))
    (part,) = draw(range(6, 10))
    np.testing.assert_array_equal(part, whole[6:])
    first, second = draw(range(10), n=2)
    np.testing.assert_array_equal(first, whole)
    assert not np.any(second == first)
    assert not np.any(draw(range(10), seed=1)[0] == whole)


def test_without_sample_index_the_index_is_the_position_in_the_batch():
    generator = keras.random.SeedGenerator(5)
    seeds = [(5, 0), (5, 1)]
    with probe.scope(seed=3):
        for given, expected in ((7, 7), (None, seeds[0]), (None, seeds[1])):
            index, seed = probe.draw(given, generator, 3)
            assert to_numpy(index).tolist() == [0, 1, 2]
            assert (seed if given else tuple(to_numpy(seed).tolist())) == expected


def test_an_initial_voltage_has_the_requested_dtype():
    cell = layers.SpikingActivationCell(2, "relu")
    with probe.scope(sample_index=ops.arange(3)):
        (drawn,) = cell.get_initial_state(batch_size=3, dtype="float16")
    assert keras.backend.standardize_dtype(drawn.dtype) == "float16"
    assert drawn.shape == (3, 2)


# States over parts of the time axis


def carried(states, n, fresh=None):
    """Run ``n`` steps of an integrator without leak from the states of the previous part; return outputs and states."""
    layer = layers.LeakyIntegrator(tau=1e9, decay_input=False, return_sequences=False)
    with probe.scope(carry=probe.Carry(states, fresh)) as scope:
        return to_numpy(layer(ops.ones((2, n, 1))))[:, 0].tolist(), scope.carry.ended


def test_states_continue_from_part_to_part_except_for_fresh_samples():
    first, states = carried(None, 2)
    second, states = carried(states, 3)
    third, _ = carried(states, 1, fresh=ops.convert_to_tensor([True, False]))
    # In float32, 1 - 1e-9 is 1.
    assert (first, second, third) == ([2, 2], [5, 5], [1, 6])


def test_the_carry_lists_the_layers_that_run_over_time():
    layer = layers.LIF()
    with probe.scope(carry=probe.Carry()) as scope:
        layers.TemporalAveragePooling()(layer(layer(ops.ones((2, 3, 1)))))
    assert scope.carry.layers == [layer, layer, None]
    assert len(scope.carry.started) == len(scope.carry.ended) == 3
