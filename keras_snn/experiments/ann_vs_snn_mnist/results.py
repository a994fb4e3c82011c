"""The results beside the published ones, as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_snn import text_table
from keras_snn.experiments.ann_vs_snn_mnist.published import PUBLISHED
from keras_snn.experiments.figures import finish, hertz, percent

TITLES = {"clean": "clean", "rotated": "rotated", "background-random": "random background"}
COLORS = {"ann": "0.3", "snn": "C0", "aware": "C1"}
CROSS = {"markersize": 9, "markeredgewidth": 2, "zorder": 3}


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    header = ["network", "dt (s)", "train acc.", "published"]
    for title in TITLES.values():
        header += [title, "published"]
    rows = []
    for name, part in results["parts"].items():
        theirs = PUBLISHED[name]
        labels = [name, percent(part["train_accuracy"]), percent(theirs["train_accuracy"])]
        for dt in part["test"]["clean"]:
            row = [labels[0], dt, *labels[1:]]
            for test in TITLES:
                published = theirs["test"][test].get(dt, {"accuracy": None})
                row += [percent(figures["accuracy"]) for figures in (part["test"][test][dt], published)]
            rates = [part["test"][test][dt]["rate_hz"] for test in TITLES]
            rows.append([*row, "-" if name == "ann" else hertz([mean for _, mean, _ in rates])])
            labels = ["", "", ""]
        if name != "ann":
            ann = [percent(part["ann_with_these_weights"][test]) for test in TITLES]
            rows.append(["", "ann*", "", "", *(cell for accuracy in ann for cell in (accuracy, "-")), "-"])
    config = results["config"]
    digits = "the first 6,000 digits" if config["data"] == "sample" else "all 60,000 training digits"
    return "\n".join(
        [
            f"MNIST, {digits}, {config['epochs']} epochs, seed {config['seed']}; test accuracies of three sets in per "
            "cent, and mean firing rates on them",
            *text_table.rst([[*header, "rates (Hz)"], *rows]),
            "*: the ANN with the weights of the spiking network.",
            "Published on the random background: 9.96 is of a single step of 1 ms, as the images came without a time",
            "axis; 9.87 is of ten steps, of a network that is not named. On rotated digits the source says, without",
            "figures, that accuracy does not change much with dt.",
        ]
    )


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``, test accuracy against dt beside the published figures, and ``confusion.png``."""
    _draw_accuracy(results, folder)
    _draw_confusion(results, folder)


def _draw_accuracy(results, folder):
    from matplotlib.figure import Figure

    parts = results["parts"]
    dts = next((list(part["test"]["clean"]) for name, part in parts.items() if name != "ann"), [])
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (test, title) in zip(axes, TITLES.items(), strict=True):
        for name, part in parts.items():
            color = COLORS[name]
            accuracy = {dt: 100 * ours["accuracy"] for dt, ours in part["test"][test].items()}
            if name == "ann":
                axis.axhline(accuracy["-"], color=color, linestyle="--", label=name)
            else:
                axis.plot(range(len(dts)), list(accuracy.values()), "o-", color=color, label=name)
            for dt, theirs in PUBLISHED[name]["test"][test].items():
                if dt == "-":
                    axis.axhline(100 * theirs["accuracy"], color=color, linestyle=":", label=f"{name}, published")
                else:
                    axis.plot(dts.index(dt), 100 * theirs["accuracy"], "x", color=color, **CROSS)
        axis.set_xticks(range(len(dts)), dts)
        axis.set(title=title, xlabel="dt (s)", ylim=(0, 102))
    if "snn" in parts:
        axes[0].plot([], [], "x", color=COLORS["snn"], label="snn, published", **CROSS)
    axes[0].set_ylabel("test accuracy (%)")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    finish(figure, folder / "accuracy.png")


def _draw_confusion(results, folder):
    """Write ``confusion.png``: confusion matrices of the ANN, and of the spiking network at two dt, on every set."""
    from matplotlib.figure import Figure

    wanted = (("ann", "-"), ("snn", "0.01"), ("snn", "1"))
    chosen = [(name, dt) for name, dt in wanted if name in results["parts"]]
    if not chosen:
        return
    figure = Figure(figsize=(9, 3 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), len(TITLES), squeeze=False)
    for row, (name, dt) in zip(axes, chosen, strict=True):
        for axis, (test, title) in zip(row, TITLES.items(), strict=True):
            figures = results["parts"][name]["test"][test][dt]
            shares = [[100 * n / max(1, sum(counts)) for n in counts] for counts in figures["confusion"]]
            image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
            at_dt = "" if dt == "-" else f", dt {dt} s"
            axis.set_title(f"{name}{at_dt}, {title}: {100 * figures['accuracy']:.1f} %", fontsize=8)
            axis.set_xticks(range(10))
            axis.set_yticks(range(10))
            axis.tick_params(length=0, labelsize=8)
        row[0].set_ylabel("true digit")
    for axis in axes[-1]:
        axis.set_xlabel("predicted digit")
    figure.colorbar(image, ax=axes, label="share of the digit's images (%)", shrink=0.6, pad=0.02)
    finish(figure, folder / "confusion.png")
