"""Lowpass: a first-order synaptic filter."""

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.layers.filters.filter import FilterCell, FilterLayer
from keras_snn.ops.filters import lowpass


@keras.saving.register_keras_serializable(package="keras_snn")
class LowpassCell(FilterCell):
    """One time step of ``Lowpass``. The state is one tensor ``(batch, ...)``: the level.

    Args:
        size: Integer or tuple, shape of one step without the batch axis.
        tau_initializer: As in ``Lowpass``.
        **kwargs: ``dt`` to ``method``, as in ``Lowpass``, and the arguments of ``keras.layers.Layer``.

    Call arguments as in ``SpikingCell``.

    Example:

    ```python
    layer = keras_snn.layers.RNN(keras_snn.layers.LowpassCell(4, 0.1, dt=0.01))
    layer(keras.ops.ones((2, 10, 4))).shape  # (2, 10, 4)
    ```
    """

    def filter(self, inputs: Tensor, state: Tensor, mask: Tensor = None) -> tuple[Tensor, Tensor]:
        return lowpass(inputs, state, self.tau, self.dt, method=self.method, mask=mask)

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        batch_size = ops.shape(inputs)[0] if batch_size is None else batch_size
        return [ops.broadcast_to(self.initial_level, (batch_size, *self.weight_shape[1:]))]


@keras.saving.register_keras_serializable(package="keras_snn")
class Lowpass(FilterLayer):
    """First-order low-pass filter with a trainable time constant for each unit: the exponential synapse.

    ``y_t = a y_{t-1} + (1 - a) x_t`` with ``a = exp(-dt / tau)``: the zero-order hold of 1 / (tau s + 1). A tau below
    1e-8 s counts as 1e-8 s.

    The weights are ``initial_level`` (y before the first step) and ``tau``, in this order. Both have the shape
    ``(1, ...)``: one entry per unit.

    Args:
        tau_initializer: Positive number in seconds, or a name or instance of an initializer, for ``tau``.
        dt: Number in seconds, or a scalar variable; see ``SpikingLayer``. Default: ``keras_snn.default.dt``, 0.001.
        apply_during_training: Boolean. False: in training the outputs are the inputs, and the weights are not
            trainable. Default True.
        level_initializer: Initializer of ``initial_level``. Default "zeros".
        initial_level_constraint: Constraint of ``initial_level``. Default None.
        tau_constraint: Constraint of ``tau``; ``keras_snn.constraints.Mean()`` gives all units one value. Default None.
        method: "sequential" or "parallel" over time; see ``keras_snn.ops.lowpass``. Default "sequential".
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``unroll=False``,
            ``time_major=False``, ``go_backwards=False``, as in ``SpikingLayer``; and the arguments of
            ``keras.layers.Layer``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: As in ``SpikingLayer``. With a mask, ``method`` is always "sequential".
        training: Boolean.
        initial_state: Tensor ``(batch, ...)``, y before the first step. Default: ``initial_level``.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``;
    ``return_state=True`` adds one state ``(batch, ...)``.

    Raises:
        ValueError: For a missing or empty time axis, ``dt`` <= 0, ``tau_initializer`` <= 0 or an unknown ``method``.

    Example:

    ```python
    layer = keras_snn.layers.Lowpass(0.1, dt=0.01)
    layer(keras.ops.ones((1, 10, 1)))[0, -1, 0]  # 1 - exp(-1) = 0.632
    ```

    References: Dayan and Abbott 2001, Theoretical Neuroscience, section 5.8 (exponential synapse). Discretization and
    interface are those of the KerasSpiking library.
    """

    cell_class = LowpassCell
