"""Copy the weights and configuration of layers and models."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn.checks import first_line
from keras_snn.energy.connections import DEPTHWISE, SEPARABLE, TRANSPOSED
from keras_snn.hints import Config


def set_weights(layer: keras.layers.Layer, weights: Sequence[np.ndarray]) -> None:
    """Set the weights of a layer or model, and the values that layers derive from them."""
    layer.set_weights(weights)
    for inner in layer._flatten_layers():
        if isinstance(inner, keras.layers.Normalization):
            inner.finalize_state()


def compile_like(new: keras.Model, model: keras.Model) -> None:
    """Compile ``new`` with the arguments of ``model``. If they need unregistered functions, warn and do not compile."""
    if not model.compiled:
        return
    try:
        new.compile_from_config(model.get_compile_config())
    except (TypeError, ValueError) as error:
        warnings.warn(
            f"{new.name!r} is not compiled, because the loss, metrics or optimizer of {model.name!r} cannot be created "
            f"from their names. Call its `compile`. ({first_line(error)})",
            stacklevel=3,
        )


def uncompiled(model: keras.Model) -> keras.Model:
    """Return a view of ``model`` that is not compiled, to clone the model from.

    Keras compiles the clone of a compiled model, which fails for losses and metrics that cannot be created from their
    names. The caller's model is never changed, because another thread may use it.
    """
    view = object.__new__(type(model))
    vars(view).update(vars(model), compiled=False)
    return view


def from_config(layer: keras.layers.Layer, config: Config) -> keras.layers.Layer:
    """Return a layer of the class of ``layer`` from ``config``. It shares the Python function of a ``Lambda``.

    Keras refuses to deserialize such functions from untrusted files. This model is in memory.
    """
    inner = getattr(layer, "layer", None)
    if isinstance(layer, keras.layers.Lambda):
        arguments = {"function": layer.function, "mask": layer.mask, "arguments": layer.arguments}
        base = {name: value for name, value in config.items() if name in ("name", "trainable", "dtype")}
        return type(layer)(output_shape=layer._output_shape, **arguments, **base)
    if isinstance(layer, keras.layers.Wrapper) and isinstance(inner, (keras.layers.Lambda, keras.Model)):
        rest = {name: value for name, value in config.items() if name != "layer"}
        if isinstance(inner, keras.layers.Lambda):
            return type(layer)(from_config(inner, inner.get_config()), **rest)
        copy = keras.models.clone_model(inner, clone_function=lambda child: from_config(child, child.get_config()))
        return type(layer)(copy, **rest)
    return type(layer).from_config(config)


def config_of_copy(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return the config of a linear layer without the entries that apply to its weights only."""
    excluded = ("_regularizer", "_constraint", "lora_rank", "lora_alpha")
    return {key: value for key, value in layer.get_config().items() if not key.endswith(excluded)}


def folded(
    layer: keras.layers.Layer, unit: float | np.ndarray, normalization: keras.layers.Layer | None
) -> list[np.ndarray]:
    """Return the weights of a linear layer for inputs in ``unit``, with a batch normalization folded into them.

    Args:
        layer: The layer of the ANN.
        unit: The value in the ANN of an input of 1: a number, or an array along the channels.
        normalization: The ``BatchNormalization`` after it, or None.
    """
    kernels = [layer.depthwise_kernel, layer.pointwise_kernel] if isinstance(layer, SEPARABLE) else [layer.kernel]
    kernels = [_array(kernel) for kernel in kernels]
    bias = _array(layer.bias) if layer.use_bias else 0.0
    # Axes: Dense (in, out), convolutions (..., in, out), transposed (..., out, in), depthwise (..., in, multiplier).
    if np.ndim(unit) and not isinstance(layer, TRANSPOSED):
        unit = np.reshape(unit, (-1, 1))
    kernels[0] = kernels[0] * unit
    if normalization is not None:
        gain, shift = _gain_and_shift(normalization)
        bias = bias * gain + shift
        if isinstance(layer, TRANSPOSED):
            kernels[-1] = kernels[-1] * gain[:, None]
        elif isinstance(layer, DEPTHWISE):
            kernels[-1] = kernels[-1] * gain.reshape(kernels[-1].shape[-2:])
        else:
            kernels[-1] = kernels[-1] * gain
    has_bias = layer.use_bias or normalization is not None
    return [weight.astype("float32") for weight in [*kernels, *([bias] if has_bias else [])]]


def _gain_and_shift(normalization):
    """Return a and b of ``a x + b``, the batch normalization at inference."""
    gamma = _array(normalization.gamma) if normalization.scale else 1.0
    beta = _array(normalization.beta) if normalization.center else 0.0
    gain = gamma / np.sqrt(_array(normalization.moving_variance) + normalization.epsilon)
    return gain, beta - _array(normalization.moving_mean) * gain


def _array(weight):
    return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(weight)), "float64")
