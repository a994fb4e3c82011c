"""Base classes of the layers that run a cell or a neuron over time."""

from keras_snn.layers.base.rnn import RNN
from keras_snn.layers.base.spiking_cell import KerasSpikingCell, SpikingCell
from keras_snn.layers.base.spiking_layer import KerasSpikingLayer, SpikingLayer
from keras_snn.layers.base.spiking_neuron import SpikingNeuron

__all__ = ["RNN", "KerasSpikingCell", "KerasSpikingLayer", "SpikingCell", "SpikingLayer", "SpikingNeuron"]
