import numpy as np
import pytest
from reference.autodiff import to_numpy

from keras_snn import probe
from keras_snn.layers import Interval


def test_default_intervals_are_from_1_to_n_steps():
    layer = Interval(12)
    assert (layer.shortest, layer.longest) == (1, 12)


def test_decode_of_too_few_steps_gives_zero():
    layer = Interval(12)
    with probe.scope(n_steps=2):
        spikes = layer(np.array([[1.0, 0.0]], "float32"))
    assert to_numpy(layer.decode(spikes)).tolist() == [[1, 0]]


def test_bad_arguments_are_refused():
    for shortest in [0, 1.5]:
        with pytest.raises(ValueError, match="`shortest` must be an integer of at least 1"):
            Interval(9, shortest=shortest)
    for shortest, longest in [(3, 3), (3, 2), (1, 4.0)]:
        with pytest.raises(ValueError, match=f"`longest` must be an integer from {shortest + 1} to 9"):
            Interval(9, shortest=shortest, longest=longest)
    with pytest.raises(
        ValueError, match="`longest` must be an integer from 2 to 9, the interval for x = 0, .*; got 10"
    ):
        Interval(9, longest=10)
    with pytest.raises(ValueError, match="`longest` must be an integer from 2 to 1"):
        Interval(1)
