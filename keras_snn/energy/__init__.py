"""Operation counts of a model, and their energy on several devices."""

from keras_snn.energy.connections import connections, fan_out
from keras_snn.energy.devices import DEVICES, NOT_MODELED, device_table
from keras_snn.energy.model_energy import ModelEnergy
from keras_snn.energy.synapses import Synapses, spike_reach
from keras_snn.energy.work import Work, energy_range, joules

__all__ = [
    "DEVICES",
    "NOT_MODELED",
    "ModelEnergy",
    "Synapses",
    "Work",
    "connections",
    "device_table",
    "energy_range",
    "fan_out",
    "joules",
    "spike_reach",
]
