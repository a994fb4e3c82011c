"""Callbacks for ``fit``."""

from keras_snn.callbacks.dt_scheduler import DtScheduler
from keras_snn.callbacks.rate_plot import RatePlot
from keras_snn.callbacks.silence_warning import SilenceWarning
from keras_snn.callbacks.spike_health import SpikeHealth

__all__ = ["DtScheduler", "RatePlot", "SilenceWarning", "SpikeHealth"]
