"""Spiking neurons, with surrogate gradients.

Libraries differ in whether a membrane potential h exactly at the threshold gives a spike:

===================================  ==============================================
library                              condition for a spike
===================================  ==============================================
keras_snn.layers.neurons             ``h > threshold``
snnTorch, Norse, nengo               ``h > threshold``
SpikingJelly                         ``h >= threshold``
KerasSpiking, ``SpikingActivation``  ``h >= 1``: ``floor(h)`` spikes
Brian2                               the user's condition holds, often ``v > v_th``
===================================  ==============================================

For imported weights this matters only if sums are exact in floating point, as with quantized weights: IF with threshold
1 and the input 0.5 at each step fires at the third step here, and at the second in SpikingJelly. To import such weights
from SpikingJelly, lower the threshold to the next smaller float32:
``threshold=np.nextafter(np.float32(1), 0)``.
"""

from keras_snn.layers.neurons.alif import ALIF
from keras_snn.layers.neurons.conductance_lif import ConductanceLIF
from keras_snn.layers.neurons.integrate_and_fire import IF
from keras_snn.layers.neurons.izhikevich import Izhikevich
from keras_snn.layers.neurons.klif import KLIF
from keras_snn.layers.neurons.leaky_integrator import LeakyIntegrator
from keras_snn.layers.neurons.lif import LIF
from keras_snn.layers.neurons.noisy_lif import NoisyLIF
from keras_snn.layers.neurons.oscillation_lif import AlternativeOscillationLIF, OscillationLIF
from keras_snn.layers.neurons.plif import PLIF
from keras_snn.layers.neurons.recurrent_lif import RecurrentLIF
from keras_snn.layers.neurons.resonate_and_fire import ResonateAndFire
from keras_snn.layers.neurons.synaptic import Synaptic

__all__ = [
    "ALIF",
    "IF",
    "KLIF",
    "LIF",
    "PLIF",
    "AlternativeOscillationLIF",
    "ConductanceLIF",
    "Izhikevich",
    "LeakyIntegrator",
    "NoisyLIF",
    "OscillationLIF",
    "RecurrentLIF",
    "ResonateAndFire",
    "Synaptic",
]
