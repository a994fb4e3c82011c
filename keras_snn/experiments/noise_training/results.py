"""The results beside the published ones, as tables and as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import (
    finish_with_legends,
    number_of_images,
    parts_by_kind,
    percent,
    spread,
)
from keras_snn.experiments.noise_training import membrane
from keras_snn.experiments.noise_training.published import PUBLISHED, SECONDS

#: The numbers of steps in the table.
STEPS = (1, 5, 10)

#: How the training with noise is extended where nothing else is said.
DEFAULT = "alpha 4.0"


def rise(runs: Sequence[dict], run_name: str = DEFAULT) -> np.ndarray:
    """Return the rise of accuracy from the first step to the last, for each seed.

    The first step is that of the network as trained, if it was run.
    """
    first = "alpha None" if "alpha None" in runs[0]["at"] else run_name
    return np.array([run["at"][run_name]["accuracy"][-1] - run["at"][first]["accuracy"][0] for run in runs])


def race(parts: Mapping[str, Sequence[dict]], kind: str = "gaussian") -> list[tuple[float, float, float]]:
    """Return, for each seed, the seconds of training with noise and of direct training to the same accuracy.

    That is the highest one that both reach after some epoch, at the last step. An epoch counts as the fastest of its
    training: what others take longer is the compilation, or a machine that paused.

    Returns:
        List of the triples (accuracy, seconds of ``kind``, seconds of "direct"), or an empty one without both.
    """
    return [
        (
            target := min(max(noisy["accuracy"]), max(direct["accuracy"])),
            seconds_to(noisy, target),
            seconds_to(direct, target),
        )
        for noisy, direct in zip(parts.get(kind, []), parts.get("direct", []), strict=False)
    ]


def seconds_to(part: Mapping[str, Any], target: float) -> float:
    """Return the seconds of training after which the accuracy is ``target`` for the first time."""
    epochs = 1 + int(np.argmax(np.array(part["accuracy"]) >= target))
    return epochs * min(part["seconds"])


def table(results: Mapping[str, Any]) -> str:
    """Return the text tables of ``results``, the dict that ``execute`` returns."""
    config, parts = results["config"], parts_by_kind(results)
    published = PUBLISHED[config["dataset"]]
    steps = [k for k in STEPS if k <= config["n_steps"]]
    header = ("trained", "run", *(f"T = {k}" for k in steps), "rise", "ties at T = 1", f"at T = {steps[-1]}")
    lines = []
    for kind, runs in parts.items():
        for run_name in runs[0]["at"]:
            by_seed = [run["at"][run_name] for run in runs]
            ties = np.mean([figures["ties"] for figures in by_seed], axis=0)
            rises = np.array([figures["accuracy"][-1] - figures["accuracy"][0] for figures in by_seed])
            lines.append(
                (
                    kind,
                    _run_label(run_name),
                    *(spread([figures["accuracy"][k - 1] for figures in by_seed]) for k in steps),
                    spread(rises),
                    percent(ties[0]),
                    percent(ties[steps[-1] - 1]),
                )
            )
    lines.append(("published", "alpha 4", *(percent(published.get(k)) for k in steps), "-", "-", "-"))
    text = [
        f"{config['dataset']} ({number_of_images(config)}), width {config['width']:g}, {config['epochs']} epochs "
        f"(direct: {config['direct_epochs']}), seeds from {config['seed']}",
        "Test accuracy in % after T steps, mean ± standard deviation over the seeds.",
        *text_table.rst([header, *lines]),
        "alpha infinite is a new single-step network at every step, and its T = 1 the network as it was trained.",
        "LIF are ordinary neurons with the same weights. Of scores that tie, the first class is taken.",
    ]
    if "gaussian" in parts:
        text.append(_rise_text(parts["gaussian"], config))
    return "\n".join([*text, "", *_times(parts, config)])


def _run_label(run_name):
    return "LIF" if run_name == "lif" else run_name.replace("None", "infinite").replace(".0", "")


def _rise_text(runs, config):
    rises = 100 * rise(runs)
    error = f" ± {rises.std(ddof=1) / np.sqrt(len(rises)):.2f} (standard error)" if len(rises) > 1 else ""
    whole = f"from T = 1 as trained to T = {config['n_steps']} at alpha 4"
    return f"Gaussian noise, {whole}, by seed: {rises.mean():+.2f}{error} points."


def _times(parts, config):
    lines = []
    for kind, runs in parts.items():
        seconds = [min(run["seconds"]) for run in runs]
        races = race(parts, kind) if kind != "direct" else []
        row = [kind, f"{np.median(seconds):.2f}", spread([max(run["accuracy"]) for run in runs])]
        if races:
            accuracy, own, direct = np.transpose(races)
            ratios = direct / own
            row += [" / ".join(f"{100 * a:.1f}" for a in accuracy), _each(own), _each(direct), _each(ratios, "{:.2f}")]
        lines.append((*row, *["-"] * (7 - len(row))))
    header = ("trained", "s an epoch", "best, %", "to accuracy, %", "s", "direct, s", "times faster")
    text = [f"Training time, by seed, to the highest accuracy at T = {config['n_steps']} that both reach:"]
    text += text_table.rst([header, *lines])
    if config["dataset"] in SECONDS:
        accuracy, direct, own = SECONDS[config["dataset"]]
        text.append(
            f"Published: {own} s against {direct} s direct to {100 * accuracy:.0f} %, {direct / own:.1f} times faster."
        )
    return [
        *text,
        "Seconds are those of training alone, the fastest epoch times the number of epochs. The accuracies to reach",
        "are those of test images, as it seems in the publication too: the times are selected on them.",
    ]


def _each(values, form="{:.0f}"):
    return " / ".join(form.format(value) for value in values)


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``steps.png``, ``seconds.png`` and ``membrane.png``."""
    membrane.draw(folder / "membrane.png", seed=results["config"]["seed"])
    _draw_accuracy(results, folder)


def _draw_accuracy(results, folder):

    from matplotlib.figure import Figure

    parts = parts_by_kind(results)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    steps = np.arange(1, results["config"]["n_steps"] + 1)
    for kind, runs in parts.items():
        run_name = DEFAULT if kind != "direct" else "lif"
        _line(axes[0], steps, [run["at"][run_name]["accuracy"] for run in runs], kind)
    axes[0].set_title("as trained; extended with alpha = 4", fontsize=9)
    if "gaussian" in parts:
        for run_name in parts["gaussian"][0]["at"]:
            if run_name == "lif":  # far below all others
                continue
            accuracy = [run["at"][run_name]["accuracy"] for run in parts["gaussian"]]
            _line(axes[1], steps, accuracy, _run_label(run_name))
        axes[1].set_title("trained with Gaussian noise", fontsize=9)
    axes[0].set_ylabel("test accuracy (%)")
    for axis in axes:
        axis.set_xlabel("steps T")
    finish_with_legends(figure, folder / "steps.png")

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for kind, runs in parts.items():
        seconds = np.median([min(run["seconds"]) for run in runs]) * np.arange(1, len(runs[0]["seconds"]) + 1)
        _line(axis, seconds, [run["accuracy"] for run in runs], kind)
    axis.set(xlabel="seconds of training", ylabel=f"test accuracy at T = {results['config']['n_steps']} (%)")
    finish_with_legends(figure, folder / "seconds.png")


def _line(axis, x, shares, label):
    shares = 100 * np.array(shares)
    axis.errorbar(
        x,
        shares.mean(axis=0),
        shares.std(axis=0, ddof=min(1, len(shares) - 1)),
        marker="o",
        ms=3,
        capsize=2,
        label=label,
    )
