"""ResonateAndFire: resonance with bursts. tests/ops compares the equations with a NumPy loop."""

import cmath
import math

import numpy as np
import pytest
from keras import ops

from keras_snn.layers import Resonance, ResonateAndFire

SILENT = 1e6  # a threshold that is never reached


def bursts(intervals, n_spikes, n_steps):
    """Return one train for each interval, ``(1, time, intervals)``."""
    x = np.zeros((1, n_steps, len(intervals)), "float32")
    for unit, interval in enumerate(intervals):
        x[0, interval * np.arange(n_spikes), unit] = 1
    return x


def sizes(x, **options):
    """Return \\|z\\| after each step, from the states of one call per step."""
    layer = ResonateAndFire(threshold=SILENT, return_state=True, **options)
    layer.build(x[:, :1].shape)
    states, rows = layer.initial_state(len(x)), []
    for t in range(x.shape[1]):
        _, *states = layer(x[:, t : t + 1], initial_state=states)
        rows.append(np.hypot(*map(ops.convert_to_numpy, states)))
    return np.stack(rows, axis=1)


def test_a_burst_at_the_period_by_hand():
    z = sizes(bursts([8], 4, 26))[0, :, 0]
    r = math.exp(-1 / 4)
    np.testing.assert_allclose(z[::8], [(1 - r**k) / (1 - r) for k in (1, 2, 3, 4)], rtol=1e-6)
    np.testing.assert_allclose(z[::8], [1, 1.7788, 2.3853, 2.8577], atol=5e-5)
    np.testing.assert_allclose(z[1:8], np.exp(-np.arange(1, 8) / 32), rtol=1e-6)  # a single spike dies away


def test_bursts_at_other_intervals_by_hand():
    peaks = sizes(bursts([4, 7, 8, 9], 4, 28)).max(axis=1)[0]
    np.testing.assert_allclose(peaks, [1, 1.985, 2.858, 1.889], atol=5e-4)


def test_thresholds_select_bursts():
    """1.5 passes bursts at the period, no single spike and no half period. 2.5 tells the period from its neighbors."""
    x = np.concatenate([bursts([8], n, 28) for n in (1, 2, 3, 4)] + [bursts([4, 7, 9], 4, 28)], axis=2)
    low, high = (ops.convert_to_numpy(ResonateAndFire(threshold=t)(x))[0].any(axis=0) for t in (1.5, 2.5))
    assert low.tolist() == [False, True, True, True, False, True, True]
    assert high.tolist() == [False, False, False, True, False, False, False]


def test_a_spike_ends_the_oscillation():
    x = bursts([8], 4, 28)
    spikes = [ops.convert_to_numpy(ResonateAndFire(reset=reset)(x))[0, :, 0] for reset in ("zero", None)]
    assert spikes[0].nonzero()[0].tolist() == [8, 24]  # |z| = 1.78, then from 0
    above = sizes(x)[0, :, 0] > 1.5
    np.testing.assert_array_equal(spikes[1], above)
    assert above.sum() > 4


def test_receivers_of_two_periods_separate_codes():
    """Each receiver fires for the values that the encoder of its period sends, and for no others."""
    x = np.array([[0.0, 1.0]], "float32")
    receivers = [ResonateAndFire(period=p, decay_periods=6.0, threshold=3.0) for p in (5, 8)]
    fired = [
        [ops.convert_to_numpy(receiver(Resonance(40, period=p)(x)))[0].any(axis=0).tolist() for receiver in receivers]
        for p in (5, 8)
    ]
    assert fired == [[[False, True], [False, False]], [[False, False], [False, True]]]


def test_equals_complex_numbers():
    x = np.random.default_rng(0).normal(0.3, 1, (2, 20, 3)).astype("float32")
    rotation, z, rows = cmath.exp(-1 / (2 * 5.5) + 2j * math.pi / 5.5), np.zeros((2, 3), complex), []
    for t in range(20):
        z = rotation * z + x[:, t]
        rows.append(abs(z))
    # rtol: some float32 roundings
    np.testing.assert_allclose(sizes(x, period=5.5, decay_periods=2.0), np.stack(rows, axis=1), rtol=1e-5)


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`reset` must be one of 'zero', None; got 'subtract'"):
        ResonateAndFire(reset="subtract")
    with pytest.raises(TypeError, match="it has no v_reset"):
        ResonateAndFire(v_reset=1.0)
    with pytest.raises(ValueError, match="`period` must be at least 2, got 1"):
        ResonateAndFire(1)
    with pytest.raises(ValueError, match="`decay_periods` must be a finite number above 0"):
        ResonateAndFire(decay_periods=0)
