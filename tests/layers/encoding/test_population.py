import keras
import numpy as np
import pytest
from reference import codes
from reference.autodiff import MODES, to_numpy, wrap

from keras_snn.layers import Population

X = np.random.default_rng(0).uniform(-1, 2, size=(2, 3, 2)).astype("float32")


def test_equals_the_loop():
    layer = Population(11, 6, low=-1.0, high=2.0, beta=1.0, cutoff=0.2)
    spikes = to_numpy(layer(X))
    assert spikes.shape == (2, 11, 3, 2, 6) == layer.compute_output_shape(X.shape)
    np.testing.assert_array_equal(spikes, codes.population(X, 11, 6, -1.0, 2.0, 1.0, 0.2))


def test_the_range_is_that_of_the_arguments():
    layer = Population(11, 6, low=-1.0, high=2.0)
    with pytest.raises(ValueError, match=r"have to be in \[-1.0, 2.0\]; they range from -1.5 to 2.0"):
        layer(np.array([[-1.5, 2.0]], "float32"))
    clipped = Population(11, 6, low=-1.0, high=2.0, clip=True)
    ends = np.array([[-1.0, 2.0]], "float32")
    np.testing.assert_array_equal(to_numpy(clipped(3 * ends)), to_numpy(layer(ends)))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "eager"])
def test_an_unknown_value_outside_the_range_makes_all_its_neurons_nan(mode):
    layer = Population(11, 6, low=-1.0, high=2.0)
    spikes = to_numpy(wrap(mode, layer)(keras.ops.convert_to_tensor(np.array([[0.0, 2.5]], "float32"))))
    assert not np.isnan(spikes[:, :, 0]).any() and np.isnan(spikes[:, :, 1]).all()


@pytest.mark.parametrize("n_steps", [20, 200])
def test_decode(n_steps):
    layer = Population(n_steps, 8, low=-1.0, high=2.0)
    x = np.linspace(-1, 2, 2001, dtype="float32")[None]
    # The resolution of the docstring: 0.7 / T of the distance of two centres, half a unit of value.
    assert np.abs(to_numpy(layer.decode(layer(x))) - x).max() < 0.7 / n_steps * 0.5


def test_every_value_has_a_spike_at_the_largest_cutoff():
    layer = Population(10, 6, beta=2.0, cutoff=float(np.exp(-(2.0**2) / 8)) - 1e-6)
    spikes = to_numpy(layer(np.linspace(0, 1, 1001, dtype="float32")))
    assert spikes.sum(axis=(1, 2)).min() == 1


def test_bad_arguments_are_refused():
    for n_neurons in [2, 0, 4.0, None]:
        with pytest.raises(ValueError, match="`n_neurons` has to be an int, at least 3"):
            Population(5, n_neurons)
    with pytest.raises(ValueError, match="`low` has to be below `high`; got low=1.0 and high=1.0"):
        Population(5, 4, low=1.0)
    for beta in [0, -1.0, np.nan]:
        with pytest.raises(ValueError, match="`beta` has to be positive"):
            Population(5, 4, beta=beta)
    for options in [{"cutoff": -0.1}, {"cutoff": 0.8}, {"cutoff": 0.1, "beta": 5.0}, {"cutoff": np.nan}]:
        with pytest.raises(ValueError, match=r"`cutoff` has to be from 0 to exp\(-beta\^2 / 8\)"):
            Population(5, 4, **options)
