"""RecurrentLIF: leaky integrate-and-fire neurons with recurrent connections."""

from typing import Any

import keras
from keras import ops

from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class RecurrentLIF(SpikingNeuron):
    """LIF neurons with all-to-all recurrent connections: the spikes of a step are inputs of the next step.

    ======  ===================================================================================
    charge  ``h_t = v_{t-1} + (x_t + s_{t-1} recurrent_kernel - (v_{t-1} - v_reset)) / tau``
    fire    ``s_t = 1 if h_t > threshold else 0``
    reset   ``v_t = h_t (1 - s_t) + v_reset s_t``, or ``h_t - threshold s_t``
    ======  ===================================================================================

    Args:
        tau: Number >= 1, the membrane time constant in steps, or an initializer. Default 2.
        decay_input: As in ``LIF``. Default True.
        recurrent_initializer: Initializer of ``recurrent_kernel (units, units)``. Default "orthogonal".
        recurrent_regularizer: Regularizer of ``recurrent_kernel``. Default None.
        recurrent_constraint: Constraint of ``recurrent_kernel``. Default None.
        reset_delay: Boolean. True: a reset acts one step later, after the charge of the next step:
            ``v_t = h_t - threshold s_{t-1}``, and v_t fires. This is the default of snnTorch. Default False.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "tau" (kept at 1 or above) and "threshold".

    Call arguments and errors: as in ``SpikingNeuron``. The states are v and the spikes of the previous step,
    with ``reset_delay`` twice.

    Input shape: ``(batch, time, units)``. Output shape: the same, or ``(batch, units)`` with
    ``return_sequences=False``.

    Example:

    ```python
    keras_snn.layers.RecurrentLIF(tau=10.0)(keras.random.normal((2, 50, 16)))
    ```

    References: Bellec et al. 2018, NeurIPS, arXiv:1803.09574.
    """

    parameter_names = ("tau", "threshold")
    state_names = ("v", "spikes")
    options = ("v_reset", "decay_input", "reset_delay")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    step = staticmethod(neurons.recurrent_leaky)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        decay_input: bool = True,
        recurrent_initializer: Any = "orthogonal",
        recurrent_regularizer: Any = None,
        recurrent_constraint: Any = None,
        reset_delay: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = tau
        self.decay_input = decay_input
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.reset_delay = reset_delay
        self.recurrent_kernel = None

    def build_parts(self, shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(
                f"RecurrentLIF needs inputs (batch, time, units), got shape {tuple(shape)}. Put "
                "TimeFold(keras.layers.Flatten()) before it."
            )
        super().build_parts(shape)
        if self.recurrent_kernel is None:
            self.recurrent_kernel = self.add_weight(
                name="recurrent_kernel",
                shape=(shape[2], shape[2]),
                initializer=self.recurrent_initializer,
                regularizer=self.recurrent_regularizer,
                constraint=self.recurrent_constraint,
                dtype=voltage_dtype(self.variable_dtype),
            )

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        return {**super().equation_values(p), "recurrent_kernel": ops.convert_to_tensor(self.recurrent_kernel)}

    def spread(self, name: str, value: Tensor, states: list[Tensor]) -> Tensor:
        return value if name == "recurrent_kernel" else super().spread(name, value, states)

    def get_config(self):
        return {
            **super().get_config(),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "recurrent_regularizer": keras.regularizers.serialize(self.recurrent_regularizer),
            "recurrent_constraint": keras.constraints.serialize(self.recurrent_constraint),
        }
