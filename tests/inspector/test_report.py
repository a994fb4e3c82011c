"""The report as objects, table, dict and files; made by hand, without a model."""

import json
import os

import numpy as np
import pytest

from keras_snn.inspector import DtReport, LayerReport, Rate, Report
from keras_snn.inspector.report import Examples


def layer(rate=(0.0, 2.5, 100.0), silent=0.25, saturated=0.0):
    histogram = dict.fromkeys(["<0", *map(str, range(10)), ">=10"], 0)
    return LayerReport(
        rate=Rate(*rate),
        per_unit=np.array([0.0, 5.0]),
        histogram={**histogram, "0": 75, "1": 5},
        silent=silent,
        saturated=saturated,
        n_steps=10,
        dt=0.25,
    )


def report(accuracy=0.875):
    one, two = {"hidden": layer(), "deep": layer((1, 20, 1234567), 0, 1)}, {"hidden": layer(), "deep": layer()}
    notes = ("Not all is known.",)
    return Report([DtReport(dt, accuracy, of, n_steps=10, notes=notes) for dt, of in ((0.001, one), (1.0, two))], 1000)


TABLE = """\
dt (s)  steps  accuracy   layer  rate min  mean   max (Hz)  silent  saturated
------  -----  --------  ------  --------  ----  ---------  ------  ---------
 0.001     10    87.50%  hidden         0   2.5        100  25.00%      0.00%
                           deep         1    20  1.235e+06   0.00%    100.00%
     1     10    87.50%  hidden         0   2.5        100  25.00%      0.00%
                           deep         0   2.5        100  25.00%      0.00%
Not all is known."""


def test_table():
    assert report().table() == TABLE
    assert str(report()) == TABLE


def test_table_without_labels_and_with_own_dt():
    lines = Report([DtReport(None, None, {"hidden": layer(), "deep": layer()})], 3).table().splitlines()
    assert lines[2].split() == ["own", "0.25", "-", "-", "hidden", "0", "2.5", "100", "25.00%", "0.00%"]
    assert lines[3].split()[:2] == ["own", "0.25"]


def test_lookup_by_dt():
    both = report()
    assert len(both) == 2
    assert [result.dt for result in both] == [0.001, 1.0]
    assert both[0.001] is both.results[0]
    assert both[1] is both.results[1]
    assert both[np.float32(0.001)] is both.results[0]  # 0.001 with an error of 5e-8
    assert both[0.001].layers["hidden"].rate.mean == 2.5
    own = Report([DtReport(None, None, {})], 3)
    assert own[None] is own.results[0]


@pytest.mark.parametrize("dt", [0.01, 0.00101, None, 0])
def test_another_dt_is_an_error_that_names_those_there_are(dt):
    with pytest.raises(KeyError, match=r"\[\(0.001, 10\), \(1.0, 10\)\]"):
        report()[dt]


def test_dict_holds_plain_numbers():
    as_dict = report().to_dict()
    assert json.loads(json.dumps(as_dict)) == as_dict
    assert as_dict["n_samples"] == 1000
    (first, second) = as_dict["results"]
    assert (first["dt"], first["accuracy"], list(first["layers"])) == (0.001, 0.875, ["hidden", "deep"])
    assert second["layers"]["hidden"] == {
        "dt": 0.25,
        "rate_hz": {"min": 0.0, "mean": 2.5, "max": 100.0},
        "rate_quantiles_hz": {"0.05": 0.25, "0.25": 1.25, "0.5": 2.5, "0.75": 3.75, "0.95": 4.75},
        "spikes_per_step": layer().histogram,
        "temporal_sparsity": 75 / 80,
        "silent": 0.25,
        "saturated": 0.0,
        "n_steps": 10,
    }
    assert second["latency"] is None
    assert second["notes"] == ["Not all is known."]


def test_save_as_json(tmp_path):
    path = tmp_path / "new" / "report.json"
    report().save(path)
    assert json.loads(path.read_text()) == report().to_dict()
    Report([], 0).save(str(path))
    assert json.loads(path.read_text()) == {"n_samples": 0, "results": []}


@pytest.mark.parametrize(("ending", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_save_as_a_picture(tmp_path, ending, begin):
    report().save(tmp_path / f"report.{ending}")
    report(accuracy=None).plot(tmp_path / f"plot.{ending}")
    for name in ("report", "plot"):
        assert (tmp_path / f"{name}.{ending}").read_bytes().startswith(begin)


@pytest.mark.parametrize("name", ["report.txt", "report", "json", "a.json/report"])
def test_another_ending_is_an_error_that_names_ours(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.json, \.png or \.pdf; got '.*" + name):
        report().save(tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["report.json", "report.png"])
def test_an_unwritable_folder_is_an_error(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        report().save(tmp_path / "file" / name)


def test_a_failed_picture_leaves_the_old_one(tmp_path):
    (tmp_path / "plot.xyz").write_text("old")
    with pytest.raises(ValueError, match="xyz"):
        report().plot(tmp_path / "plot.xyz")
    assert os.listdir(tmp_path) == ["plot.xyz"]
    assert (tmp_path / "plot.xyz").read_text() == "old"


def test_examples_as_a_picture(tmp_path):
    few = Examples(np.zeros((1, 4)), None, {"hidden": np.ones((1, 3, 2))}, np.array([1, 3]), None)
    result = DtReport(0.01, None, {"hidden": layer()}, few)
    assert "examples" not in repr(result)
    figure = result.plot(tmp_path / "examples.png", class_names=["a", "b"])
    assert len(figure.axes) == 3  # the input, the spikes and their colour bar
    assert (tmp_path / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_no_examples_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ValueError, match="examples=4"):
        report()[1].plot(tmp_path / "examples.png")
    assert os.listdir(tmp_path) == []
