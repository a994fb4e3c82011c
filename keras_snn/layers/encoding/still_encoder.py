"""What the encoders of still values have in common: the number of steps, and what lies outside the range."""

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.layers.base.arguments import Arguments
from keras_snn.ops.backend import is_known
from keras_snn.ops.precision import voltage_dtype


class StillEncoder(Arguments, keras.layers.Layer):
    """Plumbing of the layers that make spikes ``(batch, n_steps, ...)`` of values ``(batch, ...)``.

    Subclasses override ``encode(x, n_steps, steps)``, which gets values in range, in float32 or wider, and the numbers
    of the steps to return, int32 ``(batch, time)`` or ``(1, time)``.
    """

    low, high = 0.0, 1.0

    def __init__(self, n_steps, *, clip=True, **kwargs):
        # Half precision would round the values to others.
        super().__init__(autocast=False, **kwargs)
        self.n_steps = checks.integer("n_steps", n_steps, least=1, meaning="the number of time steps")
        self.clip = clip
        self.input_spec = keras.layers.InputSpec(min_ndim=1)

    def encode(self, x, n_steps, steps):
        """Return the spikes ``(batch, time, ...)`` of the values ``x (batch, ...)`` at ``steps`` of ``n_steps``."""
        raise NotImplementedError(f"{type(self).__name__} must override `encode(x, n_steps, steps)`.")

    def call(self, inputs):
        n_steps = probe.n_steps(self.n_steps)
        x = probe.slot().keep(lambda: self._codable(inputs))
        steps = probe.step_numbers(n_steps, ops.full(ops.shape(x)[:1], n_steps, "int32"))
        codable = ops.expand_dims(ops.logical_not(ops.isnan(x)), 1)
        spikes = self.encode(ops.where(codable[:, 0], x, self.low), probe.code_steps(self.n_steps), steps)
        if len(spikes.shape) > len(codable.shape):
            codable = ops.expand_dims(codable, -1)
        return ops.cast(ops.where(codable, spikes, float("nan")), self.compute_dtype)

    def _codable(self, inputs):
        """Return the values in float32 or wider, NaN where there is no code for them."""
        x = ops.cast(inputs, voltage_dtype(self.compute_dtype))
        if self.clip:
            codable = ops.logical_not(ops.isnan(x))
            x = ops.clip(x, self.low, self.high)
        else:
            codable = ops.logical_and(x >= self.low, x <= self.high)
            self._check_range(x, codable)
        return ops.where(codable, x, float("nan"))

    def _check_range(self, x, codable):
        every, x = ops.all(codable), ops.stop_gradient(x)  # JAX does not read what it differentiates by
        if is_known(every) and not every:
            raise ValueError(
                f"`inputs` of {type(self).__name__} {self.name!r} have to be in [{self.low}, {self.high}]; they range "
                f"from {float(ops.min(x))} to {float(ops.max(x))}. Scale them, or make the layer with clip=True."
            )

    def compute_output_shape(self, input_shape):
        batch, *units = input_shape
        return (batch, probe.n_steps(self.n_steps), *units)

    def get_config(self):
        return {**super().get_config(), "n_steps": self.n_steps, "clip": self.clip}
