import numpy as np
import pytest
from keras import ops

from keras_snn.layers import ALIF, LIF


def spikes_and_states(layer, x):
    layer.return_state = True
    return [ops.convert_to_numpy(part) for part in layer(x)]


def test_each_spike_raises_the_threshold_by_beta():
    """Each spike raises the threshold by beta. With tau = 1, h is the input, and s = 1 if h > 1 + beta a."""
    x = np.array([1.25, 1.25, 1.75, 1.75, 2.25, 1.25], "float32")[None, :, None]
    # With tau_adaptation = 2^20, the threshold hardly decays.
    spikes, _, a = spikes_and_states(ALIF(1.0, beta=0.5, tau_adaptation=2.0**20), x)
    # thresholds 1, 1.5, 1.5, 2, 2, 2.5, minus a millionth
    np.testing.assert_array_equal(spikes.ravel(), [1, 0, 1, 0, 1, 0])
    assert a.item() == pytest.approx(3, abs=1e-5)  # three spikes, minus five millionths
    # With tau_adaptation = 1, it decays within a step: a is s of the previous step.
    spikes, _, a = spikes_and_states(ALIF(1.0, beta=0.5, tau_adaptation=1.0), x)
    # thresholds 1, 1.5, 1, 1.5, 1.5, 1.5
    np.testing.assert_array_equal(spikes.ravel(), [1, 0, 1, 1, 1, 0])
    assert a.item() == 0


def test_at_the_raised_threshold_there_is_no_spike():
    x = np.array([2.0, 1.5, 1.5], "float32")[None, :, None]
    spikes = ops.convert_to_numpy(ALIF(1.0, beta=0.5, tau_adaptation=1.0)(x)).ravel()
    np.testing.assert_array_equal(spikes, [1, 0, 1])


def test_a_reset_by_subtraction_subtracts_the_raised_threshold():
    x = np.array([2.0, 2.0], "float32")[None, :, None]
    layer = ALIF(2.0, beta=0.25, tau_adaptation=1.0, decay_input=False, reset="subtract")
    spikes, v, _ = spikes_and_states(layer, x)
    np.testing.assert_array_equal(spikes.ravel(), [1, 1])
    assert v.item() == 0.5 + 2 - 1.25  # 2 - 1 = 1 is halved; the second reset subtracts 1.25


def test_the_rate_decreases_for_constant_inputs():
    x = np.ones((1, 400, 1), "float32")
    spikes = ops.convert_to_numpy(ALIF(20.0, beta=0.5, decay_input=False)(x)).ravel()
    first, last = spikes[:50].sum(), spikes[-50:].sum()
    assert first > 1.5 * last > 0
    of_lif = ops.convert_to_numpy(LIF(20.0, decay_input=False)(x)).ravel()
    assert np.array_equal(of_lif[:50], of_lif[50:100])


def test_without_beta_an_alif_equals_a_lif_bit_for_bit():
    x = np.random.default_rng(0).normal(0.6, 2, (4, 30, 5)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(ALIF(3.0, beta=0.0)(x)), ops.convert_to_numpy(LIF(3.0)(x)))


def test_learned_parameters():
    layer = ALIF(learn=("tau", "tau_adaptation", "beta", "threshold"))
    layer.build((None, 4, 3))
    values = {w.name: float(ops.convert_to_numpy(w)) for w in layer.trainable_weights}
    assert values == pytest.approx({"tau": 2, "tau_adaptation": 100, "beta": 0.1, "threshold": 1})  # float32
    assert layer.beta.constraint.min_value == 0
    assert layer.tau.constraint.min_value == layer.tau_adaptation.constraint.min_value == 1


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`tau_adaptation` must be at least 1, got 0.5"):
        ALIF(tau_adaptation=0.5)
    with pytest.raises(TypeError, match="`beta` must be a number"):
        ALIF(beta=None)
