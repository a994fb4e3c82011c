"""Train at one step with noise in place of the membrane, and run at ten steps: accuracy, and time to an accuracy.

Networks and published figures are from C. Jiang's PhD thesis (University of Canterbury 2022, chapter 4; Jiang and Zhang
2022, arXiv:2211.05453). Two controls are added: training without noise, and LIF neurons with the weights of the noisy
network.
"""

from keras_snn.experiments.noise_training.experiment import DATASETS, EXPERIMENT, PRESETS
from keras_snn.experiments.noise_training.published import PUBLISHED
from keras_snn.experiments.noise_training.results import table

__all__ = ["DATASETS", "EXPERIMENT", "PRESETS", "PUBLISHED", "table"]
