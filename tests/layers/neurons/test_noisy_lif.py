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
    """Return h of every step for each of the options, for neurons that never fire."""
    layers = [NoisyLIF(threshold=0.0, reset=None, surrogate=identity, **options) for options in cases]
    for layer in layers:
        layer.build(x.shape)
    return run(COMPILED, lambda x: [layer(x) for layer in layers], x)


# The equations


def test_the_memory_of_the_publication():
    a = ops.convert_to_tensor(np.array([[0, 0.1, 0.3, 0.6]], "float32"))
    # By hand: the mean is 0.25, the largest distance from it 0.35.
    expected = [[-0.25 / 1.4 + 0.5, -0.15 / 1.4 + 0.5, 0.05 / 1.4 + 0.5, 0.75]]
    np.testing.assert_allclose(expected, [[0.321429, 0.392857, 0.535714, 0.75]], atol=5e-7)  # as printed
    np.testing.assert_allclose(to_numpy(neurons.standardised(a, (1,))) / 4 + 0.5, expected, rtol=1e-6)  # float32


@pytest.mark.parametrize("value", [0.0, 0.1, 0.75])
def test_equal_membranes_are_zero_and_not_rounding_blown_up(value):
    a = np.full((2, 7), value, "float32")
    a[1, 0] += np.float32(5e-7)  # some units in the last place are no difference
    standard = to_numpy(neurons.standardised(ops.convert_to_tensor(a), (1,)))
    np.testing.assert_array_equal(standard, np.zeros_like(a))


def test_a_membrane_of_zeros_is_beta():
    (h,) = charges(np.zeros((2, 1, 5), "float32"), {"alpha": 4.0, "beta": 0.25, "noise": None})
    np.testing.assert_array_equal(h, np.full((2, 1, 5), 0.25))


def test_hand_values_at_the_threshold():
    """Two units, no noise: the spike is at h > 1, strictly, and the reset is to zero."""
    layer = NoisyLIF(alpha=4.0, noise=None, return_state=True)
    x = np.tile(np.array([0.25, 0.75], "float32"), (1, 3, 1))
    # h = 0.75, 1.25 from beta alone; then a = 0.375, 0: the memory is 0.75, 0.25, and h = 1, 1; which are alike.
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
def test_equals_the_loop_of_numpy(mode, cases):
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
        assert np.abs(h - layer.threshold).min() > 1e-5  # float32 cannot be on the other side
        assert 0.1 < expected.mean() < 0.9
        np.testing.assert_array_equal(spikes, expected)
        np.testing.assert_allclose(v, last, rtol=0, atol=1e-5)  # ten steps of float32, of numbers of about 1


@pytest.mark.parametrize(
    ("mode", "statistics"), [(COMPILED, "sample"), (FEW_MODES[0], "batch")], ids=["sample", "batch"]
)
def test_the_gradient_is_that_of_every_step_written_out(mode, statistics):
    options = {"alpha": 4.0, "seed": 1, "learn": ("tau", "threshold"), "tau": 3.0, "statistics": statistics}
    upstream = np.random.default_rng(1).normal(size=X.shape).astype("float32")
    last = np.random.default_rng(2).normal(size=(4, 3, 8)).astype("float32")
    x, upstream = X[:, :4], upstream[:, :4]  # the steps written out are compiled one by one
    results = []
    for unroll in (False, True):
        layer = NoisyLIF(return_state=True, unroll=unroll, **options)
        layer.build(x.shape)
        results.append(layer_gradients(STEP_BY_STEP if unroll else mode, layer, x, upstream, last))
    ((spikes, _), d_x, d_weights), ((expected, _), expected_x, expected_weights) = results
    np.testing.assert_array_equal(spikes, expected)
    # Four steps of float32; the slope of a division by the largest one is up to some tens.
    np.testing.assert_allclose(d_x, expected_x, rtol=1e-3, atol=1e-4)
    assert set(d_weights) == {"tau", "threshold"}
    # Not tau's: the memory is divided by its largest value, and what is left of the gradient is rounding.
    np.testing.assert_allclose(d_weights["threshold"], expected_weights["threshold"], rtol=1e-3)
    np.testing.assert_allclose(d_weights["tau"], 0, atol=1e-2)


def test_in_a_single_step_the_gradient_is_the_surrogate_alone():
    x = X[:, :1]
    layer = NoisyLIF(seed=0)
    layer.build(x.shape)
    _, d_x, _ = layer_gradients(STEP_BY_STEP, layer, x, np.ones_like(x))
    expected = to_numpy(ATan(3.0).derivative(ops.convert_to_tensor(charges(x, {"seed": 0})[0] - 1)))
    np.testing.assert_allclose(d_x, expected, rtol=1e-5)  # of one float32 computation in two ways


# The noise


#: Each alpha, each kind and each statistics; where the noise alone is the largest, all of them.
WHOLE = [(2.0, "sample", "uniform"), (4.0, "batch", "gaussian"), (8.0, "sample", "gaussian")]
WHOLE += [(None, statistics, kind) for statistics in ("sample", "batch") for kind in ("gaussian", "uniform")]
ALL_WHOLE = list(itertools.product([2.0, 4.0, 8.0], ["sample", "batch"], ["gaussian", "uniform"]))


@pytest.mark.parametrize(
    "cases", [WHOLE, pytest.param(ALL_WHOLE, marks=pytest.mark.nightly("the same with all combinations"))], ids=len
)
def test_the_whole_is_between_0_and_1(cases):
    x = X.reshape(4, 10, -1)
    names = ("alpha", "statistics", "noise")
    results = charges(x, *({**dict(zip(names, case, strict=True)), "seed": 0} for case in cases))
    for h, (alpha, statistics, kind) in zip(results, cases, strict=True):
        m = h - x
        # h is up to about 10 without resets, in float32
        assert m.min() > -2e-6
        assert m.max() < 1 + 2e-6
        if alpha is None and kind == "gaussian":  # the largest is at an end, in every sample or in every batch
            ends = np.isclose(np.abs(m - 0.5), 0.5, atol=1e-6)
            assert np.all(ends.sum(axis=(0, 2)) == 1 if statistics == "batch" else ends.sum(axis=2) == 1)


def test_the_first_step_has_the_noise_alone():
    x = np.zeros((1, 1, 1000), "float32")
    ranges = ((2.0, 0.5, 0.5), (4.0, 0.25, 0.75), (8.0, 0.125, 0.875), (None, 0.0, 1.0))
    results = charges(x, *({"alpha": alpha, "seed": 0} for alpha, _, _ in ranges))
    for h, (_, low, high) in zip(results, ranges, strict=True):
        assert low - 1e-6 <= h.min() <= h.max() <= high + 1e-6
        assert np.abs(h - 0.5).max() == pytest.approx((high - low) / 2, abs=1e-6)
        np.testing.assert_allclose(h.mean(), 0.5, atol=0.02)  # its standard deviation is 0.15 / sqrt(1000)


@pytest.mark.parametrize(
    ("units", "expected", "tolerance"), [(10, 0.26, 0.01), (500, 0.154, 0.004), (25_600, 0.118, 0.002)]
)
def test_the_deviation_goes_by_the_number_of_units(units, expected, tolerance):
    """Compared with the figures of the specification. The number of samples keeps the test short."""
    noise = drawn((max(20, 20_000 // units), 1, units)) / 2
    assert noise.std() == pytest.approx(expected, abs=tolerance)


def test_noise_is_normal_or_uniform():
    gaussian, uniform = drawn((1, 1, 200_000)).ravel(), drawn((1, 1, 200_000), kind="uniform").ravel()
    z = gaussian / gaussian.std()
    np.testing.assert_allclose([z.mean(), (z**3).mean(), (z**4).mean()], [0, 0, 3], atol=0.05)  # some 4 / sqrt(200,000)
    np.testing.assert_allclose(np.quantile(uniform, [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.01)
    assert np.abs(uniform).max() <= 1


@pytest.mark.parametrize("mode", FEW_MODES)
def test_the_rarest_numbers_are_finite(mode, monkeypatch):
    """One number in 2^24 is 0 or the largest float below 1: several per training step of a large network."""
    uniform = np.array([0, 2.0**-24, 0.25, 0.5, 0.75, 1 - 2.0**-23, 1 - 2.0**-24], "float32")
    monkeypatch.setattr(neurons, "uniform_at_steps", lambda *_: ops.convert_to_tensor(uniform)[None, None])
    like = np.zeros((1, 1, 7), "float32")
    draw = neurons._noise.__wrapped__("gaussian", (2,))
    noise = run(mode, lambda index, like: draw(index, all_steps(1), like, seed_word(0)), np.arange(1), like)[0, 0]
    z = np.array([NormalDist().inv_cdf(float(u) + 2.0**-25) for u in uniform])
    np.testing.assert_allclose(noise, z / np.abs(z).max(), rtol=1e-5, atol=1e-6)  # the backends' erfinv


def test_without_memory_it_is_the_limit_of_much_alpha():
    """Step 3 of the publication becomes step 2, with the same noise."""
    layers = [NoisyLIF(alpha=alpha, seed=0) for alpha in (None, 1e8, 8.0)]
    for layer in layers:
        layer.build(X.shape)
    without, limit, with_memory = run(COMPILED, lambda x: [layer(x) for layer in layers], X)
    np.testing.assert_array_equal(without, limit)
    h, limit = charges(X, {"seed": 0}, {"alpha": 1e8, "seed": 0})
    np.testing.assert_allclose(h, limit, atol=1e-6)
    assert differ(with_memory, without)


def test_without_memory_every_step_is_a_separate_network():
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
    # At one step an ordinary neuron is the same.
    np.testing.assert_array_equal(to_numpy(LIF(decay_input=False)(X[:, :1])), X[:, :1] > 1)


def test_tau_and_beta_have_no_effect_with_alpha():
    changes = ({}, {"beta": 0.1}, {"tau": 7.0}, {"tau": 1.0})
    h, *others, no_memory = charges(X, *({"alpha": 4.0, "seed": 0, **change} for change in changes))
    for other in others:
        np.testing.assert_allclose(other, h, atol=1e-5)
    np.testing.assert_allclose(no_memory, 0.25 * drawn(X.shape) + 0.5 + X, atol=1e-6)


# Seeds


def differ(a, b):
    return not np.array_equal(to_numpy(a), to_numpy(b))


def test_noise_is_new_in_every_call_in_training_and_inference():
    layer = NoisyLIF()
    assert differ(layer(X, training=True), layer(X, training=True))
    assert differ(layer(X, training=False), layer(X, training=False))
    assert differ(layer(X), NoisyLIF()(X))  # layers are independent


def test_a_seed_fixes_it():
    layer = NoisyLIF(seed=1)
    once = to_numpy(layer(X))
    np.testing.assert_array_equal(to_numpy(layer(X)), once)
    np.testing.assert_array_equal(to_numpy(NoisyLIF(seed=1)(X)), once)
    assert differ(NoisyLIF(seed=2)(X), once)
    again = []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        layer = NoisyLIF()
        again.append([to_numpy(layer(X)) for _ in range(2)])
    np.testing.assert_array_equal(again[0], again[1])


def test_a_sample_alone_equals_the_sample_in_a_batch():
    layers = [NoisyLIF(alpha=4.0, seed=0, statistics=statistics) for statistics in ("sample", "batch")]
    for layer in layers:
        layer.build(X.shape)
    results = run(COMPILED, lambda x, part: [(layer(x), layer(part)) for layer in layers], X, X[:2])
    assert [differ(whole[:2], part) for whole, part in results] == [False, True]


def test_the_first_steps_are_those_of_a_longer_run():
    layer = NoisyLIF(alpha=4.0, seed=0)
    np.testing.assert_array_equal(to_numpy(layer(X[:, :3])), to_numpy(layer(X))[:, :3])


def test_parts_of_the_time_axis_have_the_noise_of_the_whole():
    layer, mask = NoisyLIF(alpha=4.0, seed=0), np.random.default_rng(1).uniform(size=(4, 10)) < 0.6
    for masked in (None, mask):
        parts = over_parts(layer, X, (2, 1, 7), masked)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), to_numpy(layer(X, mask=masked)))


def test_without_a_seed_the_parts_of_a_run_have_one_draw():
    layer = NoisyLIF()
    start = to_numpy(layer.seed_generator.state)
    parts = over_parts(layer, X, (2, 1, 7))
    after = to_numpy(layer.seed_generator.state)
    layer.seed_generator.state.assign(start)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), to_numpy(layer(X)))
    np.testing.assert_array_equal(to_numpy(layer.seed_generator.state), after)


def test_tools_draw_by_the_place_in_the_data():
    layer = NoisyLIF(alpha=4.0)

    def drawn_for(index):
        with probe.scope(sample_index=ops.convert_to_tensor(np.array(index, "int32"))):
            return to_numpy(layer(X[index])), to_numpy(layer(X[index]))

    first, second = drawn_for([0, 1, 2, 3])
    assert differ(first, second)  # one call after the other
    np.testing.assert_array_equal(drawn_for([3, 1])[0], first[[3, 1]])


# As a layer


BACKEND = keras.config.backend()
also = pytest.mark.nightly("the same with the other jit_compile")


@pytest.mark.parametrize(
    "jit_compile",
    [
        pytest.param(False, marks=also if BACKEND == "jax" else []),  # there it is eager
        pytest.param(True, marks=also if BACKEND == "tensorflow" else []),
    ][: 1 if BACKEND == "torch" else 2],  # there it would be torch.compile
)
def test_a_network_learns_with_it(jit_compile):
    """A single step, with the noise of training, separates two patterns that are not linearly separable."""
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
def test_the_config_is_plain_json(options):
    config = NoisyLIF(**options).get_config()
    assert config["surrogate"]["config"] == {"slope": 3.0}
    again = NoisyLIF.from_config(json.loads(json.dumps(config)))
    defaults = {"alpha": None, "beta": 0.5, "noise": "gaussian", "statistics": "sample", "seed": None}
    assert {name: again.get_config()[name] for name in defaults} == {**defaults, **options}


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape")
def test_noise_of_unknown_batch_and_time():
    import tensorflow as tf

    layer = NoisyLIF(alpha=4.0, seed=0)
    layer.build(X.shape)
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 3, 8))])
    for x in (X, X[:3, :4]):
        np.testing.assert_array_equal(function(x), layer(x))


def test_noise_in_half_precision_is_that_of_full():
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
