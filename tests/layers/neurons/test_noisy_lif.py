"""NoisyLIF: noise in place of the membrane, and a standardized membrane in place of a part of the noise."""

import itertools
import json
from statistics import NormalDist

import keras
import numpy as np
import pytest
from keras import ops
from reference import neurons as loops
from reference.autodiff import COMPILED, FEW_MODES, STEP_BY_STEP, layer_gradients, run, to_numpy
from reference.parts import over_parts

from keras_snn import probe
from keras_snn.layers import LIF, NoisyLIF, Repeat, TemporalAveragePooling
from keras_snn.ops import neurons
from keras_snn.ops.encoding import all_steps
from keras_snn.ops.random import seed_word
from keras_snn.surrogates import ATan

X = np.random.default_rng(0).normal(0.4, 0.6, (4, 10, 3, 8)).astype("float32")


def drawn(shape, seed=0, kind="gaussian", statistics="sample"):
    """Return the noise in [-1, 1] of a layer with this seed."""
    like = np.zeros(shape, "float32")
    axes = neurons.statistics_axes(statistics, like, first=2)
    index = ops.arange(shape[0], dtype="int32")
    steps = all_steps(shape[1])
    return to_numpy(neurons.noise(index, steps, ops.convert_to_tensor(like), seed_word(seed), kind, axes))


def identity(h):
    return h


def charges(x, *cases):
    """Return h of every step for each of the options, from neurons that never fire."""
    layers = [NoisyLIF(threshold=0.0, reset=None, surrogate=identity, **options) for options in cases]
    for layer in layers:
        layer.build(x.shape)
    return run(COMPILED, lambda x: [layer(x) for layer in layers], x)


# The equations


def test_the_published_values_of_the_memory():
    a = ops.convert_to_tensor(np.array([[0, 0.1, 0.3, 0.6]], "float32"))
    # By hand: the mean is 0.25, the max distance from it 0.35.
    expected = [[-0.25 / 1.4 + 0.5, -0.15 / 1.4 + 0.5, 0.05 / 1.4 + 0.5, 0.75]]
    np.testing.assert_allclose(expected, [[0.321429, 0.392857, 0.535714, 0.75]], atol=5e-7)  # the published digits
    np.testing.assert_allclose(to_numpy(neurons.standardised(a, (1,))) / 4 + 0.5, expected, rtol=1e-6)  # float32


@pytest.mark.parametrize("value", [0.0, 0.1, 0.75])
def test_the_standardized_membrane_of_equal_membranes_is_zero(value):
    a = np.full((2, 7), value, "float32")
    a[1, 0] += np.float32(5e-7)  # some units in the last place do not count
    standard = to_numpy(neurons.standardised(ops.convert_to_tensor(a), (1,)))
    np.testing.assert_array_equal(standard, np.zeros_like(a))


def test_the_memory_of_zero_membranes_is_beta():
    (h,) = charges(np.zeros((2, 1, 5), "float32"), {"alpha": 4.0, "beta": 0.25, "noise": None})
    np.testing.assert_array_equal(h, np.full((2, 1, 5), 0.25))


def test_hand_values_at_the_threshold():
    """Two units without noise spike if h > 1, and are reset to zero."""
    layer = NoisyLIF(alpha=4.0, noise=None, return_state=True)
    x = np.tile(np.array([0.25, 0.75], "float32"), (1, 3, 1))
    # h = 0.75, 1.25 from beta and x. Then a = 0.375, 0, the memory is 0.75, 0.25, and h = 1, 1. These are equal, so
    # that step 3 equals step 1.
    spikes, v = layer(x)
    np.testing.assert_array_equal(to_numpy(spikes)[0], [[0, 1], [0, 0], [0, 1]])
    np.testing.assert_array_equal(to_numpy(v)[0], [0.75, 0])
    edge = np.array([1.0, np.nextafter(np.float32(1), np.float32(2))], "float32")
    np.testing.assert_array_equal(to_numpy(NoisyLIF(noise=None)(edge[None, None]))[0, 0], [0, 1])


CASES = [
    ({"alpha": 4.0}, (1, 2)),
    ({"alpha": 8.0, "beta": 0.3, "tau": 3.0, "noise": "uniform", "reset": "subtract"}, (1, 2)),
    ({"alpha": 4.0, "statistics": "batch", "v_reset": -0.25, "threshold": 0.8}, (0, 1, 2)),
    ({"alpha": 2.0}, (1, 2)),
    ({"alpha": 4.0, "noise": None, "beta": 0.0}, (1, 2)),
]


@pytest.mark.parametrize(
    ("mode", "cases"), [(mode, CASES if mode == COMPILED else CASES[1:2]) for mode in FEW_MODES], ids=FEW_MODES
)
def test_equals_a_numpy_loop(mode, cases):
    layers = [NoisyLIF(seed=3, return_state=True, **options) for options, _ in cases]
    for layer in layers:
        layer.build(X.shape)
    results = run(mode, lambda x: [layer(x) for layer in layers], X)
    for layer, (_, axes), (spikes, v) in zip(layers, cases, results, strict=True):
        noise = np.zeros(X.shape)
        if layer.noise is not None:
            noise = drawn(X.shape, 3, layer.noise, layer.statistics) * (0.5 - 1 / layer.alpha) + 0.5 - layer.beta
        names = {"alpha": layer.alpha, "beta": layer.beta, "threshold": layer.threshold, "v_reset": layer.v_reset}
        h, expected, last = loops.noisy(X, noise, leak=1 / layer.tau, axes=axes, reset_mode=layer.reset, **names)
        assert np.abs(h - layer.threshold).min() > 1e-5  # rounding cannot change a spike
        assert 0.1 < expected.mean() < 0.9
        np.testing.assert_array_equal(spikes, expected)
        np.testing.assert_allclose(v, last, rtol=0, atol=1e-5)  # float32 rounding of ten steps, of numbers of about 1


@pytest.mark.parametrize(
    ("mode", "statistics"), [(COMPILED, "sample"), (FEW_MODES[0], "batch")], ids=["sample", "batch"]
)
def test_the_gradient_equals_that_of_an_unrolled_loop(mode, statistics):
    options = {"alpha": 4.0, "seed": 1, "learn": ("tau", "threshold"), "tau": 3.0, "statistics": statistics}
    upstream = np.random.default_rng(1).normal(size=X.shape).astype("float32")
    last = np.random.default_rng(2).normal(size=(4, 3, 8)).astype("float32")
    x, upstream = X[:, :4], upstream[:, :4]  # unrolled steps are compiled one by one
    results = []
    for unroll in (False, True):
        layer = NoisyLIF(return_state=True, unroll=unroll, **options)
        layer.build(x.shape)
        results.append(layer_gradients(STEP_BY_STEP if unroll else mode, layer, x, upstream, last))
    ((spikes, _), d_x, d_weights), ((expected, _), expected_x, expected_weights) = results
    np.testing.assert_array_equal(spikes, expected)
    # Tolerances: float32 rounding of four steps. The division by the max has slopes of up to some tens.
    np.testing.assert_allclose(d_x, expected_x, rtol=1e-3, atol=1e-4)
    assert set(d_weights) == {"tau", "threshold"}
    # The memory is divided by its max and does not depend on tau: its gradient is rounding.
    np.testing.assert_allclose(d_weights["threshold"], expected_weights["threshold"], rtol=1e-3)
    np.testing.assert_allclose(d_weights["tau"], 0, atol=1e-2)


def test_the_gradient_of_a_single_step_is_the_surrogate():
    x = X[:, :1]
    layer = NoisyLIF(seed=0)
    layer.build(x.shape)
    _, d_x, _ = layer_gradients(STEP_BY_STEP, layer, x, np.ones_like(x))
    expected = to_numpy(ATan(3.0).derivative(ops.convert_to_tensor(charges(x, {"seed": 0})[0] - 1)))
    np.testing.assert_allclose(d_x, expected, rtol=1e-5)  # float32, computed in two ways


# The noise


#: (alpha, statistics, kind). Each value at least once; all combinations for alpha = None, where all of m is noise.
NOISE_CASES = [(2.0, "sample", "uniform"), (4.0, "batch", "gaussian"), (8.0, "sample", "gaussian")]
NOISE_CASES += [(None, statistics, kind) for statistics in ("sample", "batch") for kind in ("gaussian", "uniform")]
ALL_NOISE_CASES = list(itertools.product([2.0, 4.0, 8.0], ["sample", "batch"], ["gaussian", "uniform"]))


@pytest.mark.parametrize(
    "cases", [NOISE_CASES, pytest.param(ALL_NOISE_CASES, marks=pytest.mark.nightly("all combinations"))], ids=len
)
def test_memory_plus_noise_is_between_0_and_1(cases):
    x = X.reshape(4, 10, -1)
    names = ("alpha", "statistics", "noise")
    results = charges(x, *({**dict(zip(names, case, strict=True)), "seed": 0} for case in cases))
    for h, (alpha, statistics, kind) in zip(results, cases, strict=True):
        m = h - x
        # Bounds: without resets, h is up to about 10 in float32.
        assert m.min() > -2e-6
        assert m.max() < 1 + 2e-6
        if alpha is None and kind == "gaussian":  # the max is 0 or 1, in every sample or in every batch
            ends = np.isclose(np.abs(m - 0.5), 0.5, atol=1e-6)
            assert np.all(ends.sum(axis=(0, 2)) == 1 if statistics == "batch" else ends.sum(axis=2) == 1)


def test_the_first_step_only_has_noise():
    x = np.zeros((1, 1, 1000), "float32")
    ranges = ((2.0, 0.5, 0.5), (4.0, 0.25, 0.75), (8.0, 0.125, 0.875), (None, 0.0, 1.0))
    results = charges(x, *({"alpha": alpha, "seed": 0} for alpha, _, _ in ranges))
    for h, (_, low, high) in zip(results, ranges, strict=True):
        assert low - 1e-6 <= h.min() <= h.max() <= high + 1e-6
        assert np.abs(h - 0.5).max() == pytest.approx((high - low) / 2, abs=1e-6)
        np.testing.assert_allclose(h.mean(), 0.5, atol=0.02)  # standard error: 0.15 / sqrt(1000)


@pytest.mark.parametrize(
    ("units", "expected", "tolerance"), [(10, 0.26, 0.01), (500, 0.154, 0.004), (25_600, 0.118, 0.002)]
)
def test_the_deviation_of_the_noise_depends_on_the_number_of_units(units, expected, tolerance):
    """The standard deviation decreases with the number of units: the noise is divided by its max over the units."""
    noise = drawn((max(20, 20_000 // units), 1, units)) / 2
    assert noise.std() == pytest.approx(expected, abs=tolerance)


def test_noise_is_normal_or_uniform():
    gaussian, uniform = drawn((1, 1, 200_000)).ravel(), drawn((1, 1, 200_000), kind="uniform").ravel()
    z = gaussian / gaussian.std()
    # atol: the standard error of the fourth moment is sqrt(24 / 200,000) = 0.011.
    np.testing.assert_allclose([z.mean(), (z**3).mean(), (z**4).mean()], [0, 0, 3], atol=0.05)
    np.testing.assert_allclose(np.quantile(uniform, [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.01)
    assert np.abs(uniform).max() <= 1


@pytest.mark.parametrize("mode", FEW_MODES)
def test_noise_from_the_ends_of_the_uniform_range_is_finite(mode, monkeypatch):
    """Noise from 0 and from the largest float32 below 1 is finite. In large networks, both occur."""
    uniform = np.array([0, 2.0**-24, 0.25, 0.5, 0.75, 1 - 2.0**-23, 1 - 2.0**-24], "float32")
    monkeypatch.setattr(neurons, "uniform_at_steps", lambda *_: ops.convert_to_tensor(uniform)[None, None])
    like = np.zeros((1, 1, 7), "float32")
    draw = neurons._noise.__wrapped__("gaussian", (2,))
    noise = run(mode, lambda index, like: draw(index, all_steps(1), like, seed_word(0)), np.arange(1), like)[0, 0]
    z = np.array([NormalDist().inv_cdf(float(u) + 2.0**-25) for u in uniform])
    np.testing.assert_allclose(noise, z / np.abs(z).max(), rtol=1e-5, atol=1e-6)  # erfinv of the backends


def test_without_memory_equals_the_limit_of_a_large_alpha():
    """For a large alpha, step 3 of the publication becomes step 2, with the same noise."""
    layers = [NoisyLIF(alpha=alpha, seed=0) for alpha in (None, 1e8, 8.0)]
    for layer in layers:
        layer.build(X.shape)
    without, limit, with_memory = run(COMPILED, lambda x: [layer(x) for layer in layers], X)
    np.testing.assert_array_equal(without, limit)
    h, limit = charges(X, {"seed": 0}, {"alpha": 1e8, "seed": 0})
    np.testing.assert_allclose(h, limit, atol=1e-6)
    assert differ(with_memory, without)


def test_without_memory_the_steps_are_independent():
    noise = drawn(X.shape, 5)
    np.testing.assert_array_equal(to_numpy(NoisyLIF(seed=5)(X)), np.float32(0.5) * noise + np.float32(0.5) + X > 1)


def test_alpha_2_draws_nothing():
    layer = NoisyLIF(alpha=2.0)
    before = to_numpy(layer.seed_generator.state)
    once = to_numpy(layer(X))
    np.testing.assert_array_equal(to_numpy(layer(X)), once)
    np.testing.assert_array_equal(to_numpy(layer.seed_generator.state), before)
    np.testing.assert_array_equal(to_numpy(NoisyLIF(alpha=2.0, seed=1)(X)), once)


def test_the_control_without_noise_is_a_threshold():
    np.testing.assert_array_equal(to_numpy(NoisyLIF(noise=None)(X)), X > 1)
    # A LIF at one step is the same.
    np.testing.assert_array_equal(to_numpy(LIF(decay_input=False)(X[:, :1])), X[:, :1] > 1)


def test_tau_and_beta_have_no_effect_with_memory_and_noise():
    changes = ({}, {"beta": 0.1}, {"tau": 7.0}, {"tau": 1.0})
    h, *results, no_memory = charges(X, *({"alpha": 4.0, "seed": 0, **change} for change in changes))
    for result in results:
        np.testing.assert_allclose(result, h, atol=1e-5)
    np.testing.assert_allclose(no_memory, 0.25 * drawn(X.shape) + 0.5 + X, atol=1e-6)


# Seeds


def differ(a, b):
    return not np.array_equal(to_numpy(a), to_numpy(b))


def test_noise_is_new_in_every_call_in_training_and_inference():
    layer = NoisyLIF()
    assert differ(layer(X, training=True), layer(X, training=True))
    assert differ(layer(X, training=False), layer(X, training=False))
    assert differ(layer(X), NoisyLIF()(X))  # each layer has its draws


def test_a_seed_fixes_the_noise():
    layer = NoisyLIF(seed=1)
    once = to_numpy(layer(X))
    np.testing.assert_array_equal(to_numpy(layer(X)), once)
    np.testing.assert_array_equal(to_numpy(NoisyLIF(seed=1)(X)), once)
    assert differ(NoisyLIF(seed=2)(X), once)
    draws = []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        layer = NoisyLIF()
        draws.append([to_numpy(layer(X)) for _ in range(2)])
    np.testing.assert_array_equal(draws[0], draws[1])


def test_statistics_are_per_sample_or_per_batch():
    layers = [NoisyLIF(alpha=4.0, seed=0, statistics=statistics) for statistics in ("sample", "batch")]
    for layer in layers:
        layer.build(X.shape)
    results = run(COMPILED, lambda x, part: [(layer(x), layer(part)) for layer in layers], X, X[:2])
    assert [differ(full[:2], part) for full, part in results] == [False, True]


def test_the_first_steps_equal_those_of_a_longer_run():
    layer = NoisyLIF(alpha=4.0, seed=0)
    np.testing.assert_array_equal(to_numpy(layer(X[:, :3])), to_numpy(layer(X))[:, :3])


def test_parts_of_the_time_axis_have_the_noise_of_a_whole_run():
    layer, mask = NoisyLIF(alpha=4.0, seed=0), np.random.default_rng(1).uniform(size=(4, 10)) < 0.6
    for masked in (None, mask):
        parts = over_parts(layer, X, (2, 1, 7), masked)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), to_numpy(layer(X, mask=masked)))


def test_without_a_seed_all_parts_of_a_run_use_one_draw():
    layer = NoisyLIF()
    start = to_numpy(layer.seed_generator.state)
    parts = over_parts(layer, X, (2, 1, 7))
    after = to_numpy(layer.seed_generator.state)
    layer.seed_generator.state.assign(start)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), to_numpy(layer(X)))
    np.testing.assert_array_equal(to_numpy(layer.seed_generator.state), after)


def test_in_a_scope_noise_depends_on_the_position_in_the_data():
    layer = NoisyLIF(alpha=4.0)

    def drawn_for(index):
        with probe.scope(sample_index=ops.convert_to_tensor(np.array(index, "int32"))):
            return to_numpy(layer(X[index])), to_numpy(layer(X[index]))

    first, second = drawn_for([0, 1, 2, 3])
    assert differ(first, second)  # each call has a new draw
    np.testing.assert_array_equal(drawn_for([3, 1])[0], first[[3, 1]])


# The layer


BACKEND = keras.config.backend()
other_mode = pytest.mark.nightly("the other value of jit_compile")


@pytest.mark.parametrize(
    "jit_compile",
    [
        pytest.param(False, marks=other_mode if BACKEND == "jax" else []),  # eager on JAX
        pytest.param(True, marks=other_mode if BACKEND == "tensorflow" else []),
    ][: 1 if BACKEND == "torch" else 2],  # True would use torch.compile
)
def test_a_network_learns_xor(jit_compile):
    """A network with one noisy step learns XOR, which is not linearly separable."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], size=(256, 2)).astype("float32")
    y = keras.utils.to_categorical(x[:, 0] * x[:, 1] > 0, 2)
    stack = [keras.layers.Dense(32), Repeat(1), NoisyLIF(), keras.layers.Dense(2), TemporalAveragePooling()]
    model = keras.Sequential([keras.Input((2,)), *stack])
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["categorical_accuracy"], jit_compile=jit_compile)
    model.fit(x, y, batch_size=32, epochs=12, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9


@pytest.mark.parametrize(
    "options", [{}, {"alpha": 4.0, "beta": 0.25, "noise": "uniform", "statistics": "batch", "seed": 3}]
)
def test_the_config_is_json(options):
    config = NoisyLIF(**options).get_config()
    assert config["surrogate"]["config"] == {"slope": 3.0}
    restored = NoisyLIF.from_config(json.loads(json.dumps(config)))
    defaults = {"alpha": None, "beta": 0.5, "noise": "gaussian", "statistics": "sample", "seed": None}
    assert {name: restored.get_config()[name] for name in defaults} == {**defaults, **options}


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape")
def test_noise_of_unknown_batch_and_time():
    import tensorflow as tf

    layer = NoisyLIF(alpha=4.0, seed=0)
    layer.build(X.shape)
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 3, 8))])
    for x in (X, X[:3, :4]):
        np.testing.assert_array_equal(function(x), layer(x))


def test_noise_is_the_same_in_half_precision():
    expected = to_numpy(NoisyLIF(alpha=4.0, seed=0)(np.round(8 * X) / 8))
    half = NoisyLIF(alpha=4.0, seed=0, dtype="mixed_float16")(np.round(8 * X) / 8)
    np.testing.assert_array_equal(to_numpy(half).astype("float32"), expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": 1.99}, ValueError, "`alpha` must be .* of at least 2, or None for no memory.*got 1.99"),
        ({"alpha": -4}, ValueError, "`alpha` must be a finite number of at least 2"),
        ({"alpha": np.inf}, ValueError, "`alpha` must be a finite number .* or None"),
        ({"alpha": "4"}, TypeError, "`alpha` must be a number"),
        ({"beta": np.nan}, ValueError, "`beta` must be a finite number"),
        ({"noise": "normal"}, ValueError, "`noise` must be one of .*got 'normal'"),
        ({"statistics": "layer"}, ValueError, "`statistics` must be one of .*got 'layer'"),
        ({"seed": 1.5}, ValueError, "`seed` must be an integer or None; got 1.5"),
        ({"tau": 0.5}, ValueError, "`tau` must be at least 1"),
    ],
    ids=str,
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        NoisyLIF(**options)
