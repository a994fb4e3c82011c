import keras
import numpy as np
import pytest
from reference.autodiff import to_numpy
from reference.parts import over_parts

from keras_snn import probe
from keras_snn.layers import Delta
from keras_snn.ops import decoding, encoding

RNG = np.random.default_rng(0)
SIGNAL = np.cumsum(RNG.uniform(-0.1, 0.1, size=(2, 50, 3)), axis=1).astype("float32")


def test_the_threshold_is_passed_to_the_code():
    layer = Delta(0.1)
    spikes = layer(SIGNAL)
    np.testing.assert_array_equal(to_numpy(spikes), to_numpy(encoding.delta(SIGNAL, 0.1)))
    decoded = to_numpy(layer.decode(spikes, SIGNAL[:, 0]))
    np.testing.assert_array_equal(decoded, to_numpy(decoding.delta(spikes, SIGNAL[:, 0], 0.1)))
    with pytest.raises(ValueError, match="`decode` needs the decreases of the signal too"):
        Delta(0.1, off_spikes=False).decode(spikes, SIGNAL[:, 0])


def test_without_off_spikes_decreases_give_no_spikes():
    on_and_off, only_on = to_numpy(Delta(0.1)(SIGNAL)), to_numpy(Delta(0.1, off_spikes=False)(SIGNAL))
    assert on_and_off.min() == -1
    np.testing.assert_array_equal(only_on, np.maximum(on_and_off, 0))


def test_off_spikes_and_nan():
    signal = SIGNAL.copy()
    signal[0, 20, 1] = np.nan
    for off_spikes in (True, False):
        layer = Delta(0.1, off_spikes=off_spikes)
        spikes, expected = to_numpy(layer(signal)), to_numpy(layer(SIGNAL))
        expected[0, 20:, 1] = np.nan
        np.testing.assert_array_equal(spikes, expected)


def test_half_precision_does_not_round_the_signal():
    offset = SIGNAL + 1000  # float16 has a spacing of 0.5 here
    spikes = Delta(0.1, dtype="mixed_float16")(offset)
    assert keras.backend.standardize_dtype(spikes.dtype) == "float16"
    np.testing.assert_array_equal(to_numpy(spikes), to_numpy(Delta(0.1)(offset)))


def test_integers():
    spikes = Delta(2)(np.array([0, 1, 2, 4, 3, 2], "int32").reshape(1, 6, 1))
    assert to_numpy(spikes).ravel().tolist() == [0, 0, 1, 1, 0, -1]


def test_a_scope_does_not_change_the_number_of_steps():
    with probe.scope(n_steps=3):
        assert Delta(0.1)(SIGNAL).shape == SIGNAL.shape


def test_parts_of_the_signal_have_the_spikes_of_the_whole():
    mask = RNG.uniform(size=(2, 50)) < 0.7
    mask[0, :3] = False  # the first valid step is in a later part
    signal = SIGNAL.copy()
    signal[~mask] = np.nan
    for values, masked in ((SIGNAL, None), (signal, mask)):
        expected = to_numpy(Delta(0.1)(values, mask=masked))
        assert np.abs(expected).sum() > 20
        parts = over_parts(Delta(0.1), values, (2, 1, 47), masked)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


def test_save_and_load(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), Delta(0.1, off_spikes=False)])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert (restored.layers[0].threshold, restored.layers[0].off_spikes) == (0.1, False)
    np.testing.assert_array_equal(to_numpy(restored(SIGNAL)), to_numpy(model(SIGNAL)))


def test_bad_arguments_are_refused():
    for threshold in [0, -0.1, np.nan, np.inf]:
        with pytest.raises(ValueError, match="`threshold` must be a finite number above 0"):
            Delta(threshold)
    with pytest.raises(ValueError, match=r"at least one axis after time.*has the shape \(batch, time, 1"):
        Delta(0.1)(SIGNAL[:, :, 0])
