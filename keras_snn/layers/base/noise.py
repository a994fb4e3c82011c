"""Noise for each unit and step of a layer."""

from typing import Any

from keras import ops

from keras_snn import probe
from keras_snn.hints import Tensor
from keras_snn.ops import masks, neurons


def draw_noise(layer: Any, inputs: Tensor, mask: Tensor, kind: str, axes: tuple[int, ...] = ()) -> Tensor:
    """Return noise in the shape of ``inputs (batch, time, ...)``, as ``ops.neurons.noise`` draws it.

    The noise of the first steps is the same for any number of steps. With a mask, only the steps that count get noise.

    Args:
        layer: Layer with ``seed`` and ``seed_generator``.
        inputs: Tensor ``(batch, time, ...)``.
        mask: Bool tensor ``(batch, time)``, or None.
        kind: As in ``ops.neurons.noise``.
        axes: As in ``ops.neurons.noise``.
    """
    batch_size, n_steps, *_ = ops.shape(inputs)
    steps = probe.step_numbers(n_steps, masks.n_steps(inputs, mask))
    index, word = probe.draw_once(layer.seed, layer.seed_generator, batch_size)
    noise = neurons.noise(index, steps, inputs, word, kind, axes)
    return noise if mask is None else masks.spread_over_counted(noise, mask)
