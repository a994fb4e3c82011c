"""Layers over parts of the time axis."""

from keras import ops

from keras_snn import probe


def over_parts(layer, x, sizes, mask=None, *, still=False):
    """Return the outputs of a layer for consecutive parts of the time axis, as NumPy arrays.

    Args:
        layer: The layer.
        x: Array ``(batch, time, ...)``, or ``(batch, ...)`` if ``still``.
        sizes: The number of steps of each part.
        mask: Bool array ``(batch, time)``, or None.
        still: Boolean, whether the layer creates the time axis.
    """
    states, start, outputs = None, 0, []
    for size in sizes:
        part = slice(start, start + size)
        with probe.scope(carry=probe.Carry(states), n_steps=size, code_steps=sum(sizes)) as scope:
            masked = {} if mask is None else {"mask": mask[:, part]}
            outputs.append(ops.convert_to_numpy(layer(x if still else x[:, part], **masked)))
        states, start = scope.carry.ended, start + size
    return outputs
