"""A spiking classifier of event recordings: N-MNIST, or digits that a simulated camera sees.

N-MNIST is from Orchard, Jayawant, Cohen and Thakor 2015, Front. Neurosci. 9, 437. The network is not from a
publication.
"""

from keras_snn.experiments.nmnist.experiment import EXPERIMENT, PRESETS
from keras_snn.experiments.nmnist.results import table

__all__ = ["EXPERIMENT", "PRESETS", "table"]
