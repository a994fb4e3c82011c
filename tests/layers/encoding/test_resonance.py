import numpy as np
import pytest

from keras_snn.layers import Resonance


def test_the_default_longest_burst_fills_the_steps():
    assert [Resonance(n, period=4).max_spikes for n in (5, 8, 9)] == [2, 2, 3]
    assert Resonance(9).period == 8


def test_bad_arguments_are_refused():
    for period in (0, 1.5):
        with pytest.raises(ValueError, match="`period` must be an integer of at least 1"):
            Resonance(9, period=period)
    for n_steps, max_spikes, longest in ((9, 1, 3), (9, 4, 3), (8, 3, 2), (4, None, 1)):
        with pytest.raises(ValueError, match=rf"`max_spikes` must .*: {longest} fit {n_steps} steps with period=4"):
            Resonance(n_steps, period=4, max_spikes=max_spikes)


def test_the_spikes_end_with_the_burst():
    spikes = np.array(Resonance(20, period=3, max_spikes=4)(np.ones((1, 1), "float32")))
    assert spikes[0, :, 0].nonzero()[0].tolist() == [0, 3, 6, 9]
