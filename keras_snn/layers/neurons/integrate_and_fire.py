"""IF: the integrate-and-fire neuron."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class IF(SpikingNeuron):
    """Integrate-and-fire neuron, without a leak.

    ======  ==================================================================
    charge  ``h_t = v_{t-1} + x_t``
    fire    ``s_t = 1 if h_t > threshold else 0``
    reset   ``v_t = h_t (1 - s_t) + v_reset s_t``, or ``h_t - threshold s_t``
    ======  ==================================================================

    Args:
        refractory: Integer >= 0, the number of steps after a spike in which the neuron neither integrates nor fires.
            Default 0.
        reset_delay: Boolean. True: a reset acts one step later, after the charge of the next step:
            ``v_t = h_t - threshold s_{t-1}``, and v_t fires. This is the default of snnTorch. Default False.
        initial_potential: Number, ``(v_0 - v_reset) / threshold``. With 0.5 and ``reset="subtract"`` the number of
            spikes is the summed input divided by the threshold, rounded to the nearest integer. With 0 it is rounded
            down. Default 0.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v; further states are the spikes of the
    last step with ``reset_delay``, and the number of refractory steps left with ``refractory``.

    Example:

    ```python
    keras_snn.layers.IF()(0.4 * keras.ops.ones((1, 6, 1)))  # spikes at the third and the sixth step
    ```

    References: Lapicque 1907, J. Physiol. Pathol. Gen. 9, 620-635. Discretization: Fang et al. 2021, ICCV,
    arXiv:2007.05785. Initial potential: Bu et al. 2022, AAAI, arXiv:2202.01440.
    """

    options = ("v_reset", "refractory", "reset_delay", "initial_potential")
    pointwise = True
    step = staticmethod(neurons.integrate)

    def __init__(
        self, *, refractory: int = 0, reset_delay: bool = False, initial_potential: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.refractory = checks.integer("refractory", refractory, least=0, meaning="a number of steps")
        self.reset_delay = reset_delay
        self.initial_potential = checks.number("initial_potential", initial_potential)

    def initial_state(self, batch_size: int) -> list[Tensor]:
        v, *others = super().initial_state(batch_size)
        if self.initial_potential:
            v = v + ops.cast(self.initial_potential * self.parameter_values()["threshold"], v.dtype)
        return [v, *others]
