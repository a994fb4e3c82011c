"""Two neurons learn two digits by local rules, while a teacher current names them.

From a notebook on the digits of scikit-learn with the simulator Brian2; there is no publication.
"""

from keras_snn.experiments.teacher_stdp.experiment import EXPERIMENT, PRESETS
from keras_snn.experiments.teacher_stdp.results import table

__all__ = ["EXPERIMENT", "PRESETS", "table"]
