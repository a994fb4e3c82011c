"""LIF: weights, arguments and states of the layer. tests/ops tests the equations."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, run

from keras_snn.layers import LIF

X = np.random.default_rng(0).normal(0.6, 1.0, (4, 10, 2, 3)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


def built(*args, **options):
    layer = LIF(*args, **options)
    layer.build(X.shape)
    return layer


def test_without_learn_there_are_no_weights():
    assert built().weights == []
    assert built(tau=3.0).tau == 3.0


@pytest.mark.parametrize(("per", "shape"), [("layer", ()), ("channel", (3,)), ("unit", (2, 3))])
def test_the_shape_of_learned_parameters(per, shape):
    layer = built(3.0, threshold=0.5, learn=("tau", "threshold"), per=per)
    assert {w.name: (tuple(w.shape), w.trainable) for w in layer.weights} == {
        "tau": (shape, True),
        "threshold": (shape, True),
    }
    np.testing.assert_array_equal(to_numpy(layer.tau), np.full(shape, 3.0))
    np.testing.assert_array_equal(to_numpy(layer.threshold), np.full(shape, 0.5))
    assert any(layer.tau is w for w in layer.weights)
    # All neurons start with the same values: the spikes equal those of a layer with numbers.
    np.testing.assert_array_equal(to_numpy(layer(X)), to_numpy(LIF(3.0, threshold=0.5)(X)))


def test_an_initializer_makes_heterogeneous_neurons():
    taus = keras.initializers.RandomUniform(1.5, 20.0, seed=0)
    layer = built(taus, per="unit", decay_input=False)
    (weight,) = layer.weights
    assert not weight.trainable
    values = to_numpy(layer.tau)
    assert values.shape == (2, 3)
    assert np.ptp(values) > 1
    of_unit = {place: LIF(float(values[place]), decay_input=False) for place in np.ndindex(2, 3)}

    def together_and_alone(x):
        return layer(x), {place: alone(x[:, :, place[0], place[1], None]) for place, alone in of_unit.items()}

    spikes, alone = run(COMPILED, together_and_alone, X)
    for place in of_unit:
        np.testing.assert_array_equal(spikes[:, :, place[0], place[1]], alone[place][..., 0])
    assert built(taus, per="unit", learn="tau").weights[0].trainable


def test_an_initializer_may_be_a_name_or_a_config():
    assert to_numpy(built(threshold="ones").threshold) == 1
    config = keras.initializers.serialize(keras.initializers.Constant(0.25))
    assert to_numpy(built(threshold=config).threshold) == 0.25


def test_tau_is_at_least_1_in_training():
    layer = built(1.5, learn="tau")
    optimizer = keras.optimizers.SGD(10.0)
    optimizer.build([layer.tau])
    optimizer.apply([ops.convert_to_tensor(1.0)], [layer.tau])
    assert to_numpy(layer.tau) == 1
    optimizer.apply([ops.convert_to_tensor(-1.0)], [layer.tau])
    assert to_numpy(layer.tau) == 11


def test_learned_parameters_change_in_a_fit_and_are_saved(tmp_path):
    layer = LIF(3.0, learn=("tau", "threshold"), per="channel")
    model = keras.Sequential([keras.Input((10, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = X.reshape(-1, 10, 3)[:8]
    model.fit(x, np.ones((8, 1), "float32"), verbose=0)
    for weight, start in ((layer.tau, 3.0), (layer.threshold, 1.0)):
        assert np.all(to_numpy(weight) != start)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(restored.layers[0].tau), to_numpy(layer.tau))
    np.testing.assert_array_equal(restored.predict(x, verbose=0), model.predict(x, verbose=0))


def test_assigning():
    layer = built(3.0, learn="tau")
    with pytest.raises(AttributeError, match=r"`tau` of 'lif' is a weight: use tau.assign\(...\)"):
        layer.tau = 5.0
    layer.tau.assign(5.0)
    np.testing.assert_array_equal(to_numpy(layer(X)), to_numpy(LIF(5.0)(X)))
    layer.threshold = 0.25  # a number, not a weight
    np.testing.assert_array_equal(to_numpy(layer(X)), to_numpy(LIF(5.0, threshold=0.25)(X)))
    assert layer.get_config()["threshold"] == 0.25
    fresh = LIF()
    fresh.tau = 4.0
    assert fresh.get_config()["tau"] == 4.0
    with pytest.raises(ValueError, match="`tau` must be at least 1, got 0.5"):
        fresh.tau = 0.5


def test_tau_1_has_no_memory():
    spikes = to_numpy(LIF(1.0)(X))
    np.testing.assert_array_equal(spikes, X > 1)


def test_an_initial_state():
    layer = LIF(decay_input=False, return_state=True)
    spikes, v = layer(np.zeros((1, 2, 1), "float32"), initial_state=np.array([[1.5]], "float32"))
    np.testing.assert_array_equal(to_numpy(spikes).ravel(), [0, 0])
    assert to_numpy(v).item() == 0.375
    spikes, v = layer(np.full((1, 1, 1), 0.5, "float32"), initial_state=np.array([[1.5]], "float32"))
    assert to_numpy(spikes).item() == 1


WRONG = [
    ({"tau": 0.99}, ValueError, "`tau` must be at least 1, got 0.99"),
    ({"tau": np.nan}, ValueError, "`tau` must be a finite number; got nan"),
    ({"tau": True}, TypeError, "`tau` must be a number; got True"),
    ({"threshold": None}, TypeError, "`threshold` must be a number; got None"),
    ({"v_reset": np.inf}, ValueError, "`v_reset` must be a finite number"),
    ({"v_reset": "zeros"}, TypeError, "`v_reset` must be a number; got 'zeros'"),
    ({"reset": "hard"}, ValueError, r"`reset` must be one of 'zero', 'subtract', None; got 'hard'"),
    ({"per": "neuron"}, ValueError, r"`per` must be one of 'layer', 'channel', 'unit'; got 'neuron'"),
    ({"learn": "k"}, ValueError, r"`learn` must name parameters of \('tau', 'threshold'\), got \['k'\]"),
    ({"learn": ("tau", "v_reset")}, ValueError, r"got \['v_reset'\]"),
    ({"refractory": -1}, ValueError, "`refractory` must be an integer of at least 0, a number of steps"),
    ({"refractory": 1.0}, ValueError, "`refractory` must be an integer of at least 0, a number of steps"),
    ({"refractory": True}, ValueError, "`refractory` must be an integer of at least 0, a number of steps"),
    ({"k": 1.0}, ValueError, "Unrecognized keyword arguments"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG, ids=str)
def test_wrong_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        LIF(**options)
