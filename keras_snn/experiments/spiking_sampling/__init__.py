"""Learned masks: a spiking network chooses pixels, another network rebuilds the image.

Networks and figures are from C. Jiang's PhD thesis (University of Canterbury 2022, chapter 5 and appendix D; Jiang and
Zhang 2022, arXiv:2211.04166). The publication prints no error and no accuracy. Measures and controls are added here:
masks of the brightest pixels and of the largest gradients, crossed masks and networks, bytes, and codecs; for events,
random events in the same number.
"""

from keras_snn.experiments.spiking_sampling.experiment import EXPERIMENT, PRESETS, table

__all__ = ["EXPERIMENT", "PRESETS", "table"]
