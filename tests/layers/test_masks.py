"""Padded sequences in whole models. tests/contracts tests padding for each layer."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import layers

RNG = np.random.default_rng(0)
ONE = keras.initializers.Ones()


def column(*values):
    """Return a sequence of one unit, ``(1, time, 1)``."""
    return np.array(values, "float32").reshape(1, -1, 1)


def test_padding_after_a_sequence():
    x = column(0.4, 0.4, 0.4, 0, 0, 0)
    readout = layers.LeakyIntegrator(tau=2.0, return_sequences=False)
    model = keras.Sequential([keras.Input((6, 1)), keras.layers.Masking(0.0), readout])
    # By hand: v = 0.2, 0.3, 0.35 after three steps. rtol: some units in the last place of float32.
    np.testing.assert_allclose(model.predict(x, verbose=0), [[0.35]], rtol=1e-6)
    with_state = layers.LeakyIntegrator(tau=2.0, return_state=True)
    _, state = with_state(x, mask=x[..., 0] != 0)
    np.testing.assert_allclose(ops.convert_to_numpy(state), [[0.35]], rtol=1e-6)


def test_padding_before_a_sequence_and_a_bias():
    dense = keras.layers.Dense(1, kernel_initializer=ONE, bias_initializer=keras.initializers.Constant(0.4))
    model = keras.Sequential(
        [keras.Input((4, 1)), keras.layers.Masking(0.0), dense, layers.LeakyIntegrator(2.0), layers.LastStep()]
    )
    # (0.5 + 0.4) / 2, the value without padding.
    np.testing.assert_allclose(model.predict(column(0, 0, 0, 0.5), verbose=0), [[0.45]], rtol=1e-6)


def test_a_mask_of_another_length_is_refused():
    x, mask = np.ones((2, 5, 3), "float32"), np.ones((2, 6), bool)
    for layer in (
        layers.TimeFold(keras.layers.Dense(2)),
        layers.LIF(),
        layers.Lowpass(0.1),
        layers.SpikingActivation("relu"),
        layers.LastStep(),
        layers.TemporalAveragePooling(),
        layers.VotingPooling(3),
        layers.FirstSpikeTime(),
        layers.Delta(0.1),
        layers.MaxRatePooling(keras.layers.MaxPooling1D(1)),
    ):
        inputs = x[..., None] if isinstance(layer, layers.MaxRatePooling) else x
        with pytest.raises(ValueError, match=r"takes a `mask` of shape \(2, 5\).*got \(2, 6\)"):
            layer(inputs, mask=mask)
        symbolic = keras.Input(inputs.shape[1:])
        with pytest.raises(ValueError, match=r"takes a `mask` of shape \(None, 5\).*got \(None, 6\)"):
            layer(symbolic, mask=keras.Input((6,), dtype="bool"))
    with pytest.raises(ValueError, match=r"takes a `mask` of shape \(2, 5\).*got \(2, 5, 3\)"):
        layers.LIF()(x, mask=np.ones((2, 5, 3), bool))
    with pytest.raises(ValueError, match="with statistics='batch' cannot take a mask"):
        layers.NoisyLIF(statistics="batch")(x, mask=np.ones((2, 5), bool))


def test_a_mask_beside_an_initial_state():
    """A mask is used with an initial state. Keras passes it as `inputs_mask` if there is a second tensor."""
    inputs, state = keras.Input((3, 1)), keras.Input((1,))
    y = layers.LeakyIntegrator(2.0, return_sequences=False)(keras.layers.Masking(0.0)(inputs), initial_state=state)
    model = keras.Model([inputs, state], y)
    x, v = column(0.4, 0, 0), np.array([[0.8]], "float32")
    np.testing.assert_allclose(model.predict([x, v], verbose=0), [[0.6]], rtol=1e-6)  # 0.8 + (0.4 - 0.8) / 2


def test_time_major_and_backwards():
    x = RNG.uniform(0, 2, (2, 5, 3)).astype("float32")
    mask = np.array([[1, 1, 0, 1, 1], [0, 0, 1, 1, 0]], bool)
    expected = ops.convert_to_numpy(layers.LIF()(x, mask=mask))
    swapped = layers.LIF(time_major=True)(x.swapaxes(0, 1), mask=mask.T)
    np.testing.assert_array_equal(ops.convert_to_numpy(swapped).swapaxes(0, 1), expected)
    backwards = layers.LIF(go_backwards=True)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(backwards(x[:, ::-1].copy(), mask=mask[:, ::-1].copy())), expected
    )
    assert ops.convert_to_numpy(backwards.compute_mask(x, mask)).tolist() == mask[:, ::-1].tolist()


def test_bidirectional():
    x = RNG.uniform(0, 2, (2, 5, 3)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], bool)
    layer = keras.layers.Bidirectional(layers.LIF())
    y = ops.convert_to_numpy(layer(x, mask=mask))
    for sample, row, n in zip(x, y, (4, 2), strict=True):
        forward, backward = (
            ops.convert_to_numpy(layers.LIF()(s[None]))[0] for s in (sample[:n], sample[:n][::-1].copy())
        )
        np.testing.assert_array_equal(row[:n], np.concatenate([forward, backward[::-1]], axis=-1))
        np.testing.assert_array_equal(row[n:], 0)
    states = keras.layers.Bidirectional(layers.LIF(return_state=True))(keras.Input((5, 3)))
    assert [s.shape for s in states] == [(None, 5, 6), (None, 3), (None, 3)]
    restored = keras.layers.Bidirectional.from_config(layer.get_config())
    np.testing.assert_array_equal(ops.convert_to_numpy(restored(x, mask=mask)), y)


def network():
    """Return a network for sequences of any length, with layers that pass a mask on and one that ends time."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(
                6, 4, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(seed=1)
            ),
            keras.layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(seed=2)),
            layers.LIF(threshold=0.02),
            layers.Lowpass(0.003),
            layers.LastStep(),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=4)),
        ]
    )


WORDS = [[3, 1, 4], [1, 5], [5, 2, 3, 5, 1], [2]]


def padded(rows, length, before=False):
    return keras.utils.pad_sequences(rows, maxlen=length, padding="pre" if before else "post")


def test_batches_of_ragged_sequences_in_fit():
    """The loss of padded batches is that of the single sequences. Each batch has the length of its longest sequence."""
    model = network()
    y = np.arange(8, dtype="float32").reshape(4, 2)
    losses = []
    for words in ([WORDS[0], WORDS[1]], [WORDS[2], WORDS[3]]):
        rows = [model(np.array([word, word], "int32"))[place] for place, word in enumerate(words)]
        losses.append(np.stack([ops.convert_to_numpy(row) for row in rows]))
    expected = np.mean((np.concatenate(losses) - y) ** 2)

    class Ragged(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            rows = WORDS[2 * i : 2 * i + 2]
            return padded(rows, max(map(len, rows)), before=i == 1), y[2 * i : 2 * i + 2]

    model.compile("adam", "mse")
    # The loss is the mean over both batches. rel: matrix products round differently with another batch size.
    assert model.evaluate(Ragged(), verbose=0) == pytest.approx(expected, rel=1e-4)
    before = [w.copy() for w in model.get_weights()]
    model.fit(Ragged(), shuffle=False, verbose=0)
    for weight, old in zip(model.get_weights(), before, strict=True):
        assert np.all(np.isfinite(weight)) and not np.array_equal(weight, old)


def test_a_report_only_counts_valid_steps():
    """Rates, accuracy and histograms of padded sequences equal those of the sequences without padding."""
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            keras.layers.Masking(-1.0),
            layers.SpikingActivation("relu", dt=0.5, seed=0, name="spikes"),
            layers.TimeFold(keras.layers.Dense(2, kernel_initializer=keras.initializers.Identity())),
        ]
    )
    rates = np.array([[1.0, 4.0], [2.0, 6.0]], "float32")  # Hz: 0.5, 2, 1 and 3 spikes per step
    x = np.repeat(rates[:, None], 8, axis=1)
    x[0, 4:], x[1, :2] = -1, -1
    for batch_size in (1, 2):
        report = keras_snn.inspect(model, x, np.array([1, 1]), dt=0.5, batch_size=batch_size, examples=1)
        assert report[0.5].accuracy == 1
        layer = report[0.5].layers["spikes"]
        assert layer.rate.min == pytest.approx(1, rel=1e-6) and layer.rate.max == pytest.approx(6, rel=1e-6)
        # 2 + 8 spikes in 4 steps and 6 + 18 in 6 steps of 0.5 s: 34 spikes of two units in 5 s.
        assert layer.rate.mean == pytest.approx(34 / 2 / 5, rel=1e-6)
        assert sum(layer.histogram.values()) == 2 * 10
        assert layer.n_steps == 5


def test_synaptic_operations_after_the_end_of_time_only_count_valid_steps():
    x = np.ones((1, 2, 4), "float32")
    for end, expected in ((layers.TemporalAveragePooling(), 16), (layers.LastStep(), 8)):
        parts = layers.LIF(threshold=0.5, decay_input=False), end, keras.layers.Dense(2, name="dense")
        model = keras.Sequential([keras.Input((None, 4)), keras.layers.Masking(0.0), *parts])
        report = keras_snn.inspect(model, np.pad(x, ((0, 0), (0, 8), (0, 0))), dt=0.5, examples=0)
        # 4 units spike at 2 steps and reach 2 units. The mean contains all these spikes, the last step half of them.
        assert report[0.5].synapses["dense"].operations == expected
