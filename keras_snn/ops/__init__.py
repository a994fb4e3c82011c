"""The arithmetic of the package: functions of tensors, without weights or state."""

from keras_snn.ops import decoding, encoding, lif_solution, neurons, plasticity, superspike
from keras_snn.ops.filters import alpha, lowpass
from keras_snn.ops.scan import scan
from keras_snn.ops.spiking import integrate_and_fire

__all__ = [
    "alpha",
    "decoding",
    "encoding",
    "integrate_and_fire",
    "lif_solution",
    "lowpass",
    "neurons",
    "plasticity",
    "scan",
    "superspike",
]
