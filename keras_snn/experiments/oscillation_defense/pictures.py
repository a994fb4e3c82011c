"""The pictures: accuracy under attack by row, and the training accuracy by epoch (figure 3.3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn.experiments.figures import finish, finish_with_legends, parts_by_kind
from keras_snn.experiments.oscillation_defense.attacks import CONTROLS, FIVE
from keras_snn.experiments.oscillation_defense.checks import share
from keras_snn.experiments.oscillation_defense.published import ROWS

_COLORS = {
    **{"clean": "0.6", "FGSM": "C3", "PGD-5": "C1", "BIM-5": "C2", "MIM-5": "C0", "PGD-20": "k"},
    **{"expectation": "C3", "smooth": "C4", "surrogates": "C5", "Square": "C0", "random signs": "0.6"},
}


def draw_accuracy(results: Mapping[str, Any], path: Path) -> None:
    """Write the accuracy under the published attacks (left) and the controls (right) at the first epsilon."""
    from matplotlib.figure import Figure

    epsilon = results["config"]["epsilons"][0]
    rows = [row for row in ROWS if share(results, row, "clean", epsilon) is not None]
    figure = Figure(figsize=(8.5, 1.3 + 0.55 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    panels = (("clean", *FIVE), "attacks of the publication"), (("PGD-5", *CONTROLS), "controls")
    for axis, (names, title) in zip(axes, panels, strict=True):
        for number, name in enumerate(names):
            shares = [share(results, row, name, epsilon) for row in rows]
            points = [(place, found) for place, found in enumerate(shares) if found is not None]
            if not points:
                continue
            y = [place + 0.13 * (number - (len(names) - 1) / 2) for place, _ in points]
            means = np.array([found.mean for _, found in points])
            low, high = np.transpose([found.pooled.interval for _, found in points])
            errors = 100 * np.maximum(0, [means - low, high - means])
            axis.errorbar(100 * means, y, xerr=errors, fmt="o", ms=3.5, capsize=2, color=_COLORS[name], label=name)
        for place in range(1, len(rows)):
            axis.axhline(place - 0.5, color="0.9", zorder=0)
        axis.set(xlabel="accuracy (%)", xlim=(0, 100))
        axis.set_title(title, fontsize=10)
        axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    labels = [f"{row}\n({ROWS[row]})" for row in rows]
    axes[0].set_yticks(range(len(rows)), labels, fontsize=8)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(f"Accuracy under attack, epsilon {epsilon}/255, intervals of 95 %", fontsize=10)
    finish(figure, path)


def draw_learning(results: Mapping[str, Any], path: Path) -> None:
    """Write the training accuracy by epoch, mean and standard deviation over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for kind, runs in parts_by_kind(results).items():
        accuracy = 100 * np.array([run["train_accuracy"] for run in runs])
        epochs = np.arange(1, accuracy.shape[1] + 1)
        label = kind + (" (adversarial examples)" if "adversarial" in kind else "")
        deviation = accuracy.std(axis=0, ddof=min(1, len(runs) - 1))
        axis.errorbar(epochs, accuracy.mean(axis=0), deviation, marker="o", capsize=3, label=label)
    axis.set(xlabel="epoch", ylabel="training accuracy (%)")
    axis.locator_params(axis="x", integer=True)
    finish_with_legends(figure, path)
