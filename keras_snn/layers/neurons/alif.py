"""ALIF: the leaky integrate-and-fire neuron with an adaptive threshold."""

from typing import Any

import keras

from keras_snn.constraints import Clip
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class ALIF(SpikingNeuron):
    """LIF neuron with an adaptive threshold: each spike raises it, and it decays back.

    ========  ===============================================================
    charge    ``h_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau``
    fire      ``s_t = 1 if h_t > threshold + beta a_{t-1} else 0``
    reset     ``v_t = h_t (1 - s_t) + v_reset s_t``, or
              ``h_t - (threshold + beta a_{t-1}) s_t``
    adapt     ``a_t = (1 - 1 / tau_adaptation) a_{t-1} + s_t``
    ========  ===============================================================

    Args:
        tau: Number >= 1, the membrane time constant in steps, or an initializer. Default 2.
        tau_adaptation: Number >= 1, the time constant of the threshold in steps, or an initializer. Default 100.
        beta: Number, the increase of the threshold per spike, or an initializer. Default 0.1.
        decay_input: As in ``LIF``. Default True.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "tau", "tau_adaptation" (both kept at 1 or above), "beta" (at
            0 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are v and a.

    Example:

    ```python
    keras_snn.layers.ALIF(tau=20.0, beta=0.5, decay_input=False)(keras.ops.ones((1, 50, 1)))  # growing intervals
    ```

    References: Bellec et al. 2020, Nature Communications 11, 3625, doi:10.1038/s41467-020-17236-y, for the adaptation.
    There the decay factors are exp(-1 / tau), and a spike subtracts the threshold.
    """

    parameter_names = ("tau", "tau_adaptation", "beta", "threshold")
    state_names = ("v", "a")
    options = ("v_reset", "decay_input")
    time_constants = {"tau": "leak", "tau_adaptation": "adaptation_leak"}  # noqa: RUF012
    step = staticmethod(neurons.adaptive_leaky)

    def __init__(
        self, tau: Any = 2.0, *, tau_adaptation: Any = 100.0, beta: Any = 0.1, decay_input: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.tau = tau
        self.tau_adaptation = tau_adaptation
        self.bounds = {"beta": Clip(min_value=0.0)} if "beta" in self.learn else {}
        self.beta = beta
        self.decay_input = decay_input
