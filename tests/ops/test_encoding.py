import math

import numpy as np
import pytest
from keras import ops
from reference import codes, loops
from reference.autodiff import COMPILED, MODES, gradients, run, to_numpy, wrap

from keras_snn.ops import encoding
from keras_snn.ops.backend import is_known
from keras_snn.ops.random import uniform_by_index


def grid(parts):
    """Return all multiples of 1 / parts in [0, 1], in random order, as ``(2, 3, n)``."""
    values = np.random.default_rng(0).permutation(np.arange(parts + 1) / parts).astype("float32")
    return values[: len(values) // 6 * 6].reshape(2, 3, -1)


# All codes against the NumPy loop


def integers(*shape):
    """Return multiples of 1/4 with many ties."""
    return np.random.default_rng(1).integers(0, 4, size=shape).astype("float32") / 4


def walk(threshold):
    """Return a random walk with steps of about one threshold, in float64."""
    return np.cumsum(np.random.default_rng(2).normal(size=(2, 60, 3, 2)), axis=1) * threshold * 0.7


def delta_loop(signal, threshold):
    return codes.delta(walk(threshold), threshold)[0]  # the float64 signal


LATENCIES = [(n_steps, code) for code in encoding.LATENCY_CODES for n_steps in (7, 1, 6, 17)]
PHASES = [(6, 3), (1, 1), (3, 1), (8, 8), (12, 4), (16, 8), (24, 8)]
INTERVALS = [(20, 3, 7), (2, 1, 2), (12, 1, 12), (20, 2, 9)]
BURSTS = [(20, 3, 7), (2, 1, 2), (19, 6, 4), (40, 5, 6)]
POPULATIONS = [(11, 6, -1.0, 2.0, 1.0, 0.2), (1, 3, -1.0, 2.0, 1.5, 0.1), (10, 6, -1.0, 2.0, 1.5, 0.1)]
POPULATIONS += [(31, 5, -1.0, 2.0, 1.0, 0.0)]
RANKS = [(n_steps,) for n_steps in (4, 1, 6, 7, 20, 40)]
#: Name -> code, NumPy loop, values, and the arguments of several calls. The first call is a typical one.
EQUAL = {
    "latency": (encoding.latency, codes.latency, grid(509), LATENCIES),  # k / 509 is never halfway between two steps
    "phase": (encoding.phase, codes.phase, grid(511), PHASES),
    "interval": (encoding.interval, codes.interval, grid(509), INTERVALS),
    "resonance": (encoding.resonance, codes.resonance, grid(509), BURSTS),
    "population": (encoding.population, codes.population, grid(509) * 3 - 1, POPULATIONS),
    "rank order of 7": (encoding.rank_order, codes.rank_order, integers(3, 7), RANKS),
    "rank order of 3 x 4": (encoding.rank_order, codes.rank_order, integers(2, 3, 4), RANKS),
    "rank order of 1": (encoding.rank_order, codes.rank_order, integers(5), RANKS),
    "delta 0.1": (encoding.delta, delta_loop, walk(0.1).astype("float32"), [(0.1,)]),
    "delta 0.25": (encoding.delta, delta_loop, walk(0.25).astype("float32"), [(0.25,)]),
    "delta 3": (encoding.delta, delta_loop, walk(3.0).astype("float32"), [(3.0,)]),
}


def assert_equals_the_loop(mode, name, n_cases=None):
    """Compare several calls of a code, in one function, with the loop."""
    code, loop, x, cases = EQUAL[name]
    cases = cases[:n_cases]
    results = run(mode, lambda x: [code(x, *case) for case in cases], x)
    for spikes, case in zip(results, cases, strict=True):
        assert spikes.dtype == "float32"
        expected = loop(x, *case)
        assert spikes.shape == expected.shape
        np.testing.assert_array_equal(spikes, expected, err_msg=str(case))
        if name.startswith(("latency", "rank order")):
            np.testing.assert_array_equal(spikes.sum(axis=1), 1)
        elif name == "interval":
            assert spikes.sum(axis=1).min() >= 1
        elif name.startswith("delta"):
            assert set(np.unique(spikes)) == {-1, 0, 1}


@pytest.mark.parametrize("name", EQUAL)
def test_equals_the_loop(name):
    assert_equals_the_loop(COMPILED, name)


@pytest.mark.skipif(COMPILED == "eager", reason="the test above is eager on this backend")
@pytest.mark.parametrize("name", ["latency", "phase", "interval", "population", "rank order of 3 x 4", "delta 0.1"])
def test_an_eager_call_equals_the_loop(name):
    assert_equals_the_loop("eager", name, n_cases=1)


# Latency


def test_latency_at_the_ends():
    """0 and 1 give the last and the first step for any T. exp(T - 1) overflows float32 from T = 90 on.

    exp(1 - T) underflows from T = 105 on.
    """
    cases = [(n_steps, code) for n_steps in (2, 5, 100, 1000, 5000) for code in encoding.LATENCY_CODES]
    x = np.array([[1.0, 0.0]], "float32")
    results = run(COMPILED, lambda x: [encoding.latency(x, *case) for case in cases], x)
    for spikes, (n_steps, _) in zip(results, cases, strict=True):
        assert spikes[0, :, 0].nonzero()[0].tolist() == [0]
        assert spikes[0, :, 1].nonzero()[0].tolist() == [n_steps - 1]


def test_latency_by_hand():
    x = np.array([[1.0, 0.75, 0.5, 0.25, 0.0]], "float32")
    linear = run(COMPILED, lambda x: encoding.latency(x, 9, "linear"), x)
    assert linear[0].argmax(axis=0).tolist() == [0, 2, 4, 6, 8]
    # Halves are rounded to the even step: 0.5, 1.5, 2.5 become 0, 2, 2.
    halves = run(COMPILED, lambda x: encoding.latency(x, 5, "linear"), np.array([[7 / 8, 5 / 8, 3 / 8]], "float32"))
    assert halves[0].argmax(axis=0).tolist() == [0, 2, 2]
    # -ln(x + (1 - x) e^-8) = 0, 0.288, 0.693, 1.385, 8
    log = run(COMPILED, lambda x: encoding.latency(x, 9, "log"), x)
    assert log[0].argmax(axis=0).tolist() == [0, 0, 1, 1, 8]


def test_log_latency_of_many_steps_is_the_negative_logarithm():
    x = np.array([[1e-3, 1e-10, 1e-30]], "float32")
    times = run(COMPILED, lambda x: encoding.latency(x, 1000, "log"), x)[0].argmax(axis=0)
    assert times.tolist() == [round(-math.log(float(value))) for value in x[0]]


@pytest.mark.backend_free
def test_an_unknown_latency_code_is_refused():
    with pytest.raises(ValueError, match="`code` must be one of 'linear', 'log'; got 'exp'"):
        encoding.latency(np.zeros((1, 1), "float32"), 4, "exp")


# Phase


def test_phase_of_published_values():
    """Values of 8 bits have the spikes of table 1 of Kim et al. 2018."""
    x = np.array([[192 / 256, 1 / 256, 128 / 256, 255 / 256, 1.0, 0.0]], "float32")
    spikes = run(COMPILED, lambda x: encoding.phase(x, 8, 8), x)[0].T.astype(int)
    expected = ["11000000", "00000001", "10000000", "11111111", "11111111", "00000000"]
    assert ["".join(map(str, train)) for train in spikes] == expected


def test_phase_of_pixels_is_their_binary_digits():
    pixels = np.arange(256)
    x = pixels.astype("float32")[None] / 255
    spikes = run(COMPILED, lambda x: encoding.phase(x, 8, 8), x)[0].astype(int)
    np.testing.assert_array_equal(2 ** np.arange(7, -1, -1) @ spikes, pixels)


def test_phase_has_all_24_bits_of_float32():
    number = 0b101000000000000000000011
    x = np.array([[number / 2**24]], "float32")
    spikes = run(COMPILED, lambda x: encoding.phase(x, 24, 24), x)
    assert "".join(str(int(spike)) for spike in spikes.ravel()) == f"{number:024b}"


@pytest.mark.backend_free
def test_phase_of_a_partial_period_is_refused():
    with pytest.raises(ValueError, match=r"multiple of `bits`.*n_steps=10 and bits=8"):
        encoding.phase(np.zeros((1, 1), "float32"), 10, 8)


# Interval


def test_interval_by_hand():
    x = np.array([[1.0, 0.5, 0.0]], "float32")
    spikes = run(COMPILED, lambda x: encoding.interval(x, 10, 1, 5), x)[0].T
    assert [train.nonzero()[0].tolist() for train in spikes] == [list(range(10)), [2, 5, 8], [4, 9]]


# Resonance


def test_resonance_by_hand():
    """No value gives a single spike. Values between two codes are rounded to the even one: 1.5 and 2.5 to 2."""
    x = np.array([[0, 0.125, 0.25, 0.375, 0.625, 0.75, 1]], "float32")
    spikes = run(COMPILED, lambda x: encoding.resonance(x, 15, 3, 5), x)[0].T
    trains = [train.nonzero()[0].tolist() for train in spikes]
    assert trains == [[], [], [0, 3], [0, 3, 6], [0, 3, 6], [0, 3, 6, 9], [0, 3, 6, 9, 12]]


@pytest.mark.backend_free
def test_too_few_steps_for_the_longest_burst_are_refused():
    with pytest.raises(ValueError, match=r"`n_steps` must be at least .* = 13, .*; got 12"):
        encoding.resonance(np.zeros((1, 1), "float32"), 12, 3, 5)


# Population


@pytest.mark.backend_free
def test_receptive_fields_by_hand():
    """With m = 6 on [0, 1], centers are 1/4 apart and the first is 1/8 below the range (Bohte et al. 2002)."""
    centres, width = encoding.receptive_fields(6, 0.0, 1.0, 1.5)
    assert centres.tolist() == [-0.125, 0.125, 0.375, 0.625, 0.875, 1.125]
    assert width == 0.25 / 1.5
    centres, width = encoding.receptive_fields(4, -2.0, 6.0, 2.0)
    assert centres.tolist() == [-4.0, 0.0, 4.0, 8.0]
    assert width == 2.0


def test_population_by_hand():
    # x is the center of neuron 2. Its neighbors are 1.5 widths away, exp(-1.125) = 0.325; the next, exp(-4.5) = 0.011.
    cutoffs, x = (0.1, 0.0), np.array([[0.125]], "float32")
    spikes, all_spike = run(COMPILED, lambda x: [encoding.population(x, 11, 6, 0.0, 1.0, 1.5, c) for c in cutoffs], x)
    assert np.argwhere(spikes[0, :, 0]).tolist() == [[0, 1], [7, 0], [7, 2]]
    assert all_spike[0, :, 0].argmax(axis=0).tolist() == [7, 0, 7, 10, 10, 10]


# Rank order


def test_ties_are_ordered_by_index():
    """Ties are ordered by index, also for more units than one block of a sort."""
    x = np.zeros((2, 3000), "float32")
    x[:, 2999] = 1
    times = run(COMPILED, lambda x: encoding.rank_order(x, 3000), x).argmax(axis=1)
    np.testing.assert_array_equal(times, np.tile([*range(1, 3000), 0], (2, 1)))


# Poisson


def test_poisson_spikes_if_the_number_is_below_the_probability():
    x = np.array([[0.0, 0.5, 1.0]], "float32")
    uniform = np.array([[[0.0, 0.24, 0.4], [0.0, 0.25, 0.6], [0.5, 0.0, 0.499]]], "float32")
    spikes = run(COMPILED, lambda x, u: encoding.poisson(x, u, 0.5), x, uniform)
    assert spikes.tolist() == [[[0, 1, 1], [0, 0, 0], [0, 1, 1]]]


def test_poisson_always_and_never_spikes_at_the_ends():
    x = np.tile(np.array([0.0, 1.0], "float32"), (50, 1))
    spikes = run(
        COMPILED, lambda x: encoding.poisson(x, uniform_by_index(ops.arange(50, dtype="int32"), (200, 2), 0), 1.0), x
    )
    np.testing.assert_array_equal(spikes, np.broadcast_to(x[:, None], spikes.shape))


def test_the_gradient_of_poisson_is_that_of_the_expected_spikes():
    x = np.array([[0.1, 0.6], [0.3, 0.0]], "float32")
    rng = np.random.default_rng(0)
    uniform, upstream = (rng.uniform(size=(2, 5, 2)).astype("float32") for _ in range(2))
    _, d_uniform, d_x = gradients(
        COMPILED, lambda w, u, x: ops.sum(w * encoding.poisson(x, u, 0.25)), upstream, uniform, x
    )
    np.testing.assert_allclose(d_x, 0.25 * upstream.sum(axis=1), rtol=1e-6)  # float32 sums of five
    np.testing.assert_array_equal(d_uniform, 0)


def spikes_of_rates(rates, n_steps, seed):
    uniform = loops.uniform_by_index(np.arange(len(rates)), (n_steps, *rates.shape[1:]), seed)
    spikes = to_numpy(encoding.poisson(ops.convert_to_tensor(rates), ops.convert_to_tensor(uniform), 1.0))
    return spikes.astype("float64")


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.9])
def test_poisson_has_the_given_rate(rate):
    spikes = spikes_of_rates(np.full((40, 30), rate, "float32"), 100, seed=3)
    deviation = np.sqrt(rate * (1 - rate))
    # The mean of n = 120,000 draws is about normal: it is beyond 4 standard deviations once in 16,000 seeds, per rate.
    assert abs(spikes.mean() - rate) < 4 * deviation / np.sqrt(spikes.size)
    # Means per step, sample and unit: one of these 170 is beyond 4.6 deviations once in 1,400 seeds.
    for axis in range(3):
        means = spikes.mean(axis=tuple({0, 1, 2} - {axis}))
        assert np.abs(means - rate).max() < 4.6 * deviation / np.sqrt(spikes.size / len(means))
    # Counts are binomial. The variance of 1,200 counts has a relative deviation of sqrt(2 / 1200), 1.11 times that at
    # the rate 0.02. It is beyond the bound once in 3,000 seeds, per rate.
    variance = spikes.sum(axis=1).var() / (100 * deviation**2)
    assert abs(variance - 1) < 4 * np.sqrt(2 / 1200)


def test_poisson_is_independent_over_steps_units_and_samples():
    rate = 0.3
    z = (spikes_of_rates(np.full((40, 30), rate, "float32"), 100, seed=4) - rate) / np.sqrt(rate * (1 - rate))
    for lag in [(0, 1, 0), (0, 2, 0), (0, 50, 0), (0, 0, 1), (1, 0, 0), (0, 1, 1), (0, -1, 1), (1, 1, 0)]:
        shifted = np.roll(z, lag, axis=(0, 1, 2))
        # The correlation of n independent pairs is about normal with the deviation 1 / sqrt(n). One of these 8 is
        # beyond 4 deviations once in 2,000 seeds.
        assert abs(np.mean(z * shifted)) * np.sqrt(z.size) < 4, lag
    # Two neighboring steps both spike with the probability rate^2. One of the four cases is beyond 4 deviations once in
    # 4,000 seeds.
    spikes, next_spikes = z[:, :-1] > 0, z[:, 1:] > 0
    for a in (True, False):
        for b in (True, False):
            p = (rate if a else 1 - rate) * (rate if b else 1 - rate)
            frequency = np.mean((spikes == a) & (next_spikes == b))
            # Pairs that share a step are not independent: the variance of their sum is at most 1 + 2 * 0.7 / 1.7 times
            # that of independent pairs.
            assert abs(frequency - p) < 4 * np.sqrt(1.83 * p * (1 - p) / spikes.size)


# Delta


def test_delta_by_hand():
    signal = np.array([1.0, 1.25, 1.125, 0.875, 3.0, 3.0, 3.0, 2.0], "float32").reshape(1, 8, 1)
    # The reference: 1, 1.25, 1.25, 1, 1.25, 1.5, 1.75, 2
    spikes = run(COMPILED, lambda x: encoding.delta(x, 0.25), signal)
    assert spikes.ravel().tolist() == [0, 1, 0, -1, 1, 1, 1, 1]


def test_delta_does_not_drift():
    """The reference does not drift. A float32 sum of 0.1 over 20,000 steps is wrong by several thresholds."""
    signal = np.tile(np.array([0.0, 0.06, 0.12, 0.06], "float32"), 5000).reshape(1, -1, 1) + np.float32(50.0)
    spikes = run(COMPILED, lambda x: encoding.delta(x, 0.1), signal)
    assert spikes.ravel()[:8].tolist() == [0, 0, 1, 0, -1, 0, 1, 0]
    np.testing.assert_array_equal(spikes.ravel()[4:], np.tile([-1, 0, 1, 0], 4999))


def test_a_non_finite_input_makes_only_its_unit_nan():
    signal = np.zeros((1, 4, 3), "float32")
    signal[0, 1, 0], signal[0, 2, 1] = np.nan, np.inf
    spikes = run(COMPILED, lambda x: encoding.delta(x, 1.0), signal)
    np.testing.assert_array_equal(spikes[0].T, [[0, np.nan, np.nan, np.nan], [0, 0, np.nan, np.nan], [0, 0, 0, 0]])


# All


CODES = {
    "linear": lambda x: encoding.latency(x, 4, "linear"),
    "log": lambda x: encoding.latency(x, 4, "log"),
    "phase": lambda x: encoding.phase(x, 4, 2),
    "population": lambda x: encoding.population(x, 4, 3, 0.0, 1.0, 1.5, 0.1),
    "rank_order": lambda x: encoding.rank_order(x, 4),
    "interval": lambda x: encoding.interval(x, 4, 1, 4),
    "resonance": lambda x: encoding.resonance(x, 4, 1, 4),
    "delta": lambda x: encoding.delta(x, 0.1),
}


def test_spike_times_have_no_gradient():
    """Spike times have no gradient: only the sum of the values, added at each spike position, contributes."""
    xs = {name: np.array([[0.1, 0.6], [0.3, 0.0]], "float32") for name in CODES}
    sizes = {}

    def loss(xs):
        spikes = {name: code(xs[name]) for name, code in CODES.items()}
        sizes.update((name, np.prod(s.shape)) for name, s in spikes.items())
        return sum(ops.sum(s + ops.sum(xs[name])) for name, s in spikes.items())

    (grads,) = gradients(COMPILED, loss, xs)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, np.full((2, 2), sizes[name]), err_msg=name)


def test_only_eager_values_are_known():
    assert is_known(ops.ones(2))
    known = []

    def record(x):
        known.append(is_known(x))
        return x

    for mode in set(MODES) - {"eager"}:
        to_numpy(wrap(mode, record)(ops.ones(2)))
        assert not any(known) and known
    ops.convert_to_numpy(record(ops.ones(2)))
    assert known[-1]


@pytest.mark.torch("only PyTorch has tensors without values")
def test_a_meta_tensor_is_not_known():
    import torch

    assert not is_known(torch.ones(2, device="meta"))
