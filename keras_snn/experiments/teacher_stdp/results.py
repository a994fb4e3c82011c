"""The results as a table and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, parts_by_kind, spread
from keras_snn.experiments.teacher_stdp.published import PRINTED, PROSE


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


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``weights.png``, the input weights of the first part after training and after the test."""
    from matplotlib.figure import Figure

    source = weights_path(folder, next(iter(parts_by_kind(results))), results["config"]["seed"])
    if not source.is_file():
        return
    figure = Figure(figsize=(6, 6), layout="constrained")
    weights = dict(np.load(source))
    axes = figure.subplots(len(weights), 2)
    for axis_row, (name, w) in zip(axes, weights.items(), strict=True):
        for neuron, axis in enumerate(axis_row):
            image = axis.imshow(w[:, neuron].reshape(8, 8), vmin=0, vmax=1)
            axis.set(title=f"neuron {neuron}, {name}", xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label="weight")
    finish(figure, folder / "weights.png")
