import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, gradients

from keras_snn import probe
from keras_snn.layers import TopKMask
from keras_snn.surrogates import ATan, Triangular

RNG = np.random.default_rng(0)


def mask_of(u, rate, **options):
    return ops.convert_to_numpy(TopKMask(rate, **options)(np.asarray(u, "float32")))


# Numbers of ones of 784, 1024, 64 and 2312 values at 10, 5 and 1 %: exactly, and with a percentile.
NUMBERS = {784: ((78, 39, 8), (79, 40, 8)), 1024: ((102, 51, 10), (103, 52, 11)), 64: ((6, 3, 1), (7, 4, 1))}
NUMBERS[2312] = ((231, 116, 23), (232, 116, 24))


@pytest.mark.parametrize("n", NUMBERS)
def test_numbers_of_ones(n):
    u = RNG.normal(size=(3, n))
    for rate, exact, percentile in zip((0.1, 0.05, 0.01), *NUMBERS[n], strict=True):
        assert mask_of(u, rate).sum(1).tolist() == [exact] * 3
        assert mask_of(u, rate, percentile=True).sum(1).tolist() == [percentile] * 3
        assert TopKMask(rate).n_ones(n) == exact
        assert TopKMask(rate, percentile=True).n_ones(n) == percentile


@pytest.mark.parametrize("shape", [(40,), (4, 5, 2), (2, 3, 4, 2)])
def test_the_largest_values_have_ones(shape):
    u = RNG.normal(size=(5, *shape))
    mask = mask_of(u, 0.3)
    assert mask.shape == u.shape
    for sample, ones in zip(u.reshape(5, -1), mask.reshape(5, -1), strict=True):
        expected = np.zeros(sample.size)
        expected[np.argsort(-sample)[: round(0.3 * sample.size)]] = 1
        np.testing.assert_array_equal(ones, expected)
    np.testing.assert_array_equal(mask_of(u[2:3], 0.3), mask[2:3])  # the batch does not matter


def test_equal_values_are_taken_in_order():
    assert mask_of([[2, 2, 2, 2, 2]], 0.4).tolist() == [[1, 1, 0, 0, 0]]
    assert mask_of([[1, 3, 2, 2, 2]], 0.6).tolist() == [[0, 1, 1, 1, 0]]
    assert mask_of([[0, -1, 5]], 1.0).tolist() == [[1, 1, 1]]
    assert mask_of([[2, 2, 2, 2, 2]], 0.4, percentile=True).tolist() == [[0, 0, 0, 0, 0]]  # strictly above


def test_the_gradient_is_that_of_the_surrogate_with_a_fixed_threshold():
    u, upstream = RNG.normal(size=(2, 2, 20)).astype("float32")
    for options in ({}, {"percentile": True}, {"surrogate": Triangular(0.7)}):
        layer = TopKMask(0.25, **options)
        ordered = np.sort(u, axis=1)
        theta = (ordered[:, -5] + ordered[:, -6]) / 2  # 5 of 20
        if options.get("percentile"):
            theta = np.quantile(u, 0.75, axis=1)
        expected = upstream * ops.convert_to_numpy(
            options.get("surrogate", ATan(2.0)).derivative(ops.convert_to_tensor(u - theta[:, None]))
        )
        actual, _ = gradients(COMPILED, lambda x, g, layer=layer: ops.sum(layer(x) * ops.stop_gradient(g)), u, upstream)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)  # float32


def test_the_surrogate_of_an_open_scope():
    u = RNG.normal(size=(1, 10)).astype("float32")

    def total(x):
        with probe.scope(surrogate=ATan(10.0)):
            return ops.sum(TopKMask(0.2)(x))

    (steep,) = gradients(COMPILED, total, u)
    ordered = np.sort(u, axis=1)
    difference = ops.convert_to_tensor(u - (ordered[:, -2:-1] + ordered[:, -3:-2]) / 2)
    np.testing.assert_allclose(steep, ops.convert_to_numpy(ATan(10.0).derivative(difference)), rtol=1e-5, atol=1e-6)


@pytest.mark.backend_free
@pytest.mark.parametrize("rate", [0, -0.1, 1.5, np.nan])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="`rate` must be a finite number above 0 and of at most 1"):
        TopKMask(rate)


@pytest.mark.backend_free
def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`rate` must give at least one of the 10 values; got 0.01. Raise it"):
        TopKMask(0.01)(np.zeros((1, 10)))
    with pytest.raises(ValueError, match="with known axes after the batch"):
        TopKMask(0.1)(keras.Input((None, 4)))
