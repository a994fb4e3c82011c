"""IF: the integrate-and-fire neuron."""

import keras
from keras import ops

from keras_snn import checks
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
        refractory: Integer >= 0, the number of steps after a spike for which the neuron neither integrates nor fires.
        initial_potential: Number, v_0 above ``v_reset`` in parts of the threshold. Default 0. With 0.5 and reset by
            subtraction the number of spikes is that of the summed input over the threshold, rounded to the nearest and
            not downwards.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v, and with ``refractory`` also the number
    of steps still to wait.

    Example:

    ```python
    keras_snn.layers.IF()(0.4 * keras.ops.ones((1, 6, 1)))  # spikes at the third and the sixth step
    ```

    References: Lapicque 1907, J. Physiol. Pathol. Gen. 9; the discretization is that of Fang et al. 2021, ICCV.
    The initial potential: Bu et al. 2022, AAAI, arXiv:2202.01440.
    """

    options = ("v_reset", "refractory", "initial_potential")
    pointwise = True
    step = staticmethod(neurons.integrate)

    def __init__(self, *, refractory=0, initial_potential=0.0, **kwargs):
        super().__init__(**kwargs)
        self.refractory = checks.integer("refractory", refractory, least=0, meaning="a number of steps")
        self.initial_potential = checks.number("initial_potential", initial_potential)

    def initial_state(self, batch_size):
        v, *wait = super().initial_state(batch_size)
        return (
            [v + ops.cast(self.initial_potential * self.parameter_values()["threshold"], v.dtype), *wait]
            if self.initial_potential
            else [v, *wait]
        )
