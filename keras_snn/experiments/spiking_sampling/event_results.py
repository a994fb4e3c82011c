"""The results on events as tables and pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, number_of_images, parts_by_kind
from keras_snn.experiments.spiking_sampling.results import (
    COLORS,
    ORDERS,
    crossed,
    examples,
    mean_and_error,
    order_row,
    wrapped,
)

#: Published shares of the events that the spiking mask keeps.
PUBLISHED_KEPT = {"10 %": "16", "5 %": "12"}


def table(results: Mapping[str, Any]) -> str:
    """Return the text tables of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    text = [
        f"{'simulated recordings' if config['data'] == 'simulated' else 'N-MNIST'}, "
        f"{number_of_images(config, 'recordings')}, {config['n_frames']} frames, width "
        f"{config['width']:g}, {config['epochs']} epochs, classifier {config['classifier_epochs']}, T = "
        f"{config['n_steps']}, seeds from {config['seed']}",
        "The mask keeps a share of the polarities, places and frames, and the events there. Random events: as many as "
        "the spiking mask keeps. Each row has a classifier that is trained on such events. Mean ± standard error over "
        "the seeds. Error: squared error of rebuilt frames, divided by the squared counts. Bytes: of a recording, "
        "compressed by xz. Published: share of events that a spiking mask keeps.",
        "",
        *text_table.rst(_methods(results)),
        "",
        "Error of crossed masks and networks:",
        *text_table.rst(crossed(results, ".3f")),
        "",
        "Lossless codings of all events:",
        *text_table.rst(_codecs(results)),
        "",
        "Orders of the accuracies, in points, and of the error. A gap counts if it is larger than two standard errors.",
        *text_table.rst(verdicts(results)),
    ]
    return wrapped(text)


def _methods(results):
    rows = [("rate", "events", "kept (%)", "published (%)", "accuracy (%)", "error", "bytes")]
    for kind, runs in parts_by_kind(results).items():
        for method in runs[0]["methods"]:
            found = [run["methods"][method] for run in runs]
            rows.append(
                (
                    kind,
                    method,
                    mean_and_error([run["kept"] for run in found], ".1f", 100),
                    PUBLISHED_KEPT.get(kind, "-") if method == "spiking" else "-",
                    mean_and_error([run["accuracy"] for run in found], ".1f", 100),
                    mean_and_error([run["error"] for run in found], ".3f") if "error" in found[0] else "-",
                    f"{np.mean([run['bytes'] for run in found]):,.0f}",
                )
            )
        accuracy = mean_and_error([run["classifier"] for run in runs], ".1f", 100)
        size = np.mean([run["codecs"]["xz of columns"]["bytes"] for run in runs])
        rows.append((kind, "all", "100", "100", accuracy, "0", f"{size:,.0f}"))
    return rows


def _codecs(results):
    (run, *_) = results["parts"].values()
    return [("coding", "bytes"), *((name, f"{codec['bytes']:,.0f}") for name, codec in run["codecs"].items())]


def verdicts(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of orders."""
    rows: list[tuple[str, ...]] = [ORDERS]
    for kind, runs in parts_by_kind(results).items():
        accuracy = {
            name: np.array([100 * run["methods"][name]["accuracy"] for run in runs]) for name in runs[0]["methods"]
        }
        spiking = accuracy["spiking"]
        whole = np.array([100 * run["classifier"] for run in runs])
        error = {name: np.array([run["methods"][name]["error"] for run in runs]) for name in ("spiking", "random")}
        compared = {
            "spiking above random, equal rate": "random",
            "spiking above random events, equal number": "random events",
            "spiking above brightest, equal rate": "brightest",
        }
        rows += [
            order_row("all events at least spiking", kind, whole - spiking, "+.1f"),
            *(
                order_row(order, kind, spiking - accuracy[name], "+.1f")
                for order, name in compared.items()
                if name in accuracy
            ),
            order_row("spiking below random", kind, error["random"] - error["spiking"], "+.3f"),
        ]
    return rows


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``, and ``examples-RATE.png`` for the first seed of each rate."""
    _draw_accuracy(results, folder / "accuracy.png")
    for example in examples(results, folder):
        _draw_examples(*example)


def _draw_accuracy(results, path):
    from matplotlib.figure import Figure

    kinds = parts_by_kind(results)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    whole = 100 * np.mean([run["classifier"] for runs in kinds.values() for run in runs])
    for axis, measure, scale, label in (
        (axes[0], "kept", 100, "events kept (%)"),
        (axes[1], "bytes", 1, "bytes of a recording, compressed by xz"),
    ):
        for method in next(iter(kinds.values()))[0]["methods"]:
            points = [
                [np.mean([run["methods"][method][name] for run in runs]) for name in (measure, "accuracy")]
                for runs in kinds.values()
            ]
            x, y = np.transpose(sorted(points))
            axis.plot(scale * x, 100 * y, "o-", ms=4, color=COLORS[method], label=method)
        axis.axhline(whole, color="0.8", label="all events")
        axis.set(xlabel=label, xscale="log")
    (run, *_) = results["parts"].values()
    for (name, codec), style in zip(run["codecs"].items(), (":", "--", "-."), strict=True):
        axes[1].axvline(codec["bytes"], color="0.5", ls=style, label=f"all events, {name}")
    for axis in axes:
        low, high = axis.get_xlim()
        places = (digit * 10**power for power in range(5) for digit in (1, 2, 5))
        axis.set_xticks([place for place in places if low <= place <= high])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
    axes[0].set_ylabel("accuracy of the classifier (%)")
    figure.legend(*axes[1].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=4, loc="outside lower center")
    finish(figure, path)


def _draw_examples(kind, arrays, path):
    from matplotlib.figure import Figure

    n = min(6, len(next(iter(arrays.values()))))
    figure = Figure(figsize=(9, 1.45 * len(arrays) + 0.4), layout="constrained")
    axes = figure.subplots(len(arrays), n, squeeze=False)
    totals = {name: counts.sum(axis=-1) for name, counts in arrays.items()}
    for row, name in zip(axes, arrays, strict=True):
        for number, axis in enumerate(row):
            limit = max(1.0, totals["all events"][number].max())
            axis.imshow(totals[name][number], cmap="gray_r", vmin=0, vmax=limit, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(f"{totals[name][number].sum():,.0f} events", fontsize=8)
        row[0].set_ylabel(name, fontsize=9)
    figure.suptitle(f"Test recordings, and the events that are kept at {kind}: number at each pixel", fontsize=10)
    finish(figure, path)
