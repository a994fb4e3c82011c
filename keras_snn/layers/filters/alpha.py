"""Alpha: a second-order synaptic filter."""

import math
from typing import Any

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.layers.base.spiking_cell import shape_of
from keras_snn.layers.filters.filter import FilterCell, FilterLayer
from keras_snn.ops.filters import alpha


@keras.saving.register_keras_serializable(package="keras_snn")
class AlphaCell(FilterCell):
    """One time step of ``Alpha``. The state is one tensor ``(batch, 2, units)``: the slope and the level.

    Args:
        size: Integer or tuple, shape of one step without the batch axis.
        tau_initializer: As in ``Alpha``.
        **kwargs: ``dt`` to ``method``, as in ``Lowpass``, and the arguments of ``keras.layers.Layer``.

    Call arguments as in ``SpikingCell``.

    Example:

    ```python
    layer = keras_snn.layers.RNN(keras_snn.layers.AlphaCell(4, 0.1, dt=0.01))
    layer(keras.ops.ones((2, 10, 4))).shape  # (2, 10, 4)
    ```
    """

    def __init__(self, size: Any, tau_initializer: Any, **kwargs: Any) -> None:
        super().__init__(size, tau_initializer, **kwargs)
        self.state_size = (2, *self.weight_shape)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (math.prod(shape_of(self.size)),)

    def filter(self, inputs: Tensor, state: Tensor, mask: Tensor = None) -> tuple[Tensor, Tensor]:
        shape = (*ops.shape(inputs)[:2], *self.weight_shape)
        x = inputs if len(shape) == len(inputs.shape) else ops.reshape(inputs, shape)
        slope_and_level = (state[:, 0], state[:, 1])
        outputs, last = alpha(x, slope_and_level, self.tau, self.dt, method=self.method, mask=mask)
        return outputs if x is inputs else ops.reshape(outputs, ops.shape(inputs)), ops.stack(last, axis=1)

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        batch_size = ops.shape(inputs)[0] if batch_size is None else batch_size
        level = ops.broadcast_to(self.initial_level, (batch_size, *self.weight_shape))
        return [ops.stack([ops.zeros_like(level), level], axis=1)]


@keras.saving.register_keras_serializable(package="keras_snn")
class Alpha(FilterLayer):
    """Second-order low-pass filter with a trainable time constant for each unit: the alpha synapse.

    The output is q_t; p_t is its slope. With r = dt / tau and e = exp(-r)::

        p_t = e (1 - r) p_{t-1} - e r / tau q_{t-1} + e r / tau x_t
        q_t = e dt p_{t-1}      + e (1 + r) q_{t-1} + (1 - e (1 + r)) x_t

    This is the zero-order hold of 1 / (tau s + 1)^2. A tau below 1e-8 s counts as 1e-8 s.

    The weights are ``initial_level`` (q before the first step; p starts at 0) and ``tau``, in this order. Both have the
    shape ``(units,)``: one entry per unit, with the axes after time flattened.

    Args:
        tau_initializer: Positive number in seconds, or a name or instance of an initializer, for ``tau``.
        **kwargs: The other arguments of ``Lowpass``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: As in ``SpikingLayer``. With a mask, ``method`` is always "sequential".
        training: Boolean.
        initial_state: Tensor ``(batch, 2, units)``, (p, q) in place of (0, ``initial_level``).

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``;
    ``return_state=True`` adds one state ``(batch, 2, units)``.

    Raises:
        ValueError: For a missing or empty time axis, ``dt`` <= 0, ``tau_initializer`` <= 0 or an unknown ``method``.

    Example:

    ```python
    layer = keras_snn.layers.Alpha(0.1, dt=0.01)
    layer(keras.ops.ones((1, 10, 1)))[0, -1, 0]  # 1 - 2 exp(-1) = 0.264
    ```

    References: Rall 1967, J. Neurophysiol. 30, 1138-1168, doi:10.1152/jn.1967.30.5.1138 (the alpha function).
    Discretization and interface are those of the KerasSpiking library.
    """

    cell_class = AlphaCell
