"""Spiking activations."""

from keras_snn.layers.activation.spiking_activation import SpikingActivation, SpikingActivationCell
from keras_snn.layers.activation.top_k_mask import TopKMask

__all__ = ["SpikingActivation", "SpikingActivationCell", "TopKMask"]
