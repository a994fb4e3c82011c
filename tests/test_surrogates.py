"""Surrogates: the spike is a Heaviside, its gradient is the derivative of the primitive, and models save them."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients, run

from keras_snn import surrogates
from keras_snn.layers import LIF
from keras_snn.ops.surrogate import heaviside, spike
from keras_snn.surrogates import NAMES, ATan, Rectangular, Sigmoid, Surrogate

each = pytest.mark.parametrize("name", NAMES)
SLOPES = (0.7, 1.0, 3.0)

#: The primitives in NumPy, in float64.
PRIMITIVES = {
    "atan": lambda x, a: np.arctan(math.pi / 2 * a * x) / math.pi + 0.5,
    "sigmoid": lambda x, a: 1 / (1 + np.exp(-a * x)),
    "fast_sigmoid": lambda x, a: x / (1 + a * abs(x)),
    "triangular": lambda x, a: np.where(
        a * abs(x) < 1, 0.5 + a * x - np.sign(x) * (a * x) ** 2 / 2, (1 + np.sign(x)) / 2
    ),
    "rectangular": lambda x, a: np.clip(a * x + 0.5, 0, 1),
    "erf": lambda x, a: np.vectorize(math.erf)(a * x) / 2,
    "exponential": lambda x, a: np.sign(x) * (1 - np.exp(-a * abs(x))),
    "straight_through": lambda x, a: a * x,
}


def points(n=400):
    """Return points away from the kinks at 0, 1 / a and 1 / (2 a) of the tested slopes a."""
    x = np.random.default_rng(0).uniform(-3, 3, n)
    kinks = [0, *(s * k / a for a in SLOPES for s in (-1, 1) for k in (0.5, 1))]
    return x[np.min([abs(x - kink) for kink in kinks], axis=0) > 1e-3].astype("float32")


#: All surrogates compiled, and ATan eagerly.
ALL_AND_ONE = [(COMPILED, name) for name in NAMES] + [("eager", "atan")] * (COMPILED != "eager")
all_and_one = pytest.mark.parametrize(("mode", "name"), ALL_AND_ONE)


@all_and_one
def test_the_spike_is_heaviside(mode, name):
    tiny = np.finfo("float32").tiny  # smallest normal number: XLA and TensorFlow flush smaller numbers to 0
    unit = np.float32(1)
    x = [-np.inf, -1, -tiny, -0.0, 0.0, tiny, np.nextafter(unit, 2 * unit) - unit, 1, np.inf]
    spikes = run(mode, surrogates.get(name), np.array(x, "float32"))
    np.testing.assert_array_equal(spikes, [0, 0, 0, 0, 0, 1, 1, 1, 1])
    assert spikes.dtype == np.float32


def test_nan_gives_no_spike():
    np.testing.assert_array_equal(run(COMPILED, surrogates.get("atan"), np.array([np.nan, 1], "float32")), [0, 1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_spikes_have_the_dtype_of_the_membrane(dtype):
    spikes = heaviside(ops.cast([-1.0, 0.0, 2.0], dtype))
    assert keras.backend.standardize_dtype(spikes.dtype) == dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(spikes, "float32")), [0, 0, 1])


@each
def test_the_derivative_is_that_of_the_primitive(name):
    x = points()
    assert len(x) > 300
    by_slope = [NAMES[name](slope) for slope in SLOPES]
    results = run(COMPILED, lambda x: [(surrogate.derivative(x), surrogate.primitive(x)) for surrogate in by_slope], x)
    primitive, step = PRIMITIVES[name], 1e-5
    wide = x.astype("float64")
    for slope, (derivative, value) in zip(SLOPES, results, strict=True):
        differences = (primitive(wide + step, slope) - primitive(wide - step, slope)) / (2 * step)
        # rtol, atol: a few roundings in float32. The central difference has an error of step^2 = 1e-10.
        np.testing.assert_allclose(derivative, differences, rtol=2e-6, atol=2e-6)
        # rtol, atol: the surrogate's primitive in float32
        np.testing.assert_allclose(value, primitive(wide, slope), rtol=1e-5, atol=1e-6)


def test_atan_by_hand():
    """ATan has the values of the published surrogate with slope 2."""
    values = run(COMPILED, surrogates.get("atan").derivative, np.float32([0.0, 0.5, -0.5, 1.0, -1.0]))
    np.testing.assert_allclose(values, [1, 0.288400, 0.288400, 0.0919997, 0.0919997], rtol=3e-6)  # digits given


BY_HAND = {  # the derivative at 0.25, with the default slope
    "atan": 1 / (1 + (math.pi / 4) ** 2),
    "sigmoid": 4 * math.exp(-1) / (1 + math.exp(-1)) ** 2,
    "fast_sigmoid": 1 / 7.25**2,
    "triangular": 0.75,
    "rectangular": 1.0,
    "erf": 2 / math.sqrt(math.pi) * math.exp(-0.25),
    "exponential": math.exp(-0.25),
    "straight_through": 1.0,
}


def test_the_default_slopes_by_hand():
    values = run(COMPILED, lambda x: {name: surrogates.get(name).derivative(x) for name in NAMES}, np.float32([0.25]))
    for name, value in values.items():
        np.testing.assert_allclose(value, BY_HAND[name], rtol=1e-6, err_msg=name)  # float32


def test_the_ends_of_the_rectangle():
    values = Rectangular(2.0).derivative(ops.convert_to_tensor([-0.25, -0.2499, 0.2499, 0.25]))
    np.testing.assert_array_equal(ops.convert_to_numpy(values), [0, 2, 2, 0])


@all_and_one
def test_the_gradient_of_a_spike_is_the_derivative_times_upstream(mode, name):
    both_slopes = [NAMES[name](), NAMES[name](3.0)]
    x = points(60)
    upstream = np.random.default_rng(1).normal(size=x.shape).astype("float32")

    def loss(xs):
        return sum(ops.sum(ops.multiply(surrogate(x), upstream)) for surrogate, x in zip(both_slopes, xs, strict=True))

    (grads,) = gradients(mode, loss, [x, x])
    derivatives = run(COMPILED, lambda x: [surrogate.derivative(x) for surrogate in both_slopes], x)
    for grad, derivative in zip(grads, derivatives, strict=True):
        # rtol, atol: a product and a fused derivative. XLA's sigmoid has an error of 1e-7, multiplied by the slope.
        np.testing.assert_allclose(grad, upstream * derivative, rtol=1e-5, atol=2e-6)
        assert np.abs(grad).max() > 0


def test_a_spike_takes_any_derivative():
    x = np.array([-1, 2], "float32")
    (grad,) = gradients(COMPILED, lambda x: ops.sum(spike(x, lambda x: 3 * x)), x)
    np.testing.assert_array_equal(grad, [-3, 6])


@each
def test_names_configs_and_objects(name):
    surrogate = surrogates.get(name)
    assert type(surrogate) is NAMES[name]
    assert surrogates.get(surrogate) is surrogate
    other = NAMES[name](1.25)
    restored = surrogates.get(json.loads(json.dumps(surrogates.serialize(other))))
    assert type(restored) is NAMES[name]
    assert restored.slope == 1.25
    assert restored == other
    assert hash(restored) == hash(other)
    assert repr(restored) == f"{NAMES[name].__name__}(slope=1.25)"


def test_equality():
    assert ATan(2) == ATan(2.0) != ATan(3.0)
    assert hash(ATan(2)) == hash(ATan(2.0))
    assert ATan(2.0) != Sigmoid(2.0)
    assert ATan() == surrogates.get("atan")
    assert ATan(2.0) != "atan"


@keras.saving.register_keras_serializable(package="test_surrogates")
class Wide(Surrogate):
    """A user's surrogate with an additional argument."""

    def __init__(self, slope=1.0, width=1.0):
        super().__init__(slope)
        self.width = width

    def derivative(self, x):
        return ops.where(ops.abs(x) < self.width, self.slope * ops.ones_like(x), 0.0)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def test_surrogates_with_different_additional_arguments_are_not_equal():
    assert Wide(1.0, 2.0) == Wide(1.0, 2.0) != Wide(1.0, 3.0)
    x = np.array([[[1.5]]], "float32")
    # If the engine reused the compiled function, the second layer would have the gradient of the first.
    grads = [
        gradients("eager", lambda x, layer=layer: ops.sum(layer(x)), x)[0].item()
        for layer in (LIF(1.0, surrogate=Wide(1.0, width)) for width in (0.25, 1.0))
    ]
    assert grads == [0.0, 1.0]


@pytest.mark.parametrize("surrogate", [Sigmoid(7.0), Wide(3.0, 0.5)], ids=repr)
def test_a_saved_model_keeps_its_surrogate(surrogate, tmp_path):
    model = keras.Sequential([keras.Input((4, 3)), LIF(surrogate=surrogate)])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras").layers[0].surrogate
    assert restored == surrogate
    assert restored is not surrogate


@keras.saving.register_keras_serializable(package="test_surrogates")
def soft(x):
    """A user's surrogate function: a spike with the gradient of a ramp."""
    ramp = ops.clip(x + 0.5, 0.0, 1.0)
    return ramp + ops.stop_gradient(ops.cast(x > 0, x.dtype) - ramp)


def trained(surrogate):
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(4), LIF(surrogate=surrogate), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 3)), *parts])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).uniform(0, 3, (16, 5, 3)).astype("float32")
    before = ops.convert_to_numpy(model.layers[0].kernel)
    model.fit(x, np.ones((16, 1), "float32"), epochs=2, verbose=0)
    return model, x, np.abs(ops.convert_to_numpy(model.layers[0].kernel) - before).max()


def test_a_users_function_trains_and_is_saved(tmp_path):
    model, x, change = trained(soft)
    assert change > 1e-3  # the gradient went through the spikes
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.layers[1].surrogate is soft
    np.testing.assert_array_equal(restored.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_function_without_a_gradient_does_not_train():
    """Counterexample to the test above: without a gradient, the weights do not change."""
    assert trained(lambda x: ops.stop_gradient(ops.cast(x > 0, x.dtype)))[2] == 0


@pytest.mark.parametrize("slope", [0, -1, 0.0, math.inf, math.nan, True, "2", None])
def test_slopes_must_be_positive_finite_numbers(slope):
    with pytest.raises((TypeError, ValueError), match="`slope` must be a (finite )?number.*; got"):
        ATan(slope)


def test_unknown_surrogates_are_refused():
    with pytest.raises(ValueError, match=r"`surrogate` must be one of \['atan', .*, got 'tanh'"):
        surrogates.get("tanh")
    for wrong in (None, 2.0, ATan):
        with pytest.raises(TypeError, match="`surrogate` must be a name, a Surrogate or a function, got"):
            LIF(surrogate=wrong)


def test_missing_methods_of_a_surrogate_are_named():
    with pytest.raises(NotImplementedError, match=r"Surrogate must override `derivative\(x\)`"):
        Surrogate(1.0).derivative(0.0)
    with pytest.raises(NotImplementedError, match="Wide has no `primitive"):
        Wide().primitive(0.0)
