"""Figures 3.2 and 3.4 of the thesis: the derivative of a spike by the membrane h, in closed form."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from keras import ops

from keras_snn.experiments.figures import finish
from keras_snn.ops.neurons import OSCILLATIONS, fold
from keras_snn.surrogates import ATan

SLOPE = 0.03
_SURROGATE = ATan(3.0)


def oscillation(function: str, h: np.ndarray, c: float, d: float) -> np.ndarray:
    """Return F(h)."""
    return ops.convert_to_numpy(OSCILLATIONS[function](ops.convert_to_tensor(h, "float32"), c, d))


def oscillation_derivative(function: str, h: np.ndarray, c: float) -> np.ndarray:
    """Return F'(h)."""
    if function == "f1":
        return np.cos(h + c)
    if function == "f2":
        return np.sin(h + c) + h * np.cos(h + c)
    if function == "f3":
        return np.exp(h + c)
    sigmoid = 1 / (1 + np.exp(-c * h))
    return c * sigmoid * (1 - sigmoid)


def noisy_derivative(h: np.ndarray, gamma: float) -> np.ndarray:
    """Return dS/dh of the oscillation neuron with the noise ``gamma``: ``g'(p - 1) f'(h + gamma)``."""
    return _through_fold(h + gamma)


def alternative_derivative(function: str, h: np.ndarray, c: float, d: float) -> np.ndarray:
    """Return dS/dh of the alternative neuron: ``g'(p - 1) f'(h + F(h)) (1 + F'(h))``."""
    return _through_fold(h + oscillation(function, h, c, d)) * (1 + oscillation_derivative(function, h, c))


def _through_fold(x):
    p = fold(ops.convert_to_tensor(x, "float32"), SLOPE)
    derivative = ops.convert_to_numpy(_SURROGATE.derivative(p - 1))
    return derivative * np.where(x > 0, 1, -SLOPE)


def threshold(function: str, c: float, d: float) -> float | None:
    """Return the smallest h in [0, 3] above which the alternative neuron fires, to 0.0001; None without one."""
    h = np.arange(0, 3, 1e-4)
    fires = h + oscillation(function, h, c, d) > 1
    return float(h[fires.argmax()]) if fires.any() else None


def draw(path: Path, constants: Mapping[str, tuple[float, float]]) -> None:
    """Write both figures to ``path``, with the constants c and d of each function."""
    from matplotlib.figure import Figure

    h = np.linspace(-2, 3, 1001)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for gamma in (-0.2, 0.8):
        axes[0].plot(h, noisy_derivative(h, gamma), label=f"oscillation, noise {gamma:g}")
    axes[0].plot(h, alternative_derivative("f1", h, *constants["f1"]), "k--", label="alternative, F1")
    axes[0].set_title("derivative of a spike (figure 3.2)", fontsize=9)
    for number, (function, (c, d)) in enumerate(constants.items()):
        style = {"color": f"C{number + 2}", "label": function.upper()}
        axes[1].plot(h, oscillation(function, h, c, d), **style)
        axes[2].plot(h, alternative_derivative(function, h, c, d), **style)
    axes[1].set_title("F(h), as fitted (figure 3.4)", fontsize=9)
    axes[1].set_ylim(-2, 3)
    axes[2].set_title("derivative of a spike with F", fontsize=9)
    for axis in axes:
        axis.set_xlabel("membrane h")
        axis.axvline(1, color="0.85", zorder=0)
        axis.set_ylim(top=1.45 * axis.get_ylim()[1])  # room for the legend
        axis.legend(frameon=False, fontsize=8, loc="upper left")
    axes[0].set_ylabel("dS/dh")
    axes[2].set_ylabel("dS/dh")
    finish(figure, path)
