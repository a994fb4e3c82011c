import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import FEW_MODES, run

from keras_snn.layers import Alpha

RNG = np.random.default_rng(0)
# float32: XLA rounds exp(-r) and uses fused multiply-adds, unlike NumPy in float64.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def to_numpy(x):
    return ops.convert_to_numpy(x)


def test_step_response_and_its_slope():
    # 1 - (1 + t / tau) exp(-t / tau) and its derivative; exact for a zero-order hold.
    tau, dt = 0.1, 0.02
    layer = Alpha(tau, dt=dt, return_state=True)
    t = dt * np.arange(1, 11)
    for n in (1, 4, 10):
        y, state = layer(np.ones((1, n, 1), "float32"))
        np.testing.assert_allclose(to_numpy(y)[0, :, 0], (1 - (1 + t / tau) * np.exp(-t / tau))[:n], **CLOSE)
        slope = t[n - 1] / tau**2 * np.exp(-t[n - 1] / tau)
        np.testing.assert_allclose(to_numpy(state)[0, :, 0], [slope, to_numpy(y)[0, -1, 0]], **CLOSE)


def test_impulse_response_is_the_alpha_function():
    # t / tau^2 exp(-t / tau), averaged over the step of the impulse: the value at its middle, up to dt^2 / tau^3 / 12.
    tau, dt = 0.1, 0.0005
    x = np.zeros((1, 1000, 1), "float32")
    x[0, 0, 0] = 1 / dt
    y = to_numpy(Alpha(tau, dt=dt)(x))[0, :, 0]
    t = dt * (np.arange(1000) + 0.5)
    np.testing.assert_allclose(y, t / tau**2 * np.exp(-t / tau), rtol=1e-4, atol=dt**2 / tau**3 / 12)
    assert abs(t[y.argmax()] - tau) < 2 * dt


@pytest.mark.parametrize("mode", FEW_MODES)
@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_every_step_equals_a_numpy_loop(mode, method):
    layer = Alpha(0.1, dt=0.01, method=method, return_state=True)
    x = RNG.normal(size=(2, 40, 3)).astype("float32")
    layer.build(x.shape)
    tau, level = np.array([[0.005, 0.05, 1.0]]), np.array([[0.5, -1.0, 2.0]])
    layer.set_weights([level[0], tau[0]])
    level = np.repeat(level, 2, axis=0)
    expected, last = loops.alpha(x, (np.zeros_like(level), level), tau, 0.01)
    y, final = run(mode, layer, x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    # atol: the slope is a difference of terms up to 1 / tau = 200 times the level.
    np.testing.assert_allclose(final, np.stack(last, axis=1), rtol=1e-4, atol=1e-3)


def test_the_state_is_one_tensor():
    layer = Alpha(0.1, level_initializer=keras.initializers.Constant(3.0), return_state=True)
    returned = layer(np.zeros((2, 4, 5, 3), "float32"))
    assert len(returned) == 2
    assert tuple(returned[1].shape) == (2, 2, 15)
    (start,) = layer.cell.get_initial_state(batch_size=2)
    np.testing.assert_array_equal(to_numpy(start)[:, 0], 0.0)
    np.testing.assert_array_equal(to_numpy(start)[:, 1], 3.0)


def test_the_initial_state_replaces_slope_and_level():
    x = RNG.normal(size=(2, 5, 3)).astype("float32")
    slope, level = RNG.normal(size=(2, 2, 3)).astype("float32")
    layer = Alpha(0.1, dt=0.01, return_state=True)
    y, last = layer(x, initial_state=np.stack([slope, level], axis=1))
    expected, (p, q) = loops.alpha(x, (slope, level), np.full(3, 0.1), 0.01)
    np.testing.assert_allclose(to_numpy(y), expected, **CLOSE)
    np.testing.assert_allclose(to_numpy(last), np.stack([p, q], axis=1), rtol=1e-5, atol=1e-4)


def test_a_constant_level_is_kept():
    layer = Alpha(0.1, dt=0.01, level_initializer=keras.initializers.Constant(3.0))
    y = to_numpy(layer(np.full((1, 300, 2), 3.0, "float32")))
    np.testing.assert_allclose(y, 3.0, rtol=1e-5)
