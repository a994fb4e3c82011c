import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import FEW_MODES, run

from keras_snn.layers import Lowpass

RNG = np.random.default_rng(0)
# float32: XLA rounds exp(-r) and uses fused multiply-adds, unlike NumPy in float64.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def to_numpy(x):
    return ops.convert_to_numpy(x)


def test_step_response():
    # 1 - exp(-t / tau); exact for a zero-order hold.
    y = to_numpy(Lowpass(0.1, dt=0.02)(np.ones((1, 10, 1), "float32")))[0, :, 0]
    np.testing.assert_allclose(y, 1 - np.exp(-np.arange(1, 11) * 0.2), **CLOSE)


def test_a_single_unit_by_hand():
    # a = exp(-dt / tau) = 1/2. From level 4: 4/2 + 0 = 2, 2/2 + 3/2 = 2.5, 2.5/2 + 1/2 = 1.75.
    layer = Lowpass(1 / np.log(2), dt=1.0, level_initializer=keras.initializers.Constant(4.0), return_state=True)
    y, level = layer(np.array([[[0.0], [3.0], [1.0]]], "float32"))
    np.testing.assert_allclose(to_numpy(y).ravel(), [2.0, 2.5, 1.75], **CLOSE)
    np.testing.assert_allclose(to_numpy(level), [[1.75]], **CLOSE)


@pytest.mark.parametrize("mode", FEW_MODES)
@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_every_step_equals_a_numpy_loop(mode, method):
    layer = Lowpass(0.1, dt=0.01, method=method, return_state=True)
    x = RNG.normal(size=(2, 40, 3)).astype("float32")
    layer.build(x.shape)
    tau, level = np.array([[0.005, 0.05, 1.0]]), np.array([[0.5, -1.0, 2.0]])
    layer.set_weights([level, tau])
    expected, last = loops.lowpass(x, np.repeat(level, 2, axis=0), tau, 0.01)
    y, final = run(mode, layer, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(final, last, rtol=1e-5, atol=1e-5)


def test_the_gain_for_constant_inputs_is_one():
    y = to_numpy(Lowpass(0.05, dt=0.01)(np.full((1, 200, 2), 3.0, "float32")))
    np.testing.assert_allclose(y[0, -1], 3.0, rtol=1e-5)
