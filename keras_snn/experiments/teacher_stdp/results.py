"""The results as a table and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, parts_by_kind, spread
from keras_snn.experiments.teacher_stdp.published import PRINTED, PROSE
from keras_snn.models import draw_traces


def weights_path(folder: Path, kind: str, seed: int) -> Path:
    """Return the path of the weights of a part."""
    return folder / f"weights-{kind.split(' (', maxsplit=1)[0].replace(' ', '-').replace(',', '')}-seed-{seed}.npz"


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    rows = [("condition", "training images", "forced (%)", "test (%)", "test, best order (%)")]
    for kind, runs in parts_by_kind(results).items():
        best = [run["matched"] for run in runs]
        rows.append(
            (
                kind,
                str(runs[0]["n_train"]),
                spread([run["forced"] for run in runs]),
                spread([run["accuracy"] for run in runs]),
                "-" if "-" in best else spread(best),
            )
        )
    return "\n".join(
        [
            f"Seeds: {results['config']['n_seeds']}; mean ± standard deviation. Forced: accuracy in training, with the "
            "teacher.",
            *text_table.rst(rows),
            f"The notebook prints a test accuracy of {100 * PRINTED:g} %, and its text says {100 * PROSE:g} %.",
        ]
    )


def seen_path(folder: Path, seed: int) -> Path:
    """Return the path of the digits and traces of the first part."""
    return folder / f"traces-seed-{seed}.npz"


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write the pictures of the first part: digits, weights, and the traces in training and in the test."""
    from matplotlib.figure import Figure

    kind, seed = next(iter(parts_by_kind(results))), results["config"]["seed"]
    if weights_path(folder, kind, seed).is_file():
        figure = Figure(figsize=(9, 6), layout="constrained")
        _draw_weights(figure, dict(np.load(weights_path(folder, kind, seed), allow_pickle=False)))
        finish(figure, folder / "weights.png")
    if not seen_path(folder, seed).is_file():
        return
    seen = dict(np.load(seen_path(folder, seed), allow_pickle=False))
    figure = Figure(figsize=(5, 5), layout="constrained")
    for axis, digit in zip(figure.subplots(4, 4).flat, seen.pop("digits"), strict=False):
        axis.imshow(digit, cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
    finish(figure, folder / "digits.png")
    for phase in ("training", "test"):
        figure = Figure(figsize=(10, 13), layout="constrained")
        traces = {name.removeprefix(f"{phase} "): values for name, values in seen.items() if name.startswith(phase)}
        finish(draw_traces(figure, traces), folder / f"traces-{phase}.png")


def _draw_weights(figure, weights):
    """Draw the input weights of both neurons, and the lateral weights: a row for each time."""
    times = [name.removeprefix("w ") for name in weights if name.startswith("w ")]
    axes = figure.subplots(len(times), 3)
    for (*inputs, lateral), phase in zip(axes, times, strict=True):
        for neuron, axis in enumerate(inputs):
            image = axis.imshow(weights[f"w {phase}"][:, neuron].reshape(8, 8), vmin=0, vmax=1)
            axis.set(title=f"neuron {neuron}, {phase}", xticks=[], yticks=[])
        lateral_image = lateral.imshow(weights[f"w_lateral {phase}"], vmin=-1, vmax=0)
        lateral.set(title=f"lateral, {phase}", xticks=[0, 1], yticks=[0, 1], xlabel="to neuron", ylabel="from neuron")
    figure.colorbar(image, ax=axes[:, :2], label="weight")
    figure.colorbar(lateral_image, ax=axes[:, 2], label="weight")
