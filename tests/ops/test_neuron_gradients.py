"""The gradients of neurons: those of a loop written out by hand, and finite differences."""

import numpy as np
import pytest
from reference import neurons as loops
from reference.autodiff import MODES, STEP_BY_STEP, layer_gradients, run, to_numpy

from keras_snn.layers import ALIF, IF, KLIF, LIF, PLIF, LeakyIntegrator, RecurrentLIF, Synaptic
from keras_snn.surrogates import ATan, Sigmoid


def currents(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.6, 1.0, size=shape).astype("float32")


def relu(x):
    return np.maximum(x, 0)


def celu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


GRADIENTS = {
    "LIF": (lambda **o: LIF(3.0, learn=("tau", "threshold"), **o), {"leak": 1 / 3}),
    "LIF without decay": (
        lambda **o: LIF(3.0, decay_input=False, learn=("tau", "threshold"), **o),
        {"leak": 1 / 3, "decay_input": False},
    ),
    "IF": (lambda **o: IF(threshold=1.5, learn="threshold", **o), {"leak": 0, "decay_input": False, "threshold": 1.5}),
    "PLIF": (lambda **o: PLIF(3.0, learn="threshold", **o), {"leak": 1 / 3}),
    "KLIF": (
        lambda **o: KLIF(k=1.5, learn=("k", "tau", "threshold"), **o),
        {"leak": 0.5, "k": 1.5, "activation": relu, "slope_of_activation": lambda x: (x > 0) * 1.0},
    ),
    "KLIF*": (
        lambda **o: KLIF(k=1.5, variant="klif*", learn=("k", "tau", "threshold"), **o),
        {"leak": 0.5, "k": 1.5, "unscale": True, "activation": relu, "slope_of_activation": lambda x: (x > 0) * 1.0},
    ),
    "KLIF celu": (
        lambda **o: KLIF(3.0, k=0.75, activation="celu", learn=("k", "tau", "threshold"), **o),
        {
            "leak": 1 / 3,
            "k": 0.75,
            "activation": celu,
            "slope_of_activation": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
        },
    ),
    "LIF refractory": (
        lambda **o: LIF(3.0, refractory=2, learn=("tau", "threshold"), **o),
        {"leak": 1 / 3, "refractory": 2},
    ),
    "LIF steep": (
        lambda **o: LIF(surrogate=ATan(5.0), learn=("tau", "threshold"), **o),
        {"leak": 0.5, "surrogate": loops.atan(5.0)},
    ),
}
WAYS = {
    "zero": {},
    "to v_reset": {"v_reset": -0.3},
    "subtract": {"reset": "subtract"},
    "none": {"reset": None},
    "detached": {"detach_reset": True},
    "subtract, detached": {"reset": "subtract", "detach_reset": True},
}
#: The resets differ in the same few lines for all neurons: all of them for one.
PAIRS = [(name, "zero") for name in GRADIENTS]
PAIRS += [("LIF", way) for way in WAYS if way != "zero"] + [("KLIF*", "subtract"), ("KLIF*", "detached")]


def expected_gradients(name, options, x, d_s, d_v):
    numbers = {"surrogate": loops.atan(), **GRADIENTS[name][1]}
    numbers["how"] = options.get("reset", "zero")
    numbers |= {key: options[key] for key in ("v_reset", "detach_reset") if key in options}
    grads = loops.leaky_gradients(x, d_s, d_v, **numbers)
    leak = numbers["leak"]
    by_name = {"threshold": grads.threshold, "k": grads.k, "tau": -grads.leak * leak**2}
    return grads.x, {**by_name, "w": grads.leak * leak * (1 - leak)}


def upstream(x, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=x.shape).astype("float32"), rng.normal(size=(x.shape[0], *x.shape[2:])).astype("float32")


@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_gradients_equal_the_loop_written_out(name, way):
    x = currents(4, 12, 5, seed=3)
    d_s, d_v = upstream(x)
    layer = GRADIENTS[name][0](return_state=True, **WAYS[way])
    layer.build(x.shape)
    _, d_x, d_weights = layer_gradients(STEP_BY_STEP, layer, x, d_s, d_v)
    expected, by_name = expected_gradients(name, WAYS[way], x, d_s, d_v)
    assert set(d_weights) == ({"w", "threshold"} if name == "PLIF" else set(layer.learn))
    # rtol, atol: float32 through twelve steps, each of ten roundings, of numbers of about 1; sums of 240 of them
    np.testing.assert_allclose(d_x, expected, rtol=1e-4, atol=1e-5)
    for weight, grad in d_weights.items():
        assert abs(by_name[weight].sum()) > 1e-3
        np.testing.assert_allclose(grad, by_name[weight].sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["LIF", "PLIF", "KLIF", "KLIF*", "LIF refractory"])
def test_the_spikes_are_the_same_where_a_gradient_is_wanted(mode, name):
    """The backward pass needs the states, and other loops than those of inference may keep them."""
    x = currents(8, 60, 200, seed=5)
    layer = GRADIENTS[name][0](return_state=True)
    layer.build(x.shape)
    with_gradient, _, _ = layer_gradients(mode, layer, x, *upstream(x))
    without = run(mode, layer, x)
    for a, b in zip(with_gradient, without, strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0.01 < without[0].mean() < 0.99


@pytest.mark.parametrize("per", ["layer", "channel", "unit"])
def test_gradients_of_shared_parameters_are_sums(per):
    x = currents(3, 10, 2, 4, seed=4)
    d_s, d_v = upstream(x)
    layer = KLIF(k=1.5, per=per, learn=("k", "tau", "threshold"), return_state=True)
    layer.build(x.shape)
    _, _, d_weights = layer_gradients(STEP_BY_STEP, layer, x, d_s, d_v)
    _, by_name = expected_gradients("KLIF", {}, x, d_s, d_v)
    for name, grad in d_weights.items():
        expected = by_name[name] if per == "unit" else by_name[name].sum(axis=0 if per == "channel" else None)
        assert grad.shape == expected.shape
        np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-4)  # as above


def test_a_detached_reset_has_another_gradient():
    x = currents(4, 12, 5, seed=3)
    d_s, d_v = upstream(x)
    grads = []
    for detach in (False, True):
        layer = LIF(3.0, detach_reset=detach, return_state=True)
        layer.build(x.shape)
        (spikes, v), d_x, _ = layer_gradients(STEP_BY_STEP, layer, x, d_s, d_v)
        grads.append((spikes, v, d_x))
    for a, b in zip(grads[0][:2], grads[1][:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(grads[0][2] - grads[1][2]).max() > 0.1


def smooth(surrogate):
    """Return a "spike" that is the primitive itself, whose gradient finite differences can check."""
    return surrogate.primitive


SMOOTH = {
    "LIF": lambda spike: LIF(3.0, surrogate=spike, learn=("tau", "threshold")),
    "KLIF*": lambda spike: KLIF(3.0, k=1.25, variant="klif*", surrogate=spike, learn=("k", "tau", "threshold")),
    "ALIF": lambda spike: ALIF(
        3.0, tau_adaptation=7.0, beta=0.5, surrogate=spike, learn=("tau", "tau_adaptation", "beta", "threshold")
    ),
    "Synaptic": lambda spike: Synaptic(
        3.0, tau_synapse=4.0, reset="subtract", surrogate=spike, learn=("tau", "tau_synapse", "threshold")
    ),
    "RecurrentLIF": lambda spike: RecurrentLIF(3.0, surrogate=spike, learn=("tau",)),
    "LeakyIntegrator": lambda spike: LeakyIntegrator(3.0, learn="tau"),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_smooth_neurons_equal_finite_differences(name):
    """With a smooth function for the spike the whole sequence is one: every path of the gradient is checked."""
    x = currents(2, 6, 3, seed=5)
    d_s = upstream(x)[0]
    layer = SMOOTH[name](smooth(Sigmoid(2.0)))
    layer.build(x.shape)
    _, _, d_weights = layer_gradients(STEP_BY_STEP, layer, x, d_s)

    def loss():
        return np.sum(to_numpy(layer(x)).astype("float64") * d_s)

    for weight in layer.trainable_variables:
        value = to_numpy(weight.value)
        differences = np.empty_like(value)
        for place in np.ndindex(value.shape):
            losses = []
            for step in (0.01, -0.01):
                changed = value.copy()
                changed[place] += step
                weight.assign(changed)
                losses.append(loss())
            weight.assign(value)
            differences[place] = (losses[0] - losses[1]) / 0.02
        assert np.abs(differences).max() > 1e-3
        # atol: the differences' own error, 1e-4 of the third derivative; rounding of the loss, 36 numbers, over 0.02
        np.testing.assert_allclose(d_weights[weight.name], differences, rtol=2e-3, atol=5e-4)
