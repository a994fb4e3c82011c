"""LIF: the leaky integrate-and-fire neuron."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class LIF(SpikingNeuron):
    """Leaky integrate-and-fire neuron.

    ======  ======================================================================
    charge  ``h_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau``
    fire    ``s_t = 1 if h_t > threshold else 0``
    reset   ``v_t = h_t (1 - s_t) + v_reset s_t``, or ``h_t - threshold s_t``
    ======  ======================================================================

    The charge is Euler's method for ``tau v' = -(v - v_reset) + x`` with a step of 1. With ``decay_input=False`` the
    input is not divided by tau: ``h_t = v_{t-1} - (v_{t-1} - v_reset) / tau + x_t``.

    Args:
        tau: Number >= 1, the membrane time constant in steps, or an initializer. Default 2.
        decay_input: Boolean, divide the input by tau. Default True.
        refractory: Integer >= 0, the number of steps after a spike in which the neuron neither integrates nor fires.
            Default 0.
        reset_delay: Boolean. True: a reset acts one step later, after the charge of the next step:
            ``v_t = h_t - threshold s_{t-1}``, and v_t fires. This is the default of snnTorch. Default False.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "tau" (kept at 1 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v; further states are the spikes of the
    last step with ``reset_delay``, and the number of refractory steps left with ``refractory``.

    Example:

    ```python
    model = keras.Sequential([
        keras.layers.Dense(128),
        keras_snn.layers.Repeat(8),
        keras_snn.layers.LIF(tau=2.0),
        keras.layers.Dense(100),
        keras_snn.layers.LIF(tau=2.0),
        keras_snn.layers.VotingPooling(10),
    ])
    ```

    References: Fang et al. 2021, ICCV, arXiv:2007.05785, equations 2 to 5; Jiang and Zhang 2023, arXiv:2302.09238.
    """

    parameter_names = ("tau", "threshold")
    options = ("v_reset", "decay_input", "refractory", "reset_delay")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    pointwise = True
    step = staticmethod(neurons.leaky)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        decay_input: bool = True,
        refractory: int = 0,
        reset_delay: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = tau
        self.decay_input = decay_input
        self.refractory = checks.integer("refractory", refractory, least=0, meaning="a number of steps")
        self.reset_delay = reset_delay
