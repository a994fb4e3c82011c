"""Learning rules, step by step: published sequences by hand, NumPy sums over pairs of spikes, Brian2."""

import math

import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, run
from reference.brian import import_brian2

from keras_snn.ops import plasticity
from keras_snn.ops.delay import delayed_by_steps

DECAY, SLOW_DECAY = math.exp(-1 / 20), math.exp(-1 / 40)
PAIR = {"pre_decay": DECAY, "post_decay": DECAY}
TRIPLET = {**PAIR, "pre_triplet": 0.0, "postsynaptic": 0.0, "slow_pre_decay": 0.0, "slow_post_decay": SLOW_DECAY}


def trains(pre_times, post_times, n_steps):
    """Return the spikes of one synapse, each ``(time, 1, 1)``."""
    spikes = np.zeros((2, n_steps, 1, 1), "float32")
    spikes[0, list(pre_times)] = 1
    spikes[1, list(post_times)] = 1
    return spikes


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


def zeros(n):
    return (ops.zeros((1, 1)),) * n


def weights_over_time(rule, n_traces, pre, post, w=0.3, **options):
    """Return the weight after each step, clipped to [0, 1]."""
    traces, weights = zeros(n_traces), []
    for x, y in zip(tensor(pre), tensor(post), strict=True):
        traces, terms = rule(traces, x, y, **options)
        w = np.clip(w + float(ops.convert_to_numpy(plasticity.dense_change(terms)).item()), 0, 1)
        weights.append(w)
    return weights


HAND = {
    "triplet, +": (plasticity.triplet_stdp, 4, {**TRIPLET, "presynaptic": 1e-4, "post_triplet": 1e-2}),
    "triplet, -": (plasticity.triplet_stdp, 4, {**TRIPLET, "presynaptic": -1e-4, "post_triplet": 1e-2}),
    "pair, +": (plasticity.pair_stdp, 2, {**PAIR, "presynaptic": 1e-4, "postsynaptic": 1e-2}),
}
EXPECTED = {
    "triplet, +": [0.3, 0.3, 0.30007047, 0.30467751, 0.30835630],
    "triplet, -": [0.3, 0.3, 0.29992953, 0.30453657, 0.30821536],
    "pair, +": [0.3, 0.30778801, 0.30785848, 0.31456168, 0.31905497],
}


@pytest.mark.parametrize("name", HAND)
def test_weights_by_hand(name):
    """Presynaptic spikes at 0 and 12, postsynaptic ones at 5, 20 and 28 steps, traces of 20 and 40 steps."""
    rule, n_traces, options = HAND[name]
    weights = weights_over_time(rule, n_traces, *trains([0, 12], [5, 20, 28], 29), **options)
    # atol: the expected values have eight decimals, and float32 rounds the changes
    np.testing.assert_allclose([weights[t] for t in (0, 5, 12, 20, 28)], EXPECTED[name], rtol=0, atol=2e-8)


def test_hebb_and_oja_by_hand():
    x, y, w = tensor([[1, 0, 0.5]]), tensor([[2]]), 0.5
    start = (ops.zeros_like(x), ops.zeros_like(y))
    _, terms = plasticity.hebb(start, x, y, rate=0.1)
    change = ops.convert_to_numpy(plasticity.dense_change(terms))[0, :, 0]
    np.testing.assert_allclose(w + change, [0.7, 0.5, 0.6], rtol=1e-6)
    decay = ops.convert_to_numpy(plasticity.oja_decay(tensor([4]), tensor(np.full((3, 1), w)), 0.1))
    np.testing.assert_allclose(w + change + decay[:, 0], [0.5, 0.3, 0.4], rtol=1e-6)


def exchanged(rule, **options):
    """Return the total change for two spike trains, and for the same trains with pre and post exchanged."""
    pre, post = trains([1, 9, 14], [4, 11, 22], 30)
    return [weights_over_time(rule, 2, *pair, w=0.5, **options)[-1] - 0.5 for pair in ((pre, post), (post, pre))]


def test_exchanging_pre_and_post_changes_nothing_for_hebb_and_the_sign_for_stdp():
    change, other = exchanged(plasticity.hebb, rate=1e-2, **PAIR)
    assert change > 1e-3
    assert other == pytest.approx(change, rel=1e-5)
    change, other = exchanged(plasticity.pair_stdp, presynaptic=-1e-2, postsynaptic=1e-2, pairing="all", **PAIR)
    assert abs(change) > 1e-3
    assert other == pytest.approx(-change, rel=1e-4)


def random_trains(n_steps=80):
    return (np.random.default_rng(0).random((2, n_steps, 1, 1)) < 0.15).astype("float32")


def test_all_to_all_pairs_equal_a_sum_over_pairs_of_spikes():
    """dt >= 0 (a postsynaptic spike after, or in the same step): potentiation; dt < 0: depression."""
    pre, post = random_trains()
    weights = weights_over_time(
        plasticity.pair_stdp, 2, pre, post, w=0.5, presynaptic=-2e-3, postsynaptic=1e-3, pairing="all", **PAIR
    )
    expected = 0.5
    for i in np.flatnonzero(pre):
        for j in np.flatnonzero(post):
            expected += 1e-3 * DECAY ** (j - i) if j >= i else -2e-3 * DECAY ** (i - j)
    assert weights[-1] == pytest.approx(expected, abs=1e-7)


def test_triplets_equal_a_sum_over_triplets_of_spikes():
    """Pfister and Gerstner's rule, with the slow traces before the spike and all pairs."""
    pre, post = random_trains()
    rates = {"presynaptic": -2e-3, "postsynaptic": 1e-3, "pre_triplet": -5e-4, "post_triplet": 7e-4}
    slow = {"slow_pre_decay": 0.98, "slow_post_decay": 0.97}
    weights = weights_over_time(plasticity.triplet_stdp, 4, pre, post, w=0.5, pairing="all", **rates, **slow, **PAIR)
    pre_times, post_times = np.flatnonzero(pre), np.flatnonzero(post)
    expected = 0.5
    for t in pre_times:
        before = sum(DECAY ** (t - j) for j in post_times if j < t)
        expected += before * (-2e-3 - 5e-4 * sum(0.98 ** (t - i) for i in pre_times if i < t))
    for t in post_times:
        before = sum(DECAY ** (t - i) for i in pre_times if i <= t)
        expected += before * (1e-3 + 7e-4 * sum(0.97 ** (t - j) for j in post_times if j < t))
    assert weights[-1] == pytest.approx(expected, abs=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Brian2's dependencies
@pytest.mark.parametrize("name", HAND)
def test_equals_brian2_event_by_event(name):
    """The weight after each step equals that of event-driven code in Brian2."""
    brian2 = import_brian2()
    rule, n_traces, options = HAND[name]
    pre, post = random_trains()
    post[(pre > 0) & (post > 0)] = 0  # within a step, Brian2 has an order of its own
    ms = brian2.ms
    sources = [
        brian2.SpikeGeneratorGroup(1, np.zeros(n, int), times * ms, dt=1 * ms)
        for times in map(np.flatnonzero, (pre, post))
        for n in [len(times)]
    ]
    after = "0.01 * x" if name == "pair, +" else "0.01 * x * z"
    synapses = brian2.Synapses(
        *sources,
        """w : 1
        dx/dt = -x / (20 * ms) : 1 (event-driven)
        dy/dt = -y / (20 * ms) : 1 (event-driven)
        dz/dt = -z / (40 * ms) : 1 (event-driven)""",
        on_pre=f"x = 1\nw = clip(w + {options['presynaptic']} * y, 0, 1)",
        on_post=f"w = clip(w + {after}, 0, 1)\ny = 1\nz = 1",
        dt=1 * ms,
    )
    synapses.connect()
    synapses.w = 0.3
    monitor = brian2.StateMonitor(synapses, "w", record=True, when="end", dt=1 * ms)
    brian2.Network(*sources, synapses, monitor).run(len(pre) * ms, namespace={})
    weights = weights_over_time(rule, n_traces, pre, post, **options)
    assert abs(weights[-1] - 0.3) > 1e-3
    np.testing.assert_allclose(weights, monitor.w[0], rtol=0, atol=1e-7)  # float32 rounds the changes


def test_reward_to_come_equals_eligibility_traces():
    """The sum of the changes times the reward to come equals the weight change of explicit eligibility traces."""
    rng = np.random.default_rng(0)
    change, reward = rng.normal(size=(2, 2, 12)).astype("float32")
    last = rng.normal(size=2).astype("float32")
    mask = np.ones((2, 12), bool)
    mask[1, 9:] = False
    total, trace = np.zeros(2), np.zeros(2, "float32")
    for t in range(12):
        after = ops.convert_to_numpy(plasticity.eligibility(tensor(trace), tensor(change[:, t]), 0.75))
        trace = np.where(mask[:, t], after, trace)
        total += np.where(mask[:, t], reward[:, t] * trace, 0)
    total += last * trace
    factors = run(COMPILED, lambda r, e, m: plasticity.reward_to_come(r, e, 0.75, m), reward, last, mask)
    np.testing.assert_allclose(np.where(mask, factors * change, 0).sum(1), total, rtol=1e-5)


def test_scaling_and_adaptive_thresholds():
    kernel = tensor([[1, 0, 2], [3, 0, 2]])
    scaled = ops.convert_to_numpy(plasticity.scaled_to_sum(kernel, 2.0))
    np.testing.assert_allclose(scaled, [[0.5, 0, 1], [1.5, 0, 1]], rtol=1e-6)
    theta = plasticity.adapted_threshold(tensor([2, 2]), tensor([0, 1]), 0.25, 0.5)
    np.testing.assert_array_equal(ops.convert_to_numpy(theta), [1, 1.25])


def test_delays_by_hand():
    x = np.array([[[1, 1], [0, 2], [3, 3]]], "float32")
    y = run(COMPILED, lambda x, delays: delayed_by_steps(x, delays, 2), x, np.array([0, 2], "int32"))
    np.testing.assert_array_equal(y, [[[1, 0], [0, 0], [3, 1]]])
