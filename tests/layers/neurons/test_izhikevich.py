"""Izhikevich's neuron, against a separate float64 loop of the published equations."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import neurons as loops
from reference.autodiff import STEP_BY_STEP, layer_gradients

from keras_snn import probe
from keras_snn.layers import Izhikevich

KINDS = {
    "regular spiking": {},
    "fast spiking": {"a": 0.1, "d": 2.0},
    "chattering": {"c": -50.0, "d": 2.0},
    "intrinsically bursting": {"c": -55.0, "d": 4.0},
}


def times(spikes):
    return np.flatnonzero(spikes)


each = pytest.mark.parametrize("kind", KINDS)
steps_of = pytest.mark.parametrize("ms", [1.0, 0.5])


@each
@steps_of
def test_each_step_equals_a_float64_loop(kind, ms):
    """From each state of a float64 loop, one step of the layer equals one step of the loop."""
    x = np.random.default_rng(0).normal(10, 5, 400).astype("float32")
    p = {"b": 0.2, "c": -65.0, **KINDS[kind]}
    trace = loops.izhikevich(x, ms=ms, **p)
    assert trace.s.sum() > 4
    before = [
        np.append(start, row[:-1]).astype("float32")[:, None]
        for start, row in ((p["c"], trace.v), (p["b"] * p["c"], trace.u))
    ]
    spikes, v, u = Izhikevich(**p, dt=ms / 1000, return_state=True)(x[:, None, None], initial_state=before)
    np.testing.assert_array_equal(ops.convert_to_numpy(spikes).ravel(), trace.s)
    # atol: terms of some hundred, rounded to 1e-5, cancel. Near a spike, v is squared twice and the error is 100 times
    # larger.
    np.testing.assert_allclose(ops.convert_to_numpy(v).ravel(), trace.v, rtol=1e-4, atol=5e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(u).ravel(), trace.u, rtol=1e-4, atol=5e-3)


@each
@steps_of
def test_first_spikes_equal_a_float64_loop(kind, ms):
    x = np.full((1, int(500 / ms), 1), 10.0, "float32")
    expected = times(loops.izhikevich(x.ravel(), ms=ms, **KINDS[kind]).s)
    spikes = times(ops.convert_to_numpy(Izhikevich(**KINDS[kind], dt=ms / 1000)(x)).ravel())
    np.testing.assert_array_equal(spikes[:4], expected[:4])
    # Later spike times differ: rounding changes the overshoot of v before a spike, and with it u. Rates agree.
    assert len(spikes) == pytest.approx(len(expected), rel=0.15)


def test_regular_spiking():
    """An input of 10 for one second gives two fast spikes, then about 20 Hz at regular intervals."""
    spikes = times(ops.convert_to_numpy(Izhikevich()(np.full((1, 1000, 1), 10.0, "float32"))).ravel())
    intervals = np.diff(spikes)
    assert intervals[0] < 0.7 * intervals[1:].min()
    assert intervals[2:].std() < 0.15 * intervals[2:].mean()
    assert 15 < len(spikes) < 30


def test_rates_agree_at_two_dt():
    counts = []
    for ms in (1.0, 0.25):
        x = np.full((1, int(1000 / ms), 1), 10.0, "float32")
        counts.append(ops.convert_to_numpy(Izhikevich(dt=ms / 1000)(x)).sum())
    assert counts[0] == pytest.approx(counts[1], rel=0.2)  # Euler's method with 1 ms is coarse


def test_the_resting_state_is_kept():
    """The resting state v = -70, u = -14 is kept: it solves 0.04 v^2 + 5 v + 140 = u and u = 0.2 v."""
    layer = Izhikevich(return_state=True)
    rest = [np.full((1, 1), value, "float32") for value in (-70.0, -14.0)]
    spikes, v, u = layer(np.zeros((1, 100, 1), "float32"), initial_state=rest)
    assert ops.convert_to_numpy(spikes).sum() == 0
    # atol: float32 rounding of 196 - 350 + 140 + 14 is 1e-5
    np.testing.assert_allclose(ops.convert_to_numpy(v), [[-70]], atol=1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(u), [[-14]], atol=1e-3)


def test_the_initial_states_and_a_spike():
    layer = Izhikevich(b=0.25, c=-60.0, d=6.0, return_state=True)
    v, u = (ops.convert_to_numpy(s) for s in built(layer).initial_state(2))
    np.testing.assert_array_equal(v, np.full((2, 3), -60))
    np.testing.assert_array_equal(u, np.full((2, 3), -15))
    above = [np.full((1, 3), value, "float32") for value in (29.0, 0.0)]
    spikes, v, u = (ops.convert_to_numpy(s) for s in layer(np.zeros((1, 1, 3), "float32"), initial_state=above))
    np.testing.assert_array_equal(spikes, np.ones((1, 1, 3)))
    np.testing.assert_array_equal(v, np.full((1, 3), -60))
    assert np.all(u > 6)


def built(layer):
    layer.build((None, 5, 3))
    return layer


def test_the_dt_of_a_scope_is_used():
    x = np.full((1, 200, 1), 10.0, "float32")
    layer = Izhikevich(dt=0.0005)
    expected = ops.convert_to_numpy(Izhikevich(dt=0.001)(x))
    assert np.any(ops.convert_to_numpy(layer(x)) != expected)
    for dt in (0.001, ops.convert_to_tensor(0.001)):
        with probe.scope(dt=dt):
            spikes = times(ops.convert_to_numpy(layer(x)).ravel())
        np.testing.assert_array_equal(spikes[:4], times(expected.ravel())[:4])  # a tensor dt rounds differently


def test_learned_parameters_have_gradients():
    x = np.random.default_rng(0).normal(10, 3, (2, 30, 3)).astype("float32")
    layer = Izhikevich(learn=("a", "b", "d", "threshold"), per="channel")
    layer.build(x.shape)
    _, d_x, d_weights = layer_gradients(STEP_BY_STEP, layer, x, np.ones_like(x))
    assert np.abs(d_x).max() > 0
    assert {name: grad.shape for name, grad in d_weights.items()} == dict.fromkeys(("a", "b", "d", "threshold"), (3,))
    assert all(np.all(np.isfinite(grad)) and np.abs(grad).max() > 0 for grad in d_weights.values())


def test_heterogeneous_neurons():
    layer = built(Izhikevich(d=keras.initializers.RandomUniform(2, 8, seed=0), per="unit"))
    d = ops.convert_to_numpy(layer.d)
    x = np.full((1, 200, 3), 10.0, "float32")
    spikes = ops.convert_to_numpy(layer(x))
    for unit in range(3):
        expected = times(loops.izhikevich(x[0, :, unit], d=float(d[unit])).s)
        np.testing.assert_array_equal(times(spikes[0, :, unit])[:4], expected[:4])  # first spikes only
    assert len({tuple(times(spikes[0, :, unit])) for unit in range(3)}) == 3


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="reset"):
        Izhikevich(reset="subtract")
    with pytest.raises(TypeError, match="`c` must be a number"):
        Izhikevich(c="zeros")
    with pytest.raises(ValueError, match="`dt` must be a positive"):
        Izhikevich(dt=0.0)
