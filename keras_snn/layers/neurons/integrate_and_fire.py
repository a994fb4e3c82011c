"""IF: the integrate-and-fire neuron."""

import keras

from keras_snn.layers.base import SpikingNeuron
from keras_snn.layers.base.spiking_neuron import check_refractory
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
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``learn=()``, ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ...,
            as in ``SpikingNeuron``. ``learn`` may name "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v, and with ``refractory`` also the number
    of steps still to wait.

    Example:

    ```python
    keras_snn.layers.IF()(0.4 * keras.ops.ones((1, 6, 1)))  # spikes at the third and the sixth step
    ```

    References: Lapicque 1907, J. Physiol. Pathol. Gen. 9; the discretisation is that of Fang et al. 2021, ICCV.
    """

    options = ("v_reset", "refractory")
    pointwise = True
    step = staticmethod(neurons.integrate)

    def __init__(self, *, refractory=0, **kwargs):
        super().__init__(**kwargs)
        self.refractory = check_refractory(refractory)
