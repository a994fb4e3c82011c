"""Spiking layers, and layers that create, keep and remove the time axis."""

from keras_snn.layers.activation import SpikingActivation, SpikingActivationCell, TopKMask
from keras_snn.layers.base import RNN, KerasSpikingCell, KerasSpikingLayer, SpikingCell, SpikingLayer, SpikingNeuron
from keras_snn.layers.encoding import (
    Delta,
    Interval,
    Latency,
    ParallelConvEncoder,
    Phase,
    Poisson,
    Population,
    RankOrder,
)
from keras_snn.layers.filters import Alpha, AlphaCell, Lowpass, LowpassCell
from keras_snn.layers.neurons import (
    ALIF,
    IF,
    KLIF,
    LIF,
    PLIF,
    AlternativeOscillationLIF,
    ConductanceLIF,
    Izhikevich,
    LeakyIntegrator,
    NoisyLIF,
    OscillationLIF,
    RecurrentLIF,
    Synaptic,
)
from keras_snn.layers.plasticity import PlasticConnection
from keras_snn.layers.pooling import FirstSpikeTime, MaxRatePooling, VotingPooling
from keras_snn.layers.time import LastStep, Repeat, TemporalAveragePooling, TimeFold
from keras_snn.layers.whole_model import reset_states, set_dt

__all__ = [
    "ALIF",
    "IF",
    "KLIF",
    "LIF",
    "PLIF",
    "RNN",
    "Alpha",
    "AlternativeOscillationLIF",
    "AlphaCell",
    "ConductanceLIF",
    "Delta",
    "FirstSpikeTime",
    "Interval",
    "Izhikevich",
    "KerasSpikingCell",
    "KerasSpikingLayer",
    "LastStep",
    "Latency",
    "LeakyIntegrator",
    "Lowpass",
    "LowpassCell",
    "MaxRatePooling",
    "NoisyLIF",
    "OscillationLIF",
    "ParallelConvEncoder",
    "Phase",
    "PlasticConnection",
    "Poisson",
    "Population",
    "RankOrder",
    "RecurrentLIF",
    "Repeat",
    "SpikingActivation",
    "SpikingActivationCell",
    "SpikingCell",
    "SpikingLayer",
    "SpikingNeuron",
    "Synaptic",
    "TemporalAveragePooling",
    "TimeFold",
    "TopKMask",
    "VotingPooling",
    "reset_states",
    "set_dt",
]
