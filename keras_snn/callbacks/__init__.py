"""Callbacks for ``fit``."""

from keras_snn.callbacks.dt_scheduler import DtScheduler

__all__ = ["DtScheduler"]
