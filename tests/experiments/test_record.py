"""The results file of an experiment: saved after every part, continued if the configuration is the same."""

import json
import sys

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn.experiments import record
from keras_snn.experiments.record import Record, versions
from keras_snn.files import replacing

pytestmark = pytest.mark.backend_free

CONFIG = {"experiment": "some", "seed": 0}
PART = {"accuracy": 0.5}


def content(folder):
    return json.loads((folder / "results.json").read_text())


def test_every_part_is_saved_at_once(tmp_path):
    folder = tmp_path / "new" / "folder"
    results = Record(folder, CONFIG)
    parts = {"a": {"accuracy": 0.5}}
    results.add("a", parts["a"])
    assert content(folder) == {"config": CONFIG, "versions": versions(), "parts": parts, "finished": False}
    results.add("b", {"accuracy": 0.75})
    assert content(folder)["parts"] == results.parts == {"a": {"accuracy": 0.5}, "b": {"accuracy": 0.75}}
    assert not content(folder)["finished"]
    results.finish()
    assert content(folder)["finished"]


def test_an_interrupted_run_is_continued(tmp_path):
    Record(tmp_path, CONFIG).add("a", {"accuracy": 0.5})
    after = Record(tmp_path, CONFIG)
    assert after.resumed
    assert after.parts == {"a": {"accuracy": 0.5}}
    after.add("b", {"accuracy": 1})
    assert list(content(tmp_path)["parts"]) == ["a", "b"]


@pytest.mark.parametrize("part", [None, 1, [], "text", {}, {"accuracy": 0.5}, {"accuracy": 0.5, "test": None}])
def test_an_incomplete_part_runs_again(tmp_path, part):
    complete = {"accuracy": 0.25, "test": {}, "more": None}
    Record(tmp_path, CONFIG).add("a", complete)
    (tmp_path / "results.json").write_text(json.dumps({**content(tmp_path), "parts": {"ann": part, "snn": complete}}))
    resumed = Record(tmp_path, CONFIG, ("accuracy", "test"))
    assert (resumed.parts, resumed.left_out) == ({"snn": complete}, ["ann"])
    with pytest.raises(ValueError, match="part 'ann' of the results must have all its figures; it lacks"):
        resumed.add("ann", part)
    assert "ann" not in resumed.parts


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    with replacing(tmp_path / "ann.keras") as temporary:
        pass
    temporary.write_bytes(b"half")
    Record(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["ann.keras"]


def test_a_finished_run_is_not_continued(tmp_path):
    first = Record(tmp_path, CONFIG)
    first.add("a", PART)
    first.finish()
    after = Record(tmp_path, CONFIG)
    assert not after.resumed
    assert after.parts == {}
    assert content(tmp_path)["finished"]  # until the first new part
    after.add("b", PART)
    assert content(tmp_path)["parts"] == {"b": PART}


def test_another_configuration_is_not_continued(tmp_path):
    Record(tmp_path, CONFIG).add("a", PART)
    after = Record(tmp_path, {**CONFIG, "seed": 1})
    assert not after.resumed
    assert after.parts == {}
    assert content(tmp_path)["config"] == CONFIG
    after.add("a", PART)
    assert content(tmp_path)["config"]["seed"] == 1


def test_other_versions_are_not_continued(tmp_path, monkeypatch):
    Record(tmp_path, CONFIG).add("a", PART)
    monkeypatch.setattr(record, "versions", lambda: {**versions(), "keras": "99"})
    assert not Record(tmp_path, CONFIG).resumed


def broken_files():
    text = json.dumps({"config": CONFIG, "versions": versions(), "parts": {"a": PART}, "finished": False})
    without_parts, no_text = text.replace(json.dumps({"a": PART}), "null"), text.replace('"a"', '"\udcff"')
    return [text[:40], text[:-1], "", "null", "[]", "7", '{"config": {}}', without_parts, no_text]


@pytest.mark.parametrize("text", broken_files(), ids=range(9))
def test_a_broken_file_is_not_continued(tmp_path, text):
    (tmp_path / "results.json").write_bytes(text.encode(errors="surrogateescape"))
    after = Record(tmp_path, CONFIG)
    assert not after.resumed
    after.add("b", PART)
    assert content(tmp_path)["parts"] == after.parts == {"b": PART}


def test_an_unwritable_folder_is_an_error_at_once(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        Record(tmp_path / "file" / "out", CONFIG)
    (tmp_path / "results.json").mkdir()
    with pytest.raises(OSError, match=r"results\.json"):
        Record(tmp_path, CONFIG)


@pytest.mark.every_backend
def test_versions_are_those_in_use():
    backend = keras.config.backend()
    current = versions()
    assert current["keras_snn"] == keras_snn.__version__
    assert (current["keras"], current["numpy"]) == (keras.__version__, np.__version__)
    assert (current["backend"], current[backend]) == (backend, sys.modules[backend].__version__)
    assert sys.version.startswith(current["python"])
    assert json.loads(json.dumps(current)) == current
