"""Percentiles of the activations of an ANN on calibration data."""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_snn import graph, probe
from keras_snn.data.batches import Batch, Batches
from keras_snn.hints import Nest

#: Octaves of a histogram, half of them below 1, and bins per octave. With ``per="channel"`` there is a histogram for
#: each of thousands of channels: more bins would take gigabytes.
_OCTAVES, _BINS = 64, 64


def activation_scales(
    model: keras.Model,
    names: Collection[str],
    x: Nest,
    *,
    percentile: float,
    per: str,
    batch_size: int | None,
) -> dict[str, Any]:
    """Return a dict from the name of each layer call to a percentile of its positive outputs.

    The data is read batch by batch. Memory holds a histogram for each layer or channel.

    Args:
        model: The ANN.
        names: Names of the calls.
        x: Inputs, as for ``Batches``.
        percentile: Number in (0, 100]; 100 is the maximum.
        per: "layer" for one number, or "channel" for a number for each index of the last axis.
        batch_size: Integer or None, as in ``Batches``.

    Returns:
        Dict from name to an array, of shape () or (channels,). The scale of outputs that are never positive is 1.

    Raises:
        TypeError, ValueError: As ``Batches``; for a wrong number of inputs; for activations that are not finite.
    """
    batches = Batches(x, batch_size=batch_size, name="calibration", inputs_only=True)
    _check_inputs(model, batches.first(1).x)
    histograms = {name: Histogram() for name in names}
    for batch in batches:
        for name, values in record_outputs(model, batch, names).items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"`calibration` must give finite activations; those of {name!r} are not. Remove such samples."
                )
            histograms[name].add(values.reshape(-1, values.shape[-1] if per == "channel" else 1))
    scales = {name: histogram.percentile(percentile) for name, histogram in histograms.items()}
    return {name: scale if per == "channel" else scale[0] for name, scale in scales.items()}


def _check_inputs(model, x):
    shapes = [array.shape[1:] for array in tree.flatten(x)]
    if len(shapes) != len(model.inputs):
        raise ValueError(
            f"`calibration` must hold an array of samples for each of the {len(model.inputs)} inputs of "
            f"{model.name!r}, in the structure of the model's inputs; got {len(shapes)}, of samples with the shapes "
            f"{shapes[:5]}."
        )


def record_outputs(model: keras.Model, batch: Batch, names: Collection[str], **scope: Any) -> dict[str, np.ndarray]:
    """Run a model, and return a dict from the names of calls to their outputs.

    Args:
        model: A Keras model.
        batch: ``Batch``, the inputs.
        names: Names of the calls to record.
        **scope: Arguments of ``probe.scope``.
    """
    recorded = {}

    def record(name, layer, inputs, outputs):
        if name in names:
            recorded[name] = ops.convert_to_numpy(outputs)

    x = tree.map_structure(ops.convert_to_tensor, batch.x)
    # With `sample_index`, stateful layers of this package store no state. Seeds and other states are restored.
    with probe.left_as_it_was(model), probe.scope(sample_index=batch.indices, **scope), graph.calls(model, record):
        model(x, training=False)
    return recorded


class Histogram:
    """A histogram of the positive values of each column, with logarithmic bins.

    Outliers do not change the resolution of the other values.
    """

    def __init__(self):
        self.counts: Any = None
        self.max: Any = None

    def add(self, values: np.ndarray) -> None:
        """Add the rows of ``values (n, columns)``."""
        n_columns, n_bins = values.shape[1], _OCTAVES * _BINS
        if self.counts is None:
            self.counts, self.max = np.zeros((n_columns, n_bins), "int64"), np.zeros(n_columns)
        self.max = np.maximum(self.max, values.max(axis=0, initial=0))
        positive = values > 0
        column = np.broadcast_to(np.arange(n_columns), values.shape)[positive]
        bins = (np.log2(values[positive].astype("float64")) + _OCTAVES / 2) * _BINS
        bins = np.clip(bins, 0, n_bins - 1).astype("int64")
        self.counts += np.bincount(column * n_bins + bins, minlength=n_columns * n_bins).reshape(n_columns, n_bins)

    def percentile(self, percentile: float) -> np.ndarray:
        """Return the given percentile of each column, to within one bin (1.1 %); 1 for columns without positive values.

        Inside the bin it is interpolated.
        """
        if percentile == 100:
            return np.where(self.max > 0, self.max, 1.0)
        below = np.cumsum(self.counts, axis=1)
        rank = percentile / 100 * below[:, -1:]
        index = np.minimum((below < rank).sum(axis=1, keepdims=True), below.shape[1] - 1)
        inside = np.take_along_axis(self.counts, index, axis=1)
        rank_inside = rank - np.take_along_axis(below, index, axis=1) + inside
        values = 2.0 ** ((index + rank_inside / np.maximum(inside, 1)) / _BINS - _OCTAVES / 2)[:, 0]
        return np.where(self.max > 0, np.minimum(values, self.max), 1.0)
