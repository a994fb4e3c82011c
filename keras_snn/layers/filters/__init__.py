"""Linear synaptic filters with trainable time constants, and trainable delays."""

from keras_snn.layers.filters.alpha import Alpha, AlphaCell
from keras_snn.layers.filters.delay import Delay
from keras_snn.layers.filters.lowpass import Lowpass, LowpassCell

__all__ = ["Alpha", "AlphaCell", "Delay", "Lowpass", "LowpassCell"]
