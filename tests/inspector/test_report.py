"""The report as objects, tables, dict and files. Reports are made by hand, without a model."""

import html.parser
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_snn.energy import NOT_MODELED, Work
from keras_snn.inspector import DtReport, LayerReport, Rate, Report
from keras_snn.inspector.report import Examples, Latency

pytestmark = pytest.mark.backend_free


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
        spikes_per_inference=12.5,
    )


def report(accuracy=0.875):
    slow, fast = {"hidden": layer(), "deep": layer((1, 20, 1234567), 0, 1)}, {"hidden": layer(), "deep": layer()}
    notes = ("Not all is known.",)
    accuracies = {} if accuracy is None else {"": accuracy}
    results = [DtReport(dt, accuracies, layers, n_steps=10, notes=notes) for dt, layers in ((0.001, slow), (1.0, fast))]
    return Report(results, 1000)


TABLE = """\
dt (s)  steps  accuracy   layer  rate min  mean   max (Hz)  spikes per step  silent  saturated
------  -----  --------  ------  --------  ----  ---------  ---------------  ------  ---------
 0.001     10    87.50%  hidden         0   2.5        100            0.625  25.00%      0.00%
                           deep         1    20  1.235e+06                5   0.00%    100.00%
     1     10    87.50%  hidden         0   2.5        100            0.625  25.00%      0.00%
                           deep         0   2.5        100            0.625  25.00%      0.00%
Not all is known."""


def test_table():
    assert report().table() == TABLE


def test_table_without_labels_and_with_own_dt():
    lines = Report([DtReport(None, {}, {"hidden": layer(), "deep": layer()})], 3).table().splitlines()
    assert lines[2].split() == ["own", "0.25", "-", "-", "hidden", "0", "2.5", "100", "0.625", "25.00%", "0.00%"]
    assert lines[3].split()[:2] == ["own", "0.25"]


def test_lookup_by_dt():
    two_dt = report()
    assert len(two_dt) == 2
    assert [result.dt for result in two_dt] == [0.001, 1.0]
    assert two_dt[0.001] is two_dt.results[0]
    assert two_dt[1] is two_dt.results[1]
    assert two_dt[np.float32(0.001)] is two_dt.results[0]  # float32(0.001) has a relative error of 5e-8
    assert two_dt[0.001].layers["hidden"].rate.mean == 2.5
    own_dt = Report([DtReport(None, {}, {})], 3)
    assert own_dt[None] is own_dt.results[0]


@pytest.mark.parametrize("dt", [0.01, 0.00101, None, 0])
def test_an_unknown_dt_is_an_error_that_lists_the_known_ones(dt):
    with pytest.raises(KeyError, match=r"\[\(0.001, 10\), \(1.0, 10\)\]"):
        report()[dt]


def test_the_dict_is_json():
    as_dict = report().to_dict()
    assert json.loads(json.dumps(as_dict)) == as_dict
    assert as_dict["n_samples"] == 1000
    (first, second) = as_dict["results"]
    assert (first["dt"], first["accuracies"], list(first["layers"])) == (0.001, {"": 0.875}, ["hidden", "deep"])
    assert second["layers"]["hidden"] == {
        "dt": 0.25,
        "rate_hz": {"min": 0.0, "mean": 2.5, "max": 100.0},
        "quantiles_hz": {"0.05": 0.25, "0.25": 1.25, "0.5": 2.5, "0.75": 3.75, "0.95": 4.75},
        "per_unit_hz": [0, 5],
        "histogram": layer().histogram,
        "spikes_per_step": 0.625,
        "spikes_per_inference": 12.5,
        "temporal_sparsity": 75 / 80,
        "silent": 0.25,
        "saturated": 0.0,
        "n_steps": 10,
    }
    assert second["latencies"] == {}
    assert second["notes"] == ["Not all is known."]


def test_save_as_json(tmp_path):
    path = tmp_path / "new" / "report.json"
    report().save(path)
    assert json.loads(path.read_text()) == report().to_dict()
    Report([], 0).save(str(path))
    about = {"model": None, "data": None, "date": None}
    assert json.loads(path.read_text()) == {
        "format": "keras_snn report",
        "version": 3,
        **about,
        "n_samples": 0,
        "results": [],
    }


def test_a_report_names_its_model_data_and_date():
    about = {"model": "net", "data": "a set, 3 samples of (2,)", "date": "2030-01-02T03:04:05+00:00"}
    named = Report(full().results, 3, **about)
    line = "model: net; data: a set, 3 samples of (2,); date: 2030-01-02T03:04:05+00:00"
    assert named.table() == f"{line}\n{full().table()}"
    assert f"<p>{line}</p>" in named._repr_html_()
    back = Report.from_dict(json.loads(json.dumps(named.to_dict())))
    assert {name: getattr(back, name) for name in about} == about


@pytest.mark.parametrize(("ending", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_save_as_a_picture(tmp_path, ending, begin):
    report(accuracy=None).save(tmp_path / f"report.{ending}")
    assert (tmp_path / f"report.{ending}").read_bytes().startswith(begin)


def test_plot_writes_a_picture(tmp_path):
    report().plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["report.txt", "report", "json", "a.json/report"])
def test_an_unknown_file_ending_is_an_error_that_lists_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.json, \.html, \.png or \.pdf; got '.*" + name):
        report().save(tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["report.json", "report.png", "report.html"])
def test_an_unwritable_folder_is_an_error(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        report().save(tmp_path / "file" / name)


def test_a_failed_plot_keeps_the_old_file(tmp_path):
    (tmp_path / "plot.xyz").write_text("old")
    with pytest.raises(ValueError, match="xyz"):
        report().plot(tmp_path / "plot.xyz")
    assert os.listdir(tmp_path) == ["plot.xyz"]
    assert (tmp_path / "plot.xyz").read_text() == "old"


def test_examples_as_a_picture(tmp_path):
    examples = Examples(np.zeros((1, 4)), {}, {"hidden": np.ones((1, 3, 2))}, np.array([1, 3]), {})
    result = DtReport(0.01, {}, {"hidden": layer()}, examples)
    assert "examples" not in repr(result)
    figure = result.plot(tmp_path / "examples.png", class_names=["a", "b"])
    assert len(figure.axes) == 4  # the heading, the input, the spikes and their color bar
    assert (tmp_path / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_a_result_without_examples_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="examples=4"):
        report()[1].plot(tmp_path / "examples.png")
    assert os.listdir(tmp_path) == []


# Operations and energy

WORK = {
    "first": Work(None, None, 1000, 1000),
    "second": Work(40.0, 400.0, 200, 250),
    "hidden": Work(None, None, 0, 0, 2, 10),
}


def full(dt=0.01, n_steps=10, accuracy=0.75, mean=2.5, operations=400.0, examples=None, name="hidden"):
    """Return a report of one result with all fields; ``examples`` is optional."""
    latency = Latency(np.array([1, 10]), np.array([0.5, accuracy]), np.array([0.25, 1 / 3]), {0.9: (0.5, 2.75)})
    work = {**WORK, "second": Work(40.0, operations, 200, 250)}
    result = DtReport(
        dt,
        {"": accuracy},
        {name: layer((0.0, mean, 100.0))},
        examples,
        n_steps=n_steps,
        latencies={"": latency},
        metrics={"loss": 0.125},
        work=work,
        notes=("A note.",),
    )
    return Report([result], 3)


def test_energy_table():
    # loihi: (1000 + 400 operations) x 27.1 pJ + (2 neurons x 10 steps) x 81 pJ = 39.56 nJ.
    # spinnaker2: 1400 x 450 pJ + 20 x 2.19 nJ. cpu: (1000 + 200 + 2) x 8.6 nJ. gpu: (1000 + 200 + 2) x 0.3 nJ.
    # 45nm: 1000 x 4.6 pJ + 400 x 0.9 pJ; as an ANN 1200 x 4.6 pJ. Memory: 1400 x 4 + 20 x 8 bytes.
    text = full().energy_table()
    operations, energies = (part.splitlines() for part in text.split("\n\n"))
    assert re.split("  +", operations[0]) == [
        *("dt (s)", "steps", "synaptic operations (ACs)", "MACs", "neuron updates", "memory (kB)", "ANN MACs", "ratio")
    ]
    assert operations[2].split() == ["0.01", "10", "400", "1,000", "20", "5.76", "200", "of", "250", "2"]
    assert re.split("  +", energies[0]) == [
        *("dt (s)", "steps", "45nm (µJ)", "loihi (µJ)", "spinnaker2 (µJ)"),
        *("ANN 45nm (µJ)", "ANN cpu (µJ)", "ANN gpu (µJ)"),
    ]
    assert energies[2].split() == ["0.01", "10", "0.00496", "0.0396", "0.674", "0.00552", "10.3", "0.361"]
    assert max(map(len, text.splitlines())) <= 110
    assert energies[3].startswith("Estimates")
    assert NOT_MODELED in " ".join(energies)


def test_operations_of_all_layers():
    result = full()[0.01]
    counts = {"macs": 1000, "accumulates": 400, "neuron_updates": 20, "memory_traffic": 5760}
    assert {name: getattr(result, name) for name in counts} == counts
    assert result.to_dict()["operations"] == counts
    assert result.synaptic_operations == 400


def test_energy_on_a_device_with_two_costs_and_as_an_ann():
    result = full()[0.01]
    assert result.energy("45nm") == pytest.approx(4.6e-12 * 1000 + 0.9e-12 * 400)
    assert result.energy("45nm", as_ann=True) == pytest.approx(4.6e-12 * 1200)
    low, high = 1.5e-12 * 1000 + 0.4e-12 * 400, 4.6e-12 * 1000 + 0.9e-12 * 400
    assert result.energy_range("45nm") == pytest.approx((high, low, high))
    assert result.energy("LOIHI", as_ann=True) == pytest.approx(27.1e-12 * 1200 + 81e-12 * 2)
    assert (result.ann_macs, result.ann_dense_macs) == (200, 250)


def test_energy_table_with_unknown_values():
    operations, energies = Report([DtReport(None, {}, {"hidden": layer()})], 3).energy_table().split("\n\n")
    for table in (operations, energies):
        assert table.splitlines()[2].split() == ["own"] + ["-"] * 7
    without_synapses = Report([DtReport(1.0, {}, {"a": layer()}, work={"first": Work(None, None, 50, 50)})], 3)
    assert without_synapses.energy_table().splitlines()[2].split()[2:] == ["-", "50", "0", "0.2", "-", "-"]


def test_str_is_both_tables():
    assert str(full()) == f"{full().table()}\n\n{full().energy_table()}"


class Cells(html.parser.HTMLParser):
    """The texts of the table cells of a page, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] in ("td", "th"):
            self.cells[-1] += data.strip("\n")


def test_notebooks_show_all_tables_without_a_script():
    text = full(name="<b>&amp;")._repr_html_()
    page = Cells(text)
    assert NOT_MODELED in text
    assert page.tags.count("table") == 3
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<b>&amp;" in page.cells
    for cell in ("0.01", "75.00%", "2.5", "25.00%", "ratio", "0.0396", "loihi (µJ)", "MACs", "5.76"):
        assert cell in page.cells


# From file to report


def image_examples(x, labels=None, outputs=None):
    return Examples(x, labels or {}, {"hidden": np.array([[[0.0, 2.0], [1.0, 0.0]]])}, np.array([1, 2]), outputs or {})


NESTS = {
    "images": np.linspace(0, 1, 12, dtype="float32").reshape(1, 3, 4),
    "uint8": np.arange(12, dtype="uint8").reshape(1, 3, 4),
    "dict": {"a": np.ones((1, 2), "float16") / 3, "dtype": np.array([[7]])},
    "list": [np.zeros((1, 2)), {"b": np.array(["a text"])}],
}


@pytest.mark.parametrize("x", NESTS.values(), ids=NESTS)
def test_load_restores_a_report(tmp_path, x):
    examples = image_examples(x, {"": np.array([3])}, {"": np.array([[[0.1, 0.9], [1 / 3, 2 / 3]]], "float32")})
    saved = full(examples=examples)
    saved.save(tmp_path / "r.json")
    loaded = Report.load(tmp_path / "r.json")
    assert loaded.to_dict() == saved.to_dict()
    assert str(loaded) == str(saved)
    assert (loaded.n_samples, loaded[0.01].notes, loaded[0.01].metrics) == (3, ("A note.",), {"loss": 0.125})
    assert loaded[0.01].work == WORK
    of_layer = loaded[0.01].layers["hidden"]
    assert of_layer.per_unit.tolist() == [0, 5]
    assert (of_layer.rate, of_layer.histogram) == (Rate(0.0, 2.5, 100.0), layer().histogram)
    latency = loaded[0.01].latency
    assert latency.early_exit == {0.9: (0.5, 2.75)}
    assert (latency.accuracy.tolist(), latency.confidence.tolist()) == ([0.5, 0.75], [0.25, 1 / 3])
    back = loaded[0.01].examples
    assert back.y.tolist() == [3]
    assert back.output.dtype == "float32"
    np.testing.assert_allclose(back.output, examples.output, rtol=6e-6)  # six digits: an error of 5e-6 at 1.00000
    np.testing.assert_array_equal(back.counts["hidden"], examples.counts["hidden"])


@pytest.mark.every_backend
def test_inputs_keep_their_type(tmp_path):
    for x in (NESTS["images"], NESTS["uint8"]):
        full(examples=image_examples(x)).save(tmp_path / "r.json")
        back = Report.load(tmp_path / "r.json")[0.01].examples.x
        assert back.dtype == x.dtype
        np.testing.assert_allclose(back, x, rtol=6e-6)  # six digits: an error of 5e-6 at 1.00000
    full(examples=image_examples(NESTS["dict"])).save(tmp_path / "r.json")
    back = Report.load(tmp_path / "r.json")[0.01].examples.x
    assert {name: (a.dtype.name, a.shape) for name, a in back.items()} == {
        "a": ("float16", (1, 2)),
        "dtype": ("int64", (1, 1)),
    }


def test_rates_of_units_keep_their_shape():
    per_unit = np.random.default_rng(0).random((2, 3, 4))
    of_layer = LayerReport(Rate(0, 1, 2), per_unit, layer().histogram, 0.0, 0.0, 10, 0.1)
    back = LayerReport.from_dict(json.loads(json.dumps(of_layer.to_dict())))
    np.testing.assert_allclose(back.per_unit, per_unit, rtol=6e-6)  # six digits: an error of 5e-6 at 1.00000
    assert back.to_dict() == of_layer.to_dict()


def test_several_outputs_are_restored():
    base = full()[0.01]
    several = DtReport(
        0.5, {"a": 0.25, "steps": 1.0}, base.layers, latencies={"a": base.latency, "steps": base.latency}, n_steps=10
    )
    assert (several.accuracy, several.latency) == (several.accuracies, several.latencies)
    saved = Report([several], 7)
    back = Report.from_dict(json.loads(json.dumps(saved.to_dict())))
    assert back.to_dict() == saved.to_dict()
    assert back[0.5].latency["steps"].steps.tolist() == [1, 10]
    assert back.table() == saved.table()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("several", [False, True])
def test_files_of_older_versions_are_read(version, several):
    """Files of older versions are read. Their model has 3 inputs, 4 spiking units and 2 classes; 5 samples, two dt."""
    path = Path(__file__).parent / "reports" / f"version_{version}{'_several' if several else ''}.json"
    report = Report.load(path)
    slow, fast = report
    assert (report.n_samples, slow.dt, fast.dt) == (5, 0.1, 1.0)
    assert (report.model, report.data, report.date) == (None, None, None)
    assert slow.accuracies == ({"colour": 0.6, "kind": 0.4} if several else {"": 0.4})
    assert {name: latency.steps.tolist() for name, latency in slow.latencies.items()} == {
        name: [1, 2, 3] for name in slow.accuracies
    }
    examples = slow.examples
    assert {name: y.tolist() for name, y in examples.labels.items()} == (
        {"kind": [0, 1], "colour": [1, 2]} if several else {"": [0, 1]}
    )
    assert {name: y.shape[:2] for name, y in examples.outputs.items()} == dict.fromkeys(slow.accuracies, (2, 3))
    hidden = slow.layers["hidden"]
    assert (hidden.per_unit.shape, hidden.histogram["1"]) == ((4,), 6)
    assert slow.spikes_per_inference == pytest.approx(6 / 5)  # 6 spikes of 5 samples
    assert slow.synapses["kind" if several else "last"].operations == pytest.approx(2 * 6 / 5)
    assert slow.work["hidden"].neurons == 4
    current = report.to_dict()
    assert current["version"] == 3
    assert Report.from_dict(json.loads(json.dumps(current))).to_dict() == current


def test_a_report_without_examples_is_small(tmp_path):
    full().save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["results"][0]["examples"] is None
    assert (tmp_path / "r.json").stat().st_size < 2000


def test_files_that_are_not_reports_are_errors_with_their_name(tmp_path):
    path = tmp_path / "r.json"
    full().save(path)
    content = path.read_text()
    damaged = json.loads(content)
    del damaged["results"][0]["layers"]["hidden"]["silent"]
    for text, reason in (
        (content[: len(content) // 2], "JSON|Expecting|Unterminated|delimiter"),
        ("", "Expecting value"),
        ("[1, 2]", "must be the dict of a report"),
        ('{"results": []}', "must be the dict of a report"),
        (content.replace('"version":3', '"version":4'), "version 4.* newer version"),
        (json.dumps(damaged), "the report is damaged .*silent"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"r.json.* must be a .json file of `Report.save`.*({reason})"):
            Report.load(path)
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match="r.json"):
        Report.load(path)
    with pytest.raises(OSError, match="nothing.json"):
        Report.load(tmp_path / "nothing.json")


def test_dataframe():
    pytest.importorskip("pandas", reason="pandas is not installed")
    results = [*report().results, *full().results]
    frame = Report(results, 3).to_dataframe()
    assert frame["layer"].tolist() == ["hidden", "deep", "hidden", "deep", "hidden"]
    assert frame["dt"].tolist() == [0.001, 0.001, 1.0, 1.0, 0.01]
    assert frame["n_steps"].tolist() == [10] * 5
    assert frame["accuracy"].tolist() == [0.875] * 4 + [0.75]
    assert frame["rate_mean"].tolist() == [2.5, 20, 2.5, 2.5, 2.5]
    assert frame["spikes_per_inference"].tolist() == [12.5] * 5
    assert frame["loss"].iloc[4] == 0.125
    assert frame["energy_loihi"].iloc[4] == full()[0.01].energy("loihi")
    for name, value in {"synaptic_operations": 400, "macs": 1000, "accumulates": 400, "memory_traffic": 5760}.items():
        assert frame[name].isna().tolist() == [True] * 4 + [False]
        assert frame[name].iloc[4] == value


def test_dataframe_without_pandas_is_an_error_with_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        full().to_dataframe()


# Differences of two reports


def test_differences():
    first, second = full(accuracy=0.75, mean=2.5, operations=400.0), full(accuracy=0.5, mean=4.0, operations=100.0)
    (difference,) = first - second
    assert (difference.dt, difference.n_steps) == (0.01, 10)
    assert (difference.accuracies, difference.accuracy) == ({"": 0.25}, 0.25)
    assert difference.rates == {"hidden": -1.5}
    assert difference.synaptic_operations == 300
    assert difference.energy["loihi"] == pytest.approx(300 * 27.1e-12, rel=1e-9)  # rounding of two sums
    assert difference.energy["cpu"] == 0
    comparison = first.compare(second)
    assert comparison[0.01] == difference
    line = comparison.table().splitlines()[2].split()
    assert line == ["0.01", "10", "+25.00", "+300", "+0.00813", "+0.135", "+0", "+0", "hidden", "-1.5"]
    (listed,) = json.loads(json.dumps(comparison.to_dict()))["results"]
    assert (listed["accuracies"], listed["rates_hz"]) == ({"": 0.25}, {"hidden": -1.5})
    assert "+25.00" in Cells(comparison._repr_html_()).cells
    assert (second - first)[0.01].rates == {"hidden": 1.5}


def test_differences_only_have_the_settings_and_layers_of_both_reports():
    first = Report([*full(0.01).results, *full(0.1).results], 3)
    second = Report([*full(1.0).results, *full(np.float32(0.1), name="renamed").results], 3)
    comparison = first - second
    assert [(difference.dt, difference.rates) for difference in comparison] == [(0.1, {})]
    assert comparison.notes == [
        "Only in this report: (0.01, 10), 'hidden'.",
        "Only in the other report: (1.0, 10), 'renamed'.",
    ]
    assert comparison.table().splitlines()[-2:] == comparison.notes
    assert comparison.table().splitlines()[2].split()[-2:] == ["-", "-"]


def test_differences_of_unknown_values():
    unknown = Report([DtReport(0.01, {}, {"hidden": layer()}, n_steps=10)], 3)
    (difference,) = full() - unknown
    assert (difference.accuracy, difference.synaptic_operations, difference.energy) == (None, None, {})
    assert (full() - unknown).table().splitlines()[2].split() == ["0.01", "10", *["-"] * 6, "hidden", "+0"]


def test_differences_of_several_outputs():
    shares = ({"x": 0.75, "y": 0.5, "z": 1.0}, {"x": 0.5, "y": 0.5})
    a, b = (Report([DtReport(0.01, accuracies, {"hidden": layer()}, n_steps=10)], 3) for accuracies in shares)
    assert (a - b)[0.01].accuracy == {"x": 0.25, "y": 0.0}
    assert "x +25.00, y +0.00" in (a - b).table()


def test_reports_without_common_settings_are_an_error_that_lists_them():
    with pytest.raises(ValueError, match=r"\[\(0.01, 10\)\], the other \[\(0.1, 10\)\]"):
        full(0.01).compare(full(0.1))
    with pytest.raises(ValueError, match="in common"):
        full(n_steps=10) - full(n_steps=20)
    with pytest.raises(TypeError, match="Report; got dict"):
        full().compare({})
    with pytest.raises(TypeError, match="unsupported"):
        full() - 1
