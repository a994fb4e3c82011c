"""The HTML page is well-formed and self-contained, escapes names, and has a working slider."""

import base64
import functools
import html.parser
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from keras_snn.energy import NOT_MODELED, Work
from keras_snn.inspector import DtReport, LayerReport, Rate, Report, tables
from keras_snn.inspector import html as html_of_report
from keras_snn.inspector.report import Examples, Latency

pytestmark = pytest.mark.backend_free

HOSTILE = "</script><script>alert('x')</script><img src=http://elsewhere onerror=alert(1)> & \"quoted\" $title ]]> <!--"
VOID = {"meta", "img", "input", "br"}
ABOUT = {"model": "net", "data": "a set, 1,200 samples of (4, 3)", "date": "2030-01-02T03:04:05+00:00"}
ACCURACIES = {0.001: 0.25, 0.01: 0.745, 1.0: 0.75}


def report(name="hidden", *, labels=True, **about):
    """Return a report at three dt, with two examples of the classes 0 and 2."""
    results = []
    for i, (dt, accuracy) in enumerate(ACCURACIES.items()):
        layer = LayerReport(
            Rate(0, 1.5, 9), np.arange(2.0), {"0": 7, "1": 1}, 0.5, 0, n_steps=6, spikes_per_inference=i
        )
        spikes = np.zeros((2, 6, 5))
        spikes[0, 0, : i + 1] = spikes[1, :2, : i + 1] = 1
        # The predictions are class i for sample 0, and class 0 for sample 1.
        outputs = np.full((2, 2, 3), 0.25)
        outputs[0, :, i] = outputs[1, :, 0] = 0.5
        labels_of = {"": np.array([0, 2])} if labels else {}
        examples = Examples(np.zeros((2, 4, 3)), labels_of, {name: spikes}, np.array([1, 6]), {"": outputs})
        latency = Latency(np.array([1, 6]), np.array([0.25, 0.5]), np.array([0.3, 0.4]), {0.5: (0.5, 2.0)})
        results.append(
            DtReport(
                dt,
                {"": accuracy} if labels else {},
                {name: layer},
                examples,
                n_steps=6,
                latencies={"": latency},
                work={name: Work(1.0, 10.0 * (i + 1), 5, 5)},
                notes=(f"A note on {name}.",),
            )
        )
    return Report(results, 1200, **about)


@functools.cache
def page_of_the_report():
    """Return the page of the report, for several tests."""
    return without_pictures(report(**ABOUT), class_names=["nil", "one", "two"])


@functools.cache
def hostile_page():
    hostile = report(name=HOSTILE, **dict.fromkeys(ABOUT, HOSTILE))
    return without_pictures(hostile, class_names=[HOSTILE, "one", "two"])


def without_pictures(report, **options):
    """Return the page with empty images, because drawing takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_of_report, "_png", lambda figure: b"")
        return report.to_html(**options)


class Page(html.parser.HTMLParser):
    """The elements of a page. Raises AssertionError if elements are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.ids, self.texts = [], [], [], {}, {}
        self.elements = {}  # tag -> attributes of each element
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.elements.setdefault(tag, []).append(dict(attributes))
        if "id" in dict(attributes):
            assert dict(attributes)["id"] not in self.ids
            self.ids[dict(attributes)["id"]] = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else None, []).append(data)

    def pictures(self):
        """Return the attributes of the figures of examples, and of their images."""
        figures = [attributes for attributes in self.elements.get("figure", []) if "data-title" in attributes]
        return figures, self.elements.get("img", [])[len(self.elements.get("img", [])) - len(figures) :]


def test_the_page_is_well_formed_and_names_model_data_and_date():
    text = page_of_the_report()
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.texts["title"] == page.texts["h1"] == ["Inspection of net"]
    assert set(ABOUT.values()) < set(page.texts["dd"])
    assert page.texts["caption"] == [
        *("Accuracy and firing rates", "Spikes per inference", "Operations and memory traffic", "Energy")
    ]
    assert NOT_MODELED in page.texts["p"]
    assert "A note on hidden." in page.texts["p"]
    assert ("for", "dt") in page.attributes


def test_all_images_are_complete_and_have_a_description():
    text = report().to_html()
    assert len(text) < 1e6
    images = Page(text).elements["img"]
    assert len(images) == 4 + 3  # the sweep, two of the energy, the latency; the examples at three dt
    for image in images:
        begin, content = image["src"].split(",")
        assert begin == "data:image/png;base64"
        pixels = imread(io.BytesIO(base64.b64decode(content, validate=True)), format="png")
        assert pixels[..., :3].std() > 0.05  # not blank
        assert pixels.shape[0] * int(image["width"]) == pytest.approx(pixels.shape[1] * int(image["height"]), rel=0.01)
        assert len(image["alt"]) > 20


def test_each_dt_has_a_picture_and_one_is_shown():
    figures, images = Page(page_of_the_report()).pictures()
    assert [figure["data-title"] for figure in figures] == [f"dt = {dt} s, 6 steps" for dt in ("0.001", "0.01", "1")]
    assert ["hidden" in figure for figure in figures] == [True, False, True]
    slider = Page(page_of_the_report()).ids["dt"]
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "1")
    assert Page(page_of_the_report()).texts["output"] == ["dt = 0.01 s, 6 steps"]
    assert images[2]["alt"] == (
        "dt = 1 s, 6 steps, accuracy 75.00%, 2 spikes per inference. "
        "Example 1: nil, prediction: two (wrong); 3 spikes. Example 2: two, prediction: nil (wrong); 6 spikes"
    )
    assert "Example 1: nil, prediction: nil; 1 spike." in images[0]["alt"]


def settings(*triples):
    return [DtReport(dt, accuracies, {}, n_steps=n_steps) for dt, n_steps, accuracies in triples]


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("results", "start"),
    [
        (settings((0.001, 4, {"": 0.5}), (0.01, 4, {"": 0.88}), (0.1, 4, {"": 0.89}), (1.0, 4, {"": 0.885})), 1),
        (settings((1.0, 4, {"": 0.9}), (0.1, 4, {"": 0.889}), (0.01, 4, {"": 0.3})), 0),
        (settings((0.1, 8, {}), (0.01, 8, {}), (0.01, 4, {})), 2),  # no labels: the smallest dt, the fewest steps
        (settings((None, 4, {"": 0.1}), (None, 8, {"": 0.9}), (None, 16, {"": 0.9})), 1),
        (settings((0.1, 4, {"a": 0.2, "b": 0.9}), (1.0, 4, {"a": 0.9, "b": 0.8})), 1),  # by the mean of both outputs
    ],
)
def test_the_page_opens_at_the_smallest_dt_near_the_best(results, start):
    assert html_of_report.opening(results) == start


def test_the_glossary_explains_the_words_of_the_tables():
    page = Page(page_of_the_report())
    terms = set(page.texts["dt"])
    assert {"dt", "rate", "silent", "saturated", "synaptic operation", "confidence", "early exit"} <= terms
    headers = (table(report())[0] for table in (tables.rates, tables.operations, tables.energies))
    other_forms = {"dt (s)", "layer", "rate min", "mean", "max (Hz)", "synaptic operations (ACs)"}
    assert {name for header in headers for name in header} - other_forms - set(tables.ENERGY_COLUMNS) <= terms
    assert len(page.elements["dt"]) == len(page.elements["dd"])


def test_the_page_is_self_contained():
    text = page_of_the_report()
    for word in ("http://", "https://", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest"):
        assert word not in text
    assert "default-src 'none'" in text
    page = Page(text)
    assert "link" not in page.tags
    assert page.tags.count("script") == 1
    assert all(value.startswith("data:") for name, value in page.attributes if name in ("src", "href"))


def test_names_with_markup_are_escaped():
    page, harmless = Page(hostile_page()), Page(page_of_the_report())
    assert page.tags == harmless.tags
    assert page.texts["h1"] == [f"Inspection of {HOSTILE}"]
    assert HOSTILE in page.texts["th"]
    assert page.texts["dd"].count(HOSTILE) == 3
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "alert('x')</script>" not in hostile_page()
    assert "<img src=http" not in hostile_page()
    _, images = page.pictures()
    assert HOSTILE in images[0]["alt"]


def test_examples_are_optional():
    results = [DtReport(result.dt, result.accuracies, result.layers, n_steps=6) for result in report()]
    text = without_pictures(Report(results, 3), title="A title")
    page = Page(text)
    assert page.texts["h1"] == ["A title"]
    assert page.pictures()[0] == []
    assert "The report has no examples" in text
    assert "3 samples" in page.texts["dd"]
    assert Page(Report([], 0).to_html()).tags.count("figure") == 0


def test_save_writes_the_page(monkeypatch, tmp_path):
    monkeypatch.setattr(html_of_report, "_png", lambda figure: b"")
    report().save(tmp_path / "r.html", class_names=["nil"])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert text == report().to_html(class_names=["nil"])
    assert "Example 1: nil, prediction: class 1 (wrong)" in text


def test_the_page_of_a_report_without_labels():
    page = Page(without_pictures(report(labels=False)))
    assert ["hidden" in figure for figure in page.pictures()[0]] == [False, True, True]


# Tests in a browser


def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


in_a_browser = pytest.mark.skipif(browser() is None, reason="no Chromium or Chrome on the PATH")


def chromium(tmp_path, path, *options):
    """Run a headless browser on a page, and return the completed process."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--enable-logging=stderr"]
    command = [browser(), *arguments, *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)


def dom(tmp_path, text):
    """Return the page after its script ran. Raises AssertionError for an error in the script."""
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    result = chromium(tmp_path, path, "--dump-dom")
    assert "CONSOLE" not in result.stderr, result.stderr
    return result.stdout


def shown(text):
    """Return the titles of the visible pictures, and the text beside the slider."""
    page = Page(text)
    return [figure["data-title"] for figure in page.pictures()[0] if "hidden" not in figure], page.texts["output"]


@in_a_browser
def test_the_slider_chooses_the_picture(tmp_path):
    text = page_of_the_report()
    first = dom(tmp_path, text)
    assert shown(first) == (["dt = 0.01 s, 6 steps"], ["dt = 0.01 s, 6 steps"])
    assert "hidden" not in Page(first).ids["controls"]
    move = """<script>
const control = document.getElementById("dt");
control.value = 2;
control.dispatchEvent(new Event("input"));
</script></body>"""
    moved = dom(tmp_path, text.replace("</body>", move))
    assert shown(moved) == (["dt = 1 s, 6 steps"], ["dt = 1 s, 6 steps"])
    assert 'aria-valuetext="dt = 1 s, 6 steps"' in moved


@in_a_browser
def test_hostile_names_are_escaped_in_a_browser(tmp_path):
    page = Page(dom(tmp_path, hostile_page()))
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 7


@in_a_browser
def test_a_report_of_one_dt_has_no_slider(tmp_path):
    single_dt = dom(tmp_path, without_pictures(Report(report().results[:1], 3)))
    assert "hidden" in Page(single_dt).ids["controls"]
    assert "hidden" in Page(dom(tmp_path, Report([], 0).to_html())).ids["controls"]


@in_a_browser
def test_a_picture_of_the_page_is_not_blank(tmp_path):
    path = tmp_path / "page.html"
    report().save(path)
    chromium(tmp_path, path, f"--screenshot={tmp_path / 'page.png'}", "--window-size=900,1600")
    assert imread(tmp_path / "page.png")[..., :3].std() > 0.05


def test_the_template_is_a_file_of_the_package():
    assert (Path(html_of_report.__file__).parent / "page.html").is_file()
