"""The base of the encoders of still values."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Tensor
from keras_snn.layers.base.arguments import Arguments
from keras_snn.ops.backend import is_known, straight_through
from keras_snn.ops.precision import voltage_dtype


class StillEncoder(Arguments, keras.layers.Layer):
    """Encode values ``(batch, ...)`` as spikes ``(batch, n_steps, ...)``.

    Subclasses override ``encode(x, n_steps, steps)``. It receives values in range, in float32 or wider, and the numbers
    of the steps to return, int32 ``(batch, time)`` or ``(1, time)``.

    Args:
        n_steps: Integer > 0, the number of time steps T.
        clip: Boolean. True: values outside [low, high] are clipped; for [0, 1], scale images to [0, 1] first. NaN gives
            NaN instead of spikes. False: NaN and values outside [low, high] raise an error in an eager call, and give
            NaN instead of spikes in compiled code. Default True.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.
    """

    #: The range of the values.
    low, high = 0.0, 1.0

    def __init__(self, n_steps: int, *, clip: bool = True, **kwargs: Any) -> None:
        # Half precision would round the values.
        super().__init__(autocast=False, **kwargs)
        self.n_steps = checks.integer("n_steps", n_steps, least=1, meaning="the number of time steps")
        self.clip = clip
        self.input_spec = keras.layers.InputSpec(min_ndim=1)

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        """Return the spikes ``(batch, time, ...)`` of the values ``x (batch, ...)`` at ``steps`` of ``n_steps``."""
        raise NotImplementedError(f"{type(self).__name__} must override `encode(x, n_steps, steps)`.")

    def call(self, inputs):
        n_steps = probe.n_steps(self.n_steps)
        x = probe.slot().keep(lambda: self._valid_values(inputs))
        steps = probe.step_numbers(n_steps, ops.full(ops.shape(x)[:1], n_steps, "int32"))
        valid = ops.expand_dims(ops.logical_not(ops.isnan(x)), 1)
        spikes = self.encode(ops.where(valid[:, 0], x, self.low), probe.code_steps(self.n_steps), steps)
        if len(spikes.shape) > len(valid.shape):
            valid = ops.expand_dims(valid, -1)
        spikes = ops.cast(ops.where(valid, spikes, float("nan")), self.compute_dtype)
        if probe.smooths_gradients() and len(spikes.shape) == len(x.shape) + 1:
            values = ops.broadcast_to(ops.expand_dims(ops.cast(x, spikes.dtype), 1), ops.shape(spikes))
            spikes = straight_through(spikes, values)
        return spikes

    def _valid_values(self, inputs):
        """Return the values in float32 or wider, with NaN in place of values that have no code."""
        x = ops.cast(inputs, voltage_dtype(self.compute_dtype))
        if self.clip:
            valid = ops.logical_not(ops.isnan(x))
            x = ops.clip(x, self.low, self.high)
        else:
            valid = ops.logical_and(x >= self.low, x <= self.high)
            self._check_range(x, valid)
        return ops.where(valid, x, float("nan"))

    def _check_range(self, x, valid):
        all_valid, x = ops.all(valid), ops.stop_gradient(x)  # JAX cannot read a value that it differentiates
        if is_known(all_valid) and not all_valid:
            raise ValueError(
                f"`inputs` of {type(self).__name__} {self.name!r} must be in [{self.low}, {self.high}]; they range "
                f"from {float(ops.min(x))} to {float(ops.max(x))}. Scale them, or make the layer with clip=True."
            )

    def compute_output_shape(self, input_shape):
        batch, *units = input_shape
        return (batch, probe.n_steps(self.n_steps), *units)

    def get_config(self):
        return {**super().get_config(), "n_steps": self.n_steps, "clip": self.clip}
