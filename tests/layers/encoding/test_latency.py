import numpy as np
import pytest
from reference.autodiff import to_numpy

from keras_snn.layers import Latency

X = np.random.default_rng(0).uniform(size=(2, 3, 2)).astype("float32")


def test_linear_is_the_default():
    assert to_numpy(Latency(9)(np.array([[0.5]], "float32"))).argmax() == 4
    assert to_numpy(Latency(9, code="log")(np.array([[0.5]], "float32"))).argmax() == 1


def test_one_step_holds_nothing():
    spikes = to_numpy(Latency(1)(X))
    np.testing.assert_array_equal(spikes, np.ones((2, 1, 3, 2)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`code` must be one of 'linear', 'log'; got 'exp'"):
        Latency(5, code="exp")
