"""Fashion-MNIST with spiking activations: five networks, trained and swept over dt.

The published figures are the printed output of the KerasSpiking example "Classifying Fashion MNIST with spiking
activations" (2021).
"""

from keras_snn.experiments.fashion_mnist.experiment import PRESETS, build, run
from keras_snn.experiments.fashion_mnist.published import PUBLISHED
from keras_snn.experiments.fashion_mnist.results import table

__all__ = ["PRESETS", "PUBLISHED", "build", "run", "table"]
