"""Exchange models with other libraries."""

from keras_snn.export.nir_check import nir_round_trip
from keras_snn.export.nir_reader import from_nir
from keras_snn.export.nir_writer import to_nir

__all__ = ["from_nir", "nir_round_trip", "to_nir"]
