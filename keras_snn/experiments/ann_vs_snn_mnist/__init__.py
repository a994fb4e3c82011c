"""A plain network and its spiking twin on clean, turned and noisy digits, and what dt does.

The published figures are those of I. Kravchenko's course work (National University of Kyiv-Mohyla Academy, 2021), made
with KerasSpiking. Two mistakes of it are not repeated here:

- On the turned digits it printed the plain network's score under the spiking network's name, so its statement that the
  two do not differ there was not measured. Here every score is that of the network in its row.
- On the noisy digits it gave the spiking network single images, without the time axis (a warning about the shape was
  printed). Here the time axis is made inside the network, by ``Repeat``: an image cannot come without it.
"""

from keras_snn.experiments.ann_vs_snn_mnist.experiment import PRESETS, build, run
from keras_snn.experiments.ann_vs_snn_mnist.published import PUBLISHED
from keras_snn.experiments.ann_vs_snn_mnist.results import table

__all__ = ["PRESETS", "PUBLISHED", "build", "run", "table"]
