import hashlib

import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import BACKEND, COMPILED, FEW_MODES, gradients, run, to_numpy, to_tensors, wrap

from keras_snn.ops import integrate_and_fire
from keras_snn.ops.precision import voltage_dtype

few_modes = pytest.mark.parametrize("mode", FEW_MODES)


def fire(mode, rates, voltage, dt):
    return run(mode, integrate_and_fire, *(np.asarray(a, "float32") for a in (rates, voltage, dt)))


def assert_equals_numpy(actual, rates, voltage, dt):
    """Compare bit for bit: without products in the loop, nothing can be fused."""
    counts, last = loops.integrate_and_fire(rates, voltage, dt)
    np.testing.assert_array_equal(actual[0], counts * (1 / np.float32(dt)))
    np.testing.assert_array_equal(actual[1], last)


def random_rates(*shape, dt, seed=0):
    """Return rates and voltages. Rates are zero, low, above one spike per step, or negative."""
    rng = np.random.default_rng(seed)
    rates = rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 3, size=shape)
    rates[rng.random(shape) < 0.1] = 0
    return (rates / dt).astype("float32"), rng.random((shape[0], *shape[2:])).astype("float32")


@few_modes
@pytest.mark.parametrize("shape", [(5, 50, 40), (3, 1, 2000), (1, 7)], ids=str)
def test_equals_numpy_bit_for_bit(mode, shape):
    function = wrap(mode, integrate_and_fire)
    for dt in np.float32([0.001, 0.003, 0.7, 1.0]):
        rates, voltage = random_rates(*shape, dt=dt)
        assert_equals_numpy(to_numpy(function(*to_tensors((rates, voltage, dt)))), rates, voltage, dt)


@pytest.mark.tensorflow("an unknown time runs in a graph loop")
def test_unknown_time_equals_numpy_bit_for_bit():
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, 40)), tf.TensorSpec((None, 40))]
    rates, voltage = random_rates(5, 50, 40, dt=0.003)
    for jit_compile in (False, True):
        function = tf.function(lambda r, v: integrate_and_fire(r, v, 0.003), signature, jit_compile=jit_compile)
        assert_equals_numpy(to_numpy(function(rates, voltage)), rates, voltage, 0.003)


@few_modes
def test_the_same_spikes_on_every_backend(mode):
    rates, voltage = random_rates(8, 100, 32, dt=0.001, seed=7)
    rates = np.minimum(np.abs(rates), np.float32(2e5))
    spikes, _ = fire(mode, rates, voltage, 0.001)
    counts = np.round(spikes * np.float32(0.001)).astype("uint8")
    # The digest of the counts of the NumPy loop.
    digest = "178eead20e3a23b8c547c76a784401ec3a548aff0f2a22a8cbe19759595b5b26"
    assert hashlib.sha256(counts.tobytes()).hexdigest() == digest


BY_HAND = [  # increments, initial voltage, counts, last voltage
    ([0.25, 0.25, 0.25, 0.25], 0.0, [0, 0, 0, 1], 0.0),  # exactly at the threshold
    ([0.0, 0.5, 0.0, 0.0], 0.5, [0, 1, 0, 0], 0.0),
    ([0.5, 0.5, 0.0, 0.0], 0.25, [0, 1, 0, 0], 0.25),
    ([1, 2, 0, 3], 0.75, [1, 2, 0, 3], 0.75),  # integer increments do not change the voltage
    ([0, 0, 0, 0], 0.875, [0, 0, 0, 0], 0.875),
    ([2.75, 2.75, 0.0, 0.5], 0.0, [2, 3, 0, 1], 0.0),  # rates above 1 / dt
    ([-0.25, -0.25, -0.5, -1.5], 0.25, [0, -1, 0, -2], 0.75),  # floor, not truncation
    ([-1, -2, 0, -1], 0.5, [-1, -2, 0, -1], 0.5),
    ([1000.5, 1000.5, 0, 0], 0.0, [1000, 1001, 0, 0], 0.0),
    ([0, 0, 0, 0], 2.5, [2, 0, 0, 0], 0.5),  # a user's state outside [0, 1)
    ([0, 0, 0, 0], -0.5, [-1, 0, 0, 0], 0.5),
]


@few_modes
def test_values_by_hand(mode):
    dt = 2.0**-7  # every product and quotient is exact
    increments, voltage, counts, last = (np.array(column) for column in zip(*BY_HAND, strict=True))
    spikes, voltage = fire(mode, increments / dt, voltage, dt)
    np.testing.assert_array_equal(spikes * dt, counts)
    np.testing.assert_array_equal(voltage, last)


def test_a_million_steps_lose_no_spike():
    """At every step, the count differs by at most one from floor(v0 + float64 sum of the float32 increments)."""
    # A step on PyTorch starts a dozen kernels one by one: a million steps would take a minute.
    n_steps, chunk = (40_000, 10_000) if BACKEND == "torch" else (1_000_000, 100_000)
    dt, rng = np.float32(0.001), np.random.default_rng(0)
    constant = [1e-6, 0.1, 1 / 3, 0.7, 0.9999999, 1.1, 7.3, 999.9, -1e-6, -0.3, -250.55]
    voltage = start = rng.random((1, len(constant) + 4)).astype("float32")
    counted, integrated = np.zeros_like(voltage, "float64"), start.astype("float64")
    for begin in range(0, n_steps, chunk):
        time = np.arange(begin, begin + chunk)
        varying = [
            5 * np.sin(time / 100),
            rng.normal(size=chunk),
            rng.exponential(0.01, chunk),
            rng.uniform(0, 1000, chunk),
        ]
        rates = np.stack([np.full(chunk, c) for c in constant] + varying, axis=-1)[None] / dt
        rates = rates.astype("float32")
        spikes, voltage = integrate_and_fire(rates, voltage, dt)
        counts = counted + np.cumsum(np.round(to_numpy(spikes).astype("float64") * dt), axis=1)
        sums = integrated + np.cumsum((rates * dt).astype("float64"), axis=1)
        assert np.abs(counts - np.floor(sums)).max() <= 1
        counted, integrated = counts[:, -1], sums[:, -1]
    # After a million steps, increments of 1e-6 give one spike.
    if n_steps == 1_000_000:
        assert counted[0, 0] == 1 and counted[0, 8] == -1


def test_chunks_equal_one_call():
    rates, voltage = random_rates(3, 60, 20, dt=0.01)

    def whole_and_chunks(rates, start):
        spikes, last = integrate_and_fire(rates, start, 0.01)
        parts, voltage = [], start
        for chunk in np.split(np.arange(60), 4):
            part, voltage = integrate_and_fire(rates[:, chunk[0] : chunk[-1] + 1], voltage, 0.01)
            parts.append(part)
        return spikes, last, ops.concatenate(parts, axis=1), voltage

    spikes, last, of_parts, voltage = run(COMPILED, whole_and_chunks, rates, voltage)
    np.testing.assert_array_equal(of_parts, spikes)
    np.testing.assert_array_equal(voltage, last)


@few_modes
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_gradient_by_the_rates_is_the_upstream_gradient(mode, dtype):
    """The gradient by the rates is the upstream gradient of the same step. Voltage and dt have no gradient."""
    rates, voltage = random_rates(2, 9, 3, dt=0.01)
    weights = np.random.default_rng(1).integers(-50, 50, rates.shape).astype("float32")  # exact in every dtype

    def loss(rates, voltage, dt):
        spikes, last = integrate_and_fire(ops.cast(rates, dtype), voltage, dt)
        assert [keras.backend.standardize_dtype(t.dtype) for t in (spikes, last)] == [dtype, "float32"]
        return ops.sum(ops.multiply(ops.cast(spikes, "float32"), weights)) + 3 * ops.sum(last)

    d_rates, d_voltage, d_dt = gradients(mode, loss, np.clip(rates, -1e3, 1e3), voltage, np.asarray(np.float32(0.01)))
    np.testing.assert_array_equal(d_rates, weights)
    np.testing.assert_array_equal(d_voltage, np.zeros_like(voltage))
    assert d_dt == 0


@few_modes
def test_half_precision_rates_accumulate_in_float32(mode):
    """Half-precision rates accumulate in float32. float16 would round the sum of a voltage and an increment."""
    rates = np.full((1, 2000, 1), 5.0, "float16")
    spikes, last = run(mode, lambda r, v: integrate_and_fire(r, v, 0.001), rates, np.zeros((1, 1), "float32"))
    assert spikes.dtype == "float16" and last.dtype == "float32"
    counts, expected = loops.integrate_and_fire(rates, np.zeros((1, 1)), 0.001)
    np.testing.assert_array_equal(spikes, (counts * (1 / np.float32(0.001))).astype("float16"))
    np.testing.assert_array_equal(last, expected)


@few_modes
def test_a_non_finite_rate_affects_only_its_unit(mode):
    rates, voltage = random_rates(3, 10, 4, dt=0.01)
    function = wrap(mode, lambda rates, voltage: integrate_and_fire(rates, voltage, 0.01))
    expected, last = to_numpy(function(*to_tensors((rates, voltage))))
    for value in (np.nan, np.inf, -np.inf):
        rates[1, 6, 2] = value
        spikes, poisoned = to_numpy(function(*to_tensors((rates, voltage))))
        spikes, poisoned = spikes.copy(), poisoned.copy()
        assert not np.any(np.isfinite(spikes[1, 6:, 2])) and np.isnan(poisoned[1, 2])
        spikes[1, 6:, 2], poisoned[1, 2] = expected[1, 6:, 2], last[1, 2]
        np.testing.assert_array_equal(spikes, expected)
        np.testing.assert_array_equal(poisoned, last)


@pytest.mark.backend_free
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_accumulators_are_float32(dtype):
    assert voltage_dtype(dtype) == "float32"
