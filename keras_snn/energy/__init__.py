"""How much a model computes, and what that costs on several devices."""

from keras_snn.energy.connections import connections, fan_out
from keras_snn.energy.devices import DEVICES, Device
from keras_snn.energy.model_energy import ModelEnergy

__all__ = ["DEVICES", "Device", "ModelEnergy", "connections", "fan_out"]
