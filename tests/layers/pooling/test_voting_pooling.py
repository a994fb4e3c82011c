import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import MODES, gradients, to_numpy
from reference.parts import over_parts

from keras_snn.layers import Repeat, VotingPooling

RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, size=(2, 5, 12)).astype("float32")
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # float32 sums of 60 numbers


def votes(x, n):
    """Return the class scores, from a loop over classes."""
    classes = x.shape[-1] // n
    return np.stack([x[..., c * n : (c + 1) * n].mean(axis=(1, -1)) for c in range(classes)], axis=-1)


@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_the_score_of_a_class_is_the_mean_of_its_votes(n):
    layer = VotingPooling(n)
    np.testing.assert_allclose(to_numpy(layer(X)), votes(X, n), **CLOSE)
    assert layer.compute_output_shape((None, None, 12)) == (None, 12 // n)
    assert to_numpy(layer(X)).max() <= 1


def test_ten_votes_are_the_default():
    x = RNG.normal(size=(3, 4, 100)).astype("float32")
    np.testing.assert_allclose(to_numpy(VotingPooling()(x)), votes(x, 10), **CLOSE)


def test_votes_are_on_the_last_axis():
    x = RNG.normal(size=(2, 5, 3, 4, 6)).astype("float32")
    y = to_numpy(VotingPooling(2)(x))
    assert y.shape == (2, 3, 4, 3)
    np.testing.assert_allclose(y, x.reshape(2, 5, 3, 4, 3, 2).mean(axis=(1, -1)), **CLOSE)


def test_masked_steps_do_not_vote():
    mask = np.array([[True, True, False, True, False], [False] * 5])
    x = X.copy()
    x[~mask] = np.nan
    y = to_numpy(VotingPooling(3)(x, mask=mask))
    np.testing.assert_allclose(y[:1], votes(x[:1, mask[0]], 3), **CLOSE)
    np.testing.assert_array_equal(y[1], 0)
    assert VotingPooling(3).compute_mask(X, mask) is None


@pytest.mark.parametrize("sizes", [(1,) * 7, (2, 1, 4)], ids=str)
def test_outputs_after_each_part_are_over_all_steps_so_far(sizes):
    layer, x = VotingPooling(3), RNG.integers(0, 2, size=(2, 7, 12)).astype("float32")
    mask = np.array([[False, False, True, False, True, True, False], [True, False, True, True, True, False, True]])
    parts = over_parts(layer, x, sizes), over_parts(layer, x, sizes, mask)
    for k, y, masked in zip(np.cumsum(sizes), *parts, strict=True):
        np.testing.assert_allclose(y, votes(x[:, :k], 3), **CLOSE)
        for row, counts, spikes in zip(masked, mask[:, :k], x[:, :k], strict=True):
            expected = votes(spikes[None, counts], 3)[0] if counts.any() else np.zeros(4)
            np.testing.assert_allclose(row, expected, **CLOSE)


def test_the_sum_is_in_float32():
    x = np.full((1, 3000, 20), 100.0, "float32")  # the max of float16 is 65504
    y = VotingPooling(dtype="mixed_float16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_array_equal(to_numpy(y), 100)


@pytest.mark.parametrize("mode", MODES)
def test_gradient(mode):
    upstream = RNG.normal(size=(2, 4)).astype("float32")
    layer = VotingPooling(3)
    _, d = gradients(mode, lambda w, x: ops.sum(w * layer(x)), upstream, X)
    np.testing.assert_allclose(d, np.broadcast_to(np.repeat(upstream, 3, axis=1)[:, None] / 15, X.shape), **CLOSE)


def test_save_and_load(tmp_path):
    model = keras.Sequential([keras.Input((4,)), Repeat(3), VotingPooling(2)])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.layers[-1].n_votes == 2
    np.testing.assert_array_equal(to_numpy(restored(X[:, 0, :4])), to_numpy(model(X[:, 0, :4])))


def test_bad_arguments_and_shapes_are_refused():
    for n_votes in [0, -1, 2.0, None, True]:
        with pytest.raises(ValueError, match="`n_votes` must be an integer of at least 1"):
            VotingPooling(n_votes)
    layer = VotingPooling(5)
    for call in (
        lambda: layer(X),
        lambda: layer.compute_output_shape(X.shape),
        lambda: layer(keras.Input((None, 12))),
        lambda: layer(keras.Input((None, None))),
    ):
        with pytest.raises(ValueError, match=r"needs `n_votes` = 5 units per class on the last axis, got (12|None)"):
            call()
    with pytest.raises(ValueError, match=r"got \(2, 5\): there is no axis after time"):
        layer(X[:, :, 0])
