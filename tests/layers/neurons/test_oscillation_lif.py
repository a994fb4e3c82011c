"""OscillationLIF and AlternativeOscillationLIF: hand-computed values, rates, gradients, and options of a scope."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import neurons as loops
from reference.autodiff import COMPILED, FEW_MODES, gradients, run, to_numpy

from keras_snn import probe
from keras_snn.layers import AlternativeOscillationLIF, OscillationLIF
from keras_snn.layers.neurons.oscillation_lif import FUNCTIONS
from keras_snn.surrogates import Sigmoid

CURRENT = np.array([0.5, -0.6, 0.9, 0.4], "float32")
GAMMA = np.array([0.3, -0.1, 0.1, 0.8], "float32")
C, D = -0.1441, -0.1762

F = {
    "f1": (lambda h: np.sin(h + C) + D, lambda h: np.cos(h + C)),
    "f2": (lambda h: h * np.sin(h + C) + D, lambda h: np.sin(h + C) + h * np.cos(h + C)),
    "f3": (lambda h: np.exp(h + C) + D, lambda h: np.exp(h + C)),
    "f4": (lambda h: 1 / (1 + np.exp(-C * h)) + D, lambda h: C * np.exp(-C * h) / (1 + np.exp(-C * h)) ** 2),
}


def atan(u, slope=3.0):
    return slope / 2 / (1 + (np.pi / 2 * slope * u) ** 2)


def gradient_of(mode, loss, x):
    return to_numpy(gradients(mode, loss, x)[0])


def states_of(layer, current):
    """Return the spikes, and the membrane after each step."""
    layer.return_state = True
    steps = [layer(current[None, : t + 1, None]) for t in range(len(current))]
    return to_numpy(steps[-1][0])[0, :, 0], [to_numpy(v).item() for _, v in steps]


def test_the_trace_of_the_noisy_neuron_by_hand():
    # Noise is added to the membrane before the neuron fires, like an input.
    spikes, membrane = states_of(OscillationLIF(noise_range=(0, 0)), CURRENT + GAMMA)
    np.testing.assert_array_equal(spikes, [0, 0, 1, 1])
    np.testing.assert_allclose(membrane, [0.8, 0.009, 0, 0], atol=1e-6)  # six digits


def test_the_trace_of_the_alternative_neuron_by_hand():
    spikes, membrane = states_of(AlternativeOscillationLIF(c=C, d=D), CURRENT)
    np.testing.assert_array_equal(spikes, [0, 0, 1, 0])
    np.testing.assert_allclose(membrane, [0.672234, 0.025105, 0, 0.476916], atol=1e-6)


@pytest.mark.parametrize("mode", FEW_MODES)
def test_equals_a_numpy_loop_bit_for_bit(mode):
    x = np.random.default_rng(0).normal(0.3, 1.0, size=(8, 40, 32)).astype("float32")
    layer = OscillationLIF(3.0, noise_range=(0.25, 0.25), return_state=True)
    layer.build(x.shape)
    spikes, membrane = run(mode, layer, x)
    fold = lambda h: np.where(h > 0, h, np.float32(-0.03) * h)  # noqa: E731
    trace = loops.leaky(x + np.float32(0.25), leak=np.float32(1 / 3), decay_input=False, activation=fold)
    np.testing.assert_array_equal(spikes, trace.s)
    np.testing.assert_array_equal(membrane, trace.v[:, -1])


def test_at_the_threshold_there_is_no_spike():
    x = np.array([1.0, 1.0], "float32")[None, :, None]
    spikes = to_numpy(OscillationLIF(noise_range=(0, 0))(x))  # membranes 1 and 1.5
    np.testing.assert_array_equal(spikes[0, :, 0], [0, 1])


def test_the_noisy_neuron_fires_without_input():
    spikes = to_numpy(OscillationLIF(seed=0)(np.zeros((100, 120, 50), "float32")))
    assert spikes[:, :8].mean() == pytest.approx(0.061, abs=0.003)  # standard error of 40,000 draws: 0.0012
    assert spikes[:, 20:].mean() == pytest.approx(0.076, abs=0.003)
    assert not to_numpy(AlternativeOscillationLIF(c=C, d=D)(np.zeros((1, 50, 1), "float32"))).any()


def test_the_alternative_neuron_fires_above_its_threshold():
    h = np.linspace(0.6, 0.75, 151).astype("float32")
    spikes = to_numpy(AlternativeOscillationLIF(c=C, d=D)(h[None, None]))[0, 0]
    assert h[spikes > 0].min() == pytest.approx(0.672, abs=0.002)


def test_normal_noise_has_mean_0_and_the_given_deviation():
    layer = OscillationLIF(noise="normal", noise_stddev=0.5, reset=None, threshold=1e9, seed=1, return_state=True)
    _, membrane = layer(np.full((200, 1, 500), 100.0, "float32"))  # far from the fold
    noise = to_numpy(membrane) - 100
    assert noise.mean() == pytest.approx(0, abs=0.01)  # 100,000 draws: standard errors of 0.0016 and 0.0011
    assert noise.std() == pytest.approx(0.5, abs=0.007)


def test_noise_is_new_in_each_call_and_fixed_by_a_seed():
    x = np.zeros((4, 30, 20), "float32")
    fixed, free = OscillationLIF(seed=3), OscillationLIF()
    np.testing.assert_array_equal(to_numpy(fixed(x)), to_numpy(fixed(x)))
    assert (to_numpy(free(x)) != to_numpy(free(x))).any()
    np.testing.assert_array_equal(to_numpy(fixed(x))[:, :10], to_numpy(fixed(x[:, :10])))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_gradient_of_a_spike(function, smooth):
    h = np.linspace(-2, 2, 81).astype("float32")
    value, derivative = F[function]
    layer = AlternativeOscillationLIF(function=function, c=C, d=D)
    with probe.scope(smooth_gradient=smooth):
        d_h = gradient_of(COMPILED, lambda x: ops.sum(layer(x)), h[None, None])[0, 0]
    p = h + value(h)
    folded = np.where(p > 0, p, -0.03 * p)
    slope = 1 if smooth else np.where(p > 0, 1, -0.03) * (1 + derivative(h))
    # Tolerances: float32 sines and exponentials of the backends, multiplied by a surrogate slope of up to 1.5.
    np.testing.assert_allclose(d_h, atan(folded - 1) * slope, rtol=2e-4, atol=1e-5)


def test_c_and_d_can_be_learned():
    layer = AlternativeOscillationLIF(learn=("c", "d"), c=C, d=D)
    layer.build((None, 1, 5))
    assert [weight.name for weight in layer.trainable_weights] == ["c", "d"]
    restored = AlternativeOscillationLIF.from_config(layer.get_config())
    assert (restored.function, restored.c, restored.d) == ("f1", C, D)


def test_a_scope_overrides_the_surrogate():
    layer = AlternativeOscillationLIF(c=C, d=D)
    x = np.linspace(-1, 2, 13).astype("float32")[None, None]
    of_layer, spikes = gradient_of("eager", lambda x: ops.sum(layer(x)), x), to_numpy(layer(x))
    with probe.scope(surrogate=Sigmoid(4.0)):
        np.testing.assert_array_equal(to_numpy(layer(x)), spikes)
        of_scope = gradient_of("eager", lambda x: ops.sum(layer(x)), x)
    assert abs(of_layer - of_scope).max() > 0.1
    np.testing.assert_array_equal(gradient_of("eager", lambda x: ops.sum(layer(x)), x), of_layer)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (OscillationLIF, {"noise": "pink"}, "`noise` must be one of"),
        (OscillationLIF, {"noise_range": (1, 0)}, "`noise_range` must be a pair low <= high"),
        (OscillationLIF, {"noise_range": 1}, "`noise_range` must be a pair"),
        (OscillationLIF, {"slope": -1}, "`slope` must be"),
        (AlternativeOscillationLIF, {"function": "f5"}, "`function` must be one of"),
    ],
)
def test_bad_arguments(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)


def test_models_are_saved(tmp_path):
    parts = [keras.Input((3, 4)), OscillationLIF(seed=0), AlternativeOscillationLIF(c=C, d=D)]
    model = keras.Sequential(parts)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(1, 1, size=(2, 3, 4)).astype("float32")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))
