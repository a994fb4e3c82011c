import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import FEW_MODES, MODES, gradients, run

from keras_snn.ops import alpha, lowpass

RNG = np.random.default_rng(0)
modes = pytest.mark.parametrize("mode", MODES)
few_modes = pytest.mark.parametrize("mode", FEW_MODES)
methods = pytest.mark.parametrize("method", ["sequential", "parallel"])
# The coefficients are float32: with dt / tau = r, a relative error of 6e-8 in exp(-r) is one of 6e-8 / r in the sum of
# the impulse response. The smallest r here is 0.005.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
DT = 0.01


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


TAUS = {"scalar": np.array(0.05), "unit": np.array([0.005, 0.05, 2.0]), "sample": np.array([[0.02], [0.3]])}


@modes
@methods
@pytest.mark.parametrize("tau", TAUS.values(), ids=TAUS)
def test_lowpass_equals_numpy(mode, method, tau):
    x, level, tau = normal(2, 20, 3), normal(2, 3), tau.astype("float32")
    outputs, last = run(mode, lambda x, s, tau: lowpass(x, s, tau, DT, method=method), x, level, tau)
    expected, final = loops.lowpass(x, level, tau, DT)
    np.testing.assert_allclose(outputs, expected, **CLOSE)
    np.testing.assert_allclose(last, final, **CLOSE)


@modes
@methods
@pytest.mark.parametrize("tau", TAUS.values(), ids=TAUS)
def test_alpha_equals_numpy(mode, method, tau):
    x, state, tau = normal(2, 20, 3), (normal(2, 3), normal(2, 3)), tau.astype("float32")
    outputs, last = run(mode, lambda x, s, tau: alpha(x, s, tau, DT, method=method), x, state, tau)
    expected, final = loops.alpha(x, state, tau, DT)
    np.testing.assert_allclose(outputs, expected, **CLOSE)
    # The slope p is about 1 / tau times the level q.
    for a, b, scale in zip(last, final, (1 / tau.min(), 1), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * scale)


@pytest.mark.parametrize("shape", [(), (4, 2), (2, 2, 3)], ids=str)
@methods
def test_any_rank(shape, method):
    x, level, slope = normal(2, 6, *shape), normal(2, *shape), normal(2, *shape)
    tau = np.float32(0.05) if shape == () else np.full(shape[-1:], 0.05, "float32")
    outputs, last = run(FEW_MODES[-1], lambda x, s: lowpass(x, s, tau, DT, method=method), x, level)
    expected, final = loops.lowpass(x, level, tau, DT)
    np.testing.assert_allclose(outputs, expected, **CLOSE)
    np.testing.assert_allclose(last, final, **CLOSE)
    outputs, _ = run(FEW_MODES[-1], lambda x, p, q: alpha(x, (p, q), tau, DT, method=method), x, slope, level)
    np.testing.assert_allclose(outputs, loops.alpha(x, (slope, level), tau, DT)[0], **CLOSE)


@few_modes
@methods
@pytest.mark.parametrize("tau", [0.003, 0.1, 0.5])
def test_closed_forms_at_the_sample_times(mode, method, tau):
    """A step, a pulse of one sample, and the decay of each initial state; exact, for x is held between samples."""
    n_steps = 50
    t = (np.arange(n_steps) + 1) * DT
    step, pulse, nothing = np.ones(n_steps), np.eye(n_steps)[0], np.zeros(n_steps)

    def step_response(t, order):
        return np.where(t > 0, 1 - (1 + (order - 1) * t / tau) * np.exp(-t / tau), 0)

    x = np.stack([step, pulse, nothing, nothing]).astype("float32")
    p, q = np.float32([0, 0, 0, 1]), np.float32([0, 0, 1, 0])
    outputs, _ = run(mode, lambda x, q: lowpass(x, q, tau, DT, method=method), x[:3], q[:3])
    expected = [step_response(t, 1), step_response(t, 1) - step_response(t - DT, 1), np.exp(-t / tau)]
    np.testing.assert_allclose(outputs, expected, **CLOSE)
    outputs, _ = run(mode, lambda x, p, q: alpha(x, (p, q), tau, DT, method=method), x, p, q)
    expected = [
        step_response(t, 2),
        step_response(t, 2) - step_response(t - DT, 2),
        (1 + t / tau) * np.exp(-t / tau),
        t * np.exp(-t / tau),
    ]
    np.testing.assert_allclose(outputs, expected, **CLOSE)


def test_values_by_hand():
    """One step of dt = tau: e^-1 of the old level, 1 - e^-1 of the input; 1 - 2 e^-1 for alpha."""
    one, none = np.ones((1, 1), "float32"), np.zeros(1, "float32")
    np.testing.assert_allclose(run("eager", lambda x, s: lowpass(x, s, 0.1, 0.1)[0], one, none), [[0.6321206]])
    np.testing.assert_allclose(run("eager", lambda x, s: alpha(x, (s, s), 0.1, 0.1)[0], one, none), [[0.2642411]])


@few_modes
@methods
@pytest.mark.parametrize("tau", [1e-12, 0.0])
def test_a_tiny_tau_passes_the_input_through(mode, method, tau):
    x, level, tau = normal(2, 5, 3), normal(2, 3), np.full(3, tau, "float32")
    for function, state in ((lowpass, level), (alpha, (normal(2, 3), level))):
        outputs = run(mode, lambda x, s, tau, f=function: f(x, s, tau, 0.001, method=method)[0], x, state, tau)
        np.testing.assert_array_equal(outputs, x)

        def loss(x, s, tau, f=function):
            return ops.sum(f(x, s, tau, 0.001, method=method)[0])

        d_x, _, d_tau = gradients(mode, loss, x, state, tau)
        np.testing.assert_array_equal(d_x, np.ones_like(x))
        np.testing.assert_array_equal(d_tau, np.zeros(3))


@modes
@methods
@pytest.mark.parametrize("name", ["lowpass", "alpha"])
def test_gradients_equal_finite_differences(mode, method, name):
    """Central differences of the NumPy loop in float64."""
    x, tau = normal(2, 6, 2), np.array([0.03, 0.2], "float32")
    state = {"lowpass": normal(2, 2), "alpha": (normal(2, 2), normal(2, 2))}[name]
    weights = normal(2, 6, 2)

    def loss(filtered, ops=ops):
        outputs, last = filtered
        return ops.sum(ops.multiply(outputs, weights)) + ops.sum(last[-1] if name == "alpha" else last)

    ours, theirs = {"lowpass": (lowpass, loops.lowpass), "alpha": (alpha, loops.alpha)}[name]
    args = (x, state, tau)
    grads = gradients(mode, lambda *args: loss(ours(*args, DT, method=method)), *args)
    flat = [a.astype("float64") for a in keras.tree.flatten(args)]
    for value, grad in zip(flat, keras.tree.flatten(grads), strict=True):
        expected = np.empty_like(value)
        for place in np.ndindex(value.shape):
            here, ends = value[place], []
            for h in (1e-5, -1e-5):
                value[place] = here + h
                ends.append(loss(theirs(*keras.tree.pack_sequence_as(args, flat), DT), np))
            value[place] = here
            expected[place] = (ends[0] - ends[1]) / 2e-5
        # float32 sums of a few dozen terms; the error of the differences is of the order of 1e-9.
        np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@few_modes
def test_dt_as_a_tensor(mode):
    x, level = normal(2, 5, 3), normal(2, 3)
    for method in ("sequential", "parallel"):
        outputs = run(mode, lambda x, s, dt, m=method: lowpass(x, s, 0.05, dt, method=m)[0], x, level, np.float32(0.02))
        np.testing.assert_allclose(outputs, loops.lowpass(x, level, 0.05, 0.02)[0], **CLOSE)
        outputs = run(
            mode, lambda x, s, dt, m=method: alpha(x, (s, s), 0.05, dt, method=m)[0], x, level, np.float32(0.02)
        )
        np.testing.assert_allclose(outputs, loops.alpha(x, (level, level), 0.05, 0.02)[0], **CLOSE)


def test_dt_and_tau_as_variables():
    x, level = normal(2, 5, 3), normal(2, 3)
    tau, dt = keras.Variable(np.full(3, 0.05, "float32")), keras.Variable(0.02)
    for method in ("sequential", "parallel"):
        outputs = ops.convert_to_numpy(lowpass(x, level, tau, dt, method=method)[0])
        np.testing.assert_allclose(outputs, loops.lowpass(x, level, 0.05, 0.02)[0], **CLOSE)


@pytest.mark.parametrize("name", ["lowpass", "alpha"])
def test_long_sequences(name):
    """A thousand time constants of a noisy input, and then the level to which a constant one leads."""
    # A step of PyTorch's is several kernels started one by one.
    n_steps = 2_000 if keras.config.backend() == "torch" else 20_000
    x = np.concatenate([normal(1, n_steps, 2), np.ones((1, 1000, 2), "float32")], axis=1)
    tau, level = np.array([0.02, 1.0], "float32"), np.zeros((1, 2), "float32")
    ours, theirs, state = {
        "lowpass": (lowpass, loops.lowpass, level),
        "alpha": (alpha, loops.alpha, (level, level)),
    }[name]
    expected = theirs(x, state, tau, DT)[0]
    for method in ("sequential", "parallel"):
        outputs = run(FEW_MODES[-1], lambda x, s, tau, m=method: ours(x, s, tau, DT, method=m)[0], x, state, tau)
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=2e-5)  # at r = 0.01; see CLOSE
        np.testing.assert_allclose(outputs[0, -1, 0], 1, rtol=1e-5)


@pytest.mark.parametrize("function", [lowpass, alpha])
def test_an_unknown_method(function):
    with pytest.raises(ValueError, match=r"`method` has to be one of .*'sequential', 'parallel'.*; got 'cumsum'"):
        function(normal(2, 5), (normal(2), normal(2)), 0.1, DT, method="cumsum")


@pytest.mark.tensorflow("only its graphs have an unknown time")
def test_parallel_needs_a_static_length():
    import tensorflow as tf

    signature = [tf.TensorSpec((2, None)), tf.TensorSpec((2,))]
    x, level = normal(2, 5), normal(2)
    sequential = tf.function(lambda x, s: lowpass(x, s, 0.05, DT), signature)
    np.testing.assert_allclose(sequential(x, level)[0], loops.lowpass(x, level, 0.05, DT)[0], **CLOSE)
    with pytest.raises(ValueError, match=r"'parallel' needs a static number of time steps.*'sequential'"):
        tf.function(lambda x, s: lowpass(x, s, 0.05, DT, method="parallel"), signature)(x, level)
