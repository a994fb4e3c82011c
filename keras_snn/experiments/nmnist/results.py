"""The results as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, parts_by_kind, percent, standard_error
from keras_snn.experiments.klif.published import PUBLISHED


def examples_path(folder: Path, seed: int) -> Path:
    """Return the path of the example recordings of a seed."""
    return folder / f"examples-seed-{seed}.npz"


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    (runs,) = parts_by_kind(results).values()
    last = [run["accuracy"][-1] for run in runs]
    n_test = np.sum(runs[0]["confusion"])
    n_train = f"at most {config['n_train']:,}" if config["n_train"] else "all"
    rows = [("seed", "accuracy (%)", "training accuracy (%)", "spikes a step", "training (s)")]
    rows += [
        (
            name.rpartition(" ")[2],
            percent(run["accuracy"][-1]),
            percent(run["train_accuracy"][-1]),
            " / ".join(f"{rate:.3f}" for rate in run["spikes_per_step"]),
            f"{sum(run['seconds']):.0f}",
        )
        for name, run in results["parts"].items()
    ]
    rows.append(("mean", f"{percent(float(np.mean(last)))} ± {100 * standard_error(last):.2f}", "", "", ""))
    published = ", ".join(f"{name} {percent(share)} %" for name, share in PUBLISHED["nmnist"].items())
    return "\n".join(
        [
            f"Recordings: {'simulated' if config['data'] == 'simulated' else 'N-MNIST'}, {n_train} for "
            f"training, {n_test:,} for the test; {config['n_steps']} frames, {config['epochs']} epochs; mean ± "
            "standard error",
            *text_table.rst(rows),
            f"Published for all 60,000 recordings and a larger network: {published}.",
        ]
    )


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``, ``confusion.png``, and ``recordings.png`` with test recordings and scores."""
    from matplotlib.figure import Figure

    (runs,) = parts_by_kind(results).values()
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axis, matrix = figure.subplots(1, 2)
    for name, run in results["parts"].items():
        epochs = np.arange(1, len(run["accuracy"]) + 1)
        (line,) = axis.plot(epochs, 100 * np.array(run["accuracy"]), label=f"{name.rpartition(', ')[2]}, test")
        axis.plot(epochs, 100 * np.array(run["train_accuracy"]), ":", color=line.get_color(), label="training")
    axis.set(xlabel="epoch", ylabel="accuracy (%)")
    axis.locator_params(axis="x", integer=True)
    axis.legend(frameon=False, fontsize=8)
    confusion = np.sum([run["confusion"] for run in runs], axis=0)
    matrix.imshow(confusion, cmap="Blues", vmax=max(1, np.sort(confusion.ravel())[-1]))
    for (label, predicted), n in np.ndenumerate(confusion):
        if n:
            color = "white" if n > confusion.max() / 2 else "black"
            matrix.text(predicted, label, str(n), ha="center", va="center", fontsize=7, color=color)
    matrix.set(xlabel="predicted", ylabel="digit", xticks=range(10), yticks=range(10))
    matrix.set_title("test recordings of all seeds", fontsize=10)
    finish(figure, folder / "accuracy.png")

    source = examples_path(folder, results["config"]["seed"])
    if source.is_file():
        _draw_recordings(dict(np.load(source, allow_pickle=False)), folder / "recordings.png")


def _draw_recordings(arrays, path):
    from matplotlib.figure import Figure

    frames, scores = arrays["frames"], arrays["scores"]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    n_rows, n_steps = min(5, len(frames)), frames.shape[1]
    figure = Figure(figsize=(9, 1.4 * n_rows + 0.5), layout="constrained")
    axes = figure.subplots(n_rows, n_steps + 1, width_ratios=[1] * n_steps + [2], squeeze=False)
    for row, axis_row in enumerate(axes):
        signed = frames[row, ..., 1] - frames[row, ..., 0]
        limit = max(1.0, np.abs(signed).max())
        for step, axis in enumerate(axis_row[:-1]):
            axis.imshow(signed[step], cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(f"frame {step}", fontsize=8)
        label, bars = int(arrays["labels"][row]), axis_row[-1]
        bars.bar(range(10), shares[row], color=["C0" if digit == label else "0.7" for digit in range(10)])
        bars.set(xticks=range(10), ylim=(0, 1), yticks=[0, 1])
        bars.tick_params(labelsize=7)
    axes[0, -1].set_title("probability of each digit (true one in blue)", fontsize=8)
    finish(figure, path)
