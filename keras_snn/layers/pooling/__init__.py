"""Layers that pool spikes over time or over units."""

from keras_snn.layers.pooling.first_spike_time import FirstSpikeTime
from keras_snn.layers.pooling.max_rate_pooling import MaxRatePooling
from keras_snn.layers.pooling.voting_pooling import VotingPooling

__all__ = ["FirstSpikeTime", "MaxRatePooling", "VotingPooling"]
