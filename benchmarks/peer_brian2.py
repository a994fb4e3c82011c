"""The network of Diehl and Cook in Brian2; started by run.py."""

import importlib.metadata

import brian2
import numpy as np
from brian2 import Hz, ms, mV
from worker import serve

THETA = {"few spikes": 20.0, "many spikes": 5.0}
MEMBRANE = """
    dv/dt = ({rest}*mV - v + ge * (0*mV - v) + gi * ({inhibitory}*mV - v)) / ({tau}*ms) : volt (unless refractory)
    dge/dt = -ge / (1*ms) : 1
    dgi/dt = -gi / (2*ms) : 1
    """


def stdp(activity, target):
    """Return a function that simulates a presentation of 350 ms and a rest of 150 ms, with plasticity."""
    brian2.start_scope()
    brian2.prefs.codegen.target = target
    brian2.defaultclock.dt = 0.5 * ms
    rng = np.random.default_rng(0)
    rates = np.zeros(784)
    rates[rng.choice(784, 150, replace=False)] = rng.uniform(0.3, 1, 150) * 63.75
    inputs = brian2.PoissonGroup(784, rates * Hz)
    excitatory = brian2.NeuronGroup(
        400,
        MEMBRANE.format(rest=-65, inhibitory=-100, tau=100) + "dtheta/dt = -theta / (1e7*ms) : volt",
        threshold="v > theta - 72*mV",
        reset="v = -65*mV",
        refractory=5 * ms,
        method="exponential_euler",
    )
    inhibitory = brian2.NeuronGroup(
        400,
        MEMBRANE.format(rest=-60, inhibitory=-85, tau=10),
        threshold="v > -40*mV",
        reset="v = -45*mV",
        refractory=2 * ms,
        method="exponential_euler",
    )
    excitatory.v, excitatory.theta, inhibitory.v = -65 * mV, THETA[activity] * mV, -60 * mV
    plastic = brian2.Synapses(
        inputs,
        excitatory,
        """
        w : 1
        dpre/dt = -pre / (20*ms) : 1 (event-driven)
        dpost1/dt = -post1 / (20*ms) : 1 (event-driven)
        dpost2/dt = -post2 / (40*ms) : 1 (event-driven)
        """,
        on_pre="ge_post += w; pre = 1; w = clip(w - 0.0001 * post1, 0, 1)",
        on_post="w = clip(w + 0.01 * pre * post2, 0, 1); post1 = 1; post2 = 1",
    )
    plastic.connect()
    weights = rng.uniform(0.003, 0.303, (784, 400))
    up = brian2.Synapses(excitatory, inhibitory, on_pre="ge_post += 10.4")
    up.connect("i == j")
    down = brian2.Synapses(inhibitory, excitatory, on_pre="gi_post += 17")
    down.connect("i != j")
    network = brian2.Network(inputs, excitatory, inhibitory, plastic, up, down)

    def present():
        plastic.w[:] = (78 * weights / weights.sum(axis=0)).ravel()
        inputs.rates = rates * Hz
        network.run(350 * ms, namespace={})
        inputs.rates = 0 * Hz
        network.run(150 * ms, namespace={})

    present()
    return present


def versions():
    """Return the versions of the libraries in use."""
    return {name: importlib.metadata.version(name) for name in ("brian2", "numpy", "cython")}


if __name__ == "__main__":
    serve({"stdp": stdp}, {"versions": versions})
