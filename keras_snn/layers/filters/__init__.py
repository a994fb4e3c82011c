"""Linear synaptic filters with trainable time constants."""

from keras_snn.layers.filters.alpha import Alpha, AlphaCell
from keras_snn.layers.filters.lowpass import Lowpass, LowpassCell

__all__ = ["Alpha", "AlphaCell", "Lowpass", "LowpassCell"]
