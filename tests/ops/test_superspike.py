"""SuperSpike against explicit convolutions and backpropagation through time."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients, run, wrap

from keras_snn.layers import Synaptic
from keras_snn.losses import VanRossum
from keras_snn.ops import superspike
from keras_snn.ops.filters import cascade
from keras_snn.surrogates import FastSigmoid

RNG = np.random.default_rng(0)


def poisson(*shape, p=0.1):
    return (RNG.uniform(size=shape) < p).astype("float32")


def kernel_of(taus, n_steps, dt):
    """Return the weights of the last ``n_steps`` inputs in a cascade of filters, in float64."""
    kernel = np.eye(1, n_steps)[0]
    for tau in taus:
        decay = np.exp(-dt / tau)
        kernel = np.convolve(kernel, (1 - decay) * decay ** np.arange(n_steps))[:n_steps]
    return kernel


def convolved(x, taus, dt):
    kernel = kernel_of(taus, x.shape[1], dt)
    rows = np.apply_along_axis(lambda train: np.convolve(train, kernel)[: len(train)], 1, x.astype("float64"))
    return rows


def test_cascades_are_convolutions_with_kernels_of_area_1():
    x, dt = poisson(2, 60, 3), 0.5
    several = [(4.0,), (5.0, 10.0), (5.0, 5.0)]
    for y, taus in zip(run(COMPILED, lambda x: [cascade(x, taus, dt) for taus in several], x), several, strict=True):
        np.testing.assert_allclose(y, convolved(x, taus, dt), rtol=1e-5, atol=1e-6)
    t = (np.arange(4000) + 1) * 0.05  # each of the two filters delays by half a step
    for taus, kernel in (
        ((5.0, 10.0), (np.exp(-t / 10) - np.exp(-t / 5)) / 5),
        ((5.0, 5.0), t / 25 * np.exp(-t / 5)),
    ):
        weights = kernel_of(taus, 4000, 0.05)
        assert weights.sum() == pytest.approx(1, rel=1e-6)
        np.testing.assert_allclose(weights / 0.05, kernel, atol=1e-4 * kernel.max(), rtol=1e-3)


@pytest.mark.parametrize("kernel", [(3.0, 8.0), (6.0,)])
def test_online_traces_equal_explicit_convolutions(kernel):
    dt, options = 0.5, {"threshold": 2.0, "beta": 0.7, "response": (2.0, 5.0), "dt": 0.5}
    pre, membrane, difference = poisson(2, 80, 4), RNG.normal(1, 2, (2, 80, 3)).astype("float32"), poisson(2, 80, 3)

    def rule(pre, membrane, difference):
        error = superspike.error_signal(difference, 0 * difference, kernel=kernel, dt=dt)
        traces = superspike.eligibility(pre, membrane, kernel=kernel, **options)
        return error, traces, superspike.gradient(pre, membrane, error, kernel=kernel, **options)

    error, traces, gradient = run(COMPILED, rule, pre, membrane, difference)
    expected_error = convolved(difference, kernel, dt) / dt
    slope = 1 / (1 + 0.7 * np.abs(membrane.astype("float64") - 2)) ** 2
    products = convolved(pre, (2.0, 5.0), dt)[..., None] / dt * slope[:, :, None]
    expected = convolved(products, kernel, dt)
    np.testing.assert_allclose(error, expected_error, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traces, expected, rtol=1e-5, atol=1e-6)
    # rtol: a float32 sum over 80 steps
    np.testing.assert_allclose(gradient, dt * np.sum(expected_error[:, :, None] * expected, axis=1), rtol=1e-5)


def exact_layer(dt, **options):
    """Return a ``Synaptic`` with the time constants 5 and 10, and the scale of its input."""
    leaks = -np.expm1(-dt / np.array([5.0, 10.0]))
    layer = Synaptic(1 / leaks[1], tau_synapse=1 / leaks[0], threshold=10.0, surrogate=FastSigmoid(1.0), **options)
    return layer, float(leaks.prod() / dt)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_forward_equals_the_layer(reset):
    pre, weights = poisson(2, 200, 20), RNG.uniform(0, 20, (20, 3)).astype("float32")
    layer, scale = exact_layer(0.5, reset=reset)
    layer.build((2, 200, 3))

    def both(pre, weights):
        spikes, _ = superspike.forward(pre, weights, reset=reset, dt=0.5)
        return spikes, layer(ops.matmul(pre, weights) * scale)

    spikes, expected = run(COMPILED, both, pre, weights)
    assert 0.02 < spikes.mean() < 0.5
    np.testing.assert_array_equal(spikes, expected)


def test_separate_weights_of_samples():
    pre, weights = poisson(2, 50, 20), RNG.uniform(0, 20, (2, 20, 3)).astype("float32")
    together = run(COMPILED, lambda pre, w: superspike.forward(pre, w)[1], pre, weights)
    for sample in range(2):
        alone = run(COMPILED, lambda pre, w: superspike.forward(pre, w)[1], pre[sample : sample + 1], weights[sample])
        np.testing.assert_allclose(together[sample], alone[0], rtol=1e-5, atol=1e-4)  # matrix products round


@pytest.mark.parametrize("dt", [1.0, 0.5])
def test_the_rule_equals_backpropagation_through_time_without_reset_gradient(dt):
    pre, target = poisson(1, 120, 15), poisson(1, 120, 3, p=0.05)
    weights = RNG.uniform(0, 20, (15, 3)).astype("float32")
    layer, scale = exact_layer(dt, reset="subtract", detach_reset=True)
    layer.build((1, 120, 3))
    loss = VanRossum(10.0, tau_rise=5.0, dt=dt)

    def rule(pre, weights):
        spikes, membrane = superspike.forward(pre, weights, reset="subtract", dt=dt)
        error = superspike.error_signal(spikes, target, dt=dt)
        return spikes, superspike.gradient(pre, membrane, error, dt=dt)[0]

    spikes, of_rule = run(COMPILED, rule, pre, weights)
    assert 0.02 < spikes.mean() < 0.6

    def total(weights):
        return 3 * loss(target, layer(ops.matmul(ops.convert_to_tensor(pre), weights) * scale))  # 3 trains

    (backward,) = gradients(COMPILED, total, weights)
    # rtol: float32 sums over 120 steps in another order
    np.testing.assert_allclose(of_rule, dt * backward, rtol=1e-4, atol=1e-5 * np.abs(of_rule).max())


def test_signs_by_hand():
    """A missing target spike raises the weights of inputs active before it, a surplus spike lowers them."""
    pre = np.zeros((2, 60, 3), "float32")
    pre[:, 20, 0] = pre[:, 59, 1] = 1  # input 1 is active at the end only, input 2 never
    spike = np.zeros((1, 60, 1), "float32")
    spike[0, 28] = 1
    difference = np.concatenate([-spike, spike])  # missing, surplus
    membrane = np.full((2, 60, 1), 9, "float32")

    def change(pre, membrane, difference):
        error = superspike.error_signal(difference, 0 * difference)
        return -superspike.gradient(pre, membrane, error)

    missing, surplus = run(COMPILED, change, pre, membrane, difference)[..., 0]
    np.testing.assert_array_equal(missing, -surplus)
    assert missing[0] > 0 and missing[2] == 0
    assert 0 <= missing[1] < missing[0] / 100


@pytest.mark.backend_free
def test_a_neuron_learns_a_spike_train():
    """Fixed Poisson inputs of 10 Hz and 5 target spikes in 500 ms. One neuron for each of three seeds, first silent."""
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    pre = np.stack([rng.uniform(size=(500, 100)) < 0.01 for rng in rngs]).astype("float32")
    weights = np.stack([rng.uniform(0, 10, size=(100, 1)) for rng in rngs]).astype("float32")
    target = np.zeros((3, 500, 1), "float32")
    target[:, [50, 150, 250, 350, 450]] = 1

    def update(weights, rate):
        spikes, membrane = superspike.forward(pre, weights)
        error = superspike.error_signal(spikes, target)
        distance = superspike.van_rossum(spikes, target)
        return weights - rate * superspike.gradient(pre, membrane, error), distance[:, 0], spikes

    step, distances = wrap(COMPILED, update), []
    for rate in np.linspace(500, 0, 300, dtype="float32"):
        weights, distance, spikes = step(ops.convert_to_tensor(weights), ops.convert_to_tensor(rate))
        distances.append(ops.convert_to_numpy(distance))
    np.testing.assert_allclose(distances[0], 5 / 60, rtol=0.02)  # five missing spikes, each 1 / (4 (5 + 10))
    assert np.all(distances[-1] < distances[0] / 10)
    assert ops.convert_to_numpy(spikes).sum(axis=1).ravel().tolist() == [5, 5, 5]
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
