"""LeakyIntegrator: a leaky membrane without spikes, for the output of a network."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class LeakyIntegrator(SpikingNeuron):
    """Leaky membrane without spikes, for the readout of a network. The outputs are the membrane potentials.

    ``v_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau``; with ``decay_input=False`` the input is not divided by tau.

    Args:
        tau: Number >= 1, the time constant in steps, or an initializer. Default 2.
        decay_input: Boolean. Default True.
        v_reset: Number, the resting potential and the initial potential. Default 0.
        learn: Sequence of names of trained parameters: ("tau",), which is kept at 1 or above, or (). Default ().
        per: As in ``SpikingNeuron``.
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v.

    Example:

    ```python
    keras_snn.layers.LeakyIntegrator(tau=10.0, return_sequences=False)(keras.ops.ones((1, 20, 3)))  # 1 - 0.9^20
    ```

    References: Bellec et al. 2020, Nature Communications 11, 3625, doi:10.1038/s41467-020-17236-y, equation 12, for
    leaky readouts.
    """

    emits_spikes = False
    parameter_names = ("tau",)
    options = ("v_reset", "decay_input")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    step = staticmethod(neurons.leaky_integrator)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        decay_input: bool = True,
        v_reset: float = 0.0,
        learn: Sequence[str] = (),
        per: str = "layer",
        **kwargs: Any,
    ) -> None:
        if unsupported := kwargs.keys() & {"threshold", "reset", "surrogate", "detach_reset"}:
            raise TypeError(f"A LeakyIntegrator does not fire: it has no {', '.join(sorted(unsupported))}.")
        super().__init__(v_reset=v_reset, learn=learn, per=per, **kwargs)
        self.tau = tau
        self.decay_input = decay_input

    def get_config(self):
        config = super().get_config()
        for name in ("reset", "surrogate", "detach_reset"):
            del config[name]
        return config
