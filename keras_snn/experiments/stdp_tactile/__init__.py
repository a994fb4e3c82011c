"""Unsupervised learning of surfaces from touch, with spike-timing-dependent plasticity: the data of the experiment.

The publication is Jiang, Yang and Zhang 2022, IEEE Sensors Journal 22(1), and chapter 6 of Jiang's thesis, University
of Canterbury 2022. Its recordings are not public. This folder reads open sets of sliding touch, or simulates one, and
has the publication's augmentation, images and baselines.
"""

from keras_snn.experiments.stdp_tactile.augmentation import Samples, Split, augmented, joined, recorded, splits, tested
from keras_snn.experiments.stdp_tactile.features import FEATURES, baselines, features, over_splits, score
from keras_snn.experiments.stdp_tactile.images import as_images, envelopes, resample, side_by_side
from keras_snn.experiments.stdp_tactile.pictures import draw_features, draw_spike_maps
from keras_snn.experiments.stdp_tactile.recordings import TouchSet, find_sets, load, simulated

__all__ = [
    "FEATURES",
    "Samples",
    "Split",
    "TouchSet",
    "as_images",
    "augmented",
    "baselines",
    "draw_features",
    "draw_spike_maps",
    "envelopes",
    "features",
    "find_sets",
    "joined",
    "load",
    "over_splits",
    "recorded",
    "resample",
    "score",
    "side_by_side",
    "simulated",
    "splits",
    "tested",
]
