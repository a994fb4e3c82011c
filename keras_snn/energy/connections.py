"""Count the synapses of a layer and of each of its inputs.

A weight of exactly zero, as after pruning, is not a synapse.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from keras_snn.graph import window_rank

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_POOLINGS = (
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)
_SYNAPTIC = (layers.Dense, layers.EinsumDense, *DEPTHWISE, *SEPARABLE, *TRANSPOSED, *CONVOLUTIONS)
PADDINGS = (
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
    *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D),
    *(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D),
)
MERGES = (layers.Add, layers.Subtract, layers.Average, layers.Concatenate)
#: Layers without effect outside of training.
DROPPED = (
    *(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D),
    *(layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise, layers.ActivityRegularization),
    *(layers.RandomFlip, layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom),
    *(layers.RandomBrightness, layers.RandomContrast),
    layers.Identity,
)


def connections(
    layer: keras.layers.Layer, input_shape: tuple[int, ...], output_shape: tuple[int, ...], *, dense: bool = False
) -> int | None:
    """Return the number of synapses of one run of a layer, which are its multiply-accumulates with analog inputs.

    Kernel taps on the padding count too, because they are computed.

    Args:
        layer: A built Keras layer.
        input_shape: Tuple ``(batch, ...)``, without unknown sizes after the batch axis.
        output_shape: As ``input_shape``.
        dense: Boolean. True: also count weights of zero. Default False.

    Returns:
        Integer; None for a layer of a class without known synapses.
    """
    if isinstance(layer, _POOLINGS):
        return math.prod(output_shape[1:]) * math.prod(layer.pool_size)
    if not isinstance(layer, _SYNAPTIC):
        return None
    uses = _uses_of_a_weight(layer, input_shape, output_shape)
    if dense:
        return uses * sum(math.prod(kernel.shape) for kernel in _kernels(layer))
    return uses * sum(int(mask.sum()) for mask in _nonzero(layer))


def _uses_of_a_weight(layer, input_shape, output_shape):
    """Return the number of multiply-accumulates that use one weight."""
    if isinstance(layer, layers.Dense):
        return math.prod(output_shape[1:-1])
    if isinstance(layer, layers.EinsumDense):
        _, kernel_axes, output_axes = einsum_axes(layer)
        sizes = zip(kernel_axes, layer.kernel.shape, strict=True)
        return math.prod(output_shape[1:]) // math.prod(size for name, size in sizes if name in output_axes)
    return math.prod(_spatial(layer, input_shape if isinstance(layer, TRANSPOSED) else output_shape))


def fan_out(layer: keras.layers.Layer, input_shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the number of synapses of each input of a layer, which are the synaptic operations of one spike.

    Args:
        layer: A built Keras layer.
        input_shape: Tuple ``(batch, ...)`` with static sizes after the axes that the layer treats as batch axes.

    Returns:
        Integer array with the shape of the kernel's inputs, such as ``(units,)`` for a Dense or ``(height, width,
        channels)`` for a Conv2D; None for a layer of a class without known synapses.
    """
    if isinstance(layer, layers.Dense):
        return _nonzero(layer)[0].sum(axis=1)
    if isinstance(layer, layers.EinsumDense):
        input_axes, kernel_axes, _ = einsum_axes(layer)
        (mask,) = _nonzero(layer)
        sizes_by_name = dict(zip(kernel_axes, mask.shape, strict=True))
        counts = mask.sum(axis=tuple(axis for axis, name in enumerate(kernel_axes) if name not in input_axes))
        shared = [name for name in kernel_axes if name in input_axes]
        axes = input_axes[min(map(input_axes.index, shared)) :]
        counts = np.transpose(counts, [shared.index(name) for name in axes if name in shared])
        counts = counts.reshape([sizes_by_name[name] if name in shared else 1 for name in axes])
        return np.broadcast_to(counts, input_shape[-len(axes) :])
    if not isinstance(layer, (*_POOLINGS, *_SYNAPTIC)):
        return None
    sizes, channels = _spatial(layer, input_shape), input_shape[_channel_axis(layer)]
    per_tap = _outputs_per_tap(layer, channels)
    masks = [_tap_mask(layer, axis, size) for axis, size in enumerate(sizes)]
    taps, positions = "abc"[: len(sizes)], "xyz"[: len(sizes)]
    pairs = ",".join(map("".join, zip(taps, positions, strict=True)))
    channels_last = _channel_axis(layer) == -1
    output_axes = f"{positions}n" if channels_last else f"n{positions}"
    return np.einsum(f"{taps}n,{pairs}->{output_axes}", per_tap, *masks)


def _outputs_per_tap(layer, channels):
    """Return the number of outputs of each kernel tap and input channel: integers ``(*kernel, channels)``."""
    if isinstance(layer, _POOLINGS):
        return np.ones((*layer.pool_size, channels), "int64")
    if isinstance(layer, SEPARABLE):
        # The outputs of the depthwise kernel are the inputs of the pointwise kernel.
        depthwise, pointwise = _nonzero(layer)
        return (depthwise * (1 + pointwise.sum(axis=-1).reshape(depthwise.shape[-2:]))).sum(axis=-1)
    (kernel,) = _nonzero(layer)
    if isinstance(layer, DEPTHWISE):
        return kernel.sum(axis=-1)
    if isinstance(layer, TRANSPOSED):
        return kernel.sum(axis=-2)
    # A channel is connected to the filters of its group.
    *taps, per_group, filters = kernel.shape
    counts = kernel.reshape(*taps, per_group, channels // per_group, filters * per_group // channels).sum(axis=-1)
    return np.moveaxis(counts, -1, -2).reshape(*taps, channels)


def _tap_mask(layer, axis, size):
    """Return for one axis whether a tap connects an input position to an output: 0 or 1, ``(taps, positions)``."""
    kernel, stride, dilation = _kernel(layer, axis)
    span = (kernel - 1) * dilation + 1
    taps = dilation * np.arange(kernel)[:, None]
    if isinstance(layer, TRANSPOSED):
        sizes = [size] * layer.rank
        outputs = layer.compute_output_shape((1, *sizes, 1) if _channel_axis(layer) == -1 else (1, 1, *sizes))
        length = _spatial(layer, outputs)[axis]
        before = max((size - 1) * stride + span - length, 0) // 2 if layer.padding == "same" else 0
        output_positions = stride * np.arange(size) + taps - before
        return ((output_positions >= 0) & (output_positions < length)).astype("int64")
    if layer.padding == "valid":
        n_outputs, before = (size - span) // stride + 1, 0
    else:
        n_outputs = -(-size // stride)
        before = span - 1 if layer.padding == "causal" else max((n_outputs - 1) * stride + span - size, 0) // 2
    # Tap k connects position p to output o if p = stride * o + k - before.
    distance = np.arange(size) + before - taps
    return ((distance % stride == 0) & (distance >= 0) & (distance // stride < n_outputs)).astype("int64")


def _kernels(layer):
    """Return the list of a layer's kernels."""
    return [layer.depthwise_kernel, layer.pointwise_kernel] if isinstance(layer, SEPARABLE) else [layer.kernel]


def _nonzero(layer):
    """Return a boolean array for each kernel, True for nonzero weights."""
    return [ops.convert_to_numpy(kernel) != _zero(layer) for kernel in _kernels(layer)]


def _zero(layer):
    """Return the value that represents 0 in a kernel: 0, or an array of integers for a quantized kernel."""
    zeros = getattr(layer, "kernel_zero", None)
    if zeros is None:
        return 0
    groups = ops.convert_to_numpy(layer.g_idx).astype("int64")
    return ops.convert_to_numpy(zeros)[groups].reshape(layer.kernel.shape)


def _kernel(layer, axis):
    """Return size, stride and dilation of a kernel, or of a pooling window, along one axis."""
    if isinstance(layer, _POOLINGS):
        return layer.pool_size[axis], layer.strides[axis], 1
    sizes = (layer.kernel_size, layer.strides, layer.dilation_rate)
    return tuple(size if isinstance(size, int) else size[axis] for size in sizes)


def _channel_axis(layer):
    return -1 if layer.data_format == "channels_last" else -1 - window_rank(layer)


def _spatial(layer, shape):
    shape = shape[-1 - window_rank(layer) :]
    return tuple(shape[:-1] if _channel_axis(layer) == -1 else shape[1:])


def einsum_axes(layer: keras.layers.EinsumDense) -> tuple[str, str, str]:
    """Return the names of the axes of input, kernel and output of an EinsumDense, without the ellipsis."""
    inputs, output = layer.equation.replace(" ", "").replace("...", "").split("->")
    return (*inputs.split(","), output)


def is_linear(activation: Callable | None) -> bool:
    """Return whether an activation function is the identity."""
    return activation is None or activation is keras.activations.linear
