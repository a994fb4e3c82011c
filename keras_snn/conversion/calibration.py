"""How large the activations of a plain model get, from a sample of its inputs."""

import numpy as np
from keras import ops, tree

from keras_snn import graph, probe
from keras_snn.data.batches import Batches

#: Octaves of a histogram, half of them below 1, and bins of each. With a threshold a channel there is one for each of
#: thousands of channels: more bins would be gigabytes.
_OCTAVES, _BINS = 64, 64


def activation_scales(model, names, x, *, percentile, per, batch_size):
    """Return by name the percentile of the positive values that each call of a layer gives.

    The sample is gone through batch by batch; what is kept is a histogram for each layer or channel.

    Args:
        model: The plain model.
        names: Names of the calls.
        x: Inputs, of any kind that ``Batches`` reads.
        percentile: Number in (0, 100]; 100 is the largest value.
        per: "layer" for one number, or "channel" for one for each index of the last axis.
        batch_size: Integer or None, as in ``Batches``.

    Returns:
        Dict from name to an array, of shape () or (channels,). The scale of what is never positive is 1.

    Raises:
        TypeError, ValueError: As ``Batches``; for another number of inputs than the model has; for activations that are
            not finite.
    """
    batches = Batches(x, batch_size=batch_size, name="calibration", inputs_only=True)
    _check_inputs(model, batches.first(1).x)
    histograms = {name: Histogram() for name in names}
    for batch in batches:
        for name, values in recorded(model, batch, names).items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"`calibration` gives values that are not finite in {name!r}: leave such samples out of it."
                )
            histograms[name].add(values.reshape(-1, values.shape[-1] if per == "channel" else 1))
    scales = {name: histogram.percentile(percentile) for name, histogram in histograms.items()}
    return {name: scale if per == "channel" else scale[0] for name, scale in scales.items()}


def _check_inputs(model, x):
    shapes = [array.shape[1:] for array in tree.flatten(x)]
    if len(shapes) != len(model.inputs):
        raise ValueError(
            f"`calibration` must hold an array of samples for each of the {len(model.inputs)} inputs of "
            f"{model.name!r}, in the structure that the model takes; got {len(shapes)}, of samples with the shapes "
            f"{shapes[:5]}."
        )


def recorded(model, batch, names, **scope):
    """Return the outputs of calls of a model as a dict from their names to arrays.

    Args:
        model: A Keras model.
        batch: ``Batch``, the inputs.
        names: Names of the calls to record.
        **scope: Arguments of ``probe.scope``.
    """
    found = {}

    def record(name, layer, inputs, outputs):
        if name in names:
            found[name] = ops.convert_to_numpy(outputs)

    x = tree.map_structure(ops.convert_to_tensor, batch.x)
    # With `sample_index`, stateful layers of this package keep no state. Other seeds and states are restored.
    with probe.left_as_it_was(model), probe.scope(sample_index=batch.indices, **scope), graph.calls(model, record):
        model(x, training=False)
    return found


class Histogram:
    """Counts of positive values by column, in bins of a part of an octave: a huge value makes the others no coarser."""

    def __init__(self):
        self.counts = None
        self.largest = None

    def add(self, values):
        """Count the rows of ``values (n, columns)``."""
        n_columns, n_bins = values.shape[1], _OCTAVES * _BINS
        if self.counts is None:
            self.counts, self.largest = np.zeros((n_columns, n_bins), "int64"), np.zeros(n_columns)
        self.largest = np.maximum(self.largest, values.max(axis=0, initial=0))
        positive = values > 0
        column = np.broadcast_to(np.arange(n_columns), values.shape)[positive]
        place = (np.log2(values[positive].astype("float64")) + _OCTAVES / 2) * _BINS
        place = np.clip(place, 0, n_bins - 1).astype("int64")
        self.counts += np.bincount(column * n_bins + place, minlength=n_columns * n_bins).reshape(n_columns, n_bins)

    def percentile(self, percentile):
        """Return by column what so many per cent are not above, to within a bin of 1.1 %; 1 where none are.

        Inside of the bin it is interpolated.
        """
        if percentile == 100:
            return np.where(self.largest > 0, self.largest, 1.0)
        below = np.cumsum(self.counts, axis=1)
        wanted = percentile / 100 * below[:, -1:]
        place = np.minimum((below < wanted).sum(axis=1, keepdims=True), below.shape[1] - 1)
        inside = np.take_along_axis(self.counts, place, axis=1)
        missing = wanted - np.take_along_axis(below, place, axis=1) + inside
        found = 2.0 ** ((place + missing / np.maximum(inside, 1)) / _BINS - _OCTAVES / 2)[:, 0]
        return np.where(self.largest > 0, np.minimum(found, self.largest), 1.0)
