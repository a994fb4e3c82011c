"""Values outside the range or precision of half precision, and float64 policies."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import layers
from keras_snn.layers.base import SpikingNeuron


def numpy_of(x):
    return ops.convert_to_numpy(ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) == "bfloat16" else x)


@pytest.mark.filterwarnings("ignore:A spike of .* is 1 / dt")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_high_spikes_and_their_sums(policy):
    """Spike heights and their sums are exact under half policies.

    At dt = 1e-5 the height is 1e5, above the maximum of float16, 65504. At dt = 0.003 it is 333.3, which bfloat16
    rounds to 334.
    """
    for dt, rate in ((1e-5, 2e4), (0.003, 100.0)):
        parts = [layers.Repeat(10), layers.SpikingActivation("relu", dt=dt, seed=0), layers.TemporalAveragePooling()]
        model = keras.Sequential([keras.Input((64,)), *parts])
        x = np.full((1, 64), rate, "float32")
        spikes = numpy_of(parts[1](parts[0](x)))
        counts = spikes.astype("float64") * dt
        np.testing.assert_allclose(counts, np.rint(counts), rtol=0, atol=1e-6)  # float32, one spike
        assert np.all(abs(counts.sum(axis=1) - 10 * rate * dt) <= 1)
        # rtol: the mean is rounded once, to half precision.
        rounding = 2.0**-11 if policy == "mixed_float16" else 2.0**-8
        mean = numpy_of(model(x)).astype("float64")
        np.testing.assert_allclose(mean, spikes.astype("float64").mean(axis=1), rtol=rounding)
        report = keras_snn.inspect(model, x, dt=dt, examples=0)
        (layer,) = report[dt].layers.values()
        assert layer.histogram["1"] == round(counts.sum())


NEURONS = [cls for cls in vars(layers).values() if inspect.isclass(cls) and cls.__base__ is SpikingNeuron]
FLOAT64 = pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX only has float64 if the whole process enables it"
)


@FLOAT64
def test_float64_by_hand():
    odd_integer = 2.0**24 + 1  # not a float32 number
    x = np.array([[[odd_integer, 1e300]]])
    assert numpy_of(layers.TemporalAveragePooling(dtype="float64")(x)).tolist() == [[odd_integer, 1e300]]
    assert numpy_of(layers.VotingPooling(1, dtype="float64")(x)).tolist() == [[odd_integer, 1e300]]
    assert numpy_of(layers.LastStep(dtype="float64")(x)).tolist() == [[odd_integer, 1e300]]
    pooled = layers.MaxRatePooling(keras.layers.MaxPooling1D(1, dtype="float64"), dtype="float64")(
        np.full((1, 2, 1, 1), odd_integer)
    )
    assert numpy_of(pooled).ravel().tolist() == [odd_integer, odd_integer]
    above = np.array([[[1 + 1e-9]]])
    for neuron in (
        layers.IF(dtype="float64"),
        layers.LIF(tau=1.0, dtype="float64"),
        layers.KLIF(tau=1.0, dtype="float64"),
    ):
        assert numpy_of(neuron(above)).tolist() == [[[1.0]]]
    assert numpy_of(layers.SpikingActivation("linear", dt=1.0, seed=0, dtype="float64")(x[..., :1])).tolist() == [
        [[odd_integer]]
    ]
    # A change of 1e-9 below the threshold, and one at the threshold.
    signal = np.array([[[0.0], [1 - 1e-9], [1.0]]])
    assert numpy_of(layers.Delta(1.0, dtype="float64")(signal)).ravel().tolist() == [0, 0, 1]
    assert numpy_of(layers.Poisson(3, dtype="float64")(np.ones((1, 2)))).tolist() == np.ones((1, 3, 2)).tolist()


@FLOAT64
@pytest.mark.parametrize("neuron", NEURONS, ids=lambda neuron: neuron.__name__)
def test_every_neuron_keeps_float64(neuron):
    """`scan` refuses a step that changes the dtype of a state."""
    spikes, *states = neuron(dtype="float64", unroll=True, return_state=True)(np.ones((1, 2, 3)))
    dtypes = {keras.backend.standardize_dtype(x.dtype) for x in (spikes, *states)}
    assert dtypes == {"float64"}


@FLOAT64
@pytest.mark.parametrize("policy", ["float64"], indirect=True)
def test_float64_of_analog_layers(policy):
    """Analog layers equal NumPy loops to the precision of float64."""
    rng = np.random.default_rng(0)
    x, dt, tau = rng.normal(size=(1, 5, 2)), 0.01, 0.03
    decay, level, expected = np.exp(-dt / tau), np.zeros(2), []
    for step in x[0]:
        level = decay * level + (1 - decay) * step
        expected.append(level)
    layer = layers.Lowpass(tau, dt=dt)
    layer.build(x.shape)
    layer.set_weights([np.zeros((1, 2)), np.full((1, 2), tau)])  # Keras's Constant rounds to float32
    np.testing.assert_allclose(numpy_of(layer(x))[0], expected, rtol=1e-13)
    v, expected = np.zeros(2), []
    for step in x[0]:
        v = v + (step - v) / 3
        expected.append(v)
    np.testing.assert_allclose(numpy_of(layers.LeakyIntegrator(tau=3.0)(x))[0], expected, rtol=1e-13)


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_spikes_above_the_range_of_the_policy_warn(policy):
    with pytest.warns(UserWarning, match=r"is 1 / dt = 100000 high \(dt=1e-05\).*'mixed_float16'.*larger dt"):
        layers.SpikingActivation("relu", dt=1e-5)(np.ones((1, 2, 3), "float32"))
    layers.SpikingActivation("relu", dt=1e-4)(np.ones((1, 2, 3), "float32"))


@FLOAT64
def test_the_dtype_of_a_wrapper_must_be_that_of_its_cell():
    with pytest.raises(ValueError, match=r"`dtype` must be that of the cell.*got 'float64' and a cell of 'float32'"):
        layers.RNN(layers.LowpassCell(3, 0.1), dtype="float64")
