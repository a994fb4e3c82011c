"""TimeFold: any Keras layer, at every time step at once."""

import inspect

import keras
from keras import ops

from keras_snn.layers.base.arguments import Arguments


def check_time_axis(layer, shape):
    """Raise ValueError unless ``shape`` is (batch, time, ...) with at least one step, as far as it is known."""
    if len(shape) < 2:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes inputs of shape (batch, time, ...), got {tuple(shape)}: "
            "there is no time axis. Make one, for example with keras_snn.layers.Repeat."
        )
    if shape[1] == 0:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes inputs of shape (batch, time, ...) with at least one time "
            f"step, got {tuple(shape)}: the time axis, axis 1, is empty."
        )


def check_mask(layer, mask, shape, rank=2):
    """Return ``mask`` as a bool tensor; raise ValueError unless it has the first two axes of the inputs' ``shape``."""
    if mask is None:
        return None
    mask = mask if isinstance(mask, keras.KerasTensor) else ops.cast(mask, "bool")
    same = all(None in (m, n) or m == n for m, n in zip(mask.shape, shape[:2], strict=False))
    if len(mask.shape) != rank or not same:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes a `mask` of shape {tuple(shape[:2])}, one value for each "
            f"step of its inputs {tuple(shape)}, got {tuple(mask.shape)}."
        )
    return mask


def _fold(x):
    batch, time, *rest = ops.shape(x)
    return ops.reshape(x, (batch * time, *rest))  # not -1, which is undefined where an axis is empty


def _fold_mask(mask, folded):
    """Fold a mask like its input; a mask of steps is spread over the axes that a step has before its last."""
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
    """Apply a layer, or a whole model, to every time step, in one call.

    Time is folded into the batch: ``(batch, time, ...)`` is reshaped to ``(batch * time, ...)``, the inner layer is
    called once, and its output is reshaped back. The steps are examples to the inner layer, therefore

    - `BatchNormalization` takes its statistics over batch, time and all further axes but the last. It does the same
      without this wrapper, on ``(batch, time, ...)``. Give it ``momentum=0.9``: with Keras's default, 0.99, moving
      averages lag behind;
    - `Dropout` draws an independent mask for each step (a mask that stays for all steps needs another layer);
    - an ``activity_regularizer`` of the inner layer is divided by batch * time, where one of this wrapper is divided
      by the batch;
    - a layer with a state over time must not be inside: wrap what stands before and after it.

    The numbers are those of `keras.layers.TimeDistributed`, which calls the layer once a step.

    Args:
        layer: A `keras.layers.Layer` or a `keras.Model`.
        **kwargs: the usual arguments of a Keras layer. This wrapper has no numbers of its own: the dtype policy of the
            inner layer decides, and the inputs reach it as they come.

    Call arguments:
        inputs: A tensor, or a nest of tensors for an inner layer that takes a nest as its first argument.
        training: Boolean or None, passed on to the inner layer.
        mask: Bool tensor (batch, time), True at the steps that count, or a nest of them like the inputs. It goes
            to the layers after this one, and, folded, to the inner layer if its ``call`` takes a ``mask``.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, time, ...)``, with the axes after time as the inner layer makes them; the same for each of several
        outputs.

    Raises:
        ValueError: If ``layer`` is not a Keras layer; if the input has no time axis, or an empty one, or too few axes
            without it for the inner layer; if the mask does not have the shape (batch, time).

    Example:

    ```python
    events = np.zeros((2, 10, 8, 8, 2), dtype="float32")  # (batch, time, height, width, channels)
    tuple(keras_snn.layers.TimeFold(keras.layers.Conv2D(4, 3))(events).shape)  # (2, 10, 6, 6, 4)
    ```
    """

    def __init__(self, layer, **kwargs):
        # Casting here could only lose what an inner layer of a wider dtype needs.
        super().__init__(layer, autocast=False, **kwargs)
        self.supports_masking = True

    def _check(self, shape):
        check_time_axis(self, shape)
        spec = self.layer.input_spec
        rank = (spec.ndim or spec.min_ndim or 0) if isinstance(spec, keras.layers.InputSpec) else 0
        if len(shape) - 1 < rank:
            raise ValueError(
                f"TimeFold {self.name!r} must not get an input of shape {tuple(shape)}. Without its time axis, axis 1, it "
                f"has rank {len(shape) - 1}, and {type(self.layer).__name__} {self.layer.name!r} takes rank {rank}. "
                "Make a time axis, for example with keras_snn.layers.Repeat."
            )

    def _check_masks(self, mask, inputs):
        for m, x in zip(keras.tree.flatten(mask), keras.tree.flatten(inputs), strict=False):
            if m is not None:
                check_mask(self, m, x.shape, rank=len(m.shape))

    def _folded_shape(self, input_shape):
        keras.tree.map_shape_structure(self._check, input_shape)
        return keras.tree.map_shape_structure(lambda shape: (None, *shape[2:]), input_shape)

    def build(self, input_shape):
        folded = self._folded_shape(input_shape)
        if not self.layer.built and type(self.layer).build is keras.layers.Layer.build:
            # A subclassed model without a build method makes its weights when it is called.
            self.layer(keras.tree.map_shape_structure(keras.KerasTensor, folded))
        else:
            super().build(folded)

    def call(self, inputs, training=None, mask=None):
        keras.tree.map_structure(lambda x: self._check(x.shape), inputs)
        self._check_masks(mask, inputs)
        folded = keras.tree.map_structure(_fold, inputs)
        arguments = {"training": training}
        if any(m is not None for m in keras.tree.flatten(mask)):
            arguments["mask"] = keras.tree.map_structure(_fold_mask, mask, folded)
        accepted = inspect.signature(self.layer.call).parameters
        outputs = self.layer(folded, **{name: value for name, value in arguments.items() if name in accepted})
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
