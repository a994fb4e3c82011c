"""Layers that create the time axis, apply other layers over it, and remove it."""

from keras_snn.layers.time.last_step import LastStep
from keras_snn.layers.time.repeat import Repeat
from keras_snn.layers.time.temporal_average_pooling import TemporalAveragePooling
from keras_snn.layers.time.time_fold import TimeFold

__all__ = ["LastStep", "Repeat", "TemporalAveragePooling", "TimeFold"]
