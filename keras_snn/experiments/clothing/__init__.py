"""Clothes on Fashion-MNIST: raise dt until the spiking network is as good as the plain one.

The loop and the published figures are those of Ya. Chaban's bachelor thesis, made with PyTorchSpiking. Its "test"
arrays were built from the training arrays: its figures are training accuracies, and the lead of 2.08 points over the
plain network, which it reports at dt = 1 s, tells nothing of new images. Here dt is chosen on images that were held
back from the training, and accuracies on training and on test images stand side by side.

The same networks as PyTorch modules, with a loop of one's own, are in ``notebooks/03_clothing_and_torch.ipynb``.
"""

from keras_snn.experiments.clothing.experiment import PRESETS, build, run
from keras_snn.experiments.clothing.published import PUBLISHED
from keras_snn.experiments.clothing.results import table

__all__ = ["PRESETS", "PUBLISHED", "build", "run", "table"]
