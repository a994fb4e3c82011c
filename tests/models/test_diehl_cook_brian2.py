"""The network of Diehl and Cook beside the simulator Brian2: equal input spikes, 400 neurons, four presentations."""

import numpy as np
import pytest
from keras import ops

from keras_snn.ops import diehl_cook
from keras_snn.ops.presentation import present
from keras_snn.ops.random import seed_word, uniform_at_steps

pytestmark = pytest.mark.nightly("Brian2 compiles its equations, and takes a second for each presentation")

N_INPUTS, N, N_PRESENTED = 784, 400, 4
NETWORK = diehl_cook.Network(0.5, 700, learns=True, records=True, simulates_rest=True, min_spikes=0, presynaptic=-1e-4)


def images():
    rng = np.random.default_rng(0)
    x = np.zeros((N_PRESENTED, N_INPUTS), "float32")
    for image in x:
        image[rng.choice(N_INPUTS, 160, replace=False)] = rng.uniform(0.5, 1, 160)
    kernel = (rng.uniform(0.01, 1.01, (N_INPUTS, N)) * 0.3).astype("float32")
    return x, kernel


def ours(x, kernel):
    """Return the input spikes, the excitatory spikes ``(time, n)``, and the last weights and theta."""
    rested = diehl_cook.at_rest(NETWORK, 1, N_INPUTS, N)
    start = {name: rested[name] for name in (*diehl_cook.TRACES, *diehl_cook.MEMBRANES)}
    kernel, theta = ops.convert_to_tensor(kernel), ops.full((N,), diehl_cook.THETA)
    inputs, spikes = [], []
    for k, image in enumerate(x):
        word = seed_word(k)
        numbers = uniform_at_steps(ops.arange(1), ops.arange(1000)[None], (N_INPUTS,), word)
        probability = np.float32(NETWORK.step_probability) * np.float32(NETWORK.gain) * image
        drawn = ops.convert_to_numpy(numbers)[0] < probability
        drawn[NETWORK.n_steps :] = False
        inputs.append(drawn)
        done = present(NETWORK, ops.convert_to_tensor(image[None]), ops.arange(1), word, kernel, theta, start=start)
        kernel, theta, start = done.kernel, done.theta, done.start
        spikes.append(ops.convert_to_numpy(done.spikes)[0])
    return np.concatenate(inputs), np.concatenate(spikes), ops.convert_to_numpy(kernel), ops.convert_to_numpy(theta)


def brian(inputs, kernel):
    """Simulate the same network with Brian2, which changes weights at once, in float64."""
    try:
        import brian2
    except (ImportError, AttributeError):  # Brian2 2.9 uses a method that NumPy 2.4 removed
        pytest.skip("needs brian2, and NumPy below 2.4")
    brian2.start_scope()
    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 0.5 * brian2.ms
    steps, units = np.nonzero(inputs)
    sources = brian2.SpikeGeneratorGroup(N_INPUTS, units, steps * 0.5 * brian2.ms)
    membrane = """
        dv/dt = ({rest}*mV - v + ge * (0*mV - v) + gi * ({inhibitory}*mV - v)) / ({tau}*ms) : volt (unless refractory)
        dge/dt = -ge / (1*ms) : 1
        dgi/dt = -gi / (2*ms) : 1
        """
    excitatory = brian2.NeuronGroup(
        N,
        membrane.format(rest=-65, inhibitory=-100, tau=100) + "dtheta/dt = -theta / (1e7*ms) : volt",
        threshold="v > theta - 72*mV",
        reset="v = -65*mV; theta += 0.05*mV",
        refractory=5 * brian2.ms,
        method="exponential_euler",
    )
    inhibitory = brian2.NeuronGroup(
        N,
        membrane.format(rest=-60, inhibitory=-85, tau=10),
        threshold="v > -40*mV",
        reset="v = -45*mV",
        refractory=2 * brian2.ms,
        method="exponential_euler",
    )
    excitatory.v, excitatory.theta, inhibitory.v = -65 * brian2.mV, 20 * brian2.mV, -60 * brian2.mV
    plastic = brian2.Synapses(
        sources,
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
    up = brian2.Synapses(excitatory, inhibitory, on_pre="ge_post += 10.4")
    up.connect("i == j")
    down = brian2.Synapses(inhibitory, excitatory, on_pre="gi_post += 17")
    down.connect("i != j")
    monitor = brian2.SpikeMonitor(excitatory)
    network = brian2.Network(sources, excitatory, inhibitory, plastic, up, down, monitor)
    weights = kernel.astype(float)
    for _ in range(N_PRESENTED):
        plastic.w[:] = (78 * weights / weights.sum(axis=0)).ravel()
        network.run(500 * brian2.ms, namespace={})
        weights = np.array(plastic.w).reshape(N_INPUTS, N)
    spikes = np.zeros((len(inputs), N))
    spikes[np.round(np.array(monitor.t / (0.5 * brian2.ms))).astype(int), np.array(monitor.i)] = 1
    return spikes, weights, np.array(excitatory.theta / brian2.mV)


@pytest.mark.filterwarnings("ignore")  # those of Brian2
def test_spikes_and_weights_equal_those_of_brian2():
    x, kernel = images()
    inputs, spikes, weights, theta = ours(x, kernel)
    expected, w, expected_theta = brian(inputs, kernel)
    assert expected.sum() > 60
    assert np.abs(w - 78 * kernel / kernel.sum(axis=0)).max() > 0.02
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(weights, w, rtol=0, atol=1e-5)  # float32: some hundred changes of a weight
    np.testing.assert_allclose(theta, expected_theta, rtol=0, atol=1e-4)  # 20 mV in float32, 1,000 steps
