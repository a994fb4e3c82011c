"""ModelEnergy under the name of its module in KerasSpiking."""

from keras_snn.energy import ModelEnergy

__all__ = ["ModelEnergy"]
