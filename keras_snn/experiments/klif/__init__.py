"""KLIF, a LIF neuron with a learned scale of its membrane, against LIF and against each of its two parts.

Networks and published figures are from C. Jiang's PhD thesis (University of Canterbury 2022, chapter 2; Jiang and Zhang
2023, arXiv:2302.09238). Its differences on MNIST (0.00 points) and Fashion-MNIST (0.07) are smaller than those between
seeds. The quick preset only shows whether KLIF is clearly worse, how both learn at first, how much they fire, and how k
develops.
"""

from keras_snn.experiments.klif.experiment import EXPERIMENT, PRESETS
from keras_snn.experiments.klif.published import PUBLISHED
from keras_snn.experiments.klif.results import table

__all__ = ["EXPERIMENT", "PRESETS", "PUBLISHED", "table"]
