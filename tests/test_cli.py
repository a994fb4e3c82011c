"""The command line: arguments of the calls, output, and exit codes."""

import io
import os
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import data, experiments, inspector
from keras_snn.cli import main
from keras_snn.experiments.spec import Experiment

pytestmark = pytest.mark.backend_free


@pytest.fixture
def runs(monkeypatch):
    """Replace `Experiment.run`. The list has the arguments of each run; runs raise its attribute `error`."""

    class Runs(list):
        error = None

    calls = Runs()

    def run(experiment, **arguments):
        calls.append(arguments)
        if calls.error is not None:
            raise calls.error

    monkeypatch.setattr(Experiment, "run", run)
    return calls


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(experiments.ENTRIES)
    assert all(entry.summary in line for line, entry in zip(lines, experiments.ENTRIES.values(), strict=True))


def test_run_with_defaults(runs):
    assert main(["run", "fashion-mnist"]) == 0
    assert runs == [
        {
            "preset": "quick",
            "data_name": None,
            "dataset": None,
            "seed": 0,
            "epochs": None,
            "devices": 1,
            "out": os.path.join("runs", "fashion-mnist-quick"),
        }
    ]


def test_run_with_options(runs):
    options = ["--preset", "full", "--data", "sample", "--seed", "7", "--epochs", "2", "--out", "here"]
    assert main(["run", "fashion-mnist", *options]) == 0
    given = {"preset": "full", "data_name": "sample", "dataset": None, "seed": 7, "epochs": 2, "devices": 1}
    assert runs == [{**given, "out": "here"}]


@pytest.mark.parametrize("error", [OSError("no space"), ValueError("bad dt"), ImportError("install it")])
def test_an_error_is_one_line_and_exit_code_1(runs, capsys, error):
    runs.error = error
    assert main(["run", "fashion-mnist"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"keras-snn: {error}\n"
    assert captured.out == ""


def test_an_unknown_experiment_is_an_error_that_lists_all(capsys):
    assert main(["run", "fashion"]) == 1
    assert capsys.readouterr().err == (
        f"keras-snn: `name` must be one of {', '.join(map(repr, experiments.ENTRIES))}; got 'fashion'.\n"
    )


def test_an_experiment_for_one_device_is_an_error_that_lists_the_others(capsys):
    assert main(["run", "stdp-mnist", "--devices", "2"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("keras-snn: `devices` must be 1 for 'stdp-mnist'")
    assert "'fashion-mnist', 'ann-vs-snn-mnist', 'clothing', 'conversion'" in message


def test_an_unknown_preset_is_an_error_that_lists_the_presets(tmp_path, capsys):
    for name, presets in (("fashion-mnist", "'quick', 'full'"), ("noise-training", "'quick', 'wide', 'full'")):
        assert main(["run", name, "--preset", "slow", "--out", str(tmp_path / "new")]) == 1
        assert capsys.readouterr().err == f"keras-snn: `preset` must be one of {presets}; got 'slow'.\n"
    assert not (tmp_path / "new").exists()


def test_an_unwritable_folder_is_an_error_before_the_training(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["run", "fashion-mnist", "--out", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("keras-snn: ")
    assert "file" in captured.err
    assert "epochs" not in captured.out


def test_an_interrupted_run_can_continue_and_has_exit_code_130(runs, capsys):
    runs.error = KeyboardInterrupt()
    assert main(["run", "fashion-mnist", "--out", "there"]) == 130
    message = capsys.readouterr().err
    assert "Interrupted. Finished parts are in there. The same command continues the run." in message


def test_an_error_of_the_program_keeps_its_traceback(runs):
    runs.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["run", "fashion-mnist"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["walk"], ["run"], ["run", "fashion-mnist", "--seed", "x"]],
)
def test_a_wrong_command_line_has_exit_code_2(runs, capsys, arguments):
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
    for entry in experiments.ENTRIES.values():
        assert entry.name in text
        assert f"presets: {', '.join(entry.presets)}" in text
        assert ", ".join(entry.datasets) in text


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["list"], ["run", "--help"]])
def test_help_does_not_import_keras(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "keras_snn", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "keras-snn" in process.stdout or "fashion-mnist" in process.stdout
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"keras", "numpy", "tensorflow", "jax", "torch"}


def test_start_up_messages_of_tensorflow_are_hidden(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "keras_snn", "inspect", str(tmp_path / "none.keras"), "--data", "sample"]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 1
    assert process.stderr.startswith("keras-snn: There is no file")
    assert len(process.stderr.splitlines()) == 1


# inspect


def tiny(*, shape=(28, 28), spiking=True):
    hidden = [keras_snn.Repeat(4), keras_snn.SpikingActivation("relu", dt=0.25, name="hidden")] if spiking else []
    average = [keras_snn.layers.TemporalAveragePooling()] if spiking else []
    parts = [keras.layers.Flatten(), keras.layers.Dense(5), *hidden, *average, keras.layers.Dense(10)]
    return keras.Sequential([keras.Input(shape), *parts])


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Return the model that is saved in tiny.keras of the current folder."""
    monkeypatch.chdir(tmp_path)
    model = tiny()
    model.save("tiny.keras")
    return model


def arrays(path="data.npz", **others):
    rng = np.random.default_rng(0)
    given = {"x": rng.integers(0, 256, (12, 28, 28), "uint8"), "y": np.arange(12) % 10, **others}
    np.savez(path, **{name: value for name, value in given.items() if value is not None})
    return given["x"], given["y"]


def figures(report):
    """Return the figures of a report that equal those of a loaded model. Others may differ in the last digits."""
    return [(result.dt, result.n_steps, result.accuracy, result.layers["hidden"].histogram) for result in report]


@pytest.fixture
def inspections(monkeypatch):
    """Return a list that receives the arguments and the report of each call of `inspect`."""
    calls, original = [], inspector.inspect

    def recorded_inspect(model, x, y, **options):
        calls.append(({"x": x, "y": y, **options}, original(model, x, y, **options)))
        return calls[-1][1]

    monkeypatch.setattr(inspector, "inspect", recorded_inspect)
    return calls


@pytest.mark.every_backend
def test_inspect_prints_both_tables_and_writes_three_files(saved, inspections, capsys):
    arguments = ["--data", "sample", "--dt", "0.25", "1", "--n-steps", "2", "3", "--samples", "20", "--out", "a/report"]
    assert main(["inspect", "tiny.keras", *arguments]) == 0
    _, (x, y) = data.load("fashion_mnist_sample")
    for given, _ in inspections:
        np.testing.assert_array_equal(given.pop("x"), x[:20])
        np.testing.assert_array_equal(given.pop("y"), y[:20])
        assert (given.pop("batch_size"), given.pop("seed")) == (None, 0)
    settings = [(1.0, 2), (0.25, 2), (1.0, 3), (0.25, 3)]
    assert [given for given, _ in inspections] == [
        {"dt": [dt], "n_steps": n_steps, "verbose": 0}
        for dt, n_steps in settings  # verbose=0: the command prints the progress
    ]
    written = inspector.Report.load("a/report/report.json")
    assert figures(written) == figures(inspections[i][1].results[0] for i in (1, 0, 3, 2))
    np.testing.assert_allclose(written[1, 3].examples.x, x[:4], rtol=6e-6)  # six digits
    assert (written.model, written.data) == (saved.name, "fashion_mnist_sample, 20 samples of (28, 28)")
    assert written.date == inspections[-1][1].date
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{written}\n\n")
    assert captured.out.endswith("Written to a/report: report.json, report.html, sweep.png.\n".replace("/", os.sep))
    assert [line for line in captured.err.splitlines() if line.startswith("[")] == [
        "[1/4] 20 samples, dt = 1 s, 2 steps ...",
        "[2/4] 20 samples, dt = 0.25 s, 2 steps ...",
        "[3/4] 20 samples, dt = 1 s, 3 steps ...",
        "[4/4] 20 samples, dt = 0.25 s, 3 steps ...",
    ]
    assert sorted(os.listdir("a/report")) == ["report.html", "report.json", "sweep.png"]
    page = Path("a/report/report.html").read_text(encoding="utf-8")
    assert "<h1>tiny.keras</h1>" in page
    assert "T-shirt/top" in page  # the label of the first image
    assert f"<dd>{written.data}</dd>" in page
    assert Path("a/report/sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_does_not_depend_on_dt_runs_once_for_all_dt(saved, capsys):
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras_snn.Repeat(2), keras_snn.LIF()])
    model.save("lif.keras")
    with pytest.warns(UserWarning, match="No layer .* depends on dt"):
        assert main(["inspect", "lif.keras", "--data", "sample", "--dt", "0.25", "1", "--samples", "4"]) == 0
    assert "[1/1] 4 samples, dt = 0.25, 1 s ..." in capsys.readouterr().err
    report = inspector.Report.load("runs/lif-report/report.json")
    assert [result.dt for result in report] == [0.25, 1.0]


def test_inspect_with_the_dt_of_the_model_and_arrays_of_a_file(saved):
    x, y = arrays()
    assert main(["inspect", "tiny.keras", "--data", "data.npz"]) == 0
    written = inspector.Report.load("runs/tiny-report/report.json")
    assert figures(written) == figures(inspector.inspect(saved, (x / 255).astype("float32"), y))
    assert written[None].layers["hidden"].dt == 0.25


def test_pixels_are_scaled_without_no_scale(saved, monkeypatch):
    calls = []

    def recorded_inspect(model, x, y, **options):
        calls.append((x, y, options))
        layer = inspector.LayerReport(
            inspector.Rate(0, 1, 2), np.ones(5), {"0": 4, "1": 1}, silent=0, saturated=0, n_steps=4
        )
        return inspector.Report([inspector.DtReport(None, {}, {"hidden": layer})], len(x))

    monkeypatch.setattr(inspector, "inspect", recorded_inspect)
    monkeypatch.setattr(inspector.Report, "save", lambda report, path: None)
    monkeypatch.setattr(inspector.Report, "to_html", lambda report, **options: "")
    x, _ = arrays(y=None)
    for options in (
        ["--data", "data.npz", "--seed", "3", "--batch-size", "5"],
        ["--data", "data.npz", "--no-scale"],
        ["--data", "sample", "--no-scale", "--samples", "8"],
    ):
        assert main(["inspect", "tiny.keras", *options]) == 0
    arrays(x=(x / 128).astype("float32"))
    assert main(["inspect", "tiny.keras", "--data", "data.npz"]) == 0
    (scaled, no_labels, options), (raw, _, _), (of_set, labels, _), (floats, _, _) = calls
    assert options == {"dt": None, "n_steps": None, "seed": 3, "batch_size": 5, "verbose": 0}
    np.testing.assert_array_equal(scaled, (x / 255).astype("float32"))
    assert no_labels is None
    np.testing.assert_array_equal(raw, x)
    assert raw.dtype == "uint8"
    assert of_set.max() == 255
    assert len(of_set) == len(labels) == 8
    np.testing.assert_array_equal(floats, (x / 128).astype("float32"))


def error_line(arguments, capsys):
    """Return the error message of `inspect`, after checking that no report was written."""
    assert main(["inspect", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    message = captured.err.splitlines()[-1]
    assert message.startswith("keras-snn: ")
    assert "Traceback" not in captured.err
    assert not Path("runs/tiny-report/report.json").exists()
    return message


def test_missing_or_wrong_files_and_arguments_are_one_line_and_exit_code_1(saved, capsys):
    sample = ["--data", "sample", "--samples", "8"]
    assert "no file 'none.keras'" in error_line(["none.keras", *sample], capsys)
    assert "got 'none.npz'" in error_line(["tiny.keras", "--data", "none.npz"], capsys)
    assert "got 'fashion'" in error_line(["tiny.keras", "--data", "fashion"], capsys)
    Path("text.npz").write_text("no arrays")
    assert "'text.npz' must be a file of numpy.savez" in error_line(["tiny.keras", "--data", "text.npz"], capsys)
    np.save("one.npy", np.zeros((3, 28, 28)))
    assert "'one.npy' must be a file of numpy.savez" in error_line(["tiny.keras", "--data", "one.npy"], capsys)
    np.savez("other.npz", images=np.zeros((3, 28, 28)))
    assert "'other.npz' must be a file of numpy.savez" in error_line(["tiny.keras", "--data", "other.npz"], capsys)
    arrays(x=np.zeros((3, 8, 8)))
    message = error_line(["tiny.keras", "--data", "data.npz"], capsys)
    assert "shape (28, 28); those of --data data.npz are (8, 8)" in message
    arrays(y=np.arange(3))
    assert "a label for each of the 12 samples" in error_line(["tiny.keras", "--data", "data.npz"], capsys)
    assert "`--samples` must be an integer of at least 1 or None; got 0" in error_line(
        ["tiny.keras", "--data", "sample", "--samples", "0"], capsys
    )
    assert "dt" in error_line(["tiny.keras", *sample, "--dt", "0"], capsys)
    assert "n_steps" in error_line(["tiny.keras", *sample, "--n-steps", "0"], capsys)


def broken_models(file_bytes):
    """Return the contents of broken model files by name, made from the bytes of a valid file."""
    with zipfile.ZipFile(io.BytesIO(file_bytes)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    def archived(**changed):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in {**parts, **changed}.items():
                archive.writestr(name, content)
        return file.getvalue()

    return {
        "empty.keras": b"",
        "random.keras": np.random.default_rng(0).bytes(3000),
        "cut.keras": file_bytes[: len(file_bytes) // 2],
        "config.keras": archived(**{"config.json": b'{"a"'}),
        "weights.keras": archived(**{"model.weights.h5": parts["model.weights.h5"][:9000]}),
        "cut.h5": b"HDF",
    }


def test_a_broken_model_is_an_error_that_names_the_file(saved, capsys):
    for name, content in broken_models(Path("tiny.keras").read_bytes()).items():
        Path(name).write_bytes(content)
        message = error_line([name, "--data", "sample"], capsys)
        assert message.startswith(f"keras-snn: '{name}' ")
        assert "ot found" not in message.replace("signature not found", "")  # HDF5's reason


def test_a_model_without_spiking_layers_is_an_error(saved, capsys):
    tiny(spiking=False).save("plain.keras")
    assert "no spiking layer of keras_snn" in error_line(["plain.keras", "--data", "sample", "--samples", "8"], capsys)


def test_a_model_of_unknown_classes_is_an_error_that_names_them(saved, capsys):
    class Unregistered(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    keras.Sequential([keras.Input((28, 28)), Unregistered()]).save("custom.keras")
    assert main(["inspect", "custom.keras", "--data", "sample"]) == 1
    message = capsys.readouterr().err
    assert "'custom.keras' cannot be loaded" in message
    assert "Unregistered" in message


def test_an_unwritable_folder_is_an_error_before_the_inspection(saved, capsys, monkeypatch):
    monkeypatch.setattr(inspector, "inspect", lambda *args, **kwargs: pytest.fail("`inspect` was called"))
    Path("file").write_text("no folder")
    assert "file" in error_line(["tiny.keras", "--data", "sample", "--out", "file/report"], capsys)
    Path("runs/tiny-report/report.html").mkdir(parents=True)
    assert "report.html" in error_line(["tiny.keras", "--data", "sample"], capsys)


def test_an_interrupted_inspection_has_exit_code_130(saved, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(inspector, "inspect", interrupt)
    assert main(["inspect", "tiny.keras", "--data", "sample", "--samples", "8", "--out", "there"]) == 130
    assert "Interrupted. No report was written." in capsys.readouterr().err
    assert os.listdir("there") == []


@pytest.mark.parametrize(
    "arguments", [["inspect"], ["inspect", "m.keras"], ["inspect", "m.keras", "--data", "sample", "--dt", "small"]]
)
def test_a_wrong_command_line_of_inspect_has_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: keras-snn inspect" in capsys.readouterr().err


def test_help_of_inspect_names_its_options_and_the_scale(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", "--help"])
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    options = ("--data", "--dt", "--n-steps", "--batch-size", "--samples", "--seed", "--out", "--no-scale")
    for word in (*options, "scaled to [0, 1]", "PATH.npz"):
        assert word in text


def test_events_prints_and_draws_a_recording(tmp_path, capsys):
    path, out = tmp_path / "recording.npz", tmp_path / "pictures"
    events = {"x": [3] * 40 + [1], "y": [2] * 40 + [0], "t": [*range(40), 1000], "p": [1] * 30 + [0] * 11}
    data.write_events(path, events, size=(4, 5))
    assert main(["events", str(path), "--out", str(out), "--frames", "3"]) == 0
    table = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line)
    values = {name: value.strip() for name, value in table.items()}
    assert values["events"] == "41"
    assert values["duration (s)"] == "0.001"
    assert values["events per second"] == "41,000"
    assert values["polarity 1 (%)"] == "73.2"
    assert values["sensor, width x height"] == "5 x 4"
    assert values["pixels above 1000 events/s"] == "1: (3, 2)"
    assert {file.name for file in out.iterdir()} == {"events.png", "frames.png", "clip.gif"}


def test_events_without_a_picture_or_with_an_error(tmp_path, capsys):
    path = tmp_path / "recording.npz"
    data.write_events(path, {"x": [], "y": [], "t": [], "p": []})
    assert main(["events", str(path)]) == 0
    assert capsys.readouterr().out.endswith("No pictures: the recording has no events.\n")
    data.write_events(path, {"x": [1], "t": [0.5], "p": [1]})
    assert main(["events", str(path)]) == 0
    assert capsys.readouterr().out.endswith("No pictures: the recording has no y, as from an audio sensor.\n")
    path.write_text("no events")
    assert main(["events", str(path)]) == 1
    assert "must be a recording of events" in capsys.readouterr().err
    data.write_events(path, {"x": [1], "y": [0], "t": [5], "p": [1]})
    assert main(["events", str(path), "--frames", "0"]) == 1
    assert "--frames" in capsys.readouterr().err


@pytest.fixture(scope="module")
def samplers(tmp_path_factory):
    """Files of a sampler that keeps the two busiest of the 8 polarities and pixels, and of a classifier.

    The classifier gives class 0 to recordings with more events of polarity 0, and class 1 to the others.
    """
    folder = tmp_path_factory.mktemp("models")
    rebuild = keras.Sequential([keras.Input((2, 2, 2)), keras.layers.Activation("linear")])
    sampler = keras_snn.models.SpikingSampler(keras_snn.models.BrightnessScores(per_channel=True), rebuild, 0.25)
    sampler.save(folder / "sampler.keras")
    inputs = keras.Input((1, 2, 2, 2))
    scores = keras.layers.GlobalAveragePooling3D(data_format="channels_last")(inputs)
    keras.Model(inputs, scores).save(folder / "classifier.keras")
    keras.Sequential([keras.Input((2, 2)), keras.layers.Dense(2)]).save(folder / "other.keras")
    return folder


def recording(*events):
    """Return a recording of events (x, y, t, p)."""
    return dict(zip("xytp", np.transpose(events), strict=True))


BUSY = [(0, 0, 1, 0), (0, 0, 2, 0), (0, 0, 3, 0), (1, 1, 4, 1), (1, 1, 5, 1), (1, 0, 6, 0), (0, 1, 7, 1)]


def test_compress_events_writes_the_events_that_the_sampler_keeps(tmp_path, capsys, samplers):
    source, target = tmp_path / "recording.npz", tmp_path / "out" / "few.npz"
    data.write_events(source, recording(*BUSY), size=(2, 2))
    command = ["compress-events", str(source), str(target), "--model", str(samplers / "sampler.keras")]
    assert main([*command, "--verify"]) == 0
    assert data.read_events(target).tolist() == [(x, y, t, p == 1) for x, y, t, p in BUSY[:5]]
    assert data.sensor_size(target) == (2, 2)
    out = capsys.readouterr().out
    assert re.search(r"events +7 +5 +71\.4 % \(1\.4 : 1\)", out)
    assert re.search(r"share of the mask that is 1 +25 %", out)
    assert "Verified: 1 files were read again" in out

    assert main([*command, "--rate", "0.125", "--verify", str(samplers / "classifier.keras")]) == 0
    assert data.read_events(target)["t"].tolist() == [1, 2, 3]
    assert "100.0 % of the recordings the same class as before. Class 0 before, 0 after." in capsys.readouterr().out
    # Windows of 4 us: t = 1 to 4, and 5 to 7
    assert main([*command, "--window", "4e-6", "--rate", "0.125"]) == 0
    assert data.read_events(target)["t"].tolist() == [1, 2, 3, 6]  # of equally busy places, the first


def test_compress_events_of_a_recording_without_events(tmp_path, capsys, samplers):
    data.write_events(tmp_path / "empty.npz", {field: [] for field in "xytp"}, size=(2, 2))
    paths = [str(tmp_path / name) for name in ("empty.npz", "out.npz")]
    assert main(["compress-events", *paths, "--model", str(samplers / "sampler.keras"), "--verify"]) == 0
    assert len(data.read_events(tmp_path / "out.npz")) == 0
    assert re.search(r"events +0 +0 +-", capsys.readouterr().out)


def test_compress_events_of_a_folder_of_classes(tmp_path, capsys, samplers):
    source, target = tmp_path / "in", tmp_path / "out"
    data.write_events(source / "a" / "0.npz", recording(*BUSY), size=(2, 2))  # 4 events of polarity 0, 3 of 1
    # Polarity 1 prevails, but polarity 0 has the busiest place.
    other = [(0, 0, 1, 0), (0, 0, 2, 0), (1, 0, 3, 1), (1, 1, 4, 1), (0, 1, 5, 1)]
    data.write_events(source / "b" / "1.npz", recording(*other), size=(2, 2))
    command = ["compress-events", str(source), str(target), "--model", str(samplers / "sampler.keras")]
    assert main([*command, "--rate", "0.125", "--verify", str(samplers / "classifier.keras")]) == 0
    assert data.read_events(target / "b" / "1.npz")["t"].tolist() == [1, 2]
    out = capsys.readouterr().out
    assert "Accuracy of the classifier: 100.0 % before, 50.0 % after." in out
    assert re.search(r"recordings +2 +2", out)

    np.save(source / "a" / "0.npy", data.as_events(recording(*BUSY)))
    assert main(command) == 1
    assert re.search(r"would be written to '.*out/a/0\.npz'. Rename one of them", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--model": "other.keras"}, "--model must be a keras_snn.models.SpikingSampler; got a Sequential"),
        ({"--rate": "0"}, "--rate"),
        ({"--window": "0"}, "--window"),
        ({"--verify": "other.keras"}, r"--verify must take frames .*; got \(None, 2, 2\)"),
        ({"OUT": "few.txt"}, "must end in .npz"),
        ({"OUT": "recording.npz"}, "OUT must be another path than IN"),
        ({"IN": "large.npz"}, r"large\.npz' must be of a sensor of \(2, 2\), as the model; got \(5, 5\)"),
        (
            {"IN": "outside.npz"},
            r'"x" of .*outside\.npz.* must be from 0 to 1, within `size` \(2, 2\); got 4 at event 1',
        ),
        ({"IN": "missing.npz"}, "No such file"),
    ],
)
def test_compress_events_errors(tmp_path, capsys, samplers, changes, message):
    data.write_events(tmp_path / "recording.npz", recording(*BUSY), size=(2, 2))
    data.write_events(tmp_path / "large.npz", recording(*BUSY), size=(5, 5))
    data.write_events(tmp_path / "outside.npz", recording(BUSY[0], (4, 0, 2, 1)))
    given = {"IN": "recording.npz", "OUT": "few.npz", "--model": "sampler.keras", **changes}
    paths = [str(tmp_path / given.pop(name)) for name in ("IN", "OUT")]
    options = [part for name, value in given.items() for part in (name, value)]
    options = [str(samplers / part) if part.endswith(".keras") else part for part in options]
    assert main(["compress-events", *paths, *options]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "few.npz").exists()
    assert not list(tmp_path.glob(".*"))  # no part of a file is left


def test_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["keras_snn", "list"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("keras_snn", run_name="__main__")  # python -m keras_snn
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("fashion-mnist ")
