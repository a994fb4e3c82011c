import numpy as np
import pytest
from keras import ops

from keras_snn import probe
from keras_snn.layers import LeakyIntegrator


def membrane(layer, x):
    return ops.convert_to_numpy(layer(x))


@pytest.mark.parametrize("tau", [1.0, 2.0, 10.0, 300.0])
def test_the_response_to_a_constant_equals_the_closed_form(tau):
    """For input 1, ``v_T = 1 - (1 - 1/tau)^T``. Without decay of the input, it is multiplied by tau."""
    x = np.ones((1, 40, 1), "float32")
    expected = 1 - (1 - 1 / tau) ** np.arange(1, 41)
    # rtol: float32 rounding of forty steps
    np.testing.assert_allclose(membrane(LeakyIntegrator(tau), x)[0, :, 0], expected, rtol=1e-5)
    undecayed = membrane(LeakyIntegrator(tau, decay_input=False), x)[0, :, 0]
    np.testing.assert_allclose(undecayed, tau * expected, rtol=1e-5)
    last = membrane(LeakyIntegrator(tau, return_sequences=False), x)
    np.testing.assert_allclose(last, [[expected[-1]]], rtol=1e-5)


def test_a_leaky_integrator_rests_at_v_reset_and_never_fires():
    x = np.zeros((1, 9, 2), "float32")
    np.testing.assert_array_equal(membrane(LeakyIntegrator(3.0, v_reset=-0.5), x), np.full_like(x, -0.5))
    high = membrane(LeakyIntegrator(3.0), x + 100)
    assert np.all(np.diff(high, axis=1) > 0)


def test_outputs_are_not_recorded_as_spikes():
    recorded = []
    with probe.scope(record=lambda layer, spikes: recorded.append(layer)):
        LeakyIntegrator()(np.ones((1, 3, 1), "float32"))
    assert recorded == []


def test_config_and_weights():
    layer = LeakyIntegrator(3.0, learn="tau", per="channel")
    layer.build((None, 4, 5, 6))
    (tau,) = layer.trainable_weights
    assert tuple(tau.shape) == (6,)
    assert tau.constraint.min_value == 1
    assert set(layer.get_config()) & {"threshold", "reset", "surrogate", "detach_reset"} == set()
    with pytest.raises(ValueError, match=r"`learn` must name parameters of \('tau',\)"):
        LeakyIntegrator(learn="threshold")


def test_arguments_of_spiking_neurons_are_refused():
    for option in ({"threshold": 2.0}, {"reset": None}, {"surrogate": "erf"}, {"detach_reset": True}):
        with pytest.raises(TypeError, match=f"has no {next(iter(option))}"):
            LeakyIntegrator(**option)
