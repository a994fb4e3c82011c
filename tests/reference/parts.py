"""Layers over parts of the time axis."""

from keras import ops

from keras_snn import probe


def over_parts(layer, x, sizes, mask=None):
    """Return the outputs of a layer for each part of ``x (batch, time, ...)``, one part after the other, as NumPy."""
    states, start, outputs = None, 0, []
    for size in sizes:
        part = slice(start, start + size)
        with probe.scope(carry=probe.Carry(states)) as scope:
            y = layer(x[:, part]) if mask is None else layer(x[:, part], mask=mask[:, part])
        outputs.append(ops.convert_to_numpy(y))
        states, start = scope.carry.ended, start + size
    return outputs
