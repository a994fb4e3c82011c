import numpy as np
import pytest

from keras_snn import probe
from keras_snn.layers import Phase

X = np.random.default_rng(0).uniform(size=(2, 3, 2)).astype("float32")


def test_bad_arguments_are_refused():
    for bits in [0, 2.0, None]:
        with pytest.raises(ValueError, match="`bits` must be an integer from 1 to 24"):
            Phase(8, bits=bits)
    with pytest.raises(ValueError, match="`bits` must be an integer from 1 to 24"):
        Phase(25, bits=25)
    with pytest.raises(ValueError, match=r"multiple of `bits`.*n_steps=10 and bits=8"):
        Phase(10)
    with probe.scope(n_steps=10), pytest.raises(ValueError, match=r"multiple of `bits`.*n_steps=10 and bits=8"):
        Phase(8)(X)
