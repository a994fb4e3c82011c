"""PlasticConnection, against NumPy loops over samples, steps and places; in models; with rewards."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn import layers
from keras_snn.layers import LIF, PlasticConnection
from keras_snn.learning_rules import STDP, Hebb, Oja, RewardSTDP, TripletSTDP

DECAY = math.exp(-1 / 20)
RULE = STDP(-3e-3, 1e-2)
#: Of a sum of some hundred changes of at most 0.01, each rounded to float32.
ATOL = 1e-6


def spikes(*shape, rate=0.3, seed=0):
    return (np.random.default_rng(seed).random(shape) < rate).astype("float32")


def uniform(low=0.2, high=0.8):
    return keras.initializers.RandomUniform(low, high, seed=0)


def dense(units=3, **options):
    return keras.layers.Dense(units, use_bias=False, kernel_initializer=uniform(), **options)


def connection(rule=RULE, **options):
    return PlasticConnection(dense(), LIF(tau=5.0, threshold=0.3), rule=rule, **options)


def kernel_of(layer):
    return np.array(ops.convert_to_numpy(layer.connection.kernel))


def train(layer, x, **options):
    """Return the kernel before a training call, its spikes, and the kernel after it."""
    layer.build(x.shape)
    before = kernel_of(layer)
    outputs = ops.convert_to_numpy(layer(x, training=True, **options))
    return before, outputs, kernel_of(layer)


def changes(x, s, product):
    """Yield the changes of pair-based STDP in each step of one sample, from the spikes at both ends.

    ``product(t, x, y)`` is the sum of ``x_i y_j`` in the shape of the kernel, at step t.
    """
    trace_x, trace_y = np.zeros(x.shape[1:]), np.zeros(s.shape[1:])
    for t in range(len(x)):
        trace_x, trace_y = DECAY * trace_x, DECAY * trace_y
        change = product(t, x[t], -3e-3 * trace_y)
        trace_x = np.where(x[t] > 0, 1, trace_x)
        yield change + product(t, trace_x, 1e-2 * s[t])
        trace_y = np.where(s[t] > 0, 1, trace_y)


def outer(_, x, y):
    return np.outer(x, y)


def test_the_kernel_changes_as_in_a_loop_over_samples_and_steps():
    x = spikes(4, 30, 6)
    before, s, after = train(connection(), x)
    assert 0.1 < s.mean() < 0.6
    change = sum(sum(changes(x[b], s[b], outer)) for b in range(4)) / 4
    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(after, np.clip(before + change, 0, 1), rtol=0, atol=ATOL)


def test_conv2d_with_max_pooling_changes_as_in_a_loop_over_places():
    """A spike after pooling counts at the winner of its window; the shared kernel collects all places."""
    x = spikes(2, 8, 6, 6, 2)
    convolution = keras.layers.Conv2D(3, 3, use_bias=False, kernel_initializer=uniform(0.0, 0.3))
    layer = PlasticConnection(
        convolution, LIF(tau=5.0, threshold=0.3), between=[keras.layers.MaxPooling2D(2)], rule=RULE
    )
    before, s, after = train(layer, x)

    def places():
        return ((i, j) for i in range(4) for j in range(4))

    def at_winner(z, y):
        routed = np.zeros_like(z)
        for i, j, k in np.ndindex(y.shape):
            window = z[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, k]
            di, dj = np.unravel_index(window.argmax(), window.shape)
            routed[2 * i + di, 2 * j + dj, k] = y[i, j, k]
        return routed

    total = np.zeros_like(before)
    for b in range(2):

        def product(t, trace, y, b=b):
            z = np.zeros((4, 4, 3))
            for i, j in places():
                z[i, j] = np.tensordot(x[b, t, i : i + 3, j : j + 3], before, 3)
            y = at_winner(z, y)
            return sum(trace[i : i + 3, j : j + 3, :, None] * y[i, j] for i, j in places())

        total += sum(changes(x[b], s[b], product)) / 2
    assert 0.1 < s.mean() < 0.9
    np.testing.assert_allclose(after, np.clip(before + total, 0, 1), rtol=0, atol=ATOL)


def test_conv1d_and_normalization():
    """Normalization passes a spike back multiplied by its gain."""
    x = spikes(2, 12, 8, 2)
    normalization = keras.layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(2.0))
    changed = []
    for between in ((), (normalization,)):
        always = LIF(threshold=-300.0, v_reset=-200.0)  # all neurons fire in all steps
        convolution = keras.layers.Conv1D(3, 3, use_bias=False, kernel_initializer=uniform())
        rule = STDP(-3e-3, 1e-2, w_min=None, w_max=None)
        before, s, after = train(PlasticConnection(convolution, always, between=between, rule=rule), x)
        assert s.all()
        changed.append(after - before)
    gain = 2 / np.sqrt(ops.convert_to_numpy(normalization.moving_variance) + normalization.epsilon)
    np.testing.assert_allclose(changed[1], gain * changed[0], rtol=1e-5)


def test_oja_finds_the_principal_axis():
    """On centered Gaussian data and a linear neuron; the loop uses the changes of the rule."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2)) @ np.array([[1.5, 0.6], [0.6, 0.8]])
    _, axes = np.linalg.eigh(np.cov(x.T))
    rule, w = Oja(0.005), np.array([0.3, -0.4])
    for sample in x:
        y = float(sample @ w)
        pre, post = ops.convert_to_tensor(sample[None].astype("float32")), ops.full((1, 1), y)
        _, terms = rule.step((ops.zeros_like(pre), ops.zeros_like(post)), pre, post)
        change = rule.change(
            terms,
            lambda a, b: ops.matmul(ops.transpose(a), b),
            lambda b: ops.sum(ops.square(b), axis=0),
            ops.convert_to_tensor(w[:, None].astype("float32")),
        )
        w = w + ops.convert_to_numpy(change)[:, 0]
    assert np.linalg.norm(w) == pytest.approx(1, abs=0.02)
    assert abs(w @ axes[:, 1]) == pytest.approx(1, abs=0.02)


def test_oja_in_a_layer():
    x = spikes(4, 10, 6)
    before, s, after = train(connection(Oja(0.01)), x)
    total = np.einsum("bti,btj->ij", x, s) - np.square(s).sum((0, 1)) * before
    np.testing.assert_allclose(after, before + 0.01 * total / 4, rtol=0, atol=ATOL)


def test_the_reward_comes_at_the_end_or_at_each_step():
    """As with an eligibility trace of each weight."""
    x, rewards = spikes(3, 20, 6), np.random.default_rng(1).normal(size=(3, 20)).astype("float32")
    rule = RewardSTDP(15.0, presynaptic=-3e-3, postsynaptic=1e-2)
    for reward, at_step in ((rewards, rewards), (rewards[:, 0], np.pad(rewards[:, :1], ((0, 0), (19, 0))))):
        before, s, after = train(connection(rule), x, reward=reward)
        total = np.zeros_like(before)
        for b in range(3):
            trace = np.zeros_like(before)
            for t, change in enumerate(changes(x[b], s[b], outer)):
                trace = math.exp(-1 / 15) * trace + change
                total += at_step[b, t] * trace / 3
        assert np.abs(total).max() > 1e-3
        np.testing.assert_allclose(after, np.clip(before + total, 0, 1), rtol=0, atol=ATOL)


def trials(rng, n):
    """Return spikes ``(n, 20, 14)`` of one of two patterns of five inputs, with four noisy inputs, and the patterns."""
    pattern = rng.integers(0, 2, n)
    rates = np.zeros((n, 14))
    rates[pattern == 0, :5] = rates[pattern == 1, 5:10] = 0.3
    rates[:, 10:] = 0.2
    return (rng.random((n, 20, 14)) < rates[:, None]).astype("float32"), pattern


def accuracy(rule, right, seed, n_batches=25, n=32):
    """Train two neurons; return how often the right neuron of a pattern fires more, where a draw counts half."""
    rng = np.random.default_rng(seed)
    neurons = LIF(tau=5.0, decay_input=False, reset="subtract")
    layer = PlasticConnection(keras.layers.Dense(2, use_bias=False), neurons, rule=rule)
    layer.build((n, 20, 14))
    kernel = rng.uniform(0.2, 0.3, (14, 2))
    kernel[10:] = [[0.7, 0], [0.7, 0], [0, 0.7], [0, 0.7]]  # noise that differs between the neurons
    layer.connection.kernel.assign(kernel)

    def lead(x, pattern):
        counts = ops.convert_to_numpy(layer(x)).sum(1)
        index = np.arange(len(x))
        return counts[index, right[pattern]] - counts[index, 1 - right[pattern]]

    for _ in range(n_batches):
        x, pattern = trials(rng, n)
        reward = np.sign(lead(x, pattern))
        reward = {"reward": reward - reward.mean()} if isinstance(rule, RewardSTDP) else {}
        layer(x, training=True, **reward)
    leads = lead(*trials(np.random.default_rng(99), 200))
    return np.mean((np.sign(leads) + 1) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_reward_teaches_which_neuron_is_right_and_two_factors_cannot(seed):
    """The rule without reward sees the same data for both assignments of neurons to patterns."""
    right = np.array([seed % 2, 1 - seed % 2])
    assert accuracy(RewardSTDP(200.0, presynaptic=0.0, postsynaptic=0.03), right, seed) > 0.9
    if seed == 0:
        two_factors = [accuracy(STDP(0.0, 0.03), r, seed, n_batches=5) for r in (right, 1 - right)]
        assert sum(two_factors) == pytest.approx(1)
        assert two_factors[0] == pytest.approx(0.5, abs=0.15)


def test_stdp_and_gradients_in_one_model(tmp_path):
    """Compiled `fit` trains layers before and after the plastic one by gradients. The model is saved and loaded."""
    x = spikes(4, 20, 6)
    neurons = LIF(tau=5.0, threshold=keras.initializers.Constant(0.3), per="unit")
    options = {"rule": RULE, "total_weight": 3.0, "threshold_increment": 0.01, "tau_threshold": 50.0}
    plastic = PlasticConnection(dense(), neurons, delays=[0, 1, 2, 0, 0, 3], **options)
    inputs = keras.Input((20, 6))
    hidden = plastic(keras.layers.Dense(6, "relu", kernel_initializer=uniform())(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(layers.TemporalAveragePooling()(hidden)))
    for value in (True, False, True):  # a frozen model that is trained again
        model.trainable = value
        assert plastic.connection.kernel.path not in [v.path for v in model.trainable_variables]
    before = model.get_weights()
    counts = ops.convert_to_numpy(plastic(model.layers[1](x))).sum((0, 1)) / 4
    model.compile("sgd", "mse", jit_compile=keras.config.backend() != "torch")
    model.fit(x, np.ones((4, 1)), batch_size=4, verbose=0)
    for variable, old in zip(model.weights, before, strict=True):
        changed = not np.array_equal(ops.convert_to_numpy(variable), old)
        assert changed != variable.path.endswith("silent_batches"), variable.path
    np.testing.assert_allclose(kernel_of(plastic).sum(0), 3, rtol=1e-5)
    # rtol: the spikes of a compiled and an eager call are equal; sums are rounded
    np.testing.assert_allclose(ops.convert_to_numpy(neurons.threshold), 0.3 + 0.01 * counts, rtol=1e-5)
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)  # inference changes nothing
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras").predict(x, verbose=0), expected)


def test_thresholds_decay():
    x = spikes(2, 20, 6)
    neurons = LIF(threshold=keras.initializers.Constant(1e6), per="channel")
    layer = PlasticConnection(dense(), neurons, threshold_increment=0.5, tau_threshold=10.0)
    layer.build(x.shape)
    layer.theta.assign(np.ones(3))
    with pytest.warns(UserWarning, match="No neuron"):
        layer(x, training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.theta), math.exp(-2), rtol=1e-6)


def test_masked_steps_change_nothing():
    """A padded sequence gives the kernel of the sequence without padding."""
    x = spikes(2, 12, 6)
    mask = np.ones((2, 12), bool)
    mask[:, 8:] = False
    for rule, options in (
        (TripletSTDP(-3e-3, post_triplet=0.05), {}),
        (RewardSTDP(9.0, postsynaptic=0.02), {"reward": np.float32([1, -0.5])}),
    ):
        _, short, expected = train(connection(rule), x[:, :8], **options)
        before, s, after = train(connection(rule), x, mask=mask, **options)
        np.testing.assert_array_equal(s[:, :8], short)
        assert not s[:, 8:].any()
        assert np.abs(after - before).max() > 1e-4
        np.testing.assert_allclose(after, expected, rtol=0, atol=ATOL)


def test_each_call_starts_anew_and_inference_changes_nothing():
    x = spikes(2, 15, 6)
    layer = connection(Hebb(0.0, tau_pre=10.0))
    before, first, after = train(layer, x)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=True)), first)
    layer = connection()
    layer(x)
    before = kernel_of(layer)
    layer(x, training=False)
    np.testing.assert_array_equal(kernel_of(layer), before)
    layer.trainable = False
    layer(x, training=True)
    np.testing.assert_array_equal(kernel_of(layer), before)


def test_a_batch_without_spikes_keeps_the_weights_and_warns():
    for x in (np.zeros((2, 10, 6), "float32"), 1e-3 * spikes(2, 10, 6)):
        layer = connection(TripletSTDP(0.01, 0.01))
        layer.build(x.shape)
        before = kernel_of(layer)
        with pytest.warns(UserWarning, match="Use larger initial weights"):
            layer(x, training=True)
        np.testing.assert_array_equal(kernel_of(layer), before)
        assert int(layer.silent_batches) == 1


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PlasticConnection("dense", LIF()), TypeError, "`connection` must be a Keras layer"),
        (lambda: PlasticConnection(keras.layers.Dense(2, "relu"), LIF()), ValueError, "no activation"),
        (lambda: PlasticConnection(dense(), keras.layers.ReLU()), TypeError, "must be a SpikingNeuron"),
        (lambda: PlasticConnection(dense(), LIF(return_sequences=False)), ValueError, "return_sequences"),
        (lambda: connection(rule="bcm"), ValueError, "must be one of"),
        (lambda: connection(delays=-1), ValueError, "at least 0"),
        (lambda: connection()(np.ones((2, 5))), ValueError, "an axis for the inputs of each step"),
        (lambda: connection(total_weight=0), ValueError, "above 0"),
        (lambda: connection(threshold_increment=1.0).build((2, 5, 6)), ValueError, "from an initializer"),
        (lambda: connection("reward")(spikes(2, 5, 6), training=True), ValueError, "`reward` must be given"),
        (lambda: connection()(spikes(2, 5, 6), reward=np.ones(2), training=True), ValueError, "`reward` must be given"),
        (lambda: PlasticConnection(keras.layers.Flatten(), LIF()).build((2, 5, 6)), ValueError, "`kernel`"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
