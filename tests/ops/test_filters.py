import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import COMPILED, FEW_MODES, STEP_BY_STEP, gradients, results_and_gradients, run

from keras_snn.ops import alpha, lowpass

RNG = np.random.default_rng(0)
few_modes = pytest.mark.parametrize("mode", FEW_MODES)
METHODS = ("sequential", "parallel")
methods = pytest.mark.parametrize("method", METHODS)
# Coefficients are float32. With r = dt / tau, a relative error of 6e-8 in exp(-r) becomes 6e-8 / r in the sum of the
# impulse response. The smallest r here is 0.005.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
DT = 0.01


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


FILTERS = {"lowpass": (lowpass, loops.lowpass), "alpha": (alpha, loops.alpha)}
names = pytest.mark.parametrize("name", FILTERS)


def random_state(name, *shape):
    return normal(*shape) if name == "lowpass" else (normal(*shape), normal(*shape))


def assert_states_close(actual, expected, tau):
    """Compare states. The slope p of an alpha filter is about 1 / tau times its level q."""
    if not isinstance(actual, tuple):
        return np.testing.assert_allclose(actual, expected, **CLOSE)
    for a, b, scale in zip(actual, expected, (1 / np.min(tau), 1), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * scale)


@names
def test_equals_numpy(name):
    """Filters equal NumPy with a tau per unit, one for all units, and one per sample, for both methods."""
    assert_equals_numpy(COMPILED, name, [np.float32([0.005, 0.05, 2.0]), np.float32(0.05), np.float32([[0.02], [0.3]])])


@pytest.mark.skipif(FEW_MODES == (COMPILED,), reason="other tests run the only mode of this backend")
@names
def test_eager_calls_equal_numpy(name):
    assert_equals_numpy("eager", name, [np.float32([0.005, 0.05, 2.0])])


def assert_equals_numpy(mode, name, taus):
    ours, theirs = FILTERS[name]
    x, state = normal(2, 7, 3), random_state(name, 2, 3)

    def filtered(x, s, taus):
        return [[ours(x, s, tau, DT, method=method) for tau in taus] for method in METHODS]

    for results in run(mode, filtered, x, state, taus):
        for (outputs, last), tau in zip(results, taus, strict=True):
            expected, final = theirs(x, state, tau, DT)
            np.testing.assert_allclose(outputs, expected, **CLOSE)
            assert_states_close(last, final, tau)


@names
def test_any_rank(name):
    ours, theirs = FILTERS[name]
    cases = [(method, shape) for method in METHODS for shape in ((), (2, 2, 3))]
    inputs = [(normal(2, 8, *shape), random_state(name, 2, *shape)) for _, shape in cases]
    taus = [np.full(shape[-1:], 0.05, "float32") for _, shape in cases]

    def filtered(inputs):
        pairs = zip(cases, inputs, taus, strict=True)
        return [ours(x, s, tau, DT, method=method) for (method, _), (x, s), tau in pairs]

    for (outputs, last), (x, state), tau in zip(run(COMPILED, filtered, inputs), inputs, taus, strict=True):
        expected, final = theirs(x, state, tau, DT)
        np.testing.assert_allclose(outputs, expected, **CLOSE)
        assert_states_close(last, final, tau)


@methods
def test_closed_forms_at_the_sample_times(method):
    """Responses to a step, a pulse of one sample and each initial state equal closed forms at the sample times."""
    n_steps, tau = 50, np.array([0.003, 0.1, 0.5], "float32")
    t = (np.arange(n_steps) + 1)[:, None] * DT
    step, pulse, silence = np.ones(n_steps), np.eye(n_steps)[0], np.zeros(n_steps)
    x = np.stack([step, pulse, silence, silence]).astype("float32")[..., None] * np.ones(3, "float32")
    p, q = (np.float32(s)[:, None] * np.ones(3, "float32") for s in ([0, 0, 0, 1], [0, 0, 1, 0]))

    def step_response(t, order):
        return np.where(t > 0, 1 - (1 + (order - 1) * t / tau) * np.exp(-t / tau), 0)

    def filter_orders(x, p, q):
        return lowpass(x, q, tau, DT, method=method)[0], alpha(x, (p, q), tau, DT, method=method)[0]

    first, second = run(COMPILED, filter_orders, x, p, q)
    expected = [step_response(t, 1), step_response(t, 1) - step_response(t - DT, 1), np.exp(-t / tau)]
    np.testing.assert_allclose(first[:3], expected, **CLOSE)
    expected = [
        step_response(t, 2),
        step_response(t, 2) - step_response(t - DT, 2),
        (1 + t / tau) * np.exp(-t / tau),
        t * np.exp(-t / tau),
    ]
    np.testing.assert_allclose(second, expected, **CLOSE)


@names
def test_the_first_steps_of_a_slow_filter(name):
    """The first outputs of a slow filter, about r t and (r t)^2 / 2 with r = dt / tau = 0.001, lose no digits."""
    x, zero = np.ones((1, 5), "float32"), np.zeros(1, "float32")
    state = zero if name == "lowpass" else (zero, zero)
    filter_ = FILTERS[name][0]
    results = run(STEP_BY_STEP, lambda x, s: [filter_(x, s, 1.0, 0.001, method=m)[0] for m in METHODS], x, state)
    t = 0.001 * np.arange(1, 6)
    expected = 1 - np.exp(-t) if name == "lowpass" else 1 - (1 + t) * np.exp(-t)
    # rtol: -expm1(-r) - r exp(-r) = r^2 / 2 is the difference of two numbers near r. Their float32 errors are 6e-8 r
    # each, plus the error of exp(-r): together 1.8e-7 / (r / 2).
    for outputs in results:
        np.testing.assert_allclose(outputs[0], expected, rtol=4e-4)


def test_values_by_hand():
    """One step of dt = tau from 0 with input 1 gives 1 - e^-1 for Lowpass and 1 - 2 e^-1 for Alpha."""
    one, level = np.ones((1, 1), "float32"), np.zeros(1, "float32")
    low, second = run(
        STEP_BY_STEP, lambda x, s: (lowpass(x, s, 0.1, 0.1)[0], alpha(x, (s, s), 0.1, 0.1)[0]), one, level
    )
    np.testing.assert_allclose(low, [[0.6321206]])
    np.testing.assert_allclose(second, [[0.2642411]])


@names
def test_a_tiny_tau_passes_the_input_through(name):
    x, state, tau = normal(2, 5, 3), random_state(name, 2, 3), np.array([1e-12, 0.0, -1.0], "float32")

    def outputs(cases):
        pairs = zip(METHODS, cases, strict=True)
        return [FILTERS[name][0](x, state, tau, 0.001, method=method)[0] for method, (x, state, tau) in pairs]

    results, (grads,) = results_and_gradients(COMPILED, outputs, [(x, state, tau)] * 2)
    for actual, (d_x, _, d_tau) in zip(results, grads, strict=True):
        np.testing.assert_array_equal(actual, x)
        np.testing.assert_array_equal(d_x, 2 * x)
        assert np.all(d_tau <= 0)  # descent increases tau or leaves it unchanged


@names
def test_below_the_min_tau_only_gradients_that_increase_it_pass(name):
    """Below dt / 16, the gradient is that at dt / 16 if it increases tau, and otherwise 0."""
    x, state, tau = np.ones((1, 1, 3), "float32"), random_state(name, 1, 3), np.array([1e-8, 0.0, -1.0], "float32")
    state = [0 * s for s in state] if name == "alpha" else 0 * state

    def loss(sign):
        return lambda tau: ops.sum(sign * FILTERS[name][0](x, state, tau, 1e-3)[0])

    np.testing.assert_array_equal(gradients("eager", loss(-1.0), tau)[0], np.zeros(3))  # descent would decrease tau
    (d_tau,) = gradients("eager", loss(1.0), tau)
    assert np.all(d_tau < 0) and np.ptp(d_tau) == 0


def loss_of(name, filtered, weights, ops=ops):
    outputs, last = filtered
    return ops.sum(ops.multiply(outputs, weights)) + ops.sum(last[-1] if name == "alpha" else last)


@few_modes
@names
def test_gradients_equal_finite_differences(mode, name):
    """Gradients of both methods equal central differences of the NumPy loop in float64."""
    args = normal(2, 6, 2), random_state(name, 2, 2), np.array([0.03, 0.2], "float32")
    weights = normal(2, 6, 2)
    ours, theirs = FILTERS[name]

    def loss(cases):
        filtered = [ours(*args, DT, method=method) for method, args in zip(METHODS, cases, strict=True)]
        return sum(loss_of(name, f, weights) for f in filtered)

    (grads,) = gradients(mode, loss, [args] * 2)
    flat = [a.astype("float64") for a in keras.tree.flatten(args)]
    for value, *grads_of_value in zip(flat, *map(keras.tree.flatten, grads), strict=True):
        expected = np.empty_like(value)
        for place in np.ndindex(value.shape):
            center, ends = value[place], []
            for h in (1e-5, -1e-5):
                value[place] = center + h
                ends.append(loss_of(name, theirs(*keras.tree.pack_sequence_as(args, flat), DT), weights, np))
            value[place] = center
            expected[place] = (ends[0] - ends[1]) / 2e-5
        for grad in grads_of_value:
            # rtol: float32 sums of some dozen terms. The error of the differences is about 1e-9.
            np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@few_modes
def test_dt_as_a_tensor(mode):
    x, level = normal(2, 5, 3), normal(2, 3)

    def outputs(x, s, dt):
        return [
            [lowpass(x, s, 0.05, dt, method=m)[0], alpha(x, (s, s), 0.05, dt, method=m)[0]]
            for m in ("sequential", "parallel")
        ]

    expected = [loops.lowpass(x, level, 0.05, 0.02)[0], loops.alpha(x, (level, level), 0.05, 0.02)[0]]
    np.testing.assert_allclose(run(mode, outputs, x, level, np.float32(0.02)), [expected, expected], **CLOSE)


def test_dt_and_tau_as_variables():
    x, level = normal(2, 5, 3), normal(2, 3)
    tau, dt = keras.Variable(np.full(3, 0.05, "float32")), keras.Variable(0.02)
    for method in ("sequential", "parallel"):
        outputs = ops.convert_to_numpy(lowpass(x, level, tau, dt, method=method)[0])
        np.testing.assert_allclose(outputs, loops.lowpass(x, level, 0.05, 0.02)[0], **CLOSE)


@names
def test_long_sequences(name):
    """Filters equal NumPy for noise over many time constants, and reach the level of a constant input."""
    # A step on PyTorch starts several kernels one by one.
    n_steps = 2_000 if keras.config.backend() == "torch" else 3_000
    x = np.concatenate([normal(1, n_steps, 2), np.ones((1, 1000, 2), "float32")], axis=1)
    (ours, theirs), state, tau = FILTERS[name], random_state(name, 1, 2), np.array([0.02, 1.0], "float32")
    expected = theirs(x, state, tau, DT)[0]
    for outputs in run(COMPILED, lambda *args: [ours(*args, DT, method=m)[0] for m in METHODS], x, state, tau):
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=2e-5)  # at r = 0.01; see CLOSE
        np.testing.assert_allclose(outputs[0, -1, 0], 1, rtol=1e-5)


@pytest.mark.parametrize("function", [lowpass, alpha])
def test_an_unknown_method(function):
    with pytest.raises(ValueError, match=r"`method` must be one of 'sequential', 'parallel'; got 'cumsum'"):
        function(normal(2, 5), (normal(2), normal(2)), 0.1, DT, method="cumsum")


@pytest.mark.tensorflow("only TensorFlow graphs have an unknown time")
def test_parallel_needs_a_static_length():
    import tensorflow as tf

    signature = [tf.TensorSpec((2, None)), tf.TensorSpec((2,))]
    x, level = normal(2, 5), normal(2)
    sequential = tf.function(lambda x, s: lowpass(x, s, 0.05, DT), signature)
    np.testing.assert_allclose(sequential(x, level)[0], loops.lowpass(x, level, 0.05, DT)[0], **CLOSE)
    with pytest.raises(ValueError, match=r"`method` must be 'sequential' if .*got 'parallel'"):
        tf.function(lambda x, s: lowpass(x, s, 0.05, DT, method="parallel"), signature)(x, level)
