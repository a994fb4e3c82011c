"""KLIF: a LIF neuron that learns the scale of its membrane, against LIF and against each of its two parts alone.

The networks and the published figures are those of C. Jiang's PhD thesis (University of Canterbury 2022, chapter 2;
Jiang and Zhang 2023, arXiv:2302.09238). Its gaps on MNIST (0.00 points) and Fashion-MNIST (0.07) are smaller than what
another seed makes: the quick preset can tell whether KLIF is clearly worse, how the two learn at first, how much they
fire, and where k goes, and no more.
"""

from keras_snn.experiments.klif.experiment import EXPERIMENT, PRESETS
from keras_snn.experiments.klif.published import PUBLISHED
from keras_snn.experiments.klif.results import table

__all__ = ["EXPERIMENT", "PRESETS", "PUBLISHED", "table"]
