"""Layers that encode values as spikes."""

from keras_snn.layers.encoding.delta import Delta
from keras_snn.layers.encoding.interval import Interval
from keras_snn.layers.encoding.latency import Latency
from keras_snn.layers.encoding.parallel_conv_encoder import ParallelConvEncoder
from keras_snn.layers.encoding.phase import Phase
from keras_snn.layers.encoding.poisson import Poisson
from keras_snn.layers.encoding.population import Population
from keras_snn.layers.encoding.rank_order import RankOrder
from keras_snn.layers.encoding.resonance import Resonance

__all__ = [
    "Delta",
    "Interval",
    "Latency",
    "ParallelConvEncoder",
    "Phase",
    "Poisson",
    "Population",
    "RankOrder",
    "Resonance",
]
