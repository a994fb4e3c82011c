"""TimeFold: a Keras layer applied to all time steps in one call."""

import inspect
from typing import Any

import keras
from keras import ops

from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base.arguments import Arguments


def check_time_axis(layer: keras.layers.Layer, shape: Shape) -> None:
    """Raise ValueError unless ``shape`` is ``(batch, time, ...)`` with at least one step or an unknown number."""
    if len(shape) < 2:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes inputs of shape (batch, time, ...), got {tuple(shape)}: "
            "there is no time axis. Add one, for example with keras_snn.layers.Repeat."
        )
    if shape[1] == 0:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes inputs of shape (batch, time, ...) with at least one time "
            f"step, got {tuple(shape)}: the time axis, axis 1, is empty."
        )


def check_mask(layer: keras.layers.Layer, mask: Tensor, shape: Shape, rank: int = 2) -> Tensor:
    """Return ``mask`` as a bool tensor; raise ValueError unless its shape is the first two axes of ``shape``."""
    if mask is None:
        return None
    mask = mask if isinstance(mask, keras.KerasTensor) else ops.cast(mask, "bool")
    is_compatible = all(None in (m, n) or m == n for m, n in zip(mask.shape, shape[:2], strict=False))
    if len(mask.shape) != rank or not is_compatible:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes a `mask` of shape {tuple(shape[:2])}, one value for each "
            f"step of its inputs {tuple(shape)}, got {tuple(mask.shape)}."
        )
    return mask


def _fold(x):
    batch_size, n_steps, *axes = ops.shape(x)
    return ops.reshape(x, (batch_size * n_steps, *axes))  # not -1, which is undefined for an empty axis


def _fold_mask(mask, folded):
    """Fold a mask like its input, and broadcast it over the axes of a step except the last."""
    if mask is None:
        return None
    mask = _fold(mask)
    shape = ops.shape(folded)[:-1]
    if len(mask.shape) >= len(shape):
        return mask
    mask = ops.reshape(mask, (*ops.shape(mask), *[1] * (len(shape) - len(mask.shape))))
    return ops.broadcast_to(mask, shape)


@keras.saving.register_keras_serializable(package="keras_snn")
class TimeFold(Arguments, keras.layers.Wrapper):
    """Apply a layer or a model to all time steps in one call.

    ``y[b, t] = layer(x[b, t])``. Time is folded into the batch: ``(batch, time, ...)`` is reshaped to
    ``(batch * time, ...)``, the inner layer is called once, and its output is reshaped back. For the inner layer each
    step is a sample:

    - ``BatchNormalization`` computes its statistics over batch, time and all other axes except the last. Without this
      wrapper, on ``(batch, time, ...)``, it does the same. Use ``momentum=0.9``: with Keras's default of 0.99 the
      moving averages adapt too slowly.
    - ``Dropout`` draws an independent mask for each step. The same mask for all steps requires another layer.
    - An ``activity_regularizer`` of the inner layer is divided by batch * time. One of this wrapper is divided by the
      batch size.
    - The inner layer must not have a state over time. Wrap the layers before and after such a layer instead.

    The results are those of ``keras.layers.TimeDistributed``, which calls the layer once per step.

    Args:
        layer: A ``keras.layers.Layer`` or a ``keras.Model``.
        **kwargs: Arguments of ``keras.layers.Layer``. A dtype policy has no effect: the inputs are not cast, and the
            policy of the inner layer applies.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``, or a nest of tensors if the first argument of the inner layer is a nest.
        training: Boolean or None, passed to the inner layer.
        mask: Bool tensor ``(batch, time)``, True at valid steps, or a nest of masks with the structure of the inputs.
            It is passed to the layers after this one, and in folded form to the inner layer if its ``call`` has the
            argument ``mask``.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, time, ...)``, with the axes after time of the inner layer's outputs; a nest of such shapes for several
        outputs.

    Raises:
        ValueError: If ``layer`` is not a Keras layer, the time axis is missing or empty, the inputs without time axis
            have too few axes for the inner layer, or the mask does not have the shape ``(batch, time)``.

    Example:

    ```python
    events = np.zeros((2, 10, 8, 8, 2), dtype="float32")  # (batch, time, height, width, channels)
    tuple(keras_snn.layers.TimeFold(keras.layers.Conv2D(4, 3))(events).shape)  # (2, 10, 6, 6, 4)
    ```
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        # The inputs are not cast: the dtype of the inner layer can be wider.
        super().__init__(layer, autocast=False, **kwargs)
        self.supports_masking = True

    def _check(self, shape):
        check_time_axis(self, shape)
        spec = self.layer.input_spec
        rank = (spec.ndim or spec.min_ndim or 0) if isinstance(spec, keras.layers.InputSpec) else 0
        if len(shape) - 1 < rank:
            raise ValueError(
                f"The inputs of TimeFold {self.name!r} must have a rank of at least {rank + 1}: a time axis, and rank "
                f"{rank} for {type(self.layer).__name__} {self.layer.name!r}. Got shape {tuple(shape)}. Add a time "
                "axis, for example with keras_snn.layers.Repeat."
            )

    def _check_masks(self, mask, inputs):
        for input_mask, x in zip(keras.tree.flatten(mask), keras.tree.flatten(inputs), strict=False):
            if input_mask is not None:
                check_mask(self, input_mask, x.shape, rank=len(input_mask.shape))

    def _folded_shape(self, input_shape):
        keras.tree.map_shape_structure(self._check, input_shape)
        return keras.tree.map_shape_structure(lambda shape: (None, *shape[2:]), input_shape)

    def build(self, input_shape):
        folded = self._folded_shape(input_shape)
        if not self.layer.built and type(self.layer).build is keras.layers.Layer.build:
            # A subclassed model without a `build` method creates its weights when it is called.
            self.layer(keras.tree.map_shape_structure(keras.KerasTensor, folded))
        else:
            super().build(folded)

    def call(self, inputs, training=None, mask=None):
        keras.tree.map_structure(lambda x: self._check(x.shape), inputs)
        self._check_masks(mask, inputs)
        folded = keras.tree.map_structure(_fold, inputs)
        call_arguments = {"training": training}
        if any(input_mask is not None for input_mask in keras.tree.flatten(mask)):
            call_arguments["mask"] = keras.tree.map_structure(_fold_mask, mask, folded)
        parameters = inspect.signature(self.layer.call).parameters
        outputs = self.layer(folded, **{name: value for name, value in call_arguments.items() if name in parameters})
        steps = ops.shape(keras.tree.flatten(inputs)[0])[:2]
        return keras.tree.map_structure(lambda y: ops.reshape(y, (*steps, *ops.shape(y)[1:])), outputs)

    def compute_output_shape(self, input_shape):
        folded = self.layer.compute_output_shape(self._folded_shape(input_shape))
        shapes = []
        keras.tree.map_shape_structure(shapes.append, input_shape)
        return keras.tree.map_shape_structure(lambda shape: (*shapes[0][:2], *shape[1:]), folded)

    def compute_output_spec(self, inputs, training=None, mask=None):
        self._check_masks(mask, inputs)
        folded = keras.tree.map_structure(lambda x: keras.KerasTensor(self._folded_shape(x.shape), x.dtype), inputs)
        steps = keras.tree.flatten(inputs)[0].shape[:2]
        outputs = self.layer.compute_output_spec(folded)
        return keras.tree.map_structure(lambda y: keras.KerasTensor((*steps, *y.shape[1:]), y.dtype), outputs)
