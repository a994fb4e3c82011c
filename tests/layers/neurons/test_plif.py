import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.layers import LIF, PLIF

X = np.random.default_rng(0).normal(0.6, 2.0, (4, 12, 3)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("tau", [1.5, 2.0, 3.0, 50.0])
def test_the_initial_tau_is_the_argument(tau):
    layer = PLIF(tau)
    layer.build(X.shape)
    (w,) = layer.trainable_weights
    assert w.name == "w"
    assert layer.w is w
    # rtol: float32 rounding of w and of its sigmoid
    np.testing.assert_allclose(1 + np.exp(-to_numpy(w).astype("float64")), tau, rtol=1e-6)
    assert to_numpy(PLIF(2.0)(X)).tolist() == to_numpy(LIF(2.0)(X)).tolist()  # sigmoid(0) is exactly 1/2


def test_tau_is_above_1_for_any_weight():
    layer = PLIF(2.0)
    layer.build(X.shape)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([layer.w])
    for grad, tau in ((-3.0, 1 + np.exp(-3)), (8.0, 1 + np.exp(5))):
        optimizer.apply([ops.convert_to_tensor(grad)], [layer.w])
        np.testing.assert_allclose(1 / to_numpy(ops.sigmoid(layer.w)), tau, rtol=1e-5)  # float32
        assert np.all(np.isfinite(to_numpy(layer(X))))


@pytest.mark.parametrize(("per", "shape"), [("layer", ()), ("channel", (3,)), ("unit", (3,))])
def test_weights(per, shape):
    layer = PLIF(3.0, per=per, learn="threshold")
    layer.build(X.shape)
    assert {w.name: tuple(w.shape) for w in layer.trainable_weights} == {"w": shape, "threshold": shape}


def test_config():
    layer = PLIF(3.0, learn=("threshold",), decay_input=False, refractory=1)
    config = layer.get_config()
    assert config["tau"] == 3.0
    assert config["learn"] == ["threshold"]
    assert "w" not in config
    restored = PLIF.from_config(config)
    assert restored.learn == ("w", "threshold")
    assert restored.get_config() == config


@pytest.mark.parametrize("tau", [1, 1.0, 0.5, -2.0])
def test_tau_must_be_above_1(tau):
    with pytest.raises(ValueError, match="`tau` must be above 1, got .*LIF with tau=1"):
        PLIF(tau)
    with pytest.raises(TypeError, match="`tau` must be a number"):
        PLIF("ones")
