"""From plain networks to spiking ones."""

from keras_snn.conversion.convert import convert
from keras_snn.conversion.report import ConversionReport, LayerFit, report

__all__ = ["ConversionReport", "LayerFit", "convert", "report"]
