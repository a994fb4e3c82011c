"""Export models to files for servers and devices, and exchange them with other libraries."""

from keras_snn.export.exporters import Exported, litert, onnx, saved_model
from keras_snn.export.nir_check import nir_round_trip
from keras_snn.export.nir_reader import from_nir
from keras_snn.export.nir_writer import to_nir
from keras_snn.export.step_model import initial_states, step_model

__all__ = [
    "Exported",
    "from_nir",
    "initial_states",
    "litert",
    "nir_round_trip",
    "onnx",
    "saved_model",
    "step_model",
    "to_nir",
]
