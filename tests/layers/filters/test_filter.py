"""Rules for all filters: training and inference, weights, options, errors."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import FEW_MODES, gradients

from keras_snn import constraints
from keras_snn.layers import RNN, Alpha, AlphaCell, Lowpass, LowpassCell

RNG = np.random.default_rng(0)
filters = pytest.mark.parametrize("Filter", [Lowpass, Alpha])
cells = pytest.mark.parametrize("Filter, Cell", [(Lowpass, LowpassCell), (Alpha, AlphaCell)])


def to_numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@filters
def test_the_weights(Filter):
    layer = Filter(0.05, level_initializer="ones")
    layer.build((2, 5, 4, 3))
    shape = (1, 4, 3) if Filter is Lowpass else (12,)
    assert [w.name for w in layer.weights] == ["initial_level", "tau"]
    assert [w.shape for w in layer.weights] == [shape] * 2
    assert layer.trainable_weights == layer.weights
    np.testing.assert_array_equal(to_numpy(layer.cell.tau), np.full(shape, 0.05, "float32"))
    np.testing.assert_array_equal(to_numpy(layer.cell.initial_level), np.ones(shape))


@filters
def test_units_on_several_axes_equal_flat_units(Filter):
    flat, layer = (Filter(0.1, dt=0.01, return_state=True) for _ in range(2))
    x = normal(2, 5, 12)
    flat.build(x.shape)
    layer.build((2, 5, 4, 3))
    weights = [RNG.uniform(0.05, 0.2, 12).astype("float32") for _ in range(2)]
    for filter_layer in (flat, layer):
        filter_layer.set_weights([w.reshape(v.shape) for w, v in zip(weights, filter_layer.weights, strict=True)])
    expected, last = (to_numpy(a) for a in flat(x))
    y, state = (to_numpy(a) for a in layer(x.reshape(2, 5, 4, 3)))
    # Tolerances: XLA may fuse the loops of the two shapes differently.
    np.testing.assert_allclose(y, expected.reshape(2, 5, 4, 3), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(state.reshape(last.shape), last, rtol=1e-6, atol=1e-6)


@filters
def test_a_filter_that_is_not_applied_during_training(Filter):
    layer, always = (Filter(0.1, apply_during_training=flag, return_state=True) for flag in (False, True))
    x = normal(2, 5, 3)
    always.build(x.shape)
    layer.build(x.shape)
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 2
    state = [s + 0.5 for s in layer.cell.get_initial_state(batch_size=2)]
    y, last = layer(x, training=True, initial_state=state)
    np.testing.assert_array_equal(to_numpy(y), x)
    np.testing.assert_array_equal(to_numpy(last), to_numpy(state[0]))
    expected = to_numpy(always(x, training=True)[0])
    assert not np.allclose(expected, x, rtol=1e-5)
    for other in (always, layer):
        # rtol: eager TensorFlow compiles only some of its loops with XLA, which rounds differently.
        np.testing.assert_allclose(to_numpy(other(x, training=False)[0]), expected, rtol=1e-5)


@filters
def test_each_unit_has_its_own_time_constant(Filter):
    layer, x = Filter(0.1, dt=0.01), np.repeat(normal(1, 9, 1), 3, axis=2)
    layer.build(x.shape)
    taus = [0.02, 0.1, 0.5]
    layer.cell.tau.assign(np.reshape(taus, layer.cell.tau.shape))
    y = to_numpy(layer(x, training=False))
    for unit, tau in enumerate(taus):
        alone = to_numpy(Filter(tau, dt=0.01)(x[..., :1], training=False))
        # Tolerances: XLA rounds vectorized and remaining units of a loop differently.
        np.testing.assert_allclose(y[..., unit : unit + 1], alone, rtol=1e-5, atol=1e-6)


@filters
@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_a_time_constant_of_zero_or_below_passes_the_input(Filter, tau):
    layer, x = Filter(0.1, dt=0.01), normal(2, 5, 3)
    layer.build(x.shape)
    layer.cell.tau.assign(np.full(layer.cell.tau.shape, tau))
    np.testing.assert_array_equal(to_numpy(layer(x, training=False)), x)
    (d_x,) = gradients("eager", lambda x: ops.sum(ops.square(layer(x, training=False))), x)
    np.testing.assert_allclose(d_x, 2 * x, rtol=1e-6)


@filters
def test_both_methods_are_equal(Filter):
    x = normal(3, 11, 2, 4)
    sequential, parallel = (
        Filter(0.07, dt=0.01, level_initializer="ones", method=m) for m in ("sequential", "parallel")
    )
    for layer in (sequential, parallel):
        layer.return_state = True
    y, last = sequential(x, training=False)
    z, last_z = parallel(x, training=False)
    # Tolerances: products of up to 11 matrices are grouped differently.
    np.testing.assert_allclose(to_numpy(z), to_numpy(y), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_numpy(last_z), to_numpy(last), rtol=1e-4, atol=1e-4)


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape")
@filters
def test_the_parallel_method_only_needs_a_static_number_of_steps(Filter):
    import tensorflow as tf

    layer, x = Filter(0.07, method="parallel"), normal(3, 5, 4)
    layer.build(x.shape)
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, 5, 4))])
    assert tuple(function.get_concrete_function().output_shapes) == (None, 5, 4)
    np.testing.assert_allclose(function(x), layer(x), rtol=1e-5, atol=1e-6)
    unknown = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 4))])
    with pytest.raises(ValueError, match="`method` must be 'sequential' if the number of time steps is unknown"):
        unknown.get_concrete_function()


@filters
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_slow_filters_do_not_stall_in_half_precision(Filter, policy):
    # With tau = 2000 steps, an increment is 1 / 2000 of the distance to 1,
    # which is too small to change a half-precision level of 0.2.
    x = np.ones((1, 1000, 1), "float32")
    half = to_numpy(ops.cast(Filter(2.0, dtype=policy)(x, training=False), "float32"))
    full = to_numpy(Filter(2.0, dtype="float32")(x, training=False))
    # Tolerances: only the outputs are rounded. float16 has no numbers below 2^-24.
    np.testing.assert_allclose(half, full, rtol=2.0**-8, atol=2.0**-24)


@filters
def test_constraints_and_initializers(Filter):
    layer = Filter(
        keras.initializers.RandomUniform(0.05, 0.2, seed=0),
        level_initializer=keras.initializers.Constant(-0.5),
        tau_constraint=constraints.Mean(),
        initial_level_constraint="non_neg",
    )
    x = normal(4, 5, 3)
    model = keras.Sequential([keras.Input((5, 3)), layer])
    assert len(np.unique(to_numpy(layer.cell.tau))) == 3
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    model.fit(x, x, verbose=0)
    assert len(np.unique(to_numpy(layer.cell.tau))) == 1
    np.testing.assert_array_equal(to_numpy(layer.cell.initial_level), 0.0)
    restored = Filter.from_config(layer.get_config())
    assert restored.tau_initializer.maxval == 0.2
    assert restored.level_initializer.value == -0.5
    assert isinstance(restored.tau_constraint, constraints.Mean)
    assert isinstance(restored.initial_level_constraint, keras.constraints.NonNeg)
    assert Filter("ones").tau_initializer.get_config() == {}
    assert Filter(1).get_config()["tau_initializer"]["config"] == {"value": 1.0}


@pytest.mark.parametrize("mode", FEW_MODES)
@filters
def test_gradients_of_the_weights(Filter, mode):
    # Against central differences of a NumPy loop in float64.
    layer, x = Filter(0.04, dt=0.01, level_initializer="ones"), normal(2, 7, 3)
    layer.build(x.shape)
    upstream = normal(2, 7, 3)

    def loss(tau, level, x):
        variables = [ops.reshape(value, layer.cell.tau.shape) for value in (level, tau)]
        outputs, _ = layer.stateless_call(variables, [], x, training=True)
        return ops.sum(ops.multiply(upstream, outputs))

    tau, level = np.array([[0.03, 0.04, 0.08]], "float32"), np.array([[0.5, -1.0, 2.0]], "float32")
    grads = gradients(mode, loss, tau, level, x)
    reference = {Lowpass: loops_lowpass, Alpha: loops_alpha}[Filter]

    def expected_loss(tau, level, x):
        return np.sum(upstream * reference(x, level, tau))

    for i, (grad, value) in enumerate(zip(grads, (tau, level, x), strict=True)):
        numeric = np.empty(value.shape)
        for at in np.ndindex(value.shape):
            step = np.zeros(value.shape)
            step[at] = 1e-6
            sides = [
                expected_loss(*(v + sign * step if i == k else v for k, v in enumerate(map(wide, (tau, level, x)))))
                for sign in (1, -1)
            ]
            numeric[at] = (sides[0] - sides[1]) / 2e-6
        # Tolerances: float32 gradients. Those of tau are sums of terms up to 100.
        np.testing.assert_allclose(grad, numeric, rtol=1e-4, atol=1e-4 * np.abs(numeric).max())


def wide(x):
    return x.astype("float64")


def loops_lowpass(x, level, tau):
    return loops.lowpass(x, np.broadcast_to(level, (2, 3)), tau, 0.01)[0]


def loops_alpha(x, level, tau):
    level = np.broadcast_to(level, (2, 3))
    return loops.alpha(x, (np.zeros_like(level), level), tau, 0.01)[0]


@cells
def test_bad_arguments_are_refused(Filter, Cell):
    for make in (Filter, lambda tau, **kwargs: Cell(3, tau, **kwargs)):
        for tau in (0, -0.1, np.nan, np.inf, None, True):
            with pytest.raises(ValueError, match="`tau_initializer` must be a positive, finite number of seconds"):
                make(tau)
        with pytest.raises(ValueError, match="Could not interpret initializer identifier: slow"):
            make("slow")
        with pytest.raises(ValueError, match="`method` must be one of 'sequential', 'parallel'; got 'fast'"):
            make(0.1, method="fast")
        with pytest.raises(ValueError, match=r"Unrecognized keyword arguments.*rate"):
            make(0.1, rate=10)


@cells
def test_a_cell_in_rnn_equals_the_layer(Filter, Cell):
    x = normal(2, 5, 2, 3)
    layer = Filter(0.1, dt=0.01, level_initializer="ones", return_state=True)
    wrapped = RNN(Cell((2, 3), 0.1, dt=0.01, level_initializer="ones"), return_state=True)
    for a, b in zip(layer(x, training=False), wrapped(x, training=False), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-6)  # as in the test of time constants


@cells
def test_a_subclass_may_override_the_step(Filter, Cell):
    class Rectified(Cell):
        def call_inference(self, inputs, states):
            return super().call_inference(ops.relu(inputs), states)

    x = normal(2, 5, 3)
    outputs = RNN(Rectified(3, 0.1, dt=0.01))(x, training=False)
    expected = Filter(0.1, dt=0.01)(np.maximum(x, 0), training=False)
    # Tolerances: XLA fuses a step at a time and all steps at once differently.
    np.testing.assert_allclose(to_numpy(outputs), to_numpy(expected), rtol=1e-5, atol=1e-6)
