import numpy as np
import pytest
from reference.autodiff import to_numpy

from keras_snn.layers import Latency

X = np.random.default_rng(0).uniform(size=(2, 3, 2)).astype("float32")


def test_linear_is_the_default():
    assert to_numpy(Latency(9)(np.array([[0.5]], "float32"))).argmax() == 4
    assert to_numpy(Latency(9, code="log")(np.array([[0.5]], "float32"))).argmax() == 1


def test_with_one_step_all_units_spike():
    spikes = to_numpy(Latency(1)(X))
    np.testing.assert_array_equal(spikes, np.ones((2, 1, 3, 2)))


@pytest.mark.parametrize("code", ["linear", "log"])
@pytest.mark.parametrize("n_steps", [1, 5])
def test_zero_can_be_silent(code, n_steps):
    x = np.array([[-1.0, 0.0, 1e-4, 1.0]], "float32")  # -1 is clipped to 0
    layer, silent = Latency(n_steps, code=code), Latency(n_steps, code=code, silent_zero=True)
    spikes = to_numpy(silent(x))
    assert spikes.sum(axis=1).tolist() == [[0, 0, 1, 1]]
    np.testing.assert_array_equal(spikes[..., 2:], to_numpy(layer(x))[..., 2:])
    assert to_numpy(silent.decode(spikes))[0, :2].tolist() == [0, 0]
    assert type(silent).from_config(silent.get_config()).silent_zero


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`code` must be one of 'linear', 'log'; got 'exp'"):
        Latency(5, code="exp")
