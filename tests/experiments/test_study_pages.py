"""The tables in docs/studies and in the README have the figures of the committed results."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import keras_snn
from keras_snn.experiments.oscillation_defense.attacks import CONTROLS, FIVE
from keras_snn.experiments.oscillation_defense.checks import share, verdicts
from keras_snn.experiments.oscillation_defense.published import ROWS

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "docs" / "studies"
RESULTS = Path(keras_snn.__file__).parent / "experiments"
STEPS = [4, 8, 16, 32, 64, 128, 256]


def parts_of(name):
    results = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert results["finished"]
    return results["parts"]


def tables(path):
    """Return the tables of a page as lists of rows. A row is the list of its non-empty cells."""
    border = r"=+(?: +=+)+\n"
    bodies = re.findall(rf"^{border}.+\n{border}((?:.+\n)+?){border}$", path.read_text(encoding="utf-8"), re.M)
    return [[re.split(r" {2,}", line.strip()) for line in table.splitlines()] for table in bodies]


def percent(share):
    return f"{100 * share:.2f}"


def mean_and_deviation(shares):
    return f"{100 * np.mean(shares):.2f} ± {100 * np.std(shares, ddof=1):.2f}"


def rates(hertz):
    return " / ".join(f"{rate:.3g}" for rate in hertz)


def assert_rows(table, expected):
    """Check that each row contains the cells in ``expected``, in their order."""
    assert len(table) == len(expected)
    for cells, wanted in zip(table, expected, strict=True):
        remaining = iter(cells)
        assert all(cell in remaining for cell in wanted), (cells, wanted)


@pytest.mark.every_backend
def test_fashion_mnist():
    expected = [
        ([name, dt, percent(part["train_accuracy"])] if i == 0 else [dt])
        + [percent(test["accuracy"])]
        + ([] if test["rate_hz"] is None else [rates(test["rate_hz"])])
        for name, part in parts_of("fashion_mnist/full").items()
        for i, (dt, test) in enumerate(part["test"].items())
    ]
    assert_rows(tables(STUDIES / "fashion_mnist.rst")[0], expected)


def test_ann_vs_snn_mnist():
    expected = []
    for name, part in parts_of("ann_vs_snn_mnist/full").items():
        for i, dt in enumerate(part["test"]["clean"]):
            first = [name, dt, percent(part["train_accuracy"])] if i == 0 else [dt]
            expected.append(first + [percent(tests[dt]["accuracy"]) for tests in part["test"].values()])
        if name != "ann":
            as_ann = part["ann_with_these_weights"].values()
            expected.append(["as ANN", *map(percent, as_ann)])
    assert_rows(tables(STUDIES / "ann_vs_snn_mnist.rst")[0], expected)


def test_clothing():
    expected = [
        ([percent(part["train_accuracy"])] if i == 0 else [dt])
        + [percent(result["accuracy"][name]) for name in ("train", "validation", "test")]
        + ([] if result["rate_hz"] is None else [rates(result["rate_hz"])])
        for part in parts_of("clothing/full").values()
        for i, (dt, result) in enumerate(part["dt"].items())
    ]
    assert_rows(tables(STUDIES / "clothing.rst")[0], expected)


@pytest.mark.parametrize(("name", "table"), [("fashion_mnist", 0), ("cifar10", 1)])
def test_conversion(name, table):
    expected = [
        [network, kind, *map(percent, result["accuracy"]), percent(part["accuracy"])]
        for network, part in parts_of(f"conversion/{name}").items()
        for kind, result in part["kinds"].items()
    ]
    assert_rows(tables(STUDIES / "conversion.rst")[table], expected)


def by_kind(name):
    kinds = {}
    for part_name, part in parts_of(name).items():
        kinds.setdefault(re.sub(r", seed \d+$", "", part_name), []).append(part)
    return kinds


@pytest.mark.parametrize(("name", "table"), [("fashion_mnist", 0), ("nmnist", 1)])
def test_klif(name, table):
    expected = [
        [
            kind,
            *(mean_and_deviation([run["accuracy"][epoch] for run in runs]) for epoch in (0, -1)),
            " / ".join(f"{rate:.3f}" for rate in np.mean([run["spikes_per_step"] for run in runs], axis=0)),
            " / ".join(f"{k:.2f}" for k in np.mean([run["k"][-1] for run in runs], axis=0)) or "-",
        ]
        for kind, runs in by_kind(f"klif/{name}").items()
    ]
    assert_rows(tables(STUDIES / "klif.rst")[table], expected)


def test_noise_training():
    kinds = by_kind("noise_training/fashion_mnist")
    rows = [("gaussian", neuron) for neuron in ("alpha 2.0", "alpha 4.0", "alpha 8.0", "alpha None", "lif")]
    expected = [
        [mean_and_deviation([run["at"][neuron]["accuracy"][k - 1] for run in kinds[kind]]) for k in (1, 5, 10)]
        for kind, neuron in [*rows, ("direct", "lif")]
    ]
    assert_rows(tables(STUDIES / "noise_training.rst")[0], expected)


def test_oscillation_defense():
    attacked = {}
    for part in parts_of("oscillation_defense/quick").values():
        attacked |= part["attacked"]

    def cells(row, names):
        counts = [attacked[row]["attacks"].get(name, {}).get("8") for name in names]
        return ["-" if count is None else f"{100 * count[0] / count[1]:.1f}" for count in counts]

    rows = [row for row in ROWS if row in attacked]
    clean = {row: f"{100 * attacked[row]['clean'][0] / attacked[row]['clean'][1]:.1f}" for row in rows}
    page = tables(STUDIES / "oscillation_defense.rst")
    assert_rows(page[0], [[row, clean[row], *cells(row, FIVE)] for row in rows])
    with_controls = [row for row in rows if len(attacked[row]["attacks"]) > 4]
    assert_rows(page[1], [[row, *cells(row, ("PGD-5", *CONTROLS))] for row in with_controls])


@pytest.mark.parametrize(("name", "first"), [("standard", 3), ("cifar10", 8)])
def test_oscillation_defense_with_all_controls(name, first):
    path = RESULTS / "oscillation_defense" / f"{name}.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    page = tables(STUDIES / "oscillation_defense.rst")[first:]

    def cells(row, attacks, epsilon):
        found = [share(results, row, attack, epsilon) for attack in attacks]
        return ["-" if each is None else f"{100 * each.mean:.1f} ± {100 * each.standard_error():.1f}" for each in found]

    for number, epsilon in enumerate((8, 16)):
        rows = [row for row in ROWS if share(results, row, "clean", epsilon)]
        attacked, controls = page[2 * number], page[2 * number + 1]
        assert_rows(attacked, [[row, *cells(row, ("clean", *FIVE), epsilon)] for row in rows])
        with_controls = [row for row in rows if share(results, row, "random signs", epsilon)]
        assert_rows(controls, [[row, *cells(row, ("PGD-5", *CONTROLS), epsilon)] for row in with_controls])
    assert [tuple(row[-1:]) for row in page[4]] == [row[-1:] for row in verdicts(results)[1:]]


@pytest.mark.parametrize(("name", "table"), [("standard", 0), ("cifar10", 8)])
def test_spiking_sampling(name, table):
    runs = by_kind(f"spiking_sampling/{name}")
    expected, crossed = [], []
    for kind, parts in runs.items():
        for method in parts[0]["methods"]:
            figures = [part["methods"][method] for part in parts]
            mse, psnr = ([figure[name] for figure in figures] for name in ("mse", "psnr"))
            accuracy = [100 * figure["accuracy"] for figure in figures]
            cells = mean_and_error(mse, ".4f"), mean_and_error(psnr, ".2f"), mean_and_error(accuracy, ".1f")
            expected.append([kind, method, *cells])
        expected.append([kind, "whole image", mean_and_error([100 * part["classifier"] for part in parts], ".1f")])
        for network in ("random", "spiking"):
            errors = ([part["cross"][f"{network}, {mask}"] for part in parts] for mask in ("random", "spiking"))
            crossed.append([kind, f"{network} masks", *(mean_and_error(values, ".4f") for values in errors)])
    page = tables(STUDIES / "spiking_sampling.rst")
    assert_rows(page[table], expected)
    assert_rows(page[table + 1], crossed)


def mean_and_error(values, form):
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1) / np.sqrt(len(values)):{form}}"


def test_sampling_of_events():
    expected, crossed = [], []
    for kind, runs in by_kind("spiking_sampling/nmnist").items():
        for method in runs[0]["methods"]:
            found = [run["methods"][method] for run in runs]
            kept, accuracy = ([100 * figures[name] for figures in found] for name in ("kept", "accuracy"))
            cells = [mean_and_error(kept, ".1f"), mean_and_error(accuracy, ".1f")]
            if "error" in found[0]:
                cells.append(mean_and_error([figures["error"] for figures in found], ".3f"))
            expected.append([kind, method, *cells])
        expected.append([kind, "all", mean_and_error([100 * run["classifier"] for run in runs], ".1f")])
        for network in ("random", "spiking"):
            errors = ([run["cross"][f"{network}, {mask}"] for run in runs] for mask in ("random", "spiking"))
            crossed.append([kind, f"{network} masks", *(mean_and_error(values, ".3f") for values in errors)])
    page = tables(STUDIES / "spiking_sampling.rst")
    (methods,) = (table for table in page if any("random events" in row for row in table))
    assert_rows(methods, expected)
    assert_rows(page[page.index(methods) + 2], crossed)


def test_nmnist():
    page = tables(STUDIES / "nmnist.rst")
    for table, name in zip(page, ("recordings", "simulated"), strict=True):
        runs = parts_of(f"nmnist/{name}")
        expected = [
            [
                str(seed),
                percent(run["accuracy"][-1]),
                percent(run["train_accuracy"][-1]),
                " / ".join(f"{rate:.3f}" for rate in run["spikes_per_step"]),
            ]
            for seed, run in enumerate(runs.values())
        ]
        last = [100 * run["accuracy"][-1] for run in runs.values()]
        mean = ["mean", f"{np.mean(last):.2f} ± {np.std(last, ddof=1) / np.sqrt(len(last)):.2f}"]
        assert_rows(table, [*expected, mean])


def test_figures_of_the_readme_are_in_the_pages():
    results, speed, _ = tables(ROOT / "README.rst")
    cells = {cell for path in STUDIES.glob("*.rst") for table in tables(path) for row in table for cell in row}
    for row in results:
        assert {cell for cell in row[-2:] if cell != "-"} <= cells, row
    page = (ROOT / "docs" / "speed.rst").read_text(encoding="utf-8")
    assert all(re.search(rf"{re.escape(row[-1].split('x ')[0])}(x| times)", page) for row in speed)


def test_stdp_mnist():
    expected = []
    for name, part in parts_of("stdp_mnist/quick").items():
        (measured,) = part["passes"]
        expected.append([name.rpartition(", ")[0], percent(measured["accuracy"]), percent(measured["online"])])
    quick, full = tables(STUDIES / "stdp_mnist.rst")
    assert_rows(quick, expected)
    expected = [
        [name.rpartition(", ")[0], str(row["n_passes"]), percent(row["accuracy"]), percent(row["online"])]
        for name, part in parts_of("stdp_mnist/full").items()
        for row in part["passes"]
    ]
    assert_rows(full, expected)


def test_stdp_tactile():
    networks, others, biotac, fabrics, recordings = tables(STUDIES / "stdp_tactile.rst")
    splits = tactile_splits("stdp_tactile/quick", "simulated")
    baselines = splits.pop("without spikes")
    assert_rows(networks, tactile_rows(splits))
    keys = ("sensors", "input", "samples")
    assert_rows(others, [[*(row[key] for key in keys), *shares] for row, shares in by_classifier(baselines)])
    expected = []
    for name, table in (("BioTac", biotac), ("FabricSlide", fabrics)):
        splits = tactile_splits("stdp_tactile/standard", name)
        baselines = by_classifier(splits.pop("without spikes"))
        assert_rows(table, tactile_rows(splits))
        expected += [[name, row["input"], *shares] for row, shares in baselines if row["samples"] == "augmented"]
    assert_rows(recordings, expected)


def tactile_splits(file, name):
    """Return a dict from each kind of network of a data set to the rows of all splits, one list for each."""
    splits = {}
    for key, part in parts_of(file).items():
        if key.startswith(f"{name}, "):
            splits.setdefault(key.removeprefix(f"{name}, ").rpartition(", ")[0], []).append(part["rows"])
    return splits


def tactile_rows(splits):
    return [
        [kind, mean_of([row["accuracy"] for (row,) in rows]), percent(np.mean([row["online"] for (row,) in rows]))]
        for kind, rows in splits.items()
    ]


def mean_of(shares):
    return mean_and_deviation(shares) if len(shares) > 1 else percent(shares[0])


def by_classifier(splits):
    """Return pairs of a row and the accuracies of the three classifiers, which are in rows that follow each other."""
    means = [mean_of([row["accuracy"] for row in rows]) for rows in zip(*splits, strict=True)]
    return [(splits[0][i], means[i : i + 3]) for i in range(0, len(means), 3)]


def test_teacher_stdp():
    parts = parts_of("teacher_stdp/full")
    kinds = dict.fromkeys(name.rpartition(", seed")[0] for name in parts)
    expected = [
        [kind, *(mean_and_deviation([p[key] for name, p in parts.items() if name.startswith(kind)]) for key in keys)]
        for kind in kinds
        for keys in [("forced", "accuracy")]
    ]
    assert_rows(tables(STUDIES / "teacher_stdp.rst")[0], expected)
