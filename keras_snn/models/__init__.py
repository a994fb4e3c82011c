"""Spiking networks of the publications, as functions that build a Keras model, and models with methods of their own."""

from keras_snn.models.diehl_cook import DiehlCook
from keras_snn.models.klif_net import klif_net
from keras_snn.models.noise_net import noise_net
from keras_snn.models.plots import draw_fields, draw_raster, draw_traces
from keras_snn.models.resnet18 import resnet18
from keras_snn.models.sampling_networks import (
    conv_reconstructor,
    dense_reconstructor,
    event_classifier,
    event_reconstructor,
    event_sampling_network,
    sampling_network,
)
from keras_snn.models.sampling_scores import BrightnessScores, GradientScores, RandomScores
from keras_snn.models.spiking_layers import NEURONS
from keras_snn.models.spiking_sampler import SpikingSampler
from keras_snn.models.teacher_stdp import TeacherSTDP
from keras_snn.models.vgg16 import vgg16

__all__ = [
    "NEURONS",
    "BrightnessScores",
    "DiehlCook",
    "GradientScores",
    "RandomScores",
    "SpikingSampler",
    "TeacherSTDP",
    "conv_reconstructor",
    "dense_reconstructor",
    "draw_fields",
    "draw_raster",
    "draw_traces",
    "event_classifier",
    "event_reconstructor",
    "event_sampling_network",
    "klif_net",
    "noise_net",
    "resnet18",
    "sampling_network",
    "vgg16",
]
