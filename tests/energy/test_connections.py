"""Connections and fan-out, against loops over all taps of the kernels."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from keras_snn.energy import connections, fan_out

pytestmark = pytest.mark.backend_free


def count(layer, shape):
    """Return (number of all taps, fan-out) from a loop over outputs, taps and channels. Channels are the last axis."""
    sizes, channels = shape[:-1], shape[-1]
    pooling = hasattr(layer, "pool_size")
    kernel = layer.pool_size if pooling else layer.kernel_size
    dilation = (1,) * len(sizes) if pooling else np.broadcast_to(layer.dilation_rate, len(sizes))
    strides = np.broadcast_to(layer.strides, len(sizes))
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if layer.padding == "valid":
        lengths = [(n - s) // stride + 1 for n, s, stride in zip(sizes, span, strides, strict=True)]
        before = [0] * len(sizes)
    else:
        lengths = [-(-n // stride) for n, stride in zip(sizes, strides, strict=True)]
        total = [max((m - 1) * t + s - n, 0) for m, t, s, n in zip(lengths, strides, span, sizes, strict=True)]
        before = [s - 1 for s in span] if layer.padding == "causal" else [t // 2 for t in total]
    fed, taps = np.zeros(shape, int), 0
    depthwise = pooling or isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D))
    for out in itertools.product(*map(range, lengths)):
        for tap in itertools.product(*map(range, kernel)):
            at = tuple(o * t + k * d - b for o, t, k, d, b in zip(out, strides, tap, dilation, before, strict=True))
            inside = all(0 <= i < n for i, n in zip(at, sizes, strict=True))
            for channel in range(channels):
                if pooling:
                    filters = 1
                elif depthwise:
                    filters = layer.depth_multiplier
                else:
                    filters = layer.filters // layer.groups
                taps += filters
                if inside:
                    fed[(*at, channel)] += filters
    return taps, fed


CASES = [
    (layers.Conv1D(3, 3), (7, 2)),
    (layers.Conv1D(3, 3, strides=2, padding="same"), (7, 2)),
    (layers.Conv1D(3, 4, padding="same"), (6, 2)),
    (layers.Conv1D(3, 3, dilation_rate=2, padding="causal"), (7, 2)),
    (layers.Conv1D(3, 3, strides=2, padding="causal"), (8, 2)),
    (layers.Conv1D(4, 3, groups=2), (7, 2)),
    (layers.Conv2D(3, (2, 3)), (5, 6, 2)),
    (layers.Conv2D(3, 3, strides=(2, 1), padding="same"), (5, 6, 2)),
    (layers.Conv2D(3, 3, dilation_rate=2), (7, 6, 1)),
    (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (5, 4, 3)),
    (layers.DepthwiseConv2D(2, strides=2), (5, 4, 3)),
    (layers.DepthwiseConv1D(3, strides=2, padding="same"), (6, 3)),
    (layers.AveragePooling2D(2), (5, 4, 3)),
    (layers.AveragePooling2D(3, strides=2, padding="same"), (5, 4, 3)),
    (layers.MaxPooling1D(2), (6, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=lambda x: getattr(x, "name", str(x)))
def test_windows_equal_a_loop_over_every_tap(layer, shape):
    output = layer(np.zeros((1, *shape), "float32"))
    taps, fed = count(layer, shape)
    assert connections(layer, (None, *shape), tuple(output.shape)) == taps
    np.testing.assert_array_equal(fan_out(layer, (None, *shape)), fed)
    if layer.padding == "valid":
        assert fed.sum() == taps


def reached(layer, shape):
    """Return the fan-out by brute force: the number of outputs that change with each input."""
    x = np.zeros((1, *shape), "float32")
    zero = keras.ops.convert_to_numpy(layer(x))
    fed = np.zeros(shape, int)
    for at in np.ndindex(shape):
        x[(0, *at)] = 1
        fed[at] = (keras.ops.convert_to_numpy(layer(x)) != zero).sum()
        x[(0, *at)] = 0
    return fed


@pytest.mark.every_backend
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
def test_fan_out_is_the_number_of_outputs_that_change(padding, strides):
    x = (5, 4, 2)
    for layer in (
        layers.Conv2D(3, 3, strides=strides, padding=padding, kernel_initializer="ones"),
        layers.Conv2DTranspose(3, 3, strides=strides, padding=padding, kernel_initializer="ones"),
        layers.DepthwiseConv2D(3, strides=strides, padding=padding, depthwise_initializer="ones"),
    ):
        layer.build((None, *x))
        np.testing.assert_array_equal(fan_out(layer, (None, *x)), reached(layer, x))


def test_dense_acts_at_every_position():
    layer = layers.Dense(5)
    layer.build((None, 3, 4))
    assert connections(layer, (None, 3, 4), (None, 3, 5)) == 3 * 4 * 5
    assert fan_out(layer, (None, 3, 4)).tolist() == [5] * 4


def test_einsum_dense():
    for equation, shape, output in (("abc,cd->abd", (3, 4), (3, 5)), ("abc,cde->abde", (3, 4), (3, 5, 6))):
        layer = layers.EinsumDense(equation, output_shape=output)
        layer.build((None, *shape))
        assert connections(layer, (None, *shape), (None, *output)) == np.prod(output) * 4


def test_separable_convolutions_have_two_parts():
    layer = layers.SeparableConv2D(5, 3, depth_multiplier=2)
    layer.build((None, 6, 6, 3))
    assert connections(layer, (None, 6, 6, 3), (None, 4, 4, 5)) == 4 * 4 * (9 * 3 * 2 + 3 * 2 * 5)
    # A corner reaches one position: two depthwise outputs, each of which reaches five pointwise outputs.
    assert fan_out(layer, (None, 6, 6, 3))[0, 0].tolist() == [2 + 2 * 5] * 3


def test_channels_first():
    shape = (5, 6, 2)
    last, first = (layers.Conv2D(3, 3, padding="same", data_format=f"channels_{f}") for f in ("last", "first"))
    last.build((None, *shape))
    first.build((None, 2, 5, 6))
    fed = fan_out(first, (None, 2, 5, 6))
    np.testing.assert_array_equal(np.moveaxis(fed, 0, -1), fan_out(last, (None, *shape)))
    assert connections(first, (None, 2, 5, 6), (None, 3, 5, 6)) == connections(last, (None, *shape), (None, 5, 6, 3))


def pruned(layer, shape):
    """Build a layer, and set its weights to 1 or, most of them, to 0."""
    layer.build((None, *shape))
    rng = np.random.default_rng(0)
    for kernel in layer.trainable_weights:
        kernel.assign(np.where(rng.random(kernel.shape) < 0.3, 1.0, 0.0))
    return layer


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(6, use_bias=False), (5,)),
        (layers.Conv1D(3, 4, padding="causal", dilation_rate=2, use_bias=False), (9, 2)),
        (layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False), (5, 6, 2)),
        (layers.Conv2D(4, 3, groups=2, use_bias=False), (5, 5, 4)),
        (layers.Conv2DTranspose(3, 3, strides=2, padding="same", use_bias=False), (4, 3, 2)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False), (5, 4, 3)),
        (layers.EinsumDense("abc,bcd->ad", output_shape=7), (3, 4)),
        (layers.EinsumDense("abc,bde->acde", output_shape=(4, 2, 3)), (3, 4)),
        (layers.EinsumDense("...x,xy->...y", output_shape=5), (3, 4)),
    ],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_zero_weights_are_not_connections(layer, shape):
    layer = pruned(layer, shape)
    fed = reached(layer, shape)
    # If a kernel only acts on the last axes, the fan-out is the same at all positions.
    np.testing.assert_array_equal(np.broadcast_to(fan_out(layer, (None, *shape)), shape), fed)
    output = layer.compute_output_shape((1, *shape))
    n_connections = [connections(layer, (None, *shape), output, dense=dense) for dense in (False, True)]
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert n_connections[0] / n_connections[1] == pytest.approx((kernel != 0).mean())
    if getattr(layer, "padding", "valid") == "valid":
        assert n_connections[0] == fed.sum()


def test_separable_convolutions_without_some_weights():
    layer = pruned(layers.SeparableConv2D(4, 2, depth_multiplier=2, use_bias=False), (3, 3, 2))
    depthwise, pointwise = (keras.ops.convert_to_numpy(k) for k in (layer.depthwise_kernel, layer.pointwise_kernel))
    expected = np.zeros((3, 3, 2), int)
    for y, x, i, j, c, m in np.ndindex(2, 2, 2, 2, 2, 2):  # output positions, taps, channels, multiplier
        expected[y + i, x + j, c] += (depthwise[i, j, c, m] != 0) * (1 + (pointwise[0, 0, 2 * c + m] != 0).sum())
    np.testing.assert_array_equal(fan_out(layer, (None, 3, 3, 2)), expected)
    n_weights = (depthwise != 0).sum() + (pointwise != 0).sum()
    assert connections(layer, (None, 3, 3, 2), (None, 2, 2, 4)) == 4 * n_weights


def test_quantized_kernels():
    for mode in ("int8", "int4"):
        layer = pruned(layers.Dense(6), (5,))
        fed = fan_out(layer, (None, 5))
        layer.quantize(mode)
        assert fan_out(layer, (None, 5)).tolist() == fed.tolist()
        assert connections(layer, (None, 5), (None, 6), dense=True) == 30


def test_other_layers_are_unknown():
    layer = layers.LSTM(3)
    assert connections(layer, (None, 4, 2), (None, 3)) is None
    assert fan_out(layers.Flatten(), (None, 4)) is None
