"""The page: well-formed, alone in the world, safe from what names hold, and moved by its controls."""

import functools
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from keras_snn.energy import Work
from keras_snn.inspector import DtReport, LayerReport, Rate, Report
from keras_snn.inspector import html as html_of_report
from keras_snn.inspector.html import MOST_STEPS, MOST_UNITS
from keras_snn.inspector.report import Examples, Latency

pytestmark = pytest.mark.backend_free

HOSTILE = "</script><script>alert('x')</script><img src=http://elsewhere onerror=alert(1)> & \"quoted\" $title ]]> <!--"
VOID = {"meta", "img", "input", "br"}


def report(name="hidden", *, x=None, y=(0, 2), counts=None, outputs=True, several=False):
    x = (np.linspace(0, 1, 24) ** 2).reshape(2, 4, 3) if x is None else x
    results = []
    for i, dt in enumerate((0.001, 0.01, 1.0)):
        of_layer = LayerReport(Rate(0, 1.5, 9), np.arange(2.0), {"0": 7, "1": 1}, silent=0.5, saturated=0, n_steps=6)
        latency = Latency(np.array([1, 6]), np.array([0.25, 0.5]), np.array([0.3, 0.4]), {0.5: (0.5, 2.0)})
        spikes = np.zeros((2, 6, 5)) if counts is None else counts
        if counts is None:
            spikes[0, 0, : i + 1], spikes[1, :2, : i + 1] = 1, 1
        # The answer to sample 0 is the class i, to sample 1 class 0.
        answers = np.full((2, 2, 3), 0.25)
        answers[0, :, i] = answers[1, :, 0] = 0.5
        few = Examples(
            x,
            {} if y is None else {"": np.array(y)},
            {name: spikes},
            np.array([1, 6]),
            {"": answers} if outputs else {},
        )
        accuracies = {"a": 0.5, "b": 0.25} if several else {"": 0.25 * (i + 1)}
        work = {name: Work(1.0, 10.0 * (i + 1), 5, 5)}
        results.append(
            DtReport(
                dt,
                accuracies,
                {name: of_layer},
                few,
                n_steps=6,
                latencies={"a": latency, "b": latency} if several else {"": latency},
                work=work,
                notes=(f"A note on {name}.",),
            )
        )
    return Report(results, 1200)


@functools.cache
def page_of_the_report():
    """Return the page of the report, for several tests: its pictures take half a second to draw."""
    return report().to_html(title="A title", class_names=["nil", "one", "two"])


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave the pictures out, for tests of the embedded data."""
    monkeypatch.setattr(html_of_report, "_figures", lambda report: [])


class Page(html.parser.HTMLParser):
    """What a page holds; raises an error where elements are not closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.ids, self.texts = [], [], [], {}, {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if "id" in dict(attributes):
            assert dict(attributes)["id"] not in self.ids
            self.ids[dict(attributes)["id"]] = (tag, dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else None, []).append(data)

    def embedded(self):
        return json.loads(self.texts["script"][0])


def test_the_page_is_well_formed_and_holds_all():
    text = page_of_the_report()
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.texts["title"] == ["A title"]
    assert page.texts["h1"] == ["A title"]
    assert "1,200 samples" in text
    assert page.tags.count("table") == 2
    assert page.tags.count("img") == 3  # the sweep, the energy, the latency
    assert "A note on hidden." in page.texts["p"]
    images = [value for name, value in page.attributes if name == "src"]
    assert all(value.startswith("data:image/png;base64,iVBOR") for value in images)
    assert sum(name == "alt" and len(value) > 20 for name, value in page.attributes) == 3
    for control in ("dt", "example"):
        assert ("for", control) in page.attributes
    assert page.ids["dt"][1]["type"] == "range"
    assert page.ids["example"][0] == "select"
    data = page.embedded()
    assert [result["title"] for result in data["results"]] == [f"dt = {dt} s, 6 steps" for dt in ("0.001", "0.01", "1")]
    assert data["classes"] == ["nil", "one", "two"]
    assert data["results"][0]["labels"] == ["nil", "two"]
    assert len(data["inputs"]) == 2  # once, not once for each dt
    assert data["results"][2]["layers"][0]["spikes"] == [3, 6]


def test_the_page_needs_nothing_from_elsewhere():
    text = page_of_the_report()
    for word in ("http://", "https://", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest"):
        assert word not in text
    assert "default-src 'none'" in text
    page = Page(text)
    assert "link" not in page.tags
    assert all(value.startswith("data:") for name, value in page.attributes if name in ("src", "href"))


def test_names_are_text_whatever_they_hold():
    text = report(name=HOSTILE).to_html(title=HOSTILE, class_names=[HOSTILE, "one", "two"])
    page, harmless = Page(text), Page(page_of_the_report())
    assert page.tags == harmless.tags
    assert page.texts["h1"] == [HOSTILE]
    assert HOSTILE in page.texts["td"]
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "alert('x')</script>" not in text
    assert "<img src=http" not in text
    data = page.embedded()
    assert data["results"][0]["layers"][0]["name"] == HOSTILE
    assert data["classes"][0] == HOSTILE


def test_examples_are_optional():
    few = [DtReport(of.dt, of.accuracies, of.layers, n_steps=6) for of in report()]
    page = Page(Report(few, 3).to_html())
    assert page.embedded() == {"inputs": [], "classes": [], "results": []}
    assert page.tags.count("img") == 1  # the sweep
    assert Page(Report([], 0).to_html()).tags.count("img") == 0


def test_classes_without_a_name_have_their_number(no_pictures):
    assert Page(report().to_html(class_names=["nil"])).embedded()["classes"] == ["nil", "class 1", "class 2"]


def test_several_outputs():
    page = Page(report(several=True).to_html())
    assert page.embedded()["results"][0]["accuracy"] == "a, accuracy 50.00%; b, accuracy 25.00%"
    assert page.tags.count("img") == 3


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (np.zeros((2, 4, 3)), {"height": 4, "width": 3}),
        (np.zeros((2, 4, 3, 1), "uint8"), {"height": 4, "width": 3}),
        (np.full((2, 4, 3, 3), np.nan), {"height": 4, "width": 3}),
        (np.array([[0.5, 1], [2, np.inf]]), {"values": [0.5, 1]}),
        (np.zeros((2, 4, 3, 2)), {"shape": "(4, 3, 2)"}),
        (np.array([["a"], ["b"]]), {"shape": "(1)"}),
    ],
)
def test_inputs_of_all_shapes(no_pictures, x, shown):
    data = Page(report(x=x, y=None).to_html()).embedded()
    ((of_first,), *_) = data["inputs"]
    assert {name: of_first[name] for name in shown} == shown
    assert data["results"][0]["labels"] == ["", ""]


def test_several_inputs_are_shown_one_by_one(no_pictures):
    data = Page(report(x={"a": np.zeros((2, 3)), "b": np.zeros((2, 4, 3))}).to_html()).embedded()
    assert [sorted(of) for of in data["inputs"][0]] == [["values"], ["height", "pixels", "width"]]


@pytest.mark.every_backend
def test_colours_keep_their_scale(no_pictures):
    import base64

    x = np.full((2, 1, 1, 3), [0.0, 0.5, 1.0])
    (of_first,) = Page(report(x=x).to_html()).embedded()["inputs"][0]
    assert list(base64.b64decode(of_first["pixels"])) == [0, 128, 255]


def test_large_rasters_are_reduced_and_say_so(no_pictures):
    import base64

    counts = np.ones((2, 2 * MOST_STEPS + 1, 2 * MOST_UNITS))
    (of_layer,) = Page(report(counts=counts, outputs=False).to_html()).embedded()["results"][0]["layers"]
    assert (of_layer["steps"], of_layer["units"]) == (2 * MOST_STEPS + 1, 2 * MOST_UNITS)
    assert (of_layer["bin"], of_layer["every"]) == (3, 2)
    assert (of_layer["columns"], of_layer["rows"]) == (667, MOST_UNITS)
    assert of_layer["most"] == 3
    assert of_layer["spikes"] == [counts[0].size] * 2
    assert set(base64.b64decode(of_layer["bytes"][0])) == {128 + 3}


def test_save_writes_the_page(no_pictures, tmp_path):
    report().save(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == report().to_html()


# In a browser


def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


in_a_browser = pytest.mark.skipif(browser() is None, reason="no Chromium or Chrome on the PATH")


def chromium(tmp_path, path, fragment, *options):
    """Return the completed run of a browser without a screen on a page."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--enable-logging=stderr"]
    command = [browser(), *arguments, *options, f"{path.as_uri()}{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)


def dom(tmp_path, text, fragment=""):
    """Return the page as it is after its script ran; raises an error for one of the script."""
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    result = chromium(tmp_path, path, fragment, "--dump-dom")
    assert "CONSOLE" not in result.stderr, result.stderr
    return result.stdout


def status(text):
    return html.unescape(re.search(r'id="status"[^>]*>(.*?)</p>', text)[1])


@in_a_browser
def test_the_address_sets_the_controls_and_they_change_what_is_shown(tmp_path):
    text = report().to_html(class_names=["nil", "one", "two"])
    first = dom(tmp_path, text)
    assert status(first) == (
        "dt = 0.001 s, 6 steps, accuracy 25.00%. Example 1, nil; the answer after all steps: nil (0.50)."
    )
    assert "1 spike of 5 units in 6 steps" in first
    third = dom(tmp_path, text, "#dt=2&example=0")
    assert status(third) == (
        "dt = 1 s, 6 steps, accuracy 75.00%. Example 1, nil; the answer after all steps: two (0.50)."
    )
    assert "3 spikes of 5 units in 6 steps" in third
    assert 'aria-valuetext="dt = 1 s, 6 steps"' in third
    other = dom(tmp_path, text, "#dt=2&example=1")
    assert status(other).startswith(
        "dt = 1 s, 6 steps, accuracy 75.00%. Example 2, two; the answer after all steps: nil"
    )
    assert "6 spikes of 5 units in 6 steps" in other
    curves = [re.findall(r'<path fill="none" stroke="#0072b2"[^>]*>', of)[0] for of in (first, third)]
    assert curves[0] == curves[1]  # both stand at 0.5, for another class
    assert status(dom(tmp_path, text, "#dt=99&example=99")) == (
        "dt = 1 s, 6 steps, accuracy 75.00%. Example 1, nil; the answer after all steps: two (0.50)."
    )


@in_a_browser
def test_moving_the_slider_changes_what_is_shown_and_the_address(tmp_path):
    move = """<script>
for (const [id, value] of [["dt", 1], ["example", 1]]) {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event("input"));
}
document.title = location.hash;
</script></body>"""
    moved = dom(tmp_path, report().to_html().replace("</body>", move))
    assert status(moved).startswith("dt = 0.01 s, 6 steps, accuracy 50.00%. Example 2, class 2")
    assert "4 spikes of 5 units in 6 steps" in moved
    assert "<title>#dt=1&amp;example=1</title>" in moved


@in_a_browser
def test_hostile_names_stay_text(tmp_path):
    shown = dom(tmp_path, report(name=HOSTILE).to_html(title=HOSTILE, class_names=[HOSTILE] * 3))
    page = Page(shown)
    assert page.tags.count("script") == 2
    assert page.tags.count("img") == 3
    assert HOSTILE in page.texts["figcaption"][1]


@in_a_browser
def test_pages_of_all_kinds_run_without_an_error(tmp_path):
    vectors = dom(tmp_path, report(x=np.eye(2), y=None, outputs=False).to_html())
    assert status(vectors) == "dt = 0.001 s, 6 steps, accuracy 25.00%. Example 1."
    assert "value of each feature" in vectors
    other = dom(tmp_path, report(x=np.zeros((2, 4, 3, 2)), counts=-np.ones((2, 6, 5))).to_html())
    assert "an array of shape (4, 3, 2), not drawn" in other
    assert "orange: negative" in other
    assert "orange" not in vectors.split("</main>")[0]
    nothing = dom(tmp_path, Report([], 0).to_html())
    assert re.search(r'<p id="none">', nothing)
    assert re.search(r'<section id="examples"[^>]*hidden', nothing)


@in_a_browser
def test_a_picture_of_the_page_is_not_blank(tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "page.html"
    report().save(path)
    chromium(tmp_path, path, "#dt=2", f"--screenshot={tmp_path / 'page.png'}", "--window-size=900,1600")
    assert imread(tmp_path / "page.png")[..., :3].std() > 0.05


def test_the_frame_is_a_file_of_the_package():
    assert (Path(html_of_report.__file__).parent / "page.html").is_file()
