"""The gradients of neurons, against hand-written loops and finite differences."""

import numpy as np
import pytest
from reference import neurons as loops
from reference.autodiff import (
    COMPILED,
    FEW_MODES,
    MODES,
    gradients_of_layers,
    run,
    to_numpy,
    to_tensors,
    wrap,
)

from keras_snn.layers import ALIF, IF, KLIF, LIF, PLIF, LeakyIntegrator, RecurrentLIF, ResonateAndFire, Synaptic
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
#: Each neuron once, and each reset, because all neurons share its code. Each list is compiled as one function.
PAIRS = {
    "LIF": [
        ("LIF", "subtract, detached"),
        ("LIF without decay", "to v_reset"),
        ("IF", "none"),
        ("PLIF", "zero"),
        ("LIF refractory", "subtract"),
        ("LIF steep", "zero"),
    ],
    "KLIF": [("KLIF", "zero"), ("KLIF*", "subtract"), ("KLIF celu", "detached")],
}


def numbers_of(name, options):
    """Return the arguments of the loops for a neuron with these options."""
    numbers = {"surrogate": loops.atan(), **GRADIENTS[name][1], "reset_mode": options.get("reset", "zero")}
    return numbers | {key: options[key] for key in ("v_reset", "detach_reset") if key in options}


def expected_gradients(name, options, x, d_s, d_v):
    numbers = numbers_of(name, options)
    grads = loops.leaky_gradients(x, d_s, d_v, **numbers)
    leak = numbers["leak"]
    by_name = {"threshold": grads.threshold, "k": grads.k, "tau": -grads.leak * leak**2}
    return grads.x, {**by_name, "w": grads.leak * leak * (1 - leak)}


def expected_outputs(name, options, x):
    """Return the spikes and the last membrane of the float32 loop."""
    numbers, only_backward = numbers_of(name, options), ("surrogate", "detach_reset", "slope_of_activation")
    trace = loops.leaky(x, **{key: number for key, number in numbers.items() if key not in only_backward})
    return trace.s, trace.v[:, -1]


def upstream(x, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=x.shape).astype("float32"), rng.normal(size=(x.shape[0], *x.shape[2:])).astype("float32")


@pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
def test_gradients_equal_the_hand_written_loop(pairs):
    assert_gradients_equal_the_loop(COMPILED, pairs)


@pytest.mark.skipif(FEW_MODES == (COMPILED,), reason="other tests run the only mode of this backend")
def test_eager_gradients_equal_the_hand_written_loop():
    assert_gradients_equal_the_loop("eager", [("LIF", "zero")])


@pytest.mark.nightly("all pairs of neurons and resets")
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_every_neuron_with_every_reset(name):
    assert_gradients_equal_the_loop(COMPILED, [(name, way) for way in WAYS])


def assert_gradients_equal_the_loop(mode, pairs):
    x = currents(4, 12, 5, seed=3)
    d_s, d_v = upstream(x)
    layers = [built(GRADIENTS[name][0](return_state=True, **WAYS[way]), x.shape) for name, way in pairs]
    results = gradients_of_layers(mode, layers, x, d_s, d_v)
    for (name, way), layer, ((spikes, v, *_), d_x, d_weights) in zip(pairs, layers, results, strict=True):
        case = f"{name}, {way}"
        expected_spikes, expected_v = expected_outputs(name, WAYS[way], x)
        np.testing.assert_array_equal(spikes, expected_spikes, err_msg=case)
        # rtol: a compiled celu rounds differently
        np.testing.assert_allclose(v, expected_v, rtol=1e-5, atol=1e-5, err_msg=case)
        expected, by_name = expected_gradients(name, WAYS[way], x, d_s, d_v)
        assert set(d_weights) == ({"w", "threshold"} if name == "PLIF" else set(layer.learn))
        # rtol, atol: float32 rounding in twelve steps of ten operations on numbers of about 1, and sums of 240 numbers
        np.testing.assert_allclose(d_x, expected, rtol=1e-4, atol=1e-5, err_msg=case)
        for weight, grad in d_weights.items():
            assert abs(by_name[weight].sum()) > 1e-3
            np.testing.assert_allclose(grad, by_name[weight].sum(), rtol=1e-4, atol=1e-4, err_msg=f"{case}, {weight}")


def built(layer, shape):
    layer.build(shape)
    return layer


def assert_spikes_with_a_gradient(mode, names):
    x = currents(8, 60, 200, seed=5)
    layers = [built(GRADIENTS[name][0](return_state=True), x.shape) for name in names]
    with_gradient = [outputs for outputs, _, _ in gradients_of_layers(mode, layers, x, *upstream(x))]
    without_gradient = run(mode, lambda x: [layer(x) for layer in layers], x)
    for actual, expected in zip(with_gradient, without_gradient, strict=True):
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert 0.01 < expected[0].mean() < 0.99


@pytest.mark.parametrize("mode", FEW_MODES)
def test_spikes_are_the_same_with_a_gradient(mode):
    """Spikes with a gradient equal those of inference, although another loop may compute them to keep the states."""
    assert_spikes_with_a_gradient(mode, ["LIF", "KLIF*"] if mode == COMPILED else ["LIF"])


@pytest.mark.nightly("more neurons in each mode")
@pytest.mark.parametrize("mode", MODES)
def test_spikes_of_all_neurons_are_the_same_with_a_gradient(mode):
    assert_spikes_with_a_gradient(mode, ["LIF", "PLIF", "KLIF", "KLIF*", "LIF refractory"])


def test_gradients_of_shared_parameters_are_sums():
    """Gradients of parameters per channel and per unit are sums. The tests above have parameters per layer."""
    x = currents(3, 10, 2, 4, seed=4)
    d_s, d_v = upstream(x)
    options = {"k": 1.5, "learn": ("k", "tau", "threshold"), "return_state": True}
    layers = [built(KLIF(per=per, **options), x.shape) for per in ("channel", "unit")]
    _, by_name = expected_gradients("KLIF", {}, x, d_s, d_v)
    for layer, (_, _, d_weights) in zip(layers, gradients_of_layers(COMPILED, layers, x, d_s, d_v), strict=True):
        for name, grad in d_weights.items():
            expected = by_name[name] if layer.per == "unit" else by_name[name].sum(axis=0)
            assert grad.shape == expected.shape
            np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-4)  # as above


@pytest.mark.backend_free
def test_a_detached_reset_has_another_gradient():
    """The gradients with and without `detach_reset` differ, so that the tests above detect an option without effect."""
    x = currents(4, 12, 5, seed=3)
    grads = [expected_gradients("LIF", {"detach_reset": detach}, x, *upstream(x))[0] for detach in (False, True)]
    assert np.abs(grads[0] - grads[1]).max() > 0.1


def smooth(surrogate):
    """Return the primitive as a smooth "spike" function, for finite differences."""
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
    "ResonateAndFire": lambda spike: ResonateAndFire(5.0, surrogate=spike, learn=("period", "threshold")),
    "LeakyIntegrator": lambda spike: LeakyIntegrator(3.0, learn="tau"),
}


def test_gradients_of_smooth_neurons_equal_finite_differences():
    """Gradients of neurons with a smooth spike function equal finite differences: all paths of the gradient exist."""
    x = currents(2, 6, 3, seed=5)
    d_s = upstream(x)[0]
    layers = [built(make(smooth(Sigmoid(2.0))), x.shape) for make in SMOOTH.values()]
    grads = [d_weights for _, _, d_weights in gradients_of_layers(COMPILED, layers, x, d_s)]
    values = [[to_numpy(weight.value) for weight in layer.trainable_variables] for layer in layers]

    def outputs(values):
        return [layer.stateless_call(weights, [], x)[0] for layer, weights in zip(layers, values, strict=True)]

    call = wrap(COMPILED, outputs)
    for i, (layer, weights) in enumerate(zip(layers, values, strict=True)):
        for weight, value in zip(layer.trainable_variables, weights, strict=True):
            differences = np.empty_like(value)
            for place in np.ndindex(value.shape):
                losses, before = [], value[place].copy()
                for step in (0.01, -0.01):
                    value[place] = before + np.float32(step)
                    losses.append(np.sum(to_numpy(call(to_tensors(values))[i]).astype("float64") * d_s))
                value[place] = before
                differences[place] = (losses[0] - losses[1]) / 0.02
            assert np.abs(differences).max() > 1e-3
            # atol: the error of the differences, 1e-4 of the third derivative, and the rounding of the loss, a sum of
            # 36 numbers, divided by 0.02
            np.testing.assert_allclose(
                grads[i][weight.name], differences, rtol=2e-3, atol=5e-4, err_msg=f"{layer.name} {weight.name}"
            )
