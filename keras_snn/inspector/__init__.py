"""Questions to a spiking model: how accurate, how many spikes, at which dt."""

from keras_snn.inspector.report import DtReport, LayerReport, Rate, Report
from keras_snn.inspector.sweep import inspect

__all__ = ["DtReport", "LayerReport", "Rate", "Report", "inspect"]
