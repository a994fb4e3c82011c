"""Convert trained models: from ANNs to spiking networks, and from one time step to many."""

from keras_snn.conversion.convert import convert
from keras_snn.conversion.extend_time import extend_time
from keras_snn.conversion.report import ConversionReport, LayerFit, report

__all__ = ["ConversionReport", "LayerFit", "convert", "extend_time", "report"]
