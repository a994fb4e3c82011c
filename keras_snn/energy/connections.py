"""How many synapses a layer has, and how many each of its inputs feeds."""

import math

import keras
import numpy as np
from keras import layers

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_POOLINGS = (
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)


def connections(layer, input_shape, output_shape):
    """Return the number of synapses of one call of a layer: the multiply-accumulates of the plain network.

    The taps of a kernel that lie on the padding count, as they are computed all the same.

    Args:
        layer: A Keras layer.
        input_shape: Tuple, without unknown sizes after the batch axis.
        output_shape: The same.

    Returns:
        Integer; None for a layer that is not known to have synapses.
    """
    if isinstance(layer, layers.Dense):
        return math.prod(output_shape[1:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.EinsumDense):
        # Each of the kernel's axes that the output lacks is summed over.
        return math.prod(output_shape[1:]) * math.prod(layer.kernel.shape) // _kept_of_kernel(layer)
    if isinstance(layer, SEPARABLE):
        positions = math.prod(_spatial(layer, output_shape))
        depthwise = math.prod(layer.depthwise_kernel.shape)
        return positions * (depthwise + math.prod(layer.pointwise_kernel.shape))
    if isinstance(layer, DEPTHWISE):
        return math.prod(_spatial(layer, output_shape)) * math.prod(layer.kernel.shape)
    if isinstance(layer, TRANSPOSED):
        return math.prod(_spatial(layer, input_shape)) * math.prod(layer.kernel.shape)
    if isinstance(layer, CONVOLUTIONS):
        return math.prod(output_shape[1:]) * math.prod(layer.kernel.shape[:-1])
    if isinstance(layer, _POOLINGS):
        return math.prod(output_shape[1:]) * math.prod(layer.pool_size)
    return None


def fan_out(layer, input_shape):
    """Return for each input of a layer the number of synapses that it feeds: the synaptic operations of one spike.

    Args:
        layer: A Keras layer with synapses.
        input_shape: Tuple ``(batch, ...)`` with static sizes after the axes that the layer treats as batch.

    Returns:
        Array of the shape of the inputs on which the layer's kernel acts, such as ``(units,)`` of a Dense or
        ``(height, width, channels)`` of a Conv2D; None for a layer that is not known to have synapses.
    """
    if isinstance(layer, layers.Dense):
        return np.full(layer.kernel.shape[0], layer.kernel.shape[1], "int64")
    if not isinstance(layer, (*DEPTHWISE, *SEPARABLE, *TRANSPOSED, *CONVOLUTIONS, *_POOLINGS)):
        return None
    sizes, channels = _spatial(layer, input_shape), input_shape[_channel_axis(layer)]
    if isinstance(layer, SEPARABLE):
        # What leaves the depthwise half goes through the pointwise half.
        per_position = layer.depth_multiplier * (1 + layer.filters)
    elif isinstance(layer, DEPTHWISE):
        per_position = layer.depth_multiplier
    elif isinstance(layer, _POOLINGS):
        per_position = 1
    else:
        per_position = layer.filters // getattr(layer, "groups", 1)
    fed = np.array(per_position, "int64")
    for axis, size in enumerate(sizes):
        fed = fed[..., None] * _outputs_fed(layer, axis, size)
    axes = (*sizes, channels) if _channel_axis(layer) == -1 else (channels, *sizes)
    fed = fed[..., None] if _channel_axis(layer) == -1 else fed[None]
    return np.broadcast_to(fed, axes)


def _outputs_fed(layer, axis, size):
    """Return for each position along one axis to how many positions of the output it is connected."""
    kernel, stride, dilation = _kernel(layer, axis)
    span = (kernel - 1) * dilation + 1
    taps = dilation * np.arange(kernel)
    if isinstance(layer, TRANSPOSED):
        sizes = [size] * layer.rank
        outputs = layer.compute_output_shape((1, *sizes, 1) if _channel_axis(layer) == -1 else (1, 1, *sizes))
        length = _spatial(layer, outputs)[axis]
        before = max((size - 1) * stride + span - length, 0) // 2 if layer.padding == "same" else 0
        reached = stride * np.arange(size)[:, None] + taps - before
        return ((reached >= 0) & (reached < length)).sum(axis=1)
    if layer.padding == "valid":
        n_outputs, before = (size - span) // stride + 1, 0
    else:
        n_outputs = -(-size // stride)
        before = span - 1 if layer.padding == "causal" else max((n_outputs - 1) * stride + span - size, 0) // 2
    seen = stride * np.arange(n_outputs)[:, None] + taps - before
    return np.bincount(seen[(seen >= 0) & (seen < size)], minlength=size)


def _kernel(layer, axis):
    """Return size, stride and dilation of a kernel, or of a pooling window, along one axis."""
    if isinstance(layer, _POOLINGS):
        return layer.pool_size[axis], layer.strides[axis], 1
    sizes = (layer.kernel_size, layer.strides, layer.dilation_rate)
    return tuple(size if isinstance(size, int) else size[axis] for size in sizes)


def _rank(layer):
    return len(layer.pool_size) if isinstance(layer, _POOLINGS) else layer.rank


def _channel_axis(layer):
    return -1 if layer.data_format == "channels_last" else -1 - _rank(layer)


def _spatial(layer, shape):
    shape = shape[-1 - _rank(layer) :]
    return tuple(shape[:-1] if _channel_axis(layer) == -1 else shape[1:])


def _kept_of_kernel(layer):
    inputs, output = layer.equation.replace(" ", "").split("->")
    kernel = inputs.split(",")[1]
    return math.prod(size for name, size in zip(kernel, layer.kernel.shape, strict=True) if name in output)


def is_linear(activation):
    """Tell whether an activation function leaves its inputs as they are."""
    return activation is None or activation is keras.activations.linear
