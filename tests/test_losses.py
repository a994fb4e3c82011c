"""The van Rossum distance against its closed forms, and as a loss of Keras. tests/ops tests its filters."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients, run

import keras_snn
from keras_snn.losses import VanRossum

TAU, RISE, DISTANCE = 10.0, 5.0, 5.0


def train(*steps, n_steps=4000):
    x = np.zeros((1, n_steps, 1), "float32")
    x[0, list(steps)] = 1
    return x


@pytest.mark.parametrize("dt", [0.1, 1.0])
def test_closed_forms(dt):
    """One spike against one at a distance, and against none."""
    rtol = 1e-4 + (dt / RISE) ** 2 / 10  # float32, and a step of the smallest time constant: (dt / tau)^2 / 12
    late, missing, rise = run(
        COMPILED,
        lambda a, b, none: [
            VanRossum(TAU, dt=dt)(a, b),
            VanRossum(TAU, dt=dt)(a, none),
            VanRossum(TAU, tau_rise=RISE, dt=dt)(a, none),
        ],
        *(train(100), train(100 + round(DISTANCE / dt)), train()),
    )
    np.testing.assert_allclose(late, (1 - np.exp(-DISTANCE / TAU)) / (2 * TAU), rtol=rtol)
    np.testing.assert_allclose(late, 0.0196735, rtol=rtol)
    np.testing.assert_allclose(missing, 1 / (4 * TAU), rtol=rtol)
    np.testing.assert_allclose(rise, 1 / (4 * (TAU + RISE)), rtol=rtol)


def test_equal_trains_have_no_distance_and_no_gradient():
    spikes = (np.random.default_rng(0).uniform(size=(2, 40, 3)) < 0.2).astype("float32")
    loss = VanRossum(TAU, tau_rise=RISE)
    assert run(COMPILED, loss, spikes, spikes) == 0
    (d_spikes,) = gradients(COMPILED, lambda s: loss(spikes, s), spikes)
    np.testing.assert_array_equal(d_spikes, 0)


def test_means_over_trains_and_samples_with_weights():
    target, spikes = np.zeros((2, 300, 2, 2), "float32"), np.zeros((2, 300, 2, 2), "float32")
    spikes[0, 10, 0, 1] = spikes[1, 10, 1] = 1  # one and two of four trains
    of_samples = np.array(VanRossum(TAU, reduction=None)(target, spikes))
    np.testing.assert_allclose(of_samples, [1 / (16 * TAU), 2 / (16 * TAU)], rtol=1e-3)
    weighted = VanRossum(TAU)(target, spikes, sample_weight=np.array([4.0, 0.0], "float32"))
    np.testing.assert_allclose(weighted, 2 * of_samples[0], rtol=1e-6)


def test_masked_steps_do_not_count():
    """A padded sequence has the loss of the sequence, with padding after, before and between its steps."""
    rng = np.random.default_rng(0)
    x, target = rng.uniform(0, 3, (3, 6, 2)).astype("float32"), rng.integers(0, 2, (3, 6, 2)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0, 1, 1]], bool)
    padded_x, padded_target = np.full((3, 8, 2), -1, "float32"), np.full((3, 8, 2), np.nan, "float32")
    padded_x[mask], padded_target[mask] = x.reshape(-1, 2), target.reshape(-1, 2)
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.Masking(-1.0), keras_snn.LIF()])
    model.compile(loss=VanRossum(3.0, tau_rise=2.0))
    losses = [model.evaluate(*arrays, verbose=0) for arrays in ((x, target), (padded_x, padded_target))]
    assert losses[0] > 0.001
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_saved_model_keeps_its_loss(tmp_path):
    model = keras.Sequential([keras.Input((20, 3)), keras.layers.Dense(2), keras_snn.LIF()])
    model.compile("sgd", VanRossum(7.0, tau_rise=2.0, dt=0.5))
    x, y = np.ones((4, 20, 3), "float32"), np.ones((4, 20, 2), "float32")
    weights = model.get_weights()
    model.fit(x, y, verbose=0)
    assert not np.array_equal(model.get_weights()[0], weights[0])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.loss.get_config() == model.loss.get_config()
    assert restored.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-6)


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    for name in ("tau", "tau_rise", "dt"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number above 0; got 0"):
            VanRossum(**{name: 0})
    for shapes in (((2, 5, 3), (2, 5, 1)), ((2, 5), (2, 5, 1)), ((2,), (2,))):
        with pytest.raises(ValueError, match=r"must be spike trains of one shape \(batch, time, ...\), got"):
            VanRossum()(*(ops.zeros(shape) for shape in shapes))
