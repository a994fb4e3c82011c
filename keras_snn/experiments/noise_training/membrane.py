"""Figure 4.7 of the thesis: the membrane of one neuron over time, without input and with it."""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_snn import layers
from keras_snn.experiments.figures import finish

#: Constant input of the two panels.
INPUTS = (0.0, 0.3)
_ALPHA, _N_UNITS, _N_STEPS = 4.0, 100, 60


def trace(current: float, *, n_units: int = _N_UNITS, n_steps: int = _N_STEPS, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Run a layer of ``NoisyLIF`` neurons with a constant input, and record its membrane.

    Args:
        current: Number, the input of every unit and step.
        n_units: Integer, number of neurons, over which the memory is standardized.
        n_steps: Integer.
        seed: Integer, for the noise.

    Returns:
        Pair of arrays ``(n_steps, n_units)``: the membrane h before the spikes, and the spikes.
    """
    z = np.random.default_rng(seed).standard_normal((n_steps, n_units))
    noise = (0.5 - 1 / _ALPHA) * z / np.abs(z).max(axis=1, keepdims=True)
    options: dict[str, Any] = {"alpha": _ALPHA, "noise": None, "return_state": True}  # the noise comes with the input
    neuron, without_reset = layers.NoisyLIF(**options), layers.NoisyLIF(**options, reset=None)
    v, steps = ops.zeros((1, n_units)), []
    for x in (current + noise).astype("float32")[:, None, None]:
        _, h = without_reset(x, initial_state=[v])  # the final state is the membrane before the spikes
        spikes, v = neuron(x, initial_state=[v])
        steps.append((ops.convert_to_numpy(h)[0], ops.convert_to_numpy(spikes)[0, 0]))
    return tuple(map(np.array, zip(*steps, strict=True)))


def draw(path: Path, *, seed: int = 0) -> None:
    """Write the figure to ``path``. It needs no training, and the thesis prints no numbers to compare."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, panel, current in zip(axes, "ab", INPUTS, strict=True):
        membrane, spikes = (values[:, 0] for values in trace(current, seed=seed))
        steps = np.arange(1, len(membrane) + 1)
        axis.plot(steps, membrane, color="C0", linewidth=1, label="membrane before a reset")
        axis.plot(steps[spikes > 0], membrane[spikes > 0], "v", color="C3", markersize=4, label="spike")
        axis.axhline(1, color="0.4", linestyle="--", linewidth=1, label="threshold")
        axis.set(xlabel="time step", ylim=(0, 1.3))
        axis.set_title(f"({panel}) {f'constant input {current:g}' if current else 'no input'}", fontsize=10)
    axes[0].set_ylabel("membrane potential")
    figure.legend(*axes[1].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    title = f"Figure 4.7 of the thesis, recomputed: one of {_N_UNITS} untrained NoisyLIF neurons, alpha = {_ALPHA:g}"
    figure.suptitle(title, fontsize=10)
    finish(figure, path)
