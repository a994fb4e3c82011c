import numpy as np
import pytest
from reference.autodiff import COMPILED, run, to_numpy

from keras_snn.layers import Population


def test_neurons_are_the_last_axis():
    assert Population(11, 6).compute_output_shape((2, 3, 2)) == (2, 11, 3, 2, 6)


def test_low_and_high_are_the_range_of_the_inputs():
    layer = Population(11, 6, low=-1.0, high=2.0, clip=False)
    with pytest.raises(ValueError, match=r"must be in \[-1.0, 2.0\]; they range from -1.5 to 2.0"):
        layer(np.array([[-1.5, 2.0]], "float32"))
    clipped = Population(11, 6, low=-1.0, high=2.0)
    ends = np.array([[-1.0, 2.0]], "float32")
    np.testing.assert_array_equal(to_numpy(clipped(3 * ends)), to_numpy(layer(ends)))


@pytest.mark.skipif(COMPILED == "eager", reason="values are always known in eager mode")
def test_an_unknown_value_outside_the_range_makes_all_its_neurons_nan():
    layer = Population(11, 6, low=-1.0, high=2.0, clip=False)
    spikes = run(COMPILED, layer, np.array([[0.0, 2.5]], "float32"))
    assert not np.isnan(spikes[:, :, 0]).any() and np.isnan(spikes[:, :, 1]).all()


def test_every_value_has_a_spike_at_the_largest_cutoff():
    layer = Population(10, 6, beta=2.0, cutoff=float(np.exp(-(2.0**2) / 8)) - 1e-6)
    spikes = to_numpy(layer(np.linspace(0, 1, 1001, dtype="float32")))
    assert spikes.sum(axis=(1, 2)).min() == 1


def test_bad_arguments_are_refused():
    for n_neurons in [2, 0, 4.0, None]:
        with pytest.raises(ValueError, match="`n_neurons` must be an integer of at least 3"):
            Population(5, n_neurons)
    with pytest.raises(ValueError, match="`low` must be below `high`, got low=1.0 and high=1.0"):
        Population(5, 4, low=1.0)
    for beta in [0, -1.0, np.nan]:
        with pytest.raises(ValueError, match="`beta` must be a finite number above 0"):
            Population(5, 4, beta=beta)
    for options in [{"cutoff": -0.1}, {"cutoff": 0.8}, {"cutoff": 0.1, "beta": 5.0}, {"cutoff": np.nan}]:
        with pytest.raises(ValueError, match=r"`cutoff` must be .* from 0 to .*, exp\(-beta\^2 / 8\)"):
            Population(5, 4, **options)
