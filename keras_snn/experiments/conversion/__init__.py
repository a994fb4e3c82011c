"""Plain networks converted to spiking ones: how accurate after how many steps, with how many spikes.

There is no publication behind these figures: they are the library's own, of networks that two cores can train.
"""

from keras_snn.experiments.conversion.experiment import DATASETS, KINDS, PRESETS, run
from keras_snn.experiments.conversion.results import table

__all__ = ["DATASETS", "KINDS", "PRESETS", "run", "table"]
