"""The results as tables and pictures."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_snn import text_table
from keras_snn.experiments.figures import finish, number_of_images, parts_by_kind, standard_error

#: What the publication shows, in its figures 5.2, 5.3, 5.6 and 5.7; it prints no numbers.
PUBLISHED = {
    "spiking below random": "visibly so at 10, 5 and 1 %",
    "spiking at 5 % at most random at 10 %": "implied",
    "network of spiking masks, random masks: the worst": "poor",
    "network of random masks, spiking masks at most random masks": "no worse",
    "brightest at least spiking": "not in the publication",
    "gradient at least spiking": "not in the publication",
    "all events at least spiking": "slightly less",
    "spiking above random, equal rate": "by a lot",
    "spiking above random events, equal number": "not in the publication",
    "spiking above brightest, equal rate": "not in the publication",
}


def file_name(prefix: str, part: str) -> str:
    """Return a file name for a part, such as "examples-10-seed-0"."""
    return f"{prefix}-{part}".replace(", ", "-").replace(" %", "").replace(" ", "-")


def examples_path(folder: Path, name: str) -> Path:
    """Return the path of the example images of a part."""
    return folder / f"{file_name('examples', name)}.npz"


def table(results: Mapping[str, Any]) -> str:
    """Return the text tables of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    text = [
        f"{config['dataset']} ({config['data']}, {number_of_images(config)}), {config['epochs']} epochs, "
        f"T = {config['n_steps']}, seeds from {config['seed']}",
        "Masks with a fixed number of ones, and networks that rebuild the image from the pixels at the ones. Mean ± "
        "standard error over the seeds. Accuracy: of a classifier trained on whole images. The mask is computed from "
        "the whole image: nothing is saved in acquisition.",
        "",
        *text_table.rst(_methods(results)),
        "",
        "Mean squared error of crossed masks and networks:",
        *text_table.rst(crossed(results)),
        "",
        "Codecs of whole images:",
        *text_table.rst(_codecs(results)),
        "",
        "Orders of the mean squared errors. A gap counts if it is larger than two standard errors.",
        *text_table.rst(verdicts(results)),
    ]
    return wrapped(text)


def wrapped(lines: Sequence[str]) -> str:
    """Return lines as a text of at most 118 columns. Rows of tables stay as they are."""
    parts = (textwrap.wrap(line, 118) if "  " not in line and "==" not in line else [line] for line in lines)
    return "\n".join(line for part in parts for line in (part or [""]))


def mean_and_error(values: Sequence[float], form: str, scale: float = 1.0) -> str:
    """Return the mean of scaled values, and the standard error over the seeds."""
    scaled = scale * np.array(values)
    deviation = f" ± {standard_error(scaled):{form}}" if len(scaled) > 1 else ""
    return f"{scaled.mean():{form}}{deviation}"


def _methods(results):
    rows = [("rate", "mask", "MSE", "PSNR (dB)", "accuracy (%)", "on nonzero pixels (%)", "bytes")]
    for kind, runs in parts_by_kind(results).items():
        for method in runs[0]["methods"]:
            found = {name: [run["methods"][method][name] for run in runs] for name in runs[0]["methods"][method]}
            rows.append(
                (
                    kind,
                    method,
                    mean_and_error(found["mse"], ".4f"),
                    mean_and_error(found["psnr"], ".2f"),
                    mean_and_error(found["accuracy"], ".1f", 100),
                    mean_and_error(found["on_nonzero"], ".0f", 100),
                    f"{np.mean(found['bytes']):.0f}",
                )
            )
        accuracy = mean_and_error([run["classifier"] for run in runs], ".1f", 100)
        rows.append((kind, "whole image", "0", "-", accuracy, "-", "-"))
    return rows


def crossed(results: Mapping[str, Any], form: str = ".4f") -> list[tuple[str, ...]]:
    """Return the rows of the table of crossed masks and networks."""
    rows: list[tuple[str, ...]] = [("rate", "network trained with", "random masks", "spiking masks")]
    for kind, runs in parts_by_kind(results).items():
        for network in ("random", "spiking"):
            errors = [[run["cross"][f"{network}, {mask}"] for run in runs] for mask in ("random", "spiking")]
            rows.append((kind, f"{network} masks", *(mean_and_error(values, form) for values in errors)))
    return rows


def _codecs(results):
    runs = next(iter(parts_by_kind(results).values()))
    rows = [("codec", "bytes", "PSNR (dB)", "accuracy (%)")]
    for name, codec in runs[0]["codecs"].items():
        lossless = "psnr" not in codec
        psnr = "lossless" if lossless else f"{codec['psnr']:.2f}"
        accuracy = runs[0]["classifier"] if lossless else codec["accuracy"]
        rows.append((name, f"{codec['bytes']:.0f}", psnr, f"{100 * accuracy:.1f}"))
    return rows


#: Header of the table of orders.
ORDERS = ("order", "rate", "gap", "standard error", "verdict", "publication")


def order_row(order: str, kind: str, gaps: np.ndarray, form: str) -> tuple[str, ...]:
    """Return a row of the table of orders. A gap counts if it is larger than two standard errors over the seeds."""
    error = standard_error(gaps)
    verdict = "holds" if gaps.mean() > 2 * error else "does not hold" if gaps.mean() < -2 * error else "not decided"
    if len(gaps) == 1:
        verdict += ", one seed"
    return order, kind, f"{gaps.mean():{form}}", f"{error:{form.removeprefix('+')}}", verdict, PUBLISHED[order]


def verdicts(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of orders."""
    kinds = parts_by_kind(results)
    rows: list[tuple[str, ...]] = [ORDERS]

    def add(order, kind, larger, smaller):
        rows.append(order_row(order, kind, np.array(larger) - np.array(smaller), "+.4f"))

    for kind, runs in kinds.items():
        mse = {name: [run["methods"][name]["mse"] for run in runs] for name in runs[0]["methods"]}
        cross = {name: [run["cross"][name] for run in runs] for name in runs[0]["cross"]}
        add("spiking below random", kind, mse["random"], mse["spiking"])
        others = np.max([values for name, values in cross.items() if name != "spiking, random"], axis=0)
        add("network of spiking masks, random masks: the worst", kind, cross["spiking, random"], others)
        order = "network of random masks, spiking masks at most random masks"
        add(order, kind, cross["random, random"], cross["random, spiking"])
        for name in [name for name in ("brightest", "gradient") if name in mse]:
            add(f"{name} at least spiking", kind, mse[name], mse["spiking"])
    if {"5 %", "10 %"} <= kinds.keys():
        random, spiking = (
            [run["methods"][name]["mse"] for run in kinds[kind]]
            for name, kind in (("random", "10 %"), ("spiking", "5 %"))
        )
        add("spiking at 5 % at most random at 10 %", "5, 10 %", random, spiking)
    return rows


#: Colors of the masks.
COLORS = {"spiking": "C0", "random": "C1", "brightest": "C2", "gradient": "C3", "random events": "C4"}


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``rate_distortion.png``, and ``examples-RATE.png`` for the first seed of each rate."""
    _draw_rate_distortion(results, folder / "rate_distortion.png")
    for example in examples(results, folder):
        _draw_examples(*example)


def examples(results: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, dict, Path]]:
    """Yield the rate, the arrays of the first seed's examples, and the path of their picture."""
    for name in results["parts"]:
        kind, _, seed = name.rpartition(", seed ")
        source = examples_path(folder, name)
        if seed == str(results["config"]["seed"]) and source.is_file():
            yield kind, dict(np.load(source, allow_pickle=False)), source.with_suffix(".png")


def _draw_rate_distortion(results, path):
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    kinds = parts_by_kind(results)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, measure, label, scale in (
        (axes[0], "psnr", "PSNR (dB)", 1),
        (axes[1], "accuracy", "accuracy of the classifier (%)", 100),
    ):
        for method in next(iter(kinds.values()))[0]["methods"]:
            points = [
                [np.mean([run["methods"][method][name] for run in runs]) for name in ("bytes", measure)]
                for runs in kinds.values()
            ]
            x, y = np.transpose(sorted(points))
            axis.plot(x, scale * y, "o-", ms=4, color=COLORS[method], label=method)
        runs = next(iter(kinds.values()))
        codecs = runs[0]["codecs"]
        jpeg = np.transpose([[codec["bytes"], scale * codec[measure]] for codec in codecs.values() if measure in codec])
        axis.plot(*jpeg, "ks-", ms=4, label="JPEG")
        for name, style in (("zlib", "--"), ("PNG", ":")):
            axis.axvline(codecs[name]["bytes"], color="0.5", ls=style, label=f"{name}, lossless")
        if measure == "accuracy":
            axis.axhline(100 * np.mean([run["classifier"] for run in runs]), color="0.8", label="whole images")
        axis.set(xlabel="bytes of an image, positions included", ylabel=label, xscale="log")
        axis.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*axes[1].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=4, loc="outside lower center")
    finish(figure, path)


def _draw_examples(kind, arrays, path):
    from matplotlib.figure import Figure

    rows = list(arrays)
    n_images = len(arrays["image"])
    figure = Figure(figsize=(9, 0.85 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), n_images)
    for row, name in zip(axes, rows, strict=True):
        for axis, picture in zip(row, arrays[name], strict=True):
            axis.imshow(np.squeeze(picture), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel("\n".join(textwrap.wrap(name, 16)), fontsize=8, rotation=0, ha="right", va="center")
    figure.suptitle(f"Test images, masks at {kind}, and rebuilt images", fontsize=10)
    finish(figure, path)
