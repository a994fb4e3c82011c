"""The operations that ``inspect`` counts, against the number of outputs that each input changes."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_snn
from keras_snn import conversion, inspect

pytestmark = pytest.mark.backend_free

SHAPE = (6, 6, 2)


def changed_outputs(layer, shape):
    """Return the number of outputs of a layer, or of a model, that change with each input: integers of ``shape``."""
    n = int(np.prod(shape))
    x = np.concatenate([np.zeros((1, n)), np.eye(n)]).reshape(n + 1, *shape).astype("float32")
    outputs = keras.ops.convert_to_numpy(layer(x)).reshape(n + 1, -1)
    return (outputs[1:] != outputs[:1]).sum(axis=1).reshape(shape)


def branches():
    """Return lists of layers for inputs of SHAPE. The last layer of each list has the operations."""
    first = {"data_format": "channels_first"}
    plain = [
        layers.Conv2D(3, 3, strides=2, padding="same", name="strided"),
        layers.Conv2D(3, (2, 3), strides=(1, 2), name="valid"),
        layers.Conv2D(3, 3, dilation_rate=2, padding="same", name="dilated"),
        layers.Conv2D(4, 3, groups=2, name="grouped"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same", name="depthwise"),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="transposed"),
        layers.AveragePooling2D(3, strides=2, padding="same", name="average"),
        layers.MaxPooling2D(2, name="maximum"),
        layers.EinsumDense("abcd,de->abce", output_shape=(6, 6, 3), name="einsum"),
        layers.Dense(3, name="pixelwise"),
    ]
    return [
        *([layer] for layer in plain),
        [layers.Flatten(), layers.Dense(4, name="dense")],
        [layers.ZeroPadding2D(2), layers.Conv2D(2, 3, name="padded")],
        [layers.Reshape((36, 2)), layers.Conv1D(2, 3, strides=2, padding="causal", name="causal")],
        [layers.Reshape((36, 2)), layers.Conv1DTranspose(2, 3, strides=2, name="transposed_1d")],
        [layers.Reshape((36, 2)), layers.DepthwiseConv1D(3, padding="same", name="depthwise_1d")],
        [layers.Reshape((3, 4, 3, 2)), layers.Conv3D(2, 2, strides=2, padding="same", name="volume")],
        [layers.Reshape((3, 4, 3, 2)), layers.AveragePooling3D(2, name="average_3d")],
        [layers.Permute((3, 1, 2)), layers.Conv2D(2, 3, strides=2, padding="same", **first, name="channels")],
        [layers.Permute((3, 1, 2)), layers.MaxPooling2D(3, strides=2, **first, name="maximum_first")],
    ]


def test_operations_of_each_layer_equal_a_brute_force_count():
    """Random spikes reach all kinds of layers. Half of their weights are zero."""
    x = (np.random.default_rng(0).random((4, 3, *SHAPE)) < 0.3).astype("float32")
    inputs = keras.Input(x.shape[1:])
    spikes = keras_snn.IF(threshold=0.5, name="spikes")(inputs)  # one spike per input of 1
    expected, outputs = {}, []
    rng = np.random.default_rng(1)
    for branch in branches():
        single = keras.Sequential([keras.Input(SHAPE), *branch])
        for variable in single.trainable_variables:
            variable.assign(np.where(rng.random(variable.shape) < 0.5, 1.0, 0.0))
        expected[branch[-1].name] = float((x.sum(axis=(0, 1)) / len(x) * changed_outputs(single, SHAPE)).sum())
        y = spikes
        for layer in (*branch, layers.Flatten()):
            y = keras_snn.TimeFold(layer)(y)
        outputs.append(y)
    separable = layers.SeparableConv2D(3, 3, depth_multiplier=2, padding="same", name="separable")
    outputs.append(keras_snn.TimeFold(layers.Flatten())(keras_snn.TimeFold(separable)(spikes)))
    # Each output of the depthwise kernel reaches the three filters of the pointwise kernel.
    depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", depthwise_initializer="ones")
    fan_out = changed_outputs(depthwise, SHAPE) * (1 + 3)
    expected["separable"] = float((x.sum(axis=(0, 1)) / len(x) * fan_out).sum())
    joined = layers.Concatenate()(outputs)
    joined_size = joined.shape[-1]
    last = layers.Dense(2, name="last")(keras_snn.layers.TemporalAveragePooling()(joined))
    (result,) = inspect(keras.Model(inputs, last), x, examples=0, verbose=0)
    assert {name: result.work[name].operations for name in expected} == pytest.approx(expected)
    assert result.accumulates == pytest.approx(sum(expected.values()))
    # Signals that weights have scaled are no spikes.
    assert (result.work["last"].operations, result.macs) == (None, 2 * joined_size)
    assert result.neuron_updates == 3 * 72


@pytest.mark.every_backend
def test_a_converted_network_with_batch_normalization():
    """Normalizations are in the weights of the converted network. The first layer costs multiply-accumulates."""
    ann = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, strides=2, padding="same", use_bias=False, name="first"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(4, 3, padding="same", use_bias=False, name="second"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.AveragePooling2D(2, name="pool"),
            layers.Flatten(),
            layers.Dense(2, name="classes"),
        ]
    )
    rng = np.random.default_rng(0)
    for layer in ann.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    x = rng.random((6, 8, 8, 1)).astype("float32")
    snn = conversion.convert(ann, calibration=x, n_steps=8)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in snn._flatten_layers())
    (result,) = inspect(snn, x, examples=len(x), verbose=0)
    first_spikes, second_spikes = (counts.sum(axis=1).mean(axis=0) for counts in result.examples.counts.values())
    second = next(layer for layer in snn._flatten_layers() if layer.name == "second")
    to_second = (first_spikes.reshape(4, 4, 3) * changed_outputs(second, (4, 4, 3))).sum()
    pool, classes = second_spikes.sum(), second_spikes.sum() * 2  # an average of four spikes counts as a spike
    assert result.macs == 4 * 4 * 9 * 3  # taps on the padding are computed too
    assert result.work["second"].operations == pytest.approx(to_second)
    assert result.accumulates == pytest.approx(to_second + pool + classes / 4)
    assert result.accumulates > 0
