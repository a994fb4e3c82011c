"""Rate curves against hand-computed values, NumPy in double precision, and nengo if installed."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import FEW_MODES, results_and_gradients

from keras_snn import activations, layers
from keras_snn.activations import LeakyReLU, LIFRate, SoftLIF, lif_rate, soft_lif

few_modes = pytest.mark.parametrize("mode", FEW_MODES)
CURRENTS = np.concatenate([np.linspace(-60, 60, 241), 1 + np.logspace(-6, 1, 40)]).astype("float32")
CONSTANTS = {"tau_rc": 0.03, "tau_ref": 0.004, "amplitude": 0.5}


def numpy_lif_rate(x, tau_rc, tau_ref, amplitude):
    over = np.maximum(x.astype("float64") - 1, 0)
    with np.errstate(divide="ignore"):
        return np.where(over > 0, amplitude / (tau_ref + tau_rc * np.log1p(1 / over)), 0)


def numpy_soft_lif(x, tau_rc, tau_ref, amplitude, sigma):
    j = sigma * np.logaddexp(0, (x.astype("float64") - 1) / sigma)
    return amplitude / (tau_ref + tau_rc * np.log1p(1 / j))


def to_numpy(x):
    return ops.convert_to_numpy(x)


def test_values_by_hand():
    # At twice the threshold, the membrane fires after tau_rc log 2. The refractory period follows.
    assert float(lif_rate(2.0)) == pytest.approx(1 / (0.002 + 0.02 * np.log(2)), rel=1e-6)
    assert to_numpy(lif_rate(np.array([-3.0, 0.0, 1.0], "float32"))).tolist() == [0, 0, 0]
    assert float(lif_rate(1e9)) == pytest.approx(500, rel=1e-6)  # limit 1 / tau_ref
    assert float(lif_rate(2.0, tau_ref=0.0, amplitude=0.1)) == pytest.approx(0.1 / (0.02 * np.log(2)), rel=1e-6)
    # At the threshold j is sigma log 2.
    assert float(soft_lif(1.0)) == pytest.approx(1 / (0.002 + 0.02 * np.log1p(1 / np.log(2))), rel=1e-6)


@few_modes
def test_curves_and_gradients(mode):
    sigma = 0.3
    cases = (
        (lambda x: lif_rate(x, **CONSTANTS), lambda x: numpy_lif_rate(x, **CONSTANTS)),
        (lambda x: soft_lif(x, **CONSTANTS, sigma=sigma), lambda x: numpy_soft_lif(x, **CONSTANTS, sigma=sigma)),
    )
    for ours, theirs in cases:
        rates, (grad,) = results_and_gradients(mode, ours, CURRENTS)
        # rtol: logarithms in float32. Near the threshold x - 1 is exact in float32.
        np.testing.assert_allclose(rates, theirs(CURRENTS), rtol=2e-5, atol=1e-30)
        assert np.isfinite(grad).all()
        smooth = abs(CURRENTS - 1) > 0.05
        x, h = CURRENTS[smooth].astype("float64"), 1e-6
        wide = [theirs(x + d) for d in (h, -h)]
        expected = 2 * theirs(x) * (wide[0] - wide[1]) / (2 * h)
        # rtol: twice that of the rates, plus the error of a central difference in double precision
        np.testing.assert_allclose(grad[smooth], expected, rtol=1e-3, atol=1e-6)


def test_the_gradient_at_the_threshold_is_finite():
    just_above = np.nextafter(np.float32(1), np.float32(2))
    x = np.array([1.0, just_above, np.nextafter(np.float32(1), np.float32(0))], "float32")
    for function in (lif_rate, soft_lif):
        rates, (grad,) = results_and_gradients("eager", function, x)
        assert np.isfinite(grad).all()
        assert rates[1] > 0
    assert to_numpy(lif_rate(x))[[0, 2]].tolist() == [0, 0]


def test_soft_lif_tends_to_lif_rate_for_small_sigma():
    x = np.linspace(1.1, 5, 20).astype("float32")
    # rtol: j differs from x - 1 by sigma exp(-(x - 1) / sigma), at most 1e-6
    np.testing.assert_allclose(to_numpy(soft_lif(x, sigma=0.01)), to_numpy(lif_rate(x)), rtol=1e-5)


def test_equals_nengo():
    nengo = pytest.importorskip("nengo", reason="nengo is not installed")
    x = CURRENTS[CURRENTS > 1 + 1e-4].astype("float64")
    theirs = nengo.LIFRate(tau_rc=0.03, tau_ref=0.004, amplitude=0.5).rates(x, gain=1, bias=0)
    np.testing.assert_allclose(to_numpy(lif_rate(x.astype("float32"), **CONSTANTS)), theirs.ravel(), rtol=1e-3)


@pytest.mark.parametrize(
    "activation",
    [lif_rate, soft_lif, LIFRate(0.03), SoftLIF(0.03, sigma=0.1)],
    ids=["lif_rate", "soft_lif", "LIFRate", "SoftLIF"],
)
def test_inside_a_saved_spiking_layer(activation, tmp_path):
    model = keras.Sequential(
        [keras.Input((20, 3)), layers.SpikingActivation(activation, dt=0.1, seed=0), keras.layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(2, 2, size=(4, 20, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))
    assert restored.layers[0].get_config()["activation"] == model.layers[0].get_config()["activation"]
    # Over 20 steps, the number of spikes differs from rate * time by at most one.
    rates = to_numpy(activation(ops.convert_to_tensor(x[:, :1])))
    constant = np.broadcast_to(x[:, :1], x.shape)
    spikes = to_numpy(model.layers[0](constant))
    assert np.abs(spikes.sum(axis=1) * 0.1 - rates[:, 0] * 20 * 0.1).max() < 1.001


def test_equal_constants_compare_equal():
    assert LIFRate(0.03) == LIFRate(tau_rc=0.03)
    assert hash(SoftLIF(sigma=2)) == hash(SoftLIF(sigma=2))
    assert LIFRate() != LIFRate(amplitude=2)
    assert LIFRate() != SoftLIF()
    assert repr(SoftLIF()) == "SoftLIF(tau_rc=0.02, tau_ref=0.002, amplitude=1.0, sigma=1.0)"
    assert activations.LIFRate.from_config(LIFRate(0.03).get_config()) == LIFRate(0.03)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tau_rc", 0), ("tau_rc", -1), ("tau_ref", -0.1), ("amplitude", "1"), ("sigma", 0), ("tau_rc", float("nan"))],
)
def test_bad_constants_are_refused(name, value):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be a (finite )?number.*got {value!r}"):
        SoftLIF(**{name: value})


def test_leaky_relu_has_its_slope_and_is_saved(tmp_path):
    """The default slope is PyTorch's, not Keras's. With it, KLIF keeps negative potentials."""
    x = np.array([-2.0, 0.0, 3.0, np.nan], "float32")
    np.testing.assert_allclose(to_numpy(LeakyReLU()(ops.convert_to_tensor(x))), [-0.02, 0, 3, np.nan], rtol=1e-6)
    assert LeakyReLU(0.5) == LeakyReLU(0.5) != LeakyReLU()
    model = keras.Sequential([keras.Input((2, 3)), layers.KLIF(activation=LeakyReLU(0.25), reset=None)])
    model.save(tmp_path / "model.keras")
    (layer,) = keras.saving.load_model(tmp_path / "model.keras").layers
    assert layer.activation == LeakyReLU(0.25)
    with pytest.raises(ValueError, match="`negative_slope` must be a finite number"):
        LeakyReLU(np.inf)
