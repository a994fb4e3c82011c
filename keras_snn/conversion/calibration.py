"""How large the activations of a plain model get, from a sample of its inputs."""

import numpy as np
from keras import ops, tree

from keras_snn import probe

_BINS = 4096


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
    """
    histograms = {name: Histogram() for name in names}
    for outputs in recorded(model, x, batch_size, names):
        for name, values in outputs.items():
            histograms[name].add(values.reshape(-1, values.shape[-1] if per == "channel" else 1))
    scales = {name: histogram.percentile(percentile) for name, histogram in histograms.items()}
    return {name: scale if per == "channel" else scale[0] for name, scale in scales.items()}


def recorded(model, x, batch_size, names, **scope):
    """Yield for each batch the dict from the names of calls to what the layers give, as arrays.

    Args:
        model: A Keras model.
        x: Inputs, an array or a nest of arrays.
        batch_size: Integer.
        names: Names of the calls to record.
        **scope: Arguments of ``probe.scope``.
    """
    n_samples = len(tree.flatten(x)[0])
    for start in range(0, n_samples, batch_size):
        found = {}

        def record(name, layer, inputs, outputs, found=found):
            if name in names:
                found[name] = ops.convert_to_numpy(outputs)

        batch = tree.map_structure(lambda a, start=start: ops.convert_to_tensor(a[start : start + batch_size]), x)
        with probe.scope(**scope), probe.calls(model, record):
            model(batch, training=False)
        yield found


class Histogram:
    """Counts of positive values by column, over a range that doubles when it has to."""

    def __init__(self):
        self.counts = None
        self.top = None
        self.largest = None

    def add(self, values):
        """Count the rows of ``values (n, columns)``."""
        n_columns = values.shape[1]
        if self.counts is None:
            self.counts, self.largest = np.zeros((n_columns, _BINS), "int64"), np.zeros(n_columns)
        self.largest = np.maximum(self.largest, values.max(axis=0, initial=0))
        largest = self.largest.max()
        if not largest > 0:
            return
        if self.top is None:
            self.top = 2.0 ** np.ceil(np.log2(largest))
        while largest > self.top:
            self.top *= 2
            half = self.counts.reshape(n_columns, -1, 2).sum(axis=2)
            self.counts = np.concatenate([half, np.zeros_like(half)], axis=1)
        column = np.broadcast_to(np.arange(n_columns), values.shape)[values > 0]
        place = np.minimum(values[values > 0] / self.top * _BINS, _BINS - 1).astype("int64")
        self.counts += np.bincount(column * _BINS + place, minlength=n_columns * _BINS).reshape(n_columns, _BINS)

    def percentile(self, percentile):
        """Return by column what so many per cent are not above, up to a 4096th of the range; 1 where none are."""
        if self.counts is None or self.top is None:
            return np.ones(1 if self.largest is None else len(self.largest))
        below = np.cumsum(self.counts, axis=1)
        place = (below < percentile / 100 * below[:, -1:]).sum(axis=1)
        edges = np.minimum((place + 1) * self.top / _BINS, self.largest)
        return np.where(self.largest > 0, edges if percentile < 100 else self.largest, 1.0)
