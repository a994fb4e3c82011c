"""Synaptic: the current-based leaky integrate-and-fire neuron."""

from typing import Any

import keras

from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class Synaptic(SpikingNeuron):
    """Current-based LIF neuron: the input charges a synaptic current, and the current charges the membrane.

    =======  ================================================================
    current  ``i_t = (1 - 1 / tau_synapse) i_{t-1} + x_t``
    charge   ``h_t = v_{t-1} - (v_{t-1} - v_reset) / tau + i_t``
    fire     ``s_t = 1 if h_t > threshold else 0``
    reset    ``v_t = h_t (1 - s_t) + v_reset s_t``, or ``h_t - threshold s_t``
    =======  ================================================================

    Args:
        tau: Number >= 1, the membrane time constant in steps, or an initializer. Default 2.
        tau_synapse: Number >= 1, the time constant of the current in steps, or an initializer. Default 2.
        reset_delay: Boolean. True: a reset acts one step later, after the charge of the next step:
            ``v_t = h_t - threshold s_{t-1}``, and v_t fires. This is the default of snnTorch. Default False.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "tau", "tau_synapse" (both kept at 1 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are i and v, and
    with ``reset_delay`` the spikes of the last step.

    Example:

    ```python
    keras_snn.layers.Synaptic(tau=10.0, tau_synapse=5.0)(keras.ops.ones((1, 20, 3)))
    ```

    References: Zenke and Ganguli 2018, Neural Computation 30, arXiv:1705.11146; Eshraghian et al. 2023, Proc. IEEE 111,
    arXiv:2109.12894. There the decay factors are alpha = 1 - 1 / tau_synapse and beta = 1 - 1 / tau.
    """

    parameter_names = ("tau", "tau_synapse", "threshold")
    state_names = ("i", "v")
    options = ("v_reset", "reset_delay")
    time_constants = {"tau": "leak", "tau_synapse": "synapse_leak"}  # noqa: RUF012
    step = staticmethod(neurons.synaptic)

    def __init__(self, tau: Any = 2.0, *, tau_synapse: Any = 2.0, reset_delay: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau = tau
        self.tau_synapse = tau_synapse
        self.reset_delay = reset_delay
