"""Input that is not finite ends the spikes of the neuron that receives it, in every layer, on every backend."""

import numpy as np
import pytest
from reference.autodiff import COMPILED, FEW_MODES, results_and_gradients, run

from keras_snn.layers import (
    ALIF,
    IF,
    KLIF,
    LIF,
    PLIF,
    Alpha,
    ConductanceLIF,
    Delta,
    Izhikevich,
    LeakyIntegrator,
    Lowpass,
    NoisyLIF,
    RecurrentLIF,
    ResonateAndFire,
    SpikingActivation,
    SpikingNeuron,
    Synaptic,
)

TIME, BAD = 8, 4
#: (sample, unit) of each value. All other inputs are the same in all samples; sample 0 has no such value.
PLACES = {(1, 0): np.nan, (2, 1): np.inf, (3, 2): -np.inf}


class Quadratic(SpikingNeuron):
    """A user's neuron."""

    @staticmethod
    def step(p, state, x):
        (v,) = state
        v, spikes = p.fire(v + 0.2 * v * (v - 0.5) + x)
        return (v,), spikes


#: All neurons share the code of the reset.
RESETS = {
    IF: ("subtract", None),
    LIF: ("zero", "subtract", None),
    PLIF: ("zero",),
    ALIF: (None,),
    KLIF: ("zero", "subtract"),
    Synaptic: ("subtract",),
    Quadratic: ("zero", "subtract"),
}
NEURONS = {
    f"{make.__name__}-{reset}": lambda make=make, reset=reset: make(reset=reset)
    for make, resets in RESETS.items()
    for reset in resets
} | {
    "KLIF-star": lambda: KLIF(variant="klif*", reset="subtract"),
    "KLIF-celu": lambda: KLIF(activation="celu", reset="subtract"),
    "KLIF-leaky_relu": lambda: KLIF(variant="klif*", activation="leaky_relu", reset=None),
    "LIF-no-decay": lambda: LIF(decay_input=False, reset="subtract"),
    "LIF-unroll": lambda: LIF(reset="subtract", unroll=True),
    # Spikes at steps 0, 2, 4, ... and at 0, 3, 6, ...: at step 4, the first neuron is free and the second refractory.
    "IF-free": lambda: IF(refractory=1),
    "IF-waiting": lambda: IF(refractory=2),
    "LIF-waiting": lambda: LIF(tau=1.5, refractory=2, reset="subtract", unroll=True),
    "Izhikevich": lambda: Izhikevich(threshold=-66.0, d=0.0),
    "ResonateAndFire": lambda: ResonateAndFire(5.0),
    "ConductanceLIF": lambda: ConductanceLIF(tau=1.0, refractory_time=0.0),
    "NoisyLIF-no-memory": lambda: NoisyLIF(noise=None),
}
ANALOG = {
    "LeakyIntegrator": LeakyIntegrator,
    "SpikingActivation": lambda: SpikingActivation("linear", dt=1.0),
    "Delta": lambda: Delta(0.5),
}
FILTERS = {"Lowpass": lambda: Lowpass(0.1, dt=0.05), "Alpha": lambda: Alpha(0.1, dt=0.05)}  # infinite, then NaN
CONNECTED = {  # neurons of a sample affect each other
    "RecurrentLIF": lambda: RecurrentLIF(reset="subtract"),
    "NoisyLIF": lambda: NoisyLIF(alpha=4.0, noise=None),
}
LAYERS = NEURONS | ANALOG | FILTERS | CONNECTED
#: One layer for each kind of code. Eager mode compiles every layer separately, which takes long.
REPRESENTATIVE = ("IF-subtract", "KLIF-zero", "ALIF-None", "IF-waiting", "LIF-unroll", *ANALOG, *FILTERS, *CONNECTED)


def currents():
    """Return inputs, and a Bool array: True from a neuron's non-finite input on. Most neurons spike at every step."""
    x = np.full((4, TIME, 3), 2, "float32")
    x[:, ::2] = 3  # Delta only spikes for changes
    affected = np.zeros(x.shape, bool)
    for (sample, unit), value in PLACES.items():
        x[sample, BAD, unit] = value
        affected[sample, BAD:, unit] = True
    return x, affected


@pytest.mark.parametrize("mode", FEW_MODES)
def test_a_non_finite_input_ends_the_spikes_of_its_neuron(mode):
    x, affected = currents()
    layers = {name: LAYERS[name]() for name in (LAYERS if mode == COMPILED else REPRESENTATIVE)}
    for layer in layers.values():
        layer.build(x.shape)
    results = run(mode, lambda x: {name: layer(x) for name, layer in layers.items()}, x)
    for name, y in results.items():
        expected = np.broadcast_to(y[:1], y.shape)
        assert np.isfinite(y[0]).all() and expected[affected].any(), f"{name} has no spikes after the bad value"
        if name in NEURONS:
            np.testing.assert_array_equal(y, np.where(affected, 0, expected), err_msg=name)
        elif name in ANALOG:
            np.testing.assert_array_equal(y, np.where(affected, np.nan, expected), err_msg=name)
        elif name in FILTERS:
            np.testing.assert_array_equal(np.isfinite(y), ~affected, err_msg=name)
            np.testing.assert_array_equal(y[~affected], expected[~affected], err_msg=name)
        else:
            assert not any(y[sample, BAD, unit] for sample, unit in PLACES) and np.isfinite(y).all(), name
            np.testing.assert_array_equal(y[:, :BAD], expected[:, :BAD], err_msg=name)
    # The neurons of a sample are connected in these two layers: the other neurons still spike, at other steps.
    for name in ("RecurrentLIF", "NoisyLIF"):
        assert not results[name][affected].any() and results[name][1:, BAD + 1 :].any(), name


def test_spikes_and_gradients_in_training():
    """Affected neurons have no spikes and NaN gradients, in loops over one state, over several, and unrolled."""
    layers = [LIF(), IF(reset="subtract"), ALIF(), IF(refractory=2), LIF(unroll=True)]
    x, affected = currents()
    for layer in layers:
        layer.build(x.shape)
    results, (gradients,) = results_and_gradients(COMPILED, lambda x: [layer(x) for layer in layers], x)
    for y in results:
        np.testing.assert_array_equal(y, np.where(affected, 0, y[:1]))
    assert np.isnan(gradients[:, :BAD][affected[:, BAD:]]).all()
    assert np.isfinite(gradients[~affected.any(axis=1, keepdims=True) & np.ones(x.shape, bool)]).all()
