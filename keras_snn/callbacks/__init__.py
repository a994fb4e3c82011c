"""Callbacks for ``fit``."""

from keras_snn.callbacks.dt_scheduler import DtScheduler
from keras_snn.callbacks.silence_warning import SilenceWarning

__all__ = ["DtScheduler", "SilenceWarning"]
