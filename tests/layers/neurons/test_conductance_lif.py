"""ConductanceLIF, against a separate float64 loop, hand-computed values and limit cases."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import neurons as loops
from reference.brian import import_brian2

from keras_snn.layers import ConductanceLIF

MS = 0.5


def jumps(n_steps, n_units=1, seed=0):
    """Return Poisson spikes at both kinds of synapses: excitatory jumps of 1.5, inhibitory ones of -0.5."""
    rng = np.random.default_rng(seed)
    excitatory, inhibitory = rng.random((2, 1, n_steps, n_units)) < [[[[0.25]]], [[[0.1]]]]
    return (1.5 * excitatory - 0.5 * inhibitory).astype("float32")


def test_each_step_equals_a_float64_loop():
    """Spikes and last states equal those of the loop, for neurons with and without a refractory time."""
    x = jumps(800, 4)
    other = {"tau": 10.0, "rest": -60.0, "v_reset": -45.0, "threshold": -40.0, "refractory_time": 0.0}
    other |= {"e_excitatory": 10.0, "e_inhibitory": -90.0, "tau_excitatory": 0.5, "tau_inhibitory": 3.0}
    for options in ({}, other):
        spikes, v, g_e, g_i, _ = ConductanceLIF(dt=MS / 1000, return_state=True, **options)(x)
        for unit in range(4):
            trace = loops.conductance(x[0, :, unit], ms=MS, **options)
            assert 5 < trace.s.sum() < 200
            np.testing.assert_array_equal(ops.convert_to_numpy(spikes)[0, :, unit], trace.s)
            # rtol: rounding errors of float32 over the steps since the last spike
            for actual, expected in ((v, trace.v), (g_e, trace.g_e), (g_i, trace.g_i)):
                assert ops.convert_to_numpy(actual)[0, unit] == pytest.approx(expected[-1], rel=1e-4, abs=1e-6)


def test_one_step_by_hand():
    """With g_e = 1: the membrane decays to -32.5 mV with twice the rate. With g_i = 1: to -82.5 mV."""
    layer = ConductanceLIF(tau=10.0, dt=0.001, return_state=True)
    _, v, g_e, g_i, _ = map(ops.convert_to_numpy, layer(np.array([[[1.0, -1.0, 0.0]]], "float32")))
    change = 1 - np.exp(-0.2)
    # rtol: a few roundings of float32
    np.testing.assert_allclose(v[0], [-65 + 32.5 * change, -65 - 17.5 * change, -65], rtol=1e-6)
    np.testing.assert_allclose(g_e[0], [np.exp(-1), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(g_i[0], [0, np.exp(-0.5), 0], rtol=1e-6)


def test_the_threshold_is_strict():
    """At equilibrium without inputs, v is exactly rest: no spike at threshold = rest, spikes just below it."""
    x = np.zeros((1, 3, 1), "float32")
    for threshold, expected in ((-65.0, 0), (-65.0001, 3)):
        layer = ConductanceLIF(threshold=threshold, refractory_time=0.0)
        assert ops.convert_to_numpy(layer(x)).sum() == expected


def test_the_refractory_time_holds_the_membrane_and_not_the_conductances():
    x = np.full((1, 12, 1), 100.0, "float32")
    spikes, _, g_e, *_ = ConductanceLIF(tau=1.0, refractory_time=2.5, dt=MS / 1000, return_state=True)(x)
    assert np.flatnonzero(ops.convert_to_numpy(spikes)).tolist() == [0, 6]
    decay = np.exp(-MS)
    assert float(g_e[0, 0]) == pytest.approx(sum(100 * decay**k for k in range(1, 13)), rel=1e-5)


def test_a_variable_dt():
    x = jumps(200)
    dt = keras.Variable(MS / 1000, trainable=False)
    expected = ConductanceLIF(dt=MS / 1000)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(ConductanceLIF(dt=dt)(x)), ops.convert_to_numpy(expected))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Brian2's dependencies
def test_equals_brian2():
    """The membrane equals exponential Euler of Brian2 with exact decay, where an input acts from the next step on."""
    brian2 = import_brian2()
    x = jumps(390)[0, :, 0]
    jump = brian2.TimedArray(x, dt=MS * brian2.ms)
    neuron = brian2.NeuronGroup(
        1,
        """dv/dt = (-65 - v + g_e * (0 - v) + g_i * (-100 - v)) / (100 * ms) : 1 (unless refractory)
        g_e : 1
        g_i : 1""",
        threshold="v > -52",
        reset="v = -65",
        refractory="timestep(t - lastspike, dt) <= timestep(5 * ms, dt)",
        method="exponential_euler",
        namespace={"jump": jump},
        dt=MS * brian2.ms,
    )
    neuron.v = -65
    neuron.run_regularly("g_e += clip(jump(t), 0, inf)\ng_i += clip(-jump(t), 0, inf)", when="start")
    neuron.run_regularly("g_e *= exp(-dt / ms)\ng_i *= exp(-dt / (2 * ms))", when="end", name="decay")
    monitor = brian2.SpikeMonitor(neuron)
    network = brian2.Network(neuron, monitor, neuron.contained_objects)
    network.run(390 * MS * brian2.ms, namespace={})
    spikes, v, *_ = ConductanceLIF(dt=MS / 1000, return_state=True)(x[None, :, None])
    times = np.round(np.asarray(monitor.t / brian2.ms) / MS).astype(int)
    assert len(times) >= 4
    np.testing.assert_array_equal(np.flatnonzero(ops.convert_to_numpy(spikes)), times)
    assert float(v[0, 0]) == pytest.approx(float(neuron.v[0]), rel=1e-5)
