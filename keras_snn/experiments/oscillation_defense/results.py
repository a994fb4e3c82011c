"""The results beside the published ones, as tables and as pictures."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_snn import text_table
from keras_snn.experiments.figures import number_of_images, parts_by_kind, spread
from keras_snn.experiments.oscillation_defense import curves, pictures
from keras_snn.experiments.oscillation_defense.attacks import CONTROLS, FIVE
from keras_snn.experiments.oscillation_defense.checks import share, verdicts
from keras_snn.experiments.oscillation_defense.networks import DEEP
from keras_snn.experiments.oscillation_defense.published import COLUMNS, CONSTANTS, OTHER_DEFENSES, PUBLISHED, ROWS

#: What must be said with any result.
OBFUSCATED = (
    "The effect is obfuscated gradients, not robustness: the attacks do not find the adversarial examples that exist. "
    "The publication's tables show it. Iterated attacks are no stronger than FGSM (ResNet-18, scenario 3: 71.9 under "
    "FGSM, 79.3 under PGD-5). PGD-20 leaves more (71.1) than PGD-5 (66.8). Gradients transferred from another network "
    "(scenario 5) do more harm than those of the network (scenario 2) in all 12 cells. It ran no adaptive attack."
)


def table(results: Mapping[str, Any]) -> str:
    """Return the text tables of ``results``, the dict that ``execute`` returns."""
    config = results["config"]
    text = [
        f"{config['dataset']} ({config['data']}, {number_of_images(config)}), width {config['width']:g}, "
        f"T = {config['n_steps']}, {config['epochs']} epochs, seeds from {config['seed']}",
        *_wrapped(OBFUSCATED),
        "",
        *_nets(results),
    ]
    for epsilon in config["epsilons"]:
        text += ["", *_attacks(results, epsilon), "", *_controls(results, epsilon)]
    checks = verdicts(results)
    if len(checks) > 1:
        text += [
            "",
            "Orders under PGD-5. A gap counts if it is larger than its standard error.",
            *text_table.rst(checks),
        ]
        text.append("In scenario 3 the backward pass of the source, LIF neurons, is smooth already.")
    return "\n".join([*text, *_notes(results)])


def _nets(results):
    """Return the table of the trainings: accuracies without an attack, c, d and thresholds."""
    lines = []
    for kind, runs in parts_by_kind(results).items():
        for net in runs[0]["clean"]:
            fits = [run["fits"].get("f1" if net == kind else net, {}) for run in runs]
            first = net == next(iter(runs[0]["clean"]))
            train = spread([run["train_accuracy"][-1] for run in runs]) if first else "-"
            lines.append(
                (
                    kind if first else "",
                    _net_label(net),
                    train,
                    spread([run["clean"][net] for run in runs]),
                    *(" / ".join(_constant(fit, name) for fit in fits) if fits[0] else "-" for name in "cd"),
                    " / ".join(_constant(fit, "threshold") for fit in fits) if "threshold" in fits[0] else "-",
                )
            )
    header = ("trained", "run as", "training", "clean", "c", "d", "threshold")
    constants = "; ".join(f"{name} {c:g}, {d:g}" for name, (c, d) in CONSTANTS.items())
    return [
        *_wrapped(
            "Accuracy in % without an attack, on all test images (mean ± standard deviation over the seeds); fitted c "
            "and d, and the membrane above which the fitted neuron fires, by seed:"
        ),
        *text_table.rst([header, *lines]),
        *_wrapped(
            f"Published c and d of F1: {constants}. LIF copy: LIF neurons with the weights of the network with noise, "
            "the source of scenario 3. A broken copy makes weak attacks. alternative from scratch: F1 with fixed c and "
            "d from the start; in the publication VGG-16 does not learn at all with it, and ResNet-18 learns worse."
        ),
    ]


def _net_label(net):
    return {"oscillation": "noise", "LIF benchmark": "as trained"}.get(net, net.upper() if len(net) == 2 else net)


def _constant(fit, name):
    value = fit.get(name)
    return "none" if value is None else f"{value:.4f}" if name != "threshold" else f"{value:.3f}"


def _cell(results, row, attack, epsilon):
    found = share(results, row, attack, epsilon)
    return "-" if found is None else f"{100 * found.mean:.1f} ± {100 * found.standard_error():.1f}"


def _attacks(results, epsilon):
    """Return the table of the published attacks."""
    lines = []
    for row, direction in ROWS.items():
        if share(results, row, "clean", epsilon) is None:
            continue
        lines.append((row, direction, *(_cell(results, row, column, epsilon) for column in COLUMNS)))
        if epsilon == 8:
            published = {name: rows[row] for name, rows in PUBLISHED.items() if row in rows}
            for name, shares in published.items():
                cells = [f"{value:g}" for value in shares] + ["-"] * (len(COLUMNS) - len(shares))
                lines.append(("", f"published, {name}", *cells))
    heading = (
        f"Accuracy in % of attacked images, epsilon {epsilon}/255, ± standard error. A on B: gradients of A, accuracy "
        "of B."
    )
    text = [*_wrapped(heading), *text_table.rst([("row", "source and target", *COLUMNS), *lines])]
    if epsilon == 8:
        others = "; ".join(f"{name} {' / '.join(f'{v:g}' for v in shares)}" for name, shares in OTHER_DEFENSES.items())
        published_of = "the full networks" if results["config"]["dataset"] in DEEP else "another network and other data"
        text += _wrapped(
            f"Published figures are of {published_of}. Their clean accuracy in the rows F2 to F4 is that of the "
            "alternative network. Published for other defenses, attacked with their own gradients "
            f"(ResNet-18, CIFAR-10, clean / FGSM / PGD-20): {others}."
        )
    return text


def _controls(results, epsilon):
    """Return the table of the controls."""
    names = ("PGD-5", *CONTROLS)
    lines = []
    for row, direction in ROWS.items():
        cells = [_cell(results, row, name, epsilon) for name in names]
        if any(cell != "-" for cell in cells[1:]):
            found = [share(results, row, name, epsilon) for name in (*FIVE, *CONTROLS)]
            lowest = min(each.mean for each in found if each is not None)
            lines.append((row, direction, *cells, f"{100 * lowest:.1f}"))
    config = results["config"]
    remarks = (
        f"expectation: PGD-5, gradients averaged over {config['n_draws']} draws of noise. smooth: PGD-5, derivative 1 "
        "of the oscillation in the backward pass. surrogates: the worst of PGD-5 with "
        f"{config['n_surrogates']} surrogates. Square: {config['n_queries']} queries, "
        f"no gradients, on at most {config['n_square']} of the images. random signs: the "
        "signs of the change are random. lowest: of all attacks in the row, on the test images. "
    )
    if not config["n_queries"]:
        remarks += "Square was not run with this preset."
    elif results["versions"]["backend"] == "jax":
        remarks += "Square was not run: adversarial-robustness-toolbox has no classifier for Keras on JAX."
    return [
        f"Controls, epsilon {epsilon}/255; the publication has none of them:",
        *text_table.rst([("row", "source and target", *names, "lowest"), *lines]),
        *_wrapped(remarks),
    ]


def _wrapped(text):
    return textwrap.wrap(text, 118)


def _notes(results):
    """Return what ``robustness.evaluate`` noted about masked gradients."""
    notes = {
        f"{row}: {note}"
        for part in results["parts"].values()
        for row, run in part["attacked"].items()
        for note in run["notes"]
    }
    return ["", *sorted(notes)] if notes else []


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``accuracy.png``, ``learning.png`` and ``gradients.png``."""
    pictures.draw_accuracy(results, folder / "accuracy.png")
    pictures.draw_learning(results, folder / "learning.png")
    fits = next((part["fits"] for part in results["parts"].values() if "f2" in part["fits"]), None)
    constants = {name: (fit["c"], fit["d"]) for name, fit in fits.items()} if fits else None
    curves.draw(folder / "gradients.png", constants or {"f1": CONSTANTS["VGG-16, CIFAR-10"]})
