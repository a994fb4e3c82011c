"""Raise dt until a spiking network on Fashion-MNIST is as accurate as the ANN.

The loop and the published figures are those of Ya. Chaban's bachelor thesis, made with PyTorchSpiking. Its "test"
arrays were built from the training arrays, so its figures are training accuracies. They do not show that the spiking
network leads the ANN on new images by the 2.08 points reported at dt = 1 s. Here dt is chosen on validation images, and
the table has the accuracies on training, validation and test images.

The same networks as PyTorch modules, with a custom training loop, are in ``notebooks/03_clothing_and_torch.ipynb``.
"""

from keras_snn.experiments.clothing.experiment import EXPERIMENT, PRESETS, build
from keras_snn.experiments.clothing.published import PUBLISHED
from keras_snn.experiments.clothing.results import table

__all__ = ["EXPERIMENT", "PRESETS", "PUBLISHED", "build", "table"]
