"""Training at a single step with noise for a membrane, and running at ten: accuracy, and time to accuracy.

The networks and the published figures are those of C. Jiang's PhD thesis (University of Canterbury 2022, chapter 4;
Jiang and Zhang 2022, arXiv:2211.05453). Two controls are not in it: the same training without noise, and ordinary LIF
neurons with the weights of the noisy ones.
"""

from keras_snn.experiments.noise_training.experiment import DATASETS, EXPERIMENT, PRESETS
from keras_snn.experiments.noise_training.published import PUBLISHED
from keras_snn.experiments.noise_training.results import table

__all__ = ["DATASETS", "EXPERIMENT", "PRESETS", "PUBLISHED", "table"]
