"""The results beside the published ones, as a table and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_snn import text_table
from keras_snn.experiments.fashion_mnist.published import PUBLISHED
from keras_snn.experiments.figures import finish, hertz, percent


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    header = (
        "network",
        "dt (s)",
        "train acc.",
        "published",
        "test acc.",
        "published",
        "min/mean/max (Hz)",
        "published",
    )
    lines = []
    for name, part in results["parts"].items():
        shown, train = name, (percent(part["train_accuracy"]), percent(PUBLISHED[name]["train_accuracy"]))
        for dt, ours in part["test"].items():
            theirs = PUBLISHED[name]["test"][dt]
            accuracies = (percent(ours["accuracy"]), percent(theirs["accuracy"]))
            lines.append((shown, dt, *train, *accuracies, hertz(ours["rate_hz"]), hertz(theirs["rate_hz"])))
            shown, train = "", ("", "")
    config = results["config"]
    images = "the embedded sample" if config["data"] == "sample" else "all 60,000 training images"
    seconds = ", ".join(f"{name} {part['seconds_per_epoch']:.2f}" for name, part in results["parts"].items())
    return "\n".join(
        [
            f"Fashion-MNIST, {images}, {config['epochs']} epochs, seed {config['seed']}; "
            "published: all images, 10 epochs",
            *text_table.rst([header, *lines]),
            f"Seconds an epoch (median): {seconds}",
        ]
    )


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``: test accuracy and firing rate of every network, beside the published ones."""
    from matplotlib.figure import Figure

    rows = [
        (name, dt, ours, PUBLISHED[name]["test"][dt])
        for name, part in results["parts"].items()
        for dt, ours in part["test"].items()
    ]
    labels = [name if dt == "-" else f"{name}\ndt {dt}" for name, dt, _, _ in rows]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for offset, which, label, color in ((-0.2, 2, "keras_snn", "C0"), (0.2, 3, "published", "0.7")):
        for axis, values in (
            (top, [100 * row[which]["accuracy"] for row in rows]),
            (bottom, [row[which]["rate_hz"][1] if row[which]["rate_hz"] else 0 for row in rows]),
        ):
            places = [i + offset for i in range(len(rows))]
            bars = axis.bar(places, values, 0.38, label=label, color=color)
            texts = [f"{value:.3g}" if value else "" for value in values]
            axis.bar_label(bars, texts, fontsize=8, padding=1)
    top.set(ylabel="test accuracy (%)", ylim=(0, 112))
    top.legend(frameon=False, ncols=2, loc="upper left")
    bottom.set(ylabel="mean firing rate (Hz)")
    bottom.margins(y=0.15)
    bottom.set_xticks(range(len(rows)), labels, fontsize=8)
    finish(figure, folder / "accuracy.png")
