"""The gradient of a classifier's loss by its inputs, compiled once for all batches and iterations."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import probe
from keras_snn.data import labels
from keras_snn.fingerprint import cache_of_models, fingerprint
from keras_snn.hints import Tensor
from keras_snn.layers import Delta, Interval, Latency, Phase, RankOrder, Resonance
from keras_snn.ops.backend import gradient, inference

#: Encoders whose spikes have no gradient by the values.
STOPS_GRADIENTS = (Delta, Interval, Latency, Phase, RankOrder, Resonance)


class InputGradient:
    """The gradient of a classifier's loss by its inputs.

    Args:
        model: Keras model with one input and one output ``(batch, classes)`` or ``(batch, time, classes)``.
        loss: Function ``(y_true, y_pred) -> (batch, ...)``.
        surrogate: Surrogate of the backward pass; None for each neuron's own.
        smooth: Boolean, ``smooth_gradient`` of ``probe.scope``.
    """

    def __init__(self, model: keras.Model, loss: Callable, *, surrogate: Callable | None = None, smooth: bool = False):
        self.model = model
        self.loss = loss
        self.surrogate = surrogate
        self.smooth = smooth
        self.n_traces = 0
        self._n_classes: int | None = None
        self._run = inference(self._call, model)
        self._run_forward = inference(self._forward, model)

    def _call(self, n_steps: None, x: Tensor, y: Tensor, index: Tensor, seed: Tensor) -> tuple[Tensor, ...]:
        del n_steps
        self.n_traces += 1

        def total(x):
            loss, predicted = self._loss_and_class(x, y)
            return ops.sum(loss), (loss, predicted)

        backward: dict[str, Any] = {"surrogate": self.surrogate, "smooth_gradient": self.smooth}
        with probe.scope(sample_index=index, seed=seed, **backward):
            d_x, (loss, predicted) = gradient(total, x, self.model.variables)
        return d_x, loss, predicted

    def _forward(self, n_steps: None, x: Tensor, y: Tensor, index: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        del n_steps
        with probe.scope(sample_index=index, seed=seed):
            return self._loss_and_class(x, y)

    def _loss_and_class(self, x, y):
        """Return the loss and the predicted class of each sample, tensors ``(batch,)``."""
        outputs = self.model(x, training=False)
        loss = ops.mean(ops.reshape(self.loss(y, outputs), (ops.shape(x)[0], -1)), axis=1)
        scores = ops.mean(outputs, axis=1) if len(outputs.shape) == 3 else outputs  # over time
        return loss, ops.argmax(scores, axis=-1)

    def evaluate(self, x: np.ndarray, y: np.ndarray, index: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return loss ``(batch,)`` and predicted class ``(batch,)`` without a gradient; arguments as in a call."""
        return _on_arrays(self._run_forward, x, y, index, seed)

    def class_numbers(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the labels ``y`` of ``x`` as class numbers ``(batch,)``.

        Raises:
            ValueError: For other labels, or a model that is not a classifier with at least two outputs.
        """
        if self._n_classes is None:
            self._n_classes = _number_of_classes(self.model, x)
        return labels.classes(y, self._n_classes)

    def __call__(
        self, x: np.ndarray, y: np.ndarray, index: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradient ``(batch, ...)``, loss ``(batch,)`` and predicted class ``(batch,)`` as NumPy arrays.

        Args:
            x: Inputs ``(batch, ...)``.
            y: Labels as the loss takes them.
            index: Places of the samples in the data, which fix the model's random numbers together with ``seed``.
            seed: Integer below 2^31.
        """
        return _on_arrays(self._run, x, y, index, seed)


def _on_arrays(function, x, y, index, seed):
    """Return the results of a compiled function on arrays as a tuple of NumPy arrays."""
    arguments = x, y, np.asarray(index, "int32"), np.asarray(seed, "int32")
    return tuple(map(ops.convert_to_numpy, function(None, *map(ops.convert_to_tensor, arguments))))


def input_gradient(
    model: keras.Model, loss: Any, *, surrogate: Any = None, smooth: bool = False, warn: bool = True
) -> InputGradient:
    """Return the compiled ``InputGradient`` of a model. It is kept for the next call with the same arguments."""
    probe.sync(model)
    kept = _kept(model, fingerprint(model))
    key = loss, surrogate, smooth
    if key not in kept:
        if warn and not smooth:
            _warn_of_stopped_gradients(model)
        kept[key] = InputGradient(model, loss_function(model, loss), surrogate=surrogate, smooth=smooth)
    return kept[key]


_kept = cache_of_models(2)


def _number_of_classes(model, x):
    shape = model.compute_output_shape((1, *x.shape[1:]))
    if not isinstance(shape, tuple) or len(shape) not in (2, 3) or shape[-1] < 2:
        raise ValueError(
            f"`model` must have one output (batch, classes) or (batch, time, classes), with at least two classes; the "
            f"output of {model.name!r} has the shape {shape}."
        )
    return shape[-1]


def loss_function(model: keras.Model, loss: Any) -> Callable:
    """Return a loss as a function ``(y_true, y_pred) -> (batch, ...)``; None stands for the loss of ``compile``."""
    loss = getattr(model, "loss", None) if loss is None else loss
    if loss is None:
        raise ValueError(f"`loss` must be given, since the model {model.name!r} is not compiled with one.")
    if isinstance(loss, (list, tuple, dict)):
        raise ValueError(f"`model` must have one output and one loss; {model.name!r} is compiled with {loss!r}.")
    loss = keras.losses.get(loss)
    return loss.call if isinstance(loss, keras.losses.Loss) else loss


def _warn_of_stopped_gradients(model):
    names = [layer.name for layer in model._flatten_layers() if isinstance(layer, STOPS_GRADIENTS)]
    if names:
        warnings.warn(
            f"No gradient passes the encoders {', '.join(names)} of {model.name!r}: the attack sees a zero gradient. "
            "Pass smooth=True (straight-through gradient), or use a Poisson encoder, whose gradient is that of the "
            "expectation.",
            stacklevel=4,
        )
