"""The network of Diehl and Cook 2015 on MNIST: digits learned without labels, by spike-timing-dependent plasticity."""

from keras_snn.experiments.stdp_mnist.experiment import EXPERIMENT, PRESETS
from keras_snn.experiments.stdp_mnist.results import table

__all__ = ["EXPERIMENT", "PRESETS", "table"]
