"""Spiking neurons, with surrogate gradients."""

from keras_snn.layers.neurons.alif import ALIF
from keras_snn.layers.neurons.integrate_and_fire import IF
from keras_snn.layers.neurons.izhikevich import Izhikevich
from keras_snn.layers.neurons.klif import KLIF
from keras_snn.layers.neurons.leaky_integrator import LeakyIntegrator
from keras_snn.layers.neurons.lif import LIF
from keras_snn.layers.neurons.noisy_lif import NoisyLIF
from keras_snn.layers.neurons.plif import PLIF
from keras_snn.layers.neurons.recurrent_lif import RecurrentLIF
from keras_snn.layers.neurons.synaptic import Synaptic

__all__ = ["ALIF", "IF", "KLIF", "LIF", "PLIF", "Izhikevich", "LeakyIntegrator", "NoisyLIF", "RecurrentLIF", "Synaptic"]
