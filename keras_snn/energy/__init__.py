"""Operation counts of a model, and their energy on several devices."""

from keras_snn.energy.anatomy import study
from keras_snn.energy.connections import connections, fan_out
from keras_snn.energy.devices import DEVICES
from keras_snn.energy.model_energy import ModelEnergy
from keras_snn.energy.work import Work, joules

__all__ = ["DEVICES", "ModelEnergy", "Work", "connections", "fan_out", "joules", "study"]
