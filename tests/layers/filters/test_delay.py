"""Delay: shifts, the gradient of the delays, and learning them. tests/contracts tests masks, states and streams."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients, gradients_of_layers, run
from reference.parts import over_parts

from keras_snn.layers import IF, LIF, Delay, Lowpass, Synaptic
from keras_snn.losses import VanRossum
from keras_snn.surrogates import Exponential, FastSigmoid

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 12, 3)).astype("float32")


def built(shape, delay, max_delay=5, **options):
    layer = Delay(max_delay, **options)
    layer.build(shape)
    layer.delay.assign(np.broadcast_to(np.float32(delay), layer.delay.shape))
    return layer


def shifted(x, steps):
    return np.concatenate([np.zeros_like(x[:, :steps]), x[:, : x.shape[1] - steps]], axis=1)


def test_shifts_by_hand():
    """0 and 3 steps are exact shifts, 2.5 is the mean of two shifts; 5 is the maximum. Each channel has its delay."""
    layers = [built(X.shape, delay) for delay in (0, 3, 2.5, 5, [0, 2.25, 4])]
    none, three, half, most, several = run(COMPILED, lambda x: [layer(x) for layer in layers], X)
    np.testing.assert_array_equal(none, X)
    np.testing.assert_array_equal(three, shifted(X, 3))
    # atol: roundings of numbers of about 1
    np.testing.assert_allclose(half, (shifted(X, 2) + shifted(X, 3)) / 2, atol=1e-6)
    np.testing.assert_allclose(most, shifted(X, 5), atol=1e-6)
    quarter = 0.75 * shifted(X, 2) + 0.25 * shifted(X, 3)
    expected = np.stack([X[..., 0], quarter[..., 1], shifted(X, 4)[..., 2]], axis=-1)
    np.testing.assert_allclose(several, expected, atol=1e-6)


def test_delays_are_clamped_in_the_equations():
    """A weight out of range counts as the bound, also without Keras's constraint; its gradient only points back."""
    layers = [built(X.shape, delay) for delay in (-2, 9)]
    at_bound = [built(X.shape, delay) for delay in (0, 5)]
    upstream = RNG.normal(size=X.shape).astype("float32")
    for out, bound in zip(layers, at_bound, strict=True):
        results = gradients_of_layers(COMPILED, [out, bound], X, upstream)
        (y, _, d_out), (expected, _, d_bound) = results
        np.testing.assert_array_equal(y[0], expected[0])
        np.testing.assert_array_equal(d_out["delay"], d_bound["delay"])
    low, high = (ops.convert_to_numpy(layer.delays()).tolist() for layer in layers)
    assert (low, high) == ([0, 0, 0], [5, 5, 5])
    assert layers[0].delay.constraint.min_value == 0 and layers[0].delay.constraint.max_value == 5


def test_gradients_of_delays_equal_finite_differences_on_filtered_traces():
    spikes = (RNG.uniform(size=(2, 60, 3)) < 0.1).astype("float32")
    traces = ops.convert_to_numpy(Lowpass(0.01)(Lowpass(0.005)(spikes)))  # dt 1 ms
    upstream = RNG.normal(size=spikes.shape).astype("float32")
    delay = np.array([0.3, 2.5, 4.6], "float32")
    layer = built(spikes.shape, delay, per="unit")
    ((_, _, grads),) = gradients_of_layers(COMPILED, [layer], traces, upstream)
    differences = []
    for unit in range(3):
        sums = []
        for step in (0.1, -0.1):  # within one step the delayed trace is linear in d
            layer.delay.assign(delay + step * np.eye(3, dtype="float32")[unit])
            sums.append(np.sum(ops.convert_to_numpy(layer(traces)).astype("float64") * upstream))
        differences.append((sums[0] - sums[1]) / 0.2)
    assert np.abs(differences).min() > 1e-3
    np.testing.assert_allclose(grads["delay"], differences, rtol=0.01)


def one_spike(step, n_steps=60):
    x = np.zeros((1, n_steps, 1), "float32")
    x[0, step] = 1
    return x


def test_output_too_early_makes_the_delay_grow():
    """The change of the delay for outputs at step 22.5 and targets later, earlier and at the same place."""
    layer, x = built((3, 60, 1), 2.5, 20), np.repeat(one_spike(20), 3, axis=0)
    targets = np.concatenate([one_spike(30), one_spike(16), (one_spike(22) + one_spike(23)) / 2])
    y = ops.convert_to_numpy(layer(x))
    (upstream,) = gradients(COMPILED, lambda y: VanRossum(10.0, tau_rise=5.0)(targets, y), y)
    changes = []
    for sample in range(3):
        of_sample = np.where(np.arange(3)[:, None, None] == sample, upstream, 0).astype("float32")
        ((_, _, grads),) = gradients_of_layers(COMPILED, [layer], x, of_sample)
        changes.append(-grads["delay"].item())
    assert changes[0] > 0 > changes[1] and changes[2] == 0


def test_a_delay_of_7_ms_is_learned():
    model = keras.Sequential([keras.Input((60, 1)), Delay(20, delay_initializer=0)])
    model.compile(keras.optimizers.Adam(0.5), VanRossum(10.0, tau_rise=5.0))
    model.fit(one_spike(20), one_spike(27), epochs=50, verbose=0)
    assert abs(float(ops.convert_to_numpy(model.layers[0].delays())[0]) - 7) < 1


@pytest.mark.backend_free
@pytest.mark.nightly("a guide trains such delays; the test above trains one delay")
def test_two_layers_need_different_delays():
    """The first axon's spike at step 2 should arrive at 18, the second's at 10. Weights alone cannot wait so long."""
    x, target = np.zeros((2, 32, 2), "float32"), np.zeros((2, 32, 1), "float32")
    x[0, 2, 0] = x[1, 2, 1] = target[0, 18] = target[1, 10] = 1
    best = {}
    for learns_delays in (True, False):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((32, 2)),
                IF(threshold=0.5),
                Delay(20, trainable=learns_delays),
                keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"),
                Synaptic(4.0, tau_synapse=2.0, surrogate=FastSigmoid(2.0), detach_reset=True),
            ]
        )
        model.compile(keras.optimizers.Adam(0.2), VanRossum(10.0, tau_rise=5.0))
        losses = model.fit(x, target, epochs=100, batch_size=2, verbose=0).history["loss"]
        best[learns_delays] = min(losses)
    assert best[False] > losses[0] / 2  # a missing spike costs as much as one in the wrong place
    assert best[True] < best[False] / 5


def test_the_gradient_of_weights_and_delays_of_slayer():
    """Delay, alpha kernel, weights, threshold: dL/dw and dL/dd equal SLAYER's equations as double sums in NumPy."""
    rng = np.random.default_rng(0)
    n_steps, tau, threshold, delay = 50, 4.0, 1.5, np.array([0.25, 2.5, 4.0])
    spikes = (rng.uniform(size=(1, n_steps, 3)) < 0.15).astype("float32")
    target = (rng.uniform(size=(1, n_steps, 2)) < 0.1).astype("float32")
    weights = rng.uniform(2, 8, (3, 2)).astype("float32")
    lag = np.arange(n_steps)[:, None] - np.arange(n_steps)
    decay = np.exp(-1 / tau)
    alpha = np.where(lag >= 0, (1 - decay) ** 2 * (lag + 1) * decay ** np.maximum(lag, 0), 0)  # two filters, area 1

    def shift(a, d):
        return shifted(a[None], int(d))[0] * (1 - d % 1) + shifted(a[None], int(d) + 1)[0] * (d % 1)

    trace = alpha @ spikes[0]
    a = np.stack([shift(trace[:, [i]], d)[:, 0] for i, d in enumerate(delay)], axis=1)
    u = a @ weights
    s = (u > threshold).astype(float)
    assert 0.1 < s.mean() < 0.9
    rho = np.exp(-np.abs(u - threshold) / threshold) / threshold
    e = alpha @ (s - target[0])
    delta = rho * (alpha.T @ e)  # the correlation of alpha and e
    d_weights = a.T @ delta
    before, after = (np.stack([shift(trace[:, [i]], int(d) + k)[:, 0] for i, d in enumerate(delay)], 1) for k in (1, 0))
    slope = after - before
    d_delays = -np.sum(slope * (delta @ weights.T), axis=0)

    layers = [
        Delay(6, delay_initializer=lambda shape, dtype=None: ops.cast(delay, dtype)),
        Lowpass(tau, dt=1.0, trainable=False),
        Lowpass(tau, dt=1.0, trainable=False),
        keras.layers.Dense(2, use_bias=False),
        LIF(1.0, threshold=threshold, reset=None, surrogate=Exponential(1 / threshold)),  # tau = 1: no memory
    ]
    model = keras.Sequential([keras.Input((n_steps, 3)), *layers])
    layers[3].set_weights([weights])
    loss = VanRossum(tau, tau_rise=tau)
    output = run(COMPILED, lambda x: model(x), spikes)
    np.testing.assert_array_equal(output[0], s)
    (upstream,) = gradients(COMPILED, lambda y: 2 * loss(target, y), output)  # two trains
    ((_, _, grads),) = gradients_of_layers(COMPILED, [model], spikes, upstream)
    # rtol: float32 sums over 50 steps
    np.testing.assert_allclose(grads["kernel"], d_weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads["delay"], d_delays, rtol=1e-4, atol=1e-5)


def test_rounded_at_inference():
    layer = built(X.shape, [0.4, 2.6, 4.75], round_at_inference=True)
    inference, training = (ops.convert_to_numpy(layer(X, training=flag)) for flag in (False, True))
    expected = np.stack([X[..., 0], shifted(X, 3)[..., 1], shifted(X, 5)[..., 2]], axis=-1)
    np.testing.assert_allclose(inference, expected, atol=1e-6)
    np.testing.assert_array_equal(training, ops.convert_to_numpy(built(X.shape, [0.4, 2.6, 4.75])(X)))


def test_parts_of_the_time_axis_equal_a_whole_run():
    layer, mask = built(X.shape, [0, 2.5, 5]), RNG.uniform(size=(2, 12)) < 0.6
    for options in ({}, {"mask": mask}):
        parts = over_parts(layer, X, (1, 2, 9), **options)  # parts shorter and longer than the delays
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), ops.convert_to_numpy(layer(X, **options)))


@pytest.mark.parametrize(("per", "shape"), [("layer", ()), ("channel", (3,)), ("unit", (2, 3))])
def test_the_shape_of_the_delays(per, shape):
    layer = Delay(4, per=per)
    layer.build((None, 5, 2, 3))
    assert tuple(layer.delay.shape) == shape
    values = ops.convert_to_numpy(layer.delay)
    assert np.all((values >= 0) & (values < 1))


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    for max_delay in (0, 2.5):
        with pytest.raises(ValueError, match="`max_delay` must be an integer of at least 1, the upper bound"):
            Delay(max_delay)
    for delay in (-1, 5):
        with pytest.raises(ValueError, match=f"`delay_initializer` must be a finite number from 0 to 4; got {delay}"):
            Delay(4, delay_initializer=delay)
    with pytest.raises(ValueError, match="`per` must be one of"):
        Delay(4, per="axon")
