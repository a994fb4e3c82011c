"""The arithmetic of the package: functions of tensors, without weights or state."""

from keras_snn.ops import decoding, encoding, neurons, plasticity
from keras_snn.ops.filters import alpha, lowpass
from keras_snn.ops.scan import scan
from keras_snn.ops.spiking import integrate_and_fire

__all__ = ["alpha", "decoding", "encoding", "integrate_and_fire", "lowpass", "neurons", "plasticity", "scan"]
