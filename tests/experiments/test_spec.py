"""Rules for every experiment, and ``execute`` without training."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from reference.images import bars

import keras_snn
from keras_snn import data, experiments
from keras_snn.experiments.spec import configuration, execute

pytestmark = pytest.mark.backend_free

EXPERIMENTS = pytest.mark.parametrize(
    "experiment", [experiments.get(name) for name in experiments.ENTRIES], ids=experiments.ENTRIES
)
FOLDER = Path(keras_snn.__file__).parent / "experiments"


@pytest.fixture
def log(monkeypatch):
    """Replace the data by synthetic images; return a list for the names of trained parts."""
    monkeypatch.setattr(data, "load", lambda name, **_: bars(70, 30))
    return []


def without_training(experiment, log, interrupt_at=None, result=1.0):
    """Return the experiment with a training that returns ``result``, and raises KeyboardInterrupt at a part."""

    def train_part(part):
        if interrupt_at == len(log):
            raise KeyboardInterrupt
        log.append(part.name)
        return dict.fromkeys(experiment.figures, result)

    return dataclasses.replace(
        experiment, train_part=train_part, table=lambda results: "the table", draw=lambda results, folder: None
    )


@pytest.mark.every_backend
@EXPERIMENTS
def test_summary_presets_and_configurations(experiment):
    assert experiment.entry is experiments.ENTRIES[experiment.entry.name]
    assert experiment.entry.summary != ""
    assert {"quick", "full"} <= set(experiment.presets) == set(experiment.entry.presets)
    for preset in experiment.presets:
        for dataset in experiment.entry.datasets or (None,):
            config = configuration(experiment, preset=preset, dataset=dataset)
            assert json.loads(json.dumps(config)) == config
            assert config["epochs"] >= 1
            assert set(experiment.parts(config)) <= set((experiment.known_parts or experiment.parts)(config))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_results_have_a_table(path):
    results = json.loads(path.read_text(encoding="utf-8"))
    experiment = experiments.get(results["config"]["experiment"])
    assert path.parent.name == experiment.entry.name.replace("-", "_")
    assert results["config"]["preset"] in experiment.presets
    assert "====" in experiment.table(results)


@EXPERIMENTS
def test_an_interrupted_run_continues(experiment, log, tmp_path, capsys):
    interrupted = without_training(experiment, log, interrupt_at=1)
    with pytest.raises(KeyboardInterrupt):
        execute(interrupted, out=tmp_path, verbose=False)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (list(results["parts"]), results["finished"]) == (log, False)
    assert capsys.readouterr().out == ""
    finished = execute(without_training(experiment, log), out=tmp_path)
    assert list(finished["parts"]) == log
    assert len(set(log)) == len(log) > 1
    assert finished["finished"]
    assert json.loads((tmp_path / "results.json").read_text()) == finished
    printed = capsys.readouterr().out
    assert f"Continuing an interrupted run. Finished parts: {log[0]}." in printed
    assert "the table" in printed
    assert str(tmp_path) in printed
    execute(without_training(experiment, log), out=tmp_path, verbose=False)  # a finished run starts again
    assert log[len(log) // 2 :] == list(finished["parts"])


def test_the_default_folder_is_named_after_experiment_data_and_preset(log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = without_training(experiments.get("klif"), log)
    for arguments in ({}, {"dataset": "fashion_mnist"}, {"dataset": "fashion_mnist", "preset": "full"}):
        execute(experiment, **arguments, only=["lif"], verbose=False)
    folders = sorted(path.parent.as_posix() for path in Path("runs").glob("*/results.json"))
    assert folders == ["runs/klif-fashion_mnist-full", "runs/klif-fashion_mnist-quick", "runs/klif-quick"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 3}, {"preset": "full"}, {"data_name": "full"}])
def test_another_configuration_starts_again(log, tmp_path, change):
    experiment = experiments.get("fashion-mnist")
    with pytest.raises(KeyboardInterrupt):
        execute(without_training(experiment, log, interrupt_at=1), out=tmp_path, verbose=False)
    log.clear()
    results = execute(without_training(experiment, log), out=tmp_path, verbose=False, **change)
    assert log == list(results["parts"])


def test_results_that_are_not_finite_can_be_loaded(log, tmp_path):
    experiment = experiments.get("fashion-mnist")
    with pytest.raises(KeyboardInterrupt):
        execute(without_training(experiment, log, interrupt_at=1, result=math.nan), out=tmp_path, verbose=False)
    execute(without_training(experiment, log), out=tmp_path, verbose=False)
    assert log.count("ann") == 1


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`preset`.*'quick', 'full'.*; got 'slow'", {"preset": "slow"}),
        ("`dataset`.*got 'imagenet'", {"dataset": "imagenet"}),
        ("`only`.*got 'unknown'", {"only": ["unknown"]}),
        ("`data_name`.*got 'nowhere'", {"data_name": "nowhere"}),
        ("`epochs`.*got 0", {"epochs": 0}),
        ("`epochs`.*got 2.5", {"epochs": 2.5}),
        ("`seed`.*got -1", {"seed": -1}),
        ("`n_seeds`.*got 0", {"n_seeds": 0}),
    ],
)
@EXPERIMENTS
def test_bad_input_is_an_error_before_the_training(experiment, log, tmp_path, message, arguments):
    if arguments.get("preset") == "slow":
        message = message.replace("'quick', 'full'", "'quick'")
    with pytest.raises(ValueError, match=message):
        execute(without_training(experiment, log), out=tmp_path / "out", **arguments)
    assert log == []
    assert not (tmp_path / "out").exists()


def test_unknown_names(log, tmp_path):
    with pytest.raises(TypeError, match="'clothing' has no argument 'amat'"):
        execute(experiments.get("clothing"), amat={})
    with pytest.raises(ValueError, match="`amat`.*got 'flipped'"):
        execute(experiments.get("ann-vs-snn-mnist"), amat={"flipped": "a"})
    with pytest.raises(ValueError, match="`name` must be one of 'fashion-mnist'.*got 'fashion_mnist'"):
        experiments.get("fashion_mnist")
    with pytest.raises(ValueError, match="'full' or a path for 'mnist'"):
        execute(experiments.get("klif"), dataset="mnist", data_name="sample", out=tmp_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        execute(without_training(experiments.get("clothing"), log), out=tmp_path / "file" / "out")
    assert log == []
