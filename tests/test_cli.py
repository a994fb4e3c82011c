"""The command line: what it passes on, what it prints, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_snn
from keras_snn import experiments
from keras_snn.cli import main
from keras_snn.experiments import fashion_mnist


@pytest.fixture
def runs(monkeypatch):
    """Replace the experiment; give the list of the arguments that it was run with, and the error it raises."""

    class Runs(list):
        error = None

    calls = Runs()

    def run(**arguments):
        calls.append(arguments)
        if calls.error is not None:
            raise calls.error

    monkeypatch.setattr(fashion_mnist, "run", run)
    return calls


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(experiments.EXPERIMENTS)
    assert all(text in line for line, text in zip(lines, experiments.EXPERIMENTS.values(), strict=True))


def test_run_with_defaults(runs):
    assert main(["run", "fashion-mnist"]) == 0
    assert runs == [
        {
            "preset": "quick",
            "data_name": None,
            "seed": 0,
            "epochs": None,
            "out": os.path.join("runs", "fashion-mnist-quick"),
        }
    ]


def test_run_with_options(runs):
    options = ["--preset", "full", "--data", "sample", "--seed", "7", "--epochs", "2", "--out", "here"]
    assert main(["run", "fashion-mnist", *options]) == 0
    assert runs == [{"preset": "full", "data_name": "sample", "seed": 7, "epochs": 2, "out": "here"}]


@pytest.mark.parametrize("error", [OSError("no space"), ValueError("bad dt"), ImportError("install it")])
def test_an_error_is_one_line_and_the_code_1(runs, capsys, error):
    runs.error = error
    assert main(["run", "fashion-mnist"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"keras-snn: {error}\n"
    assert captured.out == ""


def test_an_unknown_experiment_is_an_error_that_names_those_there_are(capsys):
    assert main(["run", "fashion"]) == 1
    assert capsys.readouterr().err == "keras-snn: There is no experiment 'fashion'; there are: fashion-mnist.\n"


def test_an_unwritable_folder_is_an_error_before_the_training(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["run", "fashion-mnist", "--out", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("keras-snn: ")
    assert "file" in captured.err
    assert "epochs" not in captured.out


def test_an_interrupt_says_how_to_go_on_and_is_the_code_130(runs, capsys):
    runs.error = KeyboardInterrupt()
    assert main(["run", "fashion-mnist", "--out", "there"]) == 130
    message = capsys.readouterr().err
    assert "Interrupted. What was finished is in there; the same command goes on from there." in message


def test_an_error_of_the_program_keeps_its_traceback(runs):
    runs.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["run", "fashion-mnist"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["walk"], ["run"], ["run", "fashion-mnist", "--preset", "slow"], ["run", "fashion-mnist", "--seed", "x"]],
)
def test_a_wrong_command_line_is_the_code_2(runs, capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: keras-snn" in capsys.readouterr().err
    assert runs == []


def test_help_of_run_names_its_options(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["run", "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for option in ("--preset", "--data", "--seed", "--epochs", "--out", "KERAS_HOME"):
        assert option in text


def test_as_a_module():
    paths = [str(Path(keras_snn.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "KERAS_BACKEND": keras.config.backend(), "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [sys.executable, "-m", "keras_snn", "list"], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("fashion-mnist ")
