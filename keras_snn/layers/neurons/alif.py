"""ALIF: the leaky integrate-and-fire neuron with an adaptive threshold."""

import keras

from keras_snn.constraints import Clip
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class ALIF(SpikingNeuron):
    """LIF neuron whose threshold rises with each of its spikes and falls back.

    ========  ===============================================================
    charge    ``h_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau``
    fire      ``s_t = 1 if h_t > threshold + beta a_{t-1} else 0``
    reset     ``v_t = h_t (1 - s_t) + v_reset s_t``, or
              ``h_t - (threshold + beta a_{t-1}) s_t``
    adapt     ``a_t = (1 - 1 / tau_adaptation) a_{t-1} + s_t``
    ========  ===============================================================

    Args:
        tau: Number >= 1, the time constant of the membrane in steps, or an initializer. Default 2.
        tau_adaptation: Number >= 1, the time constant of the threshold in steps, or an initializer. Default 100.
        beta: Number, what one spike adds to the threshold, or an initializer. Default 0.1.
        decay_input: As in ``LIF``. Default True.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "tau", "tau_adaptation" (both kept at 1 or above), "beta" (at
            0 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are v and a.

    Example:

    ```python
    keras_snn.layers.ALIF(tau=20.0, beta=0.5, decay_input=False)(keras.ops.ones((1, 50, 1)))  # ever fewer spikes
    ```

    References: Bellec et al. 2020, Nature Communications 11, 3625, for the adaptation (their decays are exp(-1 / tau),
    and their spikes take the threshold off).
    """

    parameter_names = ("tau", "tau_adaptation", "beta", "threshold")
    state_names = ("v", "a")
    options = ("v_reset", "decay_input")
    time_constants = {"tau": "leak", "tau_adaptation": "adaptation_leak"}  # noqa: RUF012
    step = staticmethod(neurons.adaptive_leaky)

    def __init__(self, tau=2.0, *, tau_adaptation=100.0, beta=0.1, decay_input=True, **kwargs):
        super().__init__(**kwargs)
        self.tau = tau
        self.tau_adaptation = tau_adaptation
        self.bounds = {"beta": Clip(min_value=0.0)} if "beta" in self.learn else {}
        self.beta = beta
        self.decay_input = decay_input
