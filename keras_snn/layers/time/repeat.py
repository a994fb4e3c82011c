"""Repeat: a time axis for still inputs."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.layers.base.arguments import Arguments


@keras.saving.register_keras_serializable(package="keras_snn")
class Repeat(Arguments, keras.layers.Layer):
    """Repeat the input at each time step.

    ``y[b, t, ...] = x[b, ...]`` for t = 0, ..., n - 1. The values are broadcast. The backend copies them only if
    necessary; PyTorch returns a view. For still images, put it after the first ``Dense`` or ``Conv`` layer, which then
    runs once instead of once per step.

    A ``BatchNormalization`` directly after it normalizes over batch, time and all other axes except the last, as inside
    ``TimeFold``.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the input is repeated for k steps instead of n.

    Args:
        n: Integer > 0, the number of time steps.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` of rank 1 or more. The outputs have its dtype.

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n, ...)``

    Raises:
        ValueError: If ``n`` is not a positive integer.

    Example:

    ```python
    images = np.zeros((32, 28, 28), dtype="float32")
    tuple(keras_snn.layers.Repeat(10)(images).shape)  # (32, 10, 28, 28)
    ```
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = checks.integer("n", n, least=1, meaning="the number of time steps")
        self.input_spec = keras.layers.InputSpec(min_ndim=1)

    def call(self, inputs):
        inputs = probe.slot().keep(lambda: inputs)
        batch_size, *units = ops.shape(inputs)
        return ops.broadcast_to(ops.expand_dims(inputs, axis=1), (batch_size, probe.n_steps(self.n), *units))

    def compute_output_shape(self, input_shape):
        batch_size, *units = input_shape
        return (batch_size, probe.n_steps(self.n), *units)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "n": self.n}
