"""Spiking activations."""

from keras_snn.layers.activation.spiking_activation import SpikingActivation, SpikingActivationCell

__all__ = ["SpikingActivation", "SpikingActivationCell"]
