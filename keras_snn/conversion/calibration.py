"""How large the activations of a plain model get, from a sample of its inputs."""

import numpy as np
from keras import ops, tree

from keras_snn import checks, graph, probe
from keras_snn.inspector import inputs as data

#: Octaves of a histogram, half of them below 1, and bins of each. With a threshold a channel there is one for each of
#: thousands of channels: more bins would be gigabytes.
_OCTAVES, _BINS = 64, 64


def activation_scales(model, names, x, *, percentile, per, batch_size):
    """Return by name the percentile of the positive values that each call of a layer gives.

    The sample is gone through batch by batch; what is kept is a histogram for each layer or channel.

    Args:
        model: The plain model.
        names: Names of the calls.
        x: Inputs, an array or a nest of arrays.
        percentile: Number in (0, 100]; 100 is the largest value.
        per: "layer" for one number, or "channel" for one for each index of the last axis.
        batch_size: Integer.

    Returns:
        Dict from name to an array, of shape () or (channels,). The scale of what is never positive is 1.

    Raises:
        ValueError: If ``x`` is empty or no input of the model, or what comes of it is not finite.
    """
    _check(model, x, batch_size)
    histograms = {name: Histogram() for name in names}
    for outputs in recorded(model, x, batch_size, names):
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"`calibration` gives values that are not finite in {name!r}: leave such samples out of it."
                )
            histograms[name].add(values.reshape(-1, values.shape[-1] if per == "channel" else 1))
    scales = {name: histogram.percentile(percentile) for name, histogram in histograms.items()}
    return {name: scale if per == "channel" else scale[0] for name, scale in scales.items()}


def _check(model, x, batch_size):
    arrays = tree.flatten(x)
    shapes = [tuple(getattr(array, "shape", ())) for array in arrays]
    if len(arrays) != len(model.inputs) or not all(shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(
            f"`calibration` has to be an array of samples for each of the {len(model.inputs)} inputs of "
            f"{model.name!r}, in the structure that the model takes; got {type(x).__name__} with the shapes "
            f"{shapes[:5]}. Of a data set in batches, join some hundred samples first."
        )
    if not shapes[0][0]:
        raise ValueError("`calibration` has no samples: give some hundred.")
    checks.integer("batch_size", batch_size, least=1)


def recorded(model, x, batch_size, names, **scope):
    """Yield for each batch the dict from the names of calls to what the layers give, as arrays.

    Args:
        model: A Keras model.
        x: Inputs, an array or a nest of arrays.
        batch_size: Integer.
        names: Names of the calls to record.
        **scope: Arguments of ``probe.scope``.
    """
    for start in range(0, data.n_samples(x), batch_size):
        found = {}

        def record(name, layer, inputs, outputs, found=found):
            if name in names:
                found[name] = ops.convert_to_numpy(outputs)

        batch = tree.map_structure(ops.convert_to_tensor, data.rows(x, start, start + batch_size))
        # With `sample_index`, stateful layers of this package keep no state. Other seeds and states are restored.
        index = np.arange(start, start + len(tree.flatten(batch)[0]), dtype="int32")
        with probe.left_as_it_was(model), probe.scope(sample_index=index, **scope), graph.calls(model, record):
            model(batch, training=False)
        yield found


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
