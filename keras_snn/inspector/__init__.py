"""Measure the accuracy, spikes and energy of spiking models at several dt."""

from keras_snn.inspector.comparison import Comparison
from keras_snn.inspector.find_dt import DtSearch, find_dt
from keras_snn.inspector.report import DtReport, Examples, Latency, LayerReport, Rate, Report
from keras_snn.inspector.sweep import inspect
from keras_snn.inspector.traces import Trace

__all__ = [
    "Comparison",
    "DtReport",
    "DtSearch",
    "Examples",
    "Latency",
    "LayerReport",
    "Rate",
    "Report",
    "Trace",
    "find_dt",
    "inspect",
]
