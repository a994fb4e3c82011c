"""Connections that learn by local rules."""

from keras_snn.layers.plasticity.plastic_connection import PlasticConnection

__all__ = ["PlasticConnection"]
