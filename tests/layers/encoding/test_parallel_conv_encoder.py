import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn.layers import LIF, ParallelConvEncoder, Repeat, TemporalAveragePooling, TimeFold

X = np.random.default_rng(0).uniform(size=(6, 5, 7, 3)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


def branches_of(encoder):
    """Yield a convolution and a normalization for each branch, with the weights of the encoder."""
    n = encoder.filters
    for i in range(encoder.branches):
        part = slice(i * n, (i + 1) * n)
        conv = keras.layers.Conv2D(n, encoder.kernel_size, padding="same", use_bias=False)
        normalization = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        normalization.build(to_numpy(conv(X)).shape)
        conv.set_weights([to_numpy(encoder.conv.kernel)[..., part]])
        normalization.set_weights([w[part] for w in encoder.normalization.get_weights()])
        yield conv, normalization


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("branches", [1, 3])
def test_outputs_are_the_sum_of_separate_branches(training, branches):
    encoder = ParallelConvEncoder(4, branches=branches)
    encoder.build(X.shape)
    rng = np.random.default_rng(1)
    encoder.set_weights([w + rng.uniform(0.1, 0.5, size=w.shape) for w in encoder.get_weights()])
    parts = list(branches_of(encoder))
    expected = sum(to_numpy(normalization(conv(X), training=training)) for conv, normalization in parts)
    # Tolerances: convolutions with another number of filters sum in another order.
    np.testing.assert_allclose(to_numpy(encoder(X, training=training)), expected, rtol=1e-4, atol=1e-5)
    moved = np.concatenate([to_numpy(normalization.moving_mean) for _, normalization in parts])
    np.testing.assert_allclose(to_numpy(encoder.normalization.moving_mean), moved, rtol=1e-4, atol=1e-6)


def test_each_branch_has_the_initial_weights_of_a_single_convolution():
    encoder = ParallelConvEncoder(64, branches=3)
    encoder.build((None, 8, 8, 16))
    kernel = to_numpy(encoder.conv.kernel)
    limit = np.sqrt(6 / (9 * 16 + 9 * 64))  # Glorot uniform, for one branch
    assert np.abs(kernel).max() <= limit
    # 27,648 draws: the max is below this with a probability of 1e-12.
    assert np.abs(kernel).max() > 0.999 * limit
    assert len(np.unique(kernel)) > 0.9 * kernel.size  # branches differ


def test_config_and_file(tmp_path):
    encoder = ParallelConvEncoder(4, branches=2, kernel_size=5)
    config = encoder.get_config()
    copied = ParallelConvEncoder.from_config(json.loads(json.dumps(config)))
    assert (copied.filters, copied.branches, copied.kernel_size) == (4, 2, 5)
    model = keras.Sequential([keras.Input(X.shape[1:]), encoder])
    model.save(tmp_path / "encoder.keras")
    restored = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(to_numpy(restored(X)), to_numpy(model(X)))


def test_the_encoder_trains_before_and_within_the_time_axis():
    still = keras.Sequential([keras.Input(X.shape[1:]), ParallelConvEncoder(2), Repeat(3), LIF()])
    frames = keras.Sequential([keras.Input((3, *X.shape[1:])), TimeFold(ParallelConvEncoder(2)), LIF()])
    for model, x in ((still, X), (frames, np.repeat(X[:, None], 3, axis=1))):
        model.add(TemporalAveragePooling())
        model.compile("sgd", "mse")
        before = model.get_weights()
        model.fit(x, np.ones((6, 5, 7, 2), "float32"), verbose=0)
        assert all(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    full, half = ParallelConvEncoder(2), ParallelConvEncoder(2, dtype=policy)
    half.build(X.shape)
    expected = to_numpy(full(X))
    half.set_weights(full.get_weights())
    y = half(X)
    assert keras.backend.standardize_dtype(y.dtype) == half.compute_dtype
    # atol: sums of 27 products, rounded to 8 or 11 bits.
    np.testing.assert_allclose(to_numpy(ops.cast(y, "float32")), expected, atol=0.05)


def test_energy_counts_the_layers_of_the_encoder():
    model = keras.Sequential([keras.Input(X.shape[1:]), ParallelConvEncoder(2), Repeat(3), LIF()])
    energy = keras_snn.ModelEnergy(model)
    assert sum(row["connections"] for row in energy.rows.values()) == 5 * 7 * 3 * 2 * 9 * 3
    assert all(row["known"] for row in energy.rows.values())


@pytest.mark.parametrize("argument", ["filters", "branches", "kernel_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_bad_arguments(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be an integer of at least 1"):
        ParallelConvEncoder(**{"filters": 2, argument: value})
