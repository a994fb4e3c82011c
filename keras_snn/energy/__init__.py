"""Operation counts of a model, and their energy on several devices."""

from keras_snn.energy.connections import connections, fan_out
from keras_snn.energy.devices import DEVICES
from keras_snn.energy.model_energy import ModelEnergy
from keras_snn.energy.synapses import Synapses, spike_reach
from keras_snn.energy.work import Work, joules

__all__ = ["DEVICES", "ModelEnergy", "Synapses", "Work", "connections", "fan_out", "joules", "spike_reach"]
