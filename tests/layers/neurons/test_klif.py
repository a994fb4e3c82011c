"""KLIF: identities that follow from its equations, bounds of k, and ablations."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients_of_layers, run

from keras_snn.layers import KLIF, LIF
from keras_snn.ops.neurons import charge
from keras_snn.surrogates import ATan

RNG = np.random.default_rng(0)
X = RNG.normal(0.5, 2.0, (8, 20, 6)).astype("float32")
UPSTREAM = RNG.normal(size=X.shape).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


def spikes_and_gradients(*layers):
    """Return the spikes of each layer, and the gradient by the inputs."""
    for layer in layers:
        layer.build(X.shape)
    results = gradients_of_layers(COMPILED, layers, X, UPSTREAM)
    return [(spikes, d_x) for (spikes,), d_x, _ in results]


class Floored(LIF):
    """A LIF whose membrane is at least 0."""

    @staticmethod
    def step(p, state, x):
        (v,) = state
        v, spikes = p.fire(ops.relu(charge(p, v, x)))
        return (v,), spikes


# Identities


@pytest.mark.parametrize(
    "cases",
    [
        [(0.6, False), (1.75, True)],
        pytest.param(
            [(0.6, True), (1.75, False), (4.0, False), (4.0, True)],
            marks=pytest.mark.nightly("more k, with and without detach_reset"),
        ),
    ],
    ids=["typical", "all"],
)
def test_klif_star_equals_a_lif_with_a_floor_and_threshold_over_k(cases):
    """KLIF* equals a LIF with a floor at 0 and the threshold divided by k.

    ``S = 1[H > threshold / k]``, and ``k g'(k H - threshold; a) = g'(H - threshold / k; a k)``.
    """
    unscaled = [KLIF(3.0, k=k, variant="klif*", detach_reset=detach) for k, detach in cases]
    floored = [Floored(3.0, threshold=1 / k, surrogate=ATan(2.0 * k), detach_reset=detach) for k, detach in cases]
    results = spikes_and_gradients(LIF(3.0), *unscaled, *floored)
    (_, d_x_of_lif), results, expected = results[0], results[1 : 1 + len(cases)], results[1 + len(cases) :]
    for (spikes, d_x), (expected_spikes, expected_d_x) in zip(results, expected, strict=True):
        assert 0.02 < spikes.mean() < 0.95
        np.testing.assert_array_equal(spikes, expected_spikes)
        # rtol, atol: k and 1 / k are rounded in different operations, several times per step, over twenty steps
        np.testing.assert_allclose(d_x, expected_d_x, rtol=1e-4, atol=1e-5)
        assert np.abs(d_x - d_x_of_lif).max() > 0.01


SAME_AS_LIF = [{}, {"reset": "subtract"}, {"v_reset": -0.25}, {"decay_input": False}]


@pytest.mark.parametrize(
    "cases",
    [
        [("klif", SAME_AS_LIF[2]), ("klif*", SAME_AS_LIF[1]), ("klif*", SAME_AS_LIF[3])],
        pytest.param(
            [(variant, options) for variant in ("klif", "klif*") for options in SAME_AS_LIF],
            marks=pytest.mark.nightly("all pairs of variants and options"),
        ),
    ],
    ids=["typical", "all"],
)
def test_without_scale_and_activation_a_klif_equals_a_lif_bit_for_bit(cases):
    klifs = [KLIF(3.0, activation=None, learn=(), variant=variant, **options) for variant, options in cases]
    results = spikes_and_gradients(*klifs, *(LIF(3.0, **options) for _, options in cases))
    for (spikes, d_x), (expected, expected_d_x) in zip(results[: len(cases)], results[len(cases) :], strict=True):
        np.testing.assert_array_equal(spikes, expected)
        np.testing.assert_allclose(d_x, expected_d_x, rtol=1e-4, atol=1e-6)  # compiled gradients round differently


def test_with_a_large_k_a_neuron_fires_without_input():
    """The potential is multiplied by k (1 - 1 / tau) per step. At tau = 2, it grows without input for k > 2."""
    x, ks = np.zeros((1, 12, 1), "float32"), np.array([2, 2.5, 4], "float32")
    x[0, 0] = 0.375  # h = 0.1875, below the threshold
    layers = [
        KLIF(k=keras.initializers.Constant(ks), per="unit", learn=(), variant=variant) for variant in ("klif", "klif*")
    ]
    spikes, unscaled = (to_numpy(layer(np.repeat(x, len(ks), axis=2))) for layer in layers)
    for k, train in zip(ks, spikes[0].T, strict=True):
        f, expected = k * 0.1875, []
        for _ in range(12):
            expected.append(float(f > 1))
            f = 0.0 if f > 1 else k * f / 2
        np.testing.assert_array_equal(train, expected)
        assert train.sum() == (0 if k == 2 else 1)
    assert unscaled.sum() == 0


def test_the_potential_is_constant_at_k_2_and_decays_below():
    x = np.zeros((1, 12, 1), "float32")
    x[0, 0] = 0.375
    layers = [KLIF(k=k, learn=(), return_state=True) for k in (2.0, 1.5)]
    stays, fades = run(COMPILED, lambda x: [layer(x)[1] for layer in layers], x)
    assert stays.item() == 0.375
    assert fades.item() == pytest.approx(1.5 * 0.1875 * 0.75**11, rel=1e-6)  # float32


# The ablations


def test_ablations_with_only_k_and_only_relu():
    only_k = KLIF(3.0, k=1.5, activation=None)
    only_relu = KLIF(3.0, learn=())
    klif = KLIF(3.0, k=1.5)
    layers = {"only k": only_k, "only relu": only_relu, "klif": klif, "lif": LIF(3.0), "floored": Floored(3.0)}
    for layer in layers.values():
        layer.build(X.shape)
    spikes = run(COMPILED, lambda x: {name: layer(x) for name, layer in layers.items()}, X)
    assert [w.name for w in only_k.trainable_weights] == ["k"]
    assert only_relu.weights == []
    np.testing.assert_array_equal(spikes["only relu"], spikes.pop("floored"))
    names = list(spikes)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert np.any(spikes[a] != spikes[b]), (a, b)


@pytest.mark.parametrize(
    "activation", ["celu", "leaky_relu", keras.activations.softplus], ids=["celu", "leaky", "function"]
)
def test_other_activations(activation, tmp_path):
    layer = KLIF(3.0, k=1.5, activation=activation)
    function = keras.activations.get(activation)
    v, spikes = np.zeros((8, 6), "float32"), []
    for t in range(X.shape[1]):
        h = v + np.float32(1 / 3) * (X[:, t] - v)
        f = to_numpy(function(ops.convert_to_tensor(np.float32(1.5) * h)))
        assert np.abs(f - 1).min() > 1e-5  # no ties: a compiled activation rounds differently
        spikes.append(f > 1)
        v = f * (f <= 1)
    np.testing.assert_array_equal(to_numpy(layer(X)), np.stack(spikes, axis=1))
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert restored.activation is function


# k


def test_k_is_a_scalar_weight_with_initial_value_1():
    layer = KLIF()
    assert layer.k == 1.0
    layer.build((None, 8, 4, 5))
    (weight,) = layer.trainable_weights
    assert layer.k is weight
    assert tuple(weight.shape) == ()
    assert to_numpy(weight) == 1
    with pytest.raises(AttributeError, match="`k` of 'klif' is a weight"):
        layer.k = 2.0
    channels = KLIF(per="channel", k=2.0)
    channels.build((None, 8, 4, 5))
    np.testing.assert_array_equal(to_numpy(channels.k), np.full(5, 2.0))


@pytest.mark.parametrize("bounds", [(0.5, 5.0), (0.75, 1.25), None], ids=str)
def test_k_stays_within_its_bounds(bounds):
    low, high = (-9.0, 11.0) if bounds is None else bounds
    layer = KLIF(k_bounds=bounds)
    layer.build(X.shape)
    optimizer = keras.optimizers.SGD(10.0)
    optimizer.build([layer.k])
    for grad, expected in ((-1.0, high), (1.0, low if bounds else 1.0), (2.0, low if bounds else -19.0)):
        optimizer.apply([ops.convert_to_tensor(grad)], [layer.k])
        assert to_numpy(layer.k) == np.float32(expected)


def test_k_is_clipped_in_a_fit_and_keeps_a_gradient():
    layer = KLIF()
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    model.compile(keras.optimizers.SGD(1e3), "mse")
    model.fit(X, np.ones_like(X), epochs=2, batch_size=8, verbose=0)
    assert to_numpy(layer.k) in (0.5, 5.0)
    model.optimizer.learning_rate = 1e-3
    at_bound = to_numpy(layer.k).copy()
    model.fit(X, np.full_like(X, 1.0 if at_bound < 1 else 0.0), batch_size=8, verbose=0)
    assert to_numpy(layer.k) != at_bound


def test_config_keeps_the_bounds():
    layer = KLIF(k_bounds=(0.25, 3.0), variant="klif*", learn=("k", "tau"))
    restored = KLIF.from_config(layer.get_config())
    assert restored.k_bounds == (0.25, 3.0)
    assert restored.variant == "klif*"
    assert restored.learn == ("k", "tau")
    assert KLIF.from_config(KLIF(k_bounds=None).get_config()).k_bounds is None


WRONG = [
    ({"variant": "KLIF"}, r"`variant` must be one of 'klif', 'klif\*'; got 'KLIF'"),
    ({"k": 6.0}, "`k` must be between 0.5 and 5, got 6"),
    ({"k": 1.0, "k_bounds": (2.0, 3.0)}, "`k` must be between 2 and 3, got 1"),
    ({"tau": 0.5}, "`tau` must be at least 1, got 0.5"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        KLIF(**options)


def test_invalid_bounds_of_k_are_refused():
    for bounds in ((0, 1), (2, 1), (1,), (-1, 1)):
        with pytest.raises(ValueError, match="`k_bounds` must be a pair"):
            KLIF(k_bounds=bounds)
