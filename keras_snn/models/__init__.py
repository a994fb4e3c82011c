"""Spiking networks of the publications, as functions that build a Keras model."""

from keras_snn.models.klif_net import klif_net
from keras_snn.models.noise_net import noise_net
from keras_snn.models.resnet18 import resnet18
from keras_snn.models.spiking_layers import NEURONS
from keras_snn.models.vgg16 import vgg16

__all__ = ["NEURONS", "klif_net", "noise_net", "resnet18", "vgg16"]
