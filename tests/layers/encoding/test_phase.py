import numpy as np
import pytest
from reference import codes
from reference.autodiff import to_numpy

from keras_snn import probe
from keras_snn.layers import Phase

X = np.random.default_rng(0).uniform(size=(2, 3, 2)).astype("float32")


def test_equals_the_loop():
    np.testing.assert_array_equal(to_numpy(Phase(12, bits=4)(X)), codes.phase(X, 12, 4))
    np.testing.assert_array_equal(to_numpy(Phase(16)(X)), codes.phase(X, 16, 8))


def test_decode_is_less_by_a_part_of_the_last_bit():
    layer = Phase(12, bits=4)
    error = X - to_numpy(layer.decode(layer(X)))
    assert error.min() >= 0 and error.max() < 1 / 16


def test_bad_arguments_are_refused():
    for bits in [0, 2.0, None]:
        with pytest.raises(ValueError, match="`bits` has to be an int, at least 1"):
            Phase(8, bits=bits)
    with pytest.raises(ValueError, match="`bits` has to be 24 at most"):
        Phase(25, bits=25)
    with pytest.raises(ValueError, match=r"multiple of `bits`.*n_steps=10 and bits=8"):
        Phase(10)
    with probe.scope(n_steps=10), pytest.raises(ValueError, match=r"multiple of `bits`.*n_steps=10 and bits=8"):
        Phase(8)(X)
