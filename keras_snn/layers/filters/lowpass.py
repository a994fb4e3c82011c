"""Lowpass: a first-order synaptic filter."""

import keras
from keras import ops

from keras_snn.layers.filters.filter import FilterCell, FilterLayer
from keras_snn.ops.filters import lowpass


@keras.saving.register_keras_serializable(package="keras_snn")
class LowpassCell(FilterCell):
    """One time step of ``Lowpass``.

    Args:
        size: Integer or tuple, shape of one step without the batch axis.
        tau_initializer: As in ``Lowpass``.
        **kwargs: The other arguments of ``Lowpass`` up to ``method``, and those of any Keras layer.
    """

    def filter(self, inputs, state, mask=None):
        return lowpass(inputs, state, self.tau, self.dt, method=self.method, mask=mask)

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        batch_size = ops.shape(inputs)[0] if batch_size is None else batch_size
        return [ops.broadcast_to(self.initial_level, (batch_size, *self.weight_shape[1:]))]


@keras.saving.register_keras_serializable(package="keras_snn")
class Lowpass(FilterLayer):
    """First-order low-pass filter, one a unit, with a trainable time constant.

    ``y_t = a y_{t-1} + (1 - a) x_t``, ``a = exp(-dt / tau)``: the zero-order hold of 1 / (tau s + 1), that is, an
    exponential synapse. A tau below 1e-8 counts as 1e-8. The weights are ``initial_level`` (y before the first step)
    and ``tau``, in this order, one per unit, of shape ``(1, ...)``.

    Args:
        tau_initializer: Positive number in seconds, or a name or instance of an initializer, for ``tau``.
        dt: Number in seconds, or a scalar variable; see ``SpikingLayer``. Default 0.001.
        apply_during_training: Boolean. False: training passes the inputs through untouched, and the weights are not
            trainable.
        level_initializer: Initializer of ``initial_level``. Default "zeros".
        initial_level_constraint: Constraint of ``initial_level``.
        tau_constraint: Constraint of ``tau``, for instance ``keras_snn.constraints.Mean()`` for one value in common.
        method: "sequential" or "parallel" over time; see ``keras_snn.ops.lowpass``.
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``unroll=False``,
            ``time_major=False``, ``go_backwards=False``, as in ``SpikingLayer``; and those of any Keras layer.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: As in ``SpikingLayer``. With a mask, ``method`` is always "sequential".
        training: Boolean.
        initial_state: Tensor ``(batch, ...)``, in place of ``initial_level``.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``.

    Raises:
        ValueError: For a missing or empty time axis, ``dt`` <= 0, ``tau_initializer`` <= 0 or an unknown ``method``.

    Example:

    ```python
    layer = keras_snn.layers.Lowpass(0.1, dt=0.01)
    layer(keras.ops.ones((1, 10, 1)))[0, -1, 0]  # 1 - exp(-1) = 0.632
    ```

    References: Dayan and Abbott 2001, Theoretical Neuroscience, section 5.8 (exponential synapse); the discretisation
    and the interface are those of the KerasSpiking library.
    """

    cell_class = LowpassCell
