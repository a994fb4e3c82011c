"""The results beside the published ones, as a table and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_snn import text_table
from keras_snn.experiments.clothing.published import PUBLISHED
from keras_snn.experiments.figures import finish, hertz, percent

SETS = ("train", "validation", "test")


def table(results: Mapping[str, Any]) -> str:
    """Return the text table of ``results``, the dict that ``execute`` returns."""
    rows = []
    for name, part in results["parts"].items():
        shown = [name, percent(part["train_accuracy"]), percent(PUBLISHED[name]["train_accuracy"])]
        for dt, ours in part["dt"].items():
            theirs = PUBLISHED[name]["dt"][dt]
            chosen = part.get("chosen_dt") is not None and f"{part['chosen_dt']:g}" == dt
            accuracies = [percent(ours["accuracy"][split]) for split in SETS]
            rates = [hertz(figures["rate_hz"]) for figures in (ours, theirs)]
            published = percent(theirs["accuracy"])
            if "loop_accuracy" in theirs:
                published += f" (loop: {percent(theirs['loop_accuracy'])})"
            rows.append([shown[0], dt + " *" * chosen, *shown[1:], *accuracies, published, *rates])
            shown = ["", "", ""]
    config = results["config"]
    images = "the embedded sample" if config["data"] == "sample" else "60,000 training images"
    header = ["network", "dt (s)", "running", "published", *SETS, "published", "mean/max (Hz)", "published"]
    return "\n".join(
        [
            f"Fashion-MNIST, {images}, of which one in {config['held_back']} is held back for validation, "
            f"{config['epochs']} epochs, seed {config['seed']}; accuracies in per cent",
            *text_table.rst([header, *rows]),
            _choice(results["parts"].get("spiking", {}).get("chosen_dt")),
            "Running: over the batches of the last epoch. Loop: as the publication's training loop printed it.",
            "The published accuracies at each dt were printed as test accuracies, and are those of training images.",
        ]
    )


def _choice(dt):
    if dt is None:
        return "At no dt was the spiking network as good as the ANN on the validation images."
    return "*: the first dt at which the spiking network is as good as the ANN on the validation images."


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``: accuracy against dt on training, validation and test images, and the published one."""
    from matplotlib.figure import Figure

    parts = results["parts"]
    dts = list(parts["spiking"]["dt"])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for color, split in zip(("C0", "C1", "C2"), SETS, strict=True):
        spiking = [100 * ours["accuracy"][split] for ours in parts["spiking"]["dt"].values()]
        axis.plot(range(len(dts)), spiking, "o-", color=color, label=f"spiking, {split}")
        axis.axhline(100 * parts["ann"]["dt"]["-"]["accuracy"][split], color=color, ls="--", label=f"ANN, {split}")
    theirs = [100 * PUBLISHED["spiking"]["dt"][dt]["accuracy"] for dt in dts]
    axis.plot(range(len(dts)), theirs, "x", color="0.3", markersize=9, markeredgewidth=2, label="spiking, published")
    axis.set_xticks(range(len(dts)), dts)
    axis.set(xlabel="dt (s)", ylabel="accuracy (%)", ylim=(0, 102))
    axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
    finish(figure, folder / "accuracy.png")
