"""Fashion-MNIST with spiking activations: five networks, evaluated at several dt.

The published figures are the printed output of the KerasSpiking example "Classifying Fashion MNIST with spiking
activations" (2021).
"""

from keras_snn.experiments.fashion_mnist.experiment import EXPERIMENT, PRESETS, build
from keras_snn.experiments.fashion_mnist.published import PUBLISHED
from keras_snn.experiments.fashion_mnist.results import table

__all__ = ["EXPERIMENT", "PRESETS", "PUBLISHED", "build", "table"]
