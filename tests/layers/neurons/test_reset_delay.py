"""``reset_delay``: a reset acts one step after its spike."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients, run

from keras_snn.layers import IF, LIF, RecurrentLIF, Synaptic

X = np.random.default_rng(0).uniform(-0.3, 0.9, (3, 40, 5)).astype("float32")
KERNEL = np.random.default_rng(1).normal(0, 0.3, (5, 5)).astype("float32")
V_RESET = 0.25


def leaky(tau):
    return lambda state, x, spikes: (state[0] - (state[0] - V_RESET) / np.float32(tau) + x, *state[1:])


def synaptic(state, x, spikes):
    v, i = state
    i = i * np.float32(0.75) + x
    return v - (v - V_RESET) / np.float32(2) + i, i


#: The layer, and its charge ``(state, x, last spikes) -> state`` with the membrane as the first state.
NEURONS = {
    "IF": (IF, {}, lambda state, x, spikes: (state[0] + x,)),
    "LIF": (LIF, {"tau": 4.0, "decay_input": False}, leaky(4)),
    "Synaptic": (Synaptic, {"tau": 2.0, "tau_synapse": 4.0}, synaptic),
    "RecurrentLIF": (
        RecurrentLIF,
        {"tau": 4.0, "decay_input": False, "recurrent_initializer": lambda shape, dtype=None: ops.array(KERNEL, dtype)},
        lambda state, x, spikes: leaky(4)(state, x + spikes @ KERNEL, spikes),
    ),
}


def loop(charge, reset, n_states):
    v = np.full(X[:, 0].shape, V_RESET, "float32")
    state, spikes, rows = (v, *[np.zeros_like(v)] * (n_states - 1)), np.zeros_like(v), []
    for x in np.swapaxes(X, 0, 1):
        h, *others = charge(state, x, spikes)
        h = h - spikes if reset == "subtract" else h * (1 - spikes) + V_RESET * spikes  # those of the last step
        spikes = (h > 1).astype("float32")
        state = h, *others
        rows.append(spikes)
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("name", NEURONS)
def test_spikes_equal_those_of_a_loop(name, reset):
    cls, arguments, charge = NEURONS[name]
    layer = cls(v_reset=V_RESET, reset=reset, reset_delay=True, **arguments)
    spikes = run(COMPILED, layer, X)
    np.testing.assert_array_equal(spikes, loop(charge, reset, 2 if name == "Synaptic" else 1))
    at_once = run(COMPILED, cls(v_reset=V_RESET, reset=reset, **arguments), X)
    # Without a leak, it makes no difference when a threshold is subtracted.
    assert (spikes != at_once).any() == ((name, reset) != ("IF", "subtract"))


def test_by_hand():
    """h is 0.75, 1.125 (spike), 1.3125 - 1, 0.90625, 1.203125 (spike), 1.3515625 - 1."""
    layer = LIF(tau=2.0, decay_input=False, reset="subtract", reset_delay=True)
    spikes = layer(0.75 * np.ones((1, 6, 1), "float32"))
    assert ops.convert_to_numpy(spikes)[0, :, 0].tolist() == [0, 1, 0, 0, 1, 0]


def test_snntorch():
    """The default of snnTorch's Leaky resets one step later."""
    torch = pytest.importorskip("torch")
    snntorch = pytest.importorskip("snntorch")
    neuron = snntorch.Leaky(beta=0.75)
    mem, expected = neuron.init_leaky(), []
    for x in np.swapaxes(X, 0, 1):
        spikes, mem = neuron(torch.from_numpy(x.copy()), mem)
        expected.append(spikes.detach().numpy())
    layer = LIF(tau=4.0, decay_input=False, reset="subtract", reset_delay=True)
    actual = ops.convert_to_numpy(layer(X))
    np.testing.assert_array_equal(actual, np.stack(expected, axis=1))
    assert 0.1 < actual.mean() < 0.9


def test_gradients_equal_those_of_an_unrolled_loop():
    layers = [LIF(4.0, reset_delay=True, reset="subtract", unroll=unroll) for unroll in (False, True)]
    weights = np.arange(5, dtype="float32")
    results = [
        gradients(COMPILED, lambda x, layer=layer: ops.sum(layer(x) * ops.convert_to_tensor(weights)), X)
        for layer in layers
    ]
    assert np.abs(results[0]).max() > 0
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)  # sums in another order


def test_configuration_and_states():
    layer = LIF(reset_delay=True, refractory=2, return_state=True)
    copy = LIF.from_config(layer.get_config())
    assert copy.reset_delay is True
    outputs, _, late, wait = copy(X)
    np.testing.assert_array_equal(ops.convert_to_numpy(late), ops.convert_to_numpy(outputs)[:, -1])
    assert keras.backend.standardize_dtype(wait.dtype) == "int32"
