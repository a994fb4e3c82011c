import numpy as np
import pytest
from keras import ops

from keras_snn.layers import IF

X = 0.4 * np.ones((1, 6, 1), "float32")


def spikes(layer, x=X):
    return ops.convert_to_numpy(layer(x))[0, :, 0].tolist()


def test_by_hand():
    assert spikes(IF()) == [0, 0, 1, 0, 0, 1]
    # A subtraction keeps the excess over the threshold: 0.125, then 0.5, 0.875, 1.25.
    assert spikes(IF(reset="subtract"), 0.375 * np.ones((1, 6, 1), "float32")) == [0, 0, 1, 0, 0, 1]
    assert spikes(IF(reset=None)) == [0, 0, 1, 1, 1, 1]
    assert spikes(IF(threshold=0.375)) == [1, 1, 1, 1, 1, 1]
    assert spikes(IF(v_reset=-0.5)) == [0, 0, 0, 1, 0, 0]


def test_reset_by_subtraction_loses_no_charge():
    """With reset by subtraction, the number of spikes plus the last membrane is the sum of the inputs."""
    x = np.random.default_rng(0).integers(0, 8, (3, 50, 4)).astype("float32") / 8
    counts, v = IF(reset="subtract", return_state=True)(x)
    counts, v = ops.convert_to_numpy(counts).sum(axis=1), ops.convert_to_numpy(v)
    np.testing.assert_array_equal(counts + v, x.sum(axis=1))
    assert v.min() > 0
    assert v.max() <= 1


@pytest.mark.parametrize("steps", [1, 3])
def test_refractory(steps):
    x = np.ones((1, 12, 1), "float32")
    expected = [float(t % (steps + 1) == 0) for t in range(12)]
    assert spikes(IF(threshold=0.5, refractory=steps), x) == expected


def test_initial_potential():
    """An initial potential of half the threshold rounds the number of spikes to nearest. Zero rounds down."""
    x = np.linspace(0.07, 0.93, 6, dtype="float32") * np.ones((1, 10, 6), "float32")
    for start, rounded in ((0.0, np.floor), (0.5, lambda n: np.floor(n + 0.5))):
        layer = IF(threshold=0.5, reset="subtract", initial_potential=start)
        counts = ops.convert_to_numpy(layer(0.5 * x)).sum(axis=1)
        np.testing.assert_array_equal(counts[0], rounded(x[0].sum(axis=0)))
    assert spikes(IF(v_reset=-0.5, initial_potential=0.5)) == [0, 0, 1, 0, 0, 0]  # starts from 0, then from -0.5


def test_tau_is_refused():
    with pytest.raises(ValueError, match="Unrecognized keyword arguments"):
        IF(tau=2.0)


@pytest.mark.parametrize("threshold, expected", [(1.0, [0, 0, 1, 0]), (np.nextafter(np.float32(1), 0), [0, 1, 0, 1])])
def test_a_membrane_at_the_threshold_gives_no_spike(threshold, expected):
    # docs/neurons.rst recommends the second threshold for weights from SpikingJelly.
    spikes = ops.convert_to_numpy(IF(threshold=threshold)(np.full((1, 4, 1), 0.5, "float32")))
    np.testing.assert_array_equal(spikes[0, :, 0], expected)
