"""Losses of spike trains against closed forms and snnTorch, and as losses of Keras. tests/ops tests the filters."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients, run, to_numpy

import keras_snn
from keras_snn.losses import SpikeCountCrossEntropy, SpikeCountMSE, VanRossum

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


COUNTED = (np.random.default_rng(1).uniform(size=(5, 20, 4)) < 0.4).astype("float32")
LABELS = np.array([0, 3, 1, 2, 3])


def test_losses_of_counts_equal_numpy():
    counts = COUNTED.sum(1)
    targets = np.full((5, 4), 0.25 * 20)
    targets[np.arange(5), LABELS] = 0.75 * 20
    logits = np.log(np.exp(counts).sum(1)) - counts[np.arange(5), LABELS]
    squares = ((counts - targets) ** 2).mean(1) / 20
    for loss, of_samples in ((SpikeCountCrossEntropy, logits), (lambda **k: SpikeCountMSE(0.75, 0.25, **k), squares)):
        for labels in (LABELS, LABELS[:, None]):
            np.testing.assert_allclose(to_numpy(loss(reduction=None)(labels, COUNTED)), of_samples, rtol=1e-5)
        np.testing.assert_allclose(to_numpy(loss()(LABELS, COUNTED)), of_samples.mean(), rtol=1e-5)


@pytest.mark.torch("snnTorch runs on PyTorch")
@pytest.mark.parametrize("name", ["cross-entropy", "squares"])
def test_losses_of_counts_equal_snntorch(name):
    functional = pytest.importorskip("snntorch.functional")
    import torch

    ours, theirs = {
        "cross-entropy": (SpikeCountCrossEntropy(), functional.ce_count_loss()),
        "squares": (SpikeCountMSE(0.75, 0.25), functional.mse_count_loss(correct_rate=0.75, incorrect_rate=0.25)),
    }[name]
    values, gradients_of_both = [], []
    for loss in (lambda s: ours(LABELS, s), lambda s: theirs(s.transpose(0, 1), torch.tensor(LABELS))):
        spikes = torch.tensor(COUNTED, requires_grad=True)
        value = loss(spikes)
        value.backward()
        values.append(value.item())
        gradients_of_both.append(spikes.grad.numpy())
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    np.testing.assert_allclose(*gradients_of_both, rtol=1e-4, atol=1e-7)


def test_counts_of_masked_steps_do_not_enter():
    padded = np.concatenate([COUNTED, np.ones((5, 7, 4), "float32")], 1)
    for loss in (SpikeCountCrossEntropy(), SpikeCountMSE(0.8, 0.1)):
        spikes = keras.layers.Masking(5.0)(np.where(np.arange(27)[:, None] < 20, padded, 5.0).astype("float32"))
        np.testing.assert_allclose(to_numpy(loss(LABELS, spikes)), to_numpy(loss(LABELS, COUNTED)), rtol=1e-5)


@pytest.mark.parametrize("loss", [SpikeCountCrossEntropy(), SpikeCountMSE(0.9, 0.1)], ids=lambda loss: loss.name)
def test_a_network_learns_by_counts(loss, tmp_path):
    """Two patterns; the neuron with most spikes is the class."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=64)
    x = rng.normal(size=(64, 15, 6)).astype("float32") + 2 * (np.arange(6) % 2 == y[:, None])[:, None]
    model = keras.Sequential([keras.Input((15, 6)), keras.layers.Dense(2), keras_snn.LIF()])
    model.compile(keras.optimizers.Adam(0.05), loss)
    history = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    assert np.mean(model.predict(x, verbose=0).sum(1).argmax(1) == y) > 0.9
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.loss.get_config() == loss.get_config()


@pytest.mark.backend_free
def test_bad_targets_of_counts_are_refused():
    with pytest.raises(ValueError, match=r"must be integer labels .* got \(5, 4\). From one-hot targets"):
        SpikeCountMSE()(np.eye(4)[[0, 1, 2, 3, 0]], COUNTED)
    with pytest.raises(ValueError, match=r"must be spikes \(batch, time, classes\), got \(5, 20\)"):
        SpikeCountCrossEntropy()(LABELS, COUNTED[..., 0])
    for rates in ((1.5, 0), (1, -0.1)):
        with pytest.raises(ValueError, match="_rate` must be a finite number from 0 to 1"):
            SpikeCountMSE(*rates)


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    for name in ("tau", "tau_rise", "dt"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number above 0; got 0"):
            VanRossum(**{name: 0})
    for shapes in (((2, 5, 3), (2, 5, 1)), ((2, 5), (2, 5, 1)), ((2,), (2,))):
        with pytest.raises(ValueError, match=r"must be spike trains of one shape \(batch, time, ...\), got"):
            VanRossum()(*(ops.zeros(shape) for shape in shapes))
