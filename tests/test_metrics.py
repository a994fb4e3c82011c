"""Metrics of output spikes, against counts of NumPy, and in `fit`."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import to_numpy

import keras_snn
from keras_snn.metrics import SpikeCount, SpikeRate

RNG = np.random.default_rng(0)
SPIKES = (RNG.uniform(size=(6, 10, 3)) < 0.3).astype("float32")


def results(metric, *batches):
    for spikes, weights in batches:
        metric.update_state(None, spikes, weights)
    return float(to_numpy(metric.result()))


def test_counts_and_rates_of_batches():
    batches = ((SPIKES[:4], None), (SPIKES[4:], None))
    assert results(SpikeCount(), *batches) == pytest.approx(SPIKES.sum() / 6, rel=1e-6)
    assert results(SpikeRate(), *batches) == pytest.approx(SPIKES.mean(), rel=1e-6)
    assert results(SpikeRate(dt=0.005), *batches) == pytest.approx(SPIKES.mean() / 0.005, rel=1e-6)
    signed = SPIKES * RNG.choice([-1, 1], SPIKES.shape)  # as of SpikingActivation, with spikes of the height 100
    rates = 100 * signed
    assert results(SpikeCount(height=100), (rates, None)) == pytest.approx(signed.sum() / 6, rel=1e-6)
    assert results(SpikeRate(dt=0.01, height=100), (rates, None)) == pytest.approx(signed.mean() * 100, rel=1e-6)


def test_weights_of_samples():
    weights = np.array([1, 0, 0, 3, 0, 0], "float32")
    expected = (SPIKES[0].sum() + 3 * SPIKES[3].sum()) / 4
    assert results(SpikeCount(), (SPIKES, weights)) == pytest.approx(expected, rel=1e-6)


def test_values_in_fit_and_evaluate_equal_those_of_the_outputs(tmp_path):
    """With a mask too: padded steps do not count."""
    inputs = keras.Input((None, 4))
    outputs = keras_snn.LIF()(keras.layers.Dense(3)(keras.layers.Masking(-1.0)(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), keras_snn.losses.VanRossum(), metrics=[SpikeCount(), SpikeRate(dt=0.01)])
    x = RNG.normal(1, 2, (8, 10, 4)).astype("float32")
    lengths = np.array([10, 7, 3, 10, 1, 5, 10, 2])
    for row, length in zip(x, lengths, strict=True):
        row[length:] = -1
    y = np.zeros((8, 10, 3), "float32")
    spikes = to_numpy(model(x)) * (np.arange(10) < lengths[:, None])[..., None]
    expected = {
        "spike_count": spikes.sum((1, 2)).mean(),
        "spike_rate": (spikes.sum((1, 2)) / (3 * lengths) / 0.01).mean(),
    }
    assert expected["spike_count"] > 1
    history = model.fit(x, y, batch_size=4, verbose=0).history
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    evaluated = [m.evaluate(x, y, batch_size=4, verbose=0, return_dict=True) for m in (model, restored)]
    for name, value in expected.items():
        if keras.config.backend() != "jax":  # its training step passes no mask to metrics
            assert history[name] == [pytest.approx(value, rel=1e-5)]
        assert all(e[name] == pytest.approx(value, rel=1e-5) for e in evaluated)


def test_configurations():
    for metric in (SpikeCount(height=10, name="n"), SpikeRate(dt=0.1, height=10)):
        config = metric.get_config()
        restored = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert restored.get_config() == config
        assert restored.height == 10


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    for make in (lambda: SpikeCount(height=0), lambda: SpikeRate(height=0)):
        with pytest.raises(ValueError, match="`height` must be a finite number above 0; got 0"):
            make()
    with pytest.raises(ValueError, match="`dt` must be a finite number above 0; got -1"):
        SpikeRate(dt=-1)
    with pytest.raises(ValueError, match=r"must be spikes \(batch, time, ...\), got \(3,\)"):
        SpikeCount().update_state(None, ops.zeros(3))
