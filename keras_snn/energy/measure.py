"""Measure the inputs of a model's layer calls on data."""

import keras
import numpy as np
from keras import ops, tree

from keras_snn import graph, probe
from keras_snn.data.batches import Batches
from keras_snn.energy.synapses import Synapses
from keras_snn.energy.work import arriving, spike_numbers, spikes_of_samples
from keras_snn.hints import Nest
from keras_snn.ops import masks


def sample_and_length(model: keras.Model, batches: Batches | None) -> tuple[Nest, int | None]:
    """Return a sample, or a batch for a fixed batch size, and the length of a time axis of unknown size."""
    if batches is None:
        return graph.zero_sample(model)
    sample = batches.first(graph.static_batch_size(model) or 1).x
    shapes = zip(tree.flatten(getattr(model, "inputs", None) or []), tree.flatten(sample), strict=False)
    lengths = [array.shape[1] for spec, array in shapes if spec.shape[1:2] == (None,) and array.ndim > 1]
    return sample, max(lengths, default=None)


def measure(
    model: keras.Model, batches: Batches, calls: dict[str, Synapses]
) -> dict[str, tuple[float, np.ndarray | None]]:
    """Return for each call the mean of ``|inputs|``, and the spikes per sample at each input; None if it is analog."""
    sums, sizes, arrived, counted = {}, {}, {}, {}

    def count_steps(layer, spikes, mask=None):
        if mask is not None:
            counted[layer] = masks.n_counted(mask)

    def record(name, layer, inputs, outputs):
        x = np.abs(ops.convert_to_numpy(ops.cast(tree.flatten(inputs)[0], "float32")))
        sums[name] = sums.get(name, 0) + x.sum(dtype="float64")
        sizes[name] = sizes.get(name, 0) + x.size
        spikes = calls[name].spikes
        if spikes is not None:
            batch_spikes = arriving(calls[name], inputs, spikes.unit, batch.n_samples)
            parts = spikes_of_samples(calls[name], batch_spikes, counted.get(calls[name].emitter))
            arrived[name] = arrived.get(name, 0) + spike_numbers(ops.convert_to_numpy(parts))

    for batch in batches:
        with probe.scope(sample_index=batch.indices, record=count_steps), graph.calls(model, record):
            model(batch.x, training=False)
    n_samples = batches.n_samples
    return {
        name: (float(sums[name] / sizes[name]), arrived[name] / n_samples if name in arrived else None) for name in sums
    }
