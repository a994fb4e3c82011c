import numpy as np
import pytest
from keras import ops
from reference import codes
from reference.autodiff import COMPILED, STEP_BY_STEP, gradients, run

from keras_snn.ops import decoding, encoding

RNG = np.random.default_rng(0)
#: Values from 0 to 1, including both ends and values between those that the codes represent.
X = np.concatenate([np.linspace(0, 1, 4001), RNG.uniform(size=500)]).astype("float32")[None]
ROUNDING = 1e-6  # a few float32 roundings of numbers up to 1


def trains(text):
    """Return spikes ``(1, time, units)`` from one string of digits per unit."""
    return np.array([[int(digit) for digit in train] for train in text.split()], "float32").T[None]


def round_trip(encode, decode, x=X):
    return run(COMPILED, lambda x: decode(encode(x)), x)


# First spikes


def test_first_spike_time():
    spikes = trains("0000 1000 0001 0110 1111")
    spikes[0, 2, 3] = -3.5  # every non-zero number is a spike
    times = run(COMPILED, decoding.first_spike_time, spikes)
    assert times.tolist() == [[4, 0, 3, 1, 0]]
    assert times.dtype == "float32"


def test_first_spike_time_of_nan_is_nan():
    spikes = trains("0100 0100")
    spikes[0, 3, 1] = np.nan
    np.testing.assert_array_equal(run(COMPILED, decoding.first_spike_time, spikes), [[1, np.nan]])


#: Each decoder and its values for `trains("0010 0100")`.
DECODED = [
    (decoding.first_spike_time, [2, 1]),
    (lambda s: decoding.rate(s, 0.5), [0.5, 0.5]),
    (lambda s: decoding.latency(s, "linear"), [1 / 3, 2 / 3]),
    (lambda s: decoding.latency(s, "log"), np.expm1([1, 2]) / np.expm1(3)),
    (lambda s: decoding.phase(s, 2), [0.25, 0.125]),
    (decoding.rank_order, [0.5, 0.75]),
    (lambda s: decoding.interval(s, 1, 4), [1 / 3, 2 / 3]),
    (lambda s: decoding.resonance(s, 3), [0, 0]),
    (lambda s: decoding.delta(s, np.float32([[1, 2]]), 0.5)[:, 3], [1.5, 2.5]),
    (lambda s: decoding.vote(s, 2)[:, 2], [0.5]),
]


def assert_decoded(mode, dtype):
    spikes = trains("0010 0100").astype(dtype)
    results = run(mode, lambda s: [decode(s) for decode, _ in DECODED], spikes)
    for values, (_, expected) in zip(results, DECODED, strict=True):
        assert values.dtype == "float32"
        np.testing.assert_allclose(values[0], expected, rtol=ROUNDING)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16"])
def test_spikes_of_any_dtype(dtype):
    assert_decoded(STEP_BY_STEP, dtype)


def test_eager_decoders():
    assert_decoded("eager", "float32")
    assert_population_by_hand("eager")


def test_times_are_counted_in_float32():
    late, all_steps = np.zeros((1, 5000, 1), "float16"), np.ones((1, 5000, 1), "float16")
    late[0, 4097] = 1  # float16 cannot represent 4097
    first, rate = run(COMPILED, lambda a, b: (decoding.first_spike_time(a), decoding.rate(b, 1.0)), late, all_steps)
    assert (first.item(), rate.item()) == (4097, 1)


# By hand


def test_rate_by_hand():
    np.testing.assert_allclose(
        run(COMPILED, lambda s: decoding.rate(s, 0.5), trains("0000 1000 1100")), [[0, 0.5, 1]], rtol=ROUNDING
    )


def test_latency_by_hand():
    spikes = trains("10000 00100 00001 00000 01010")
    linear, log = run(COMPILED, lambda s: [decoding.latency(s, code) for code in ("linear", "log")], spikes)
    np.testing.assert_allclose(linear, [[1, 0.5, 0, 0, 0.75]], atol=ROUNDING)
    e = np.exp([0, -2, -4, -4, -1])
    expected = (e - np.exp(-4)) / (1 - np.exp(-4))
    np.testing.assert_allclose(log, [expected], rtol=ROUNDING, atol=ROUNDING)


def test_a_single_step():
    spikes, codes = np.float32([0, 1]).reshape(2, 1, 1), encoding.LATENCY_CODES
    for values in run(COMPILED, lambda s: [decoding.latency(s, code) for code in codes], spikes):
        assert values.tolist() == [[0], [1]]


def test_phase_by_hand():
    spikes = trains("100100 011011 111111 000000 100000")
    assert run(COMPILED, lambda s: decoding.phase(s, 3), spikes).tolist() == [[0.5, 0.375, 0.875, 0, 0.25]]


def test_interval_by_hand():
    # Intervals 1, 2, 3, 6, none, and 1 and 4 with the mean 2.5
    spikes = trains("111111 010101 001001 000001 000000 100010")
    values = run(COMPILED, lambda s: decoding.interval(s, 1, 6), spikes)
    np.testing.assert_allclose(values, [[1, 0.8, 0.6, 0, 0, 0.7]], atol=ROUNDING)


def test_resonance_by_hand():
    values = run(COMPILED, lambda s: decoding.resonance(s, 4), trains("000000 100000 101000 101010 101011"))
    np.testing.assert_allclose(values, [[0, 0, 1 / 3, 2 / 3, 1]], rtol=ROUNDING)


def test_rank_order_by_hand():
    values = run(COMPILED, decoding.rank_order, trains("1000 0100 0010 0001 0000"))
    assert values.tolist() == [[1, 0.75, 0.5, 0.25, 0]]


def test_delta_by_hand():
    spikes = np.array([0, 1, 1, 0, -1, -1, -1], "float32").reshape(1, 7, 1)
    values = run(COMPILED, lambda s, x: decoding.delta(s, x, 0.25), spikes, np.array([[2.0]], "float32"))
    assert values.ravel().tolist() == [2, 2.25, 2.5, 2.5, 2.25, 2, 1.75]


def test_vote_by_hand():
    spikes = np.arange(12, dtype="float32").reshape(1, 2, 6)
    threes, twos = run(COMPILED, lambda s: [decoding.vote(s, n) for n in (3, 2)], spikes)
    assert threes.tolist() == [[[1, 4], [7, 10]]]
    assert twos.tolist() == [[[0.5, 2.5, 4.5], [6.5, 8.5, 10.5]]]


def test_population_by_hand():
    assert_population_by_hand(COMPILED)


def assert_population_by_hand(mode):
    # One spike: the center of its neuron. Two equal neighbors: their middle. No spikes: NaN.
    spikes = np.zeros((3, 11, 6), "float32")
    spikes[0, 0, 1] = spikes[1, 3, 2] = spikes[1, 3, 3] = 1
    values = run(mode, lambda s: decoding.population(s, 0.0, 1.0, 1.5), spikes)
    np.testing.assert_allclose(values, [0.125, 0.5, np.nan], rtol=ROUNDING)


@pytest.mark.backend_free
def test_unknown_codes_and_partial_periods_are_refused():
    with pytest.raises(ValueError, match="`code` must be one of"):
        decoding.latency(ops.ones((1, 4, 1)), "exp")
    with pytest.raises(ValueError, match=r"n_steps=4 and bits=3"):
        decoding.phase(ops.ones((1, 4, 1)), 3)


# Round trips, up to the resolution stated in the docstrings of the layers


@pytest.mark.parametrize("n_steps", [2, 9, 100, 1000])
def test_linear_latency_round_trip(n_steps):
    y = round_trip(lambda x: encoding.latency(x, n_steps, "linear"), lambda s: decoding.latency(s, "linear"))
    error = np.abs(y - X)
    assert error.max() <= 0.5 / (n_steps - 1) + ROUNDING
    assert error.max() > 0.3 / (n_steps - 1)


@pytest.mark.parametrize("n_steps", [2, 4, 9, 200])
def test_log_latency_round_trip(n_steps):
    y = round_trip(lambda x: encoding.latency(x, n_steps, "log"), lambda s: decoding.latency(s, "log"))
    bound = 0.65 * (X + 1 / np.expm1(n_steps - 1.0))
    assert np.all(np.abs(y - X) <= bound + ROUNDING)
    assert np.any(np.abs(y - X) > 0.8 * bound)


@pytest.mark.parametrize("bits, periods", [(1, 1), (3, 2), (8, 3), (16, 1)])
def test_phase_round_trip(bits, periods):
    y = round_trip(lambda x: encoding.phase(x, bits * periods, bits), lambda s: decoding.phase(s, bits))
    error = (X.astype("float64") - y) * 2**bits
    assert error.min() >= 0
    assert np.all(error[X < 1] < 1)
    np.testing.assert_array_equal(error[X == 1], 1)


@pytest.mark.parametrize("shortest, longest, n_steps", [(1, 2, 2), (1, 20, 20), (5, 40, 100)])
def test_interval_round_trip(shortest, longest, n_steps):
    y = round_trip(
        lambda x: encoding.interval(x, n_steps, shortest, longest),
        lambda s: decoding.interval(s, shortest, longest),
    )
    error = np.abs(y - X)
    assert error.max() <= 0.5 / (longest - shortest) + ROUNDING
    assert error.max() > 0.3 / (longest - shortest)


@pytest.mark.parametrize("max_spikes", [2, 5, 20])
def test_resonance_round_trip(max_spikes):
    n_steps = 3 * max_spikes
    y = round_trip(lambda x: encoding.resonance(x, n_steps, 3, max_spikes), lambda s: decoding.resonance(s, max_spikes))
    error = np.abs(y - X) * (max_spikes - 1)
    assert 0.3 < error.max() <= 0.5 + ROUNDING * max_spikes


POPULATIONS = [(10, 3), (20, 6), (100, 20), (1000, 6)]
RESOLUTIONS = [(1.0, 1.05), (1.5, 0.7), (2.0, 1.05)]
every_beta = pytest.mark.nightly("all pairs of beta and number of neurons")


@pytest.mark.parametrize(
    "n_steps, m, beta, resolution",
    [
        pytest.param(*sizes, *fields, marks=[] if fields[0] == 1.5 or sizes == (20, 6) else every_beta)
        for sizes in POPULATIONS
        for fields in RESOLUTIONS
    ],
)
def test_population_round_trip(n_steps, m, beta, resolution):
    low, high = -2.0, 3.0
    x = low + (high - low) * X[:, ::5]
    y = round_trip(
        lambda x: encoding.population(x, n_steps, m, low, high, beta, 0.1),
        lambda s: decoding.population(s, low, high, beta),
        x,
    )
    spacing = (high - low) / (m - 2)
    error = np.abs(y - x).max() / spacing * n_steps
    assert resolution / 4 < error < resolution


@pytest.mark.parametrize("shape, n_steps", [((3, 40), 10), ((3, 40), 40), ((3, 4, 10), 100), ((3, 40), 7)])
def test_rank_order_round_trip(shape, n_steps):
    x = RNG.uniform(size=shape).astype("float32")
    y = round_trip(lambda x: encoding.rank_order(x, n_steps), decoding.rank_order, x).reshape(3, 40)
    ranks = (-x.reshape(3, 40)).argsort(axis=1).argsort(axis=1)
    error = y - (1 - ranks / 40)
    assert error.min() > -ROUNDING and error.max() < 1 / n_steps
    order = np.take_along_axis(y, x.reshape(3, 40).argsort(axis=1), axis=1)
    assert np.all(np.diff(order, axis=1) >= 0)  # the order of the inputs; several units may share a step
    assert n_steps < 40 or len(np.unique(y)) == 40


def test_delta_round_trip():
    threshold = 0.1
    steps = RNG.uniform(-1, 1, size=(3, 400, 5))  # in units of the threshold; below 1, so that the code keeps up
    signal = (np.cumsum(steps, axis=1) * threshold).astype("float32")
    decoded = round_trip(
        lambda x: encoding.delta(x, threshold),
        lambda s: decoding.delta(s, signal[:, 0], threshold),
        signal,
    )
    assert np.abs(decoded - signal).max() < threshold * 1.0001  # float32 sums of 400 steps
    # atol: both are sums of thresholds, in another order.
    np.testing.assert_allclose(decoded, codes.delta(signal.astype("float64"), threshold)[1], atol=1e-5)


def test_a_delta_code_catches_up_after_a_fast_change():
    signal = np.array([0, 5, 5, 5, 5, 5, 5, 5], "float32").reshape(1, 8, 1)
    decoded = round_trip(lambda x: encoding.delta(x, 1.0), lambda s: decoding.delta(s, signal[:, 0], 1.0), signal)
    assert decoded.ravel().tolist() == [0, 1, 2, 3, 4, 5, 5, 5]


# Others


def test_nan_is_decoded_to_nan():
    spikes = np.full((1, 4, 3), np.nan, "float32")
    decoders = (
        lambda s: decoding.rate(s, 1.0),
        lambda s: decoding.latency(s, "linear"),
        lambda s: decoding.latency(s, "log"),
        lambda s: decoding.phase(s, 2),
        lambda s: decoding.population(s, 0.0, 1.0, 1.5),
        decoding.rank_order,
        lambda s: decoding.interval(s, 1, 4),
        lambda s: decoding.resonance(s, 4),
        lambda s: decoding.vote(s, 3),
    )
    for values in run(COMPILED, lambda s: [decode(s) for decode in decoders], spikes):
        assert np.all(np.isnan(values))


def test_rates_and_votes_have_gradients_and_times_have_none():
    spikes = trains("0101 1100")

    def loss(a, b, c):
        times = ops.sum(decoding.first_spike_time(c)) + 0 * ops.sum(c)
        return ops.sum(decoding.rate(a, 0.5)) + ops.sum(decoding.vote(b, 2)) + times

    d_rate, d_vote, d_times = gradients(COMPILED, loss, spikes, spikes, spikes)
    np.testing.assert_allclose(d_rate, np.full_like(spikes, 0.5), rtol=ROUNDING)
    np.testing.assert_allclose(d_vote, np.full_like(spikes, 0.5), rtol=ROUNDING)
    np.testing.assert_array_equal(d_times, 0)


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape")
def test_unknown_batch_and_time():
    import tensorflow as tf

    spikes = trains("01001000 00100100 00000001 10000000")
    decoders = (
        decoding.first_spike_time,
        lambda s: decoding.latency(s, "log"),
        lambda s: decoding.phase(s, 4),
        decoding.rank_order,
        lambda s: decoding.interval(s, 1, 4),
        lambda s: decoding.population(s, 0.0, 1.0, 1.5),
        lambda s: decoding.vote(s, 2),
    )

    @tf.function(input_signature=[tf.TensorSpec((None, None, spikes.shape[-1]))])
    def function(spikes):
        return [decode(spikes) for decode in decoders]

    for values, decode in zip(function(spikes), decoders, strict=True):
        np.testing.assert_allclose(values, decode(ops.convert_to_tensor(spikes)), rtol=ROUNDING)
