import numpy as np
import pytest
from keras import ops

from keras_snn.layers import LIF, Synaptic


def outputs(layer, x):
    layer.return_state = True
    return [ops.convert_to_numpy(part) for part in layer(x)]


def test_by_hand():
    """With tau = tau_synapse = 2, one input of 0.75 gives i = 0.75, 0.375, ... and v = 0.75, 0.75, 0.5625, 0.375."""
    for steps, i, v in ((1, 0.75, 0.75), (2, 0.375, 0.75), (3, 0.1875, 0.5625), (4, 0.09375, 0.375)):
        x = np.zeros((1, steps, 1), "float32")
        x[0, 0] = 0.75
        spikes, current, membrane = outputs(Synaptic(), x)
        assert (spikes.sum(), current.item(), membrane.item()) == (0, i, v)


def test_a_reset_keeps_the_current():
    x = np.array([2.5, 0, 0], "float32")[None, :, None]
    spikes, i, v = outputs(Synaptic(), x)
    # i = 2.5, 1.25, 0.625; h = 2.5, 1.25, 0.625
    np.testing.assert_array_equal(spikes.ravel(), [1, 1, 0])
    assert (i.item(), v.item()) == (0.625, 0.625)


def test_with_tau_synapse_1_a_synaptic_equals_a_lif_bit_for_bit():
    x = np.random.default_rng(0).normal(0.4, 1, (4, 30, 5)).astype("float32")
    expected = ops.convert_to_numpy(LIF(3.0, decay_input=False, v_reset=-0.25)(x))
    np.testing.assert_array_equal(outputs(Synaptic(3.0, tau_synapse=1.0, v_reset=-0.25), x)[0], expected)
    assert expected.mean() > 0.05


def test_learned_parameters():
    layer = Synaptic(3.0, tau_synapse=4.0, learn=("tau", "tau_synapse"))
    layer.build((None, 4, 3))
    assert {w.name: float(ops.convert_to_numpy(w)) for w in layer.trainable_weights} == {"tau": 3, "tau_synapse": 4}
    assert layer.tau_synapse.constraint.min_value == 1
    with pytest.raises(ValueError, match="`tau_synapse` must be at least 1, got 0"):
        Synaptic(tau_synapse=0)
