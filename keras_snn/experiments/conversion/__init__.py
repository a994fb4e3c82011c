"""ANNs converted to spiking networks: accuracy and spikes by the number of steps.

These figures are not from a publication. The networks are small enough to train on two cores.
"""

from keras_snn.experiments.conversion.experiment import DATASETS, EXPERIMENT, KINDS, PRESETS
from keras_snn.experiments.conversion.results import table

__all__ = ["DATASETS", "EXPERIMENT", "KINDS", "PRESETS", "table"]
