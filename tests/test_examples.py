"""The examples of the README, the pages in docs/ and the docstrings run unchanged. Commands and links are valid."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import cli, experiments

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```python\n(.*?)^\1```", re.M | re.S)


def modules():
    backend = f"keras_snn.ops.backend.{keras.config.backend()}"
    names = ["keras_snn", *(module.name for module in pkgutil.walk_packages(keras_snn.__path__, "keras_snn."))]
    skip = re.compile(r"keras_snn\.(__main__|ops\.backend\.(?!purity))")
    return [name for name in names if name == backend or not skip.match(name)]


def docstrings():
    """Yield (name, docstring) of each public function and class of the package."""
    for name in modules():
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            public = not attribute.startswith("_") and getattr(value, "__module__", None) == name
            if public and callable(value) and value.__doc__:
                yield f"{name}.{attribute}", value.__doc__


FENCED = [(name, match[2]) for name, text in docstrings() for match in FENCE.finditer(text)]


def namespace(code):
    """Return the variables that the short examples of the docstrings use."""
    x = np.linspace(0, 50, 40, dtype="float32").reshape(10, 4)
    y = np.arange(10) % 4
    names = {"keras": keras, "keras_snn": keras_snn, "ops": keras.ops, "np": np, "scan": keras_snn.ops.scan}
    names |= {"x": x, "y": y, "x_test": x, "y_test": y, "x_val": x, "y_val": y}
    makers = {"model": rate_model, "spiking": spiking_model, "plain": plain_model, "ann": plain_model}
    return {**names, **{name: make() for name, make in makers.items() if re.search(rf"\b{name}\b", code)}}


def rate_model():
    spikes = keras_snn.SpikingActivation("relu", dt=0.01, name="spiking_activation")
    pooling = keras_snn.layers.TemporalAveragePooling()
    model = keras.Sequential([keras.Input((4,)), keras_snn.Repeat(3), spikes, pooling])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def spiking_model():
    spikes = keras_snn.SpikingActivation("relu", spiking_aware_training=False)
    pooling = keras_snn.layers.TemporalAveragePooling()
    return keras.Sequential([keras.Input((4,)), keras_snn.Repeat(3), spikes, pooling])


def plain_model():
    return keras.Sequential([keras.Input((4,)), keras.layers.ReLU(), keras.layers.Dense(4)])


def test_there_are_examples():
    assert {name.rsplit(".", 1)[1] for name, _ in FENCED} >= {
        "SpikingActivation",
        "Lowpass",
        "Alpha",
        "scan",
        "inspect",
    }


def example(name, code):
    """Return the parameters of test_docstring. The example of `scan` runs on every backend."""
    marks = [pytest.mark.every_backend] if name.endswith(".scan") else []
    return pytest.param(name, code, id=name, marks=marks)


@pytest.mark.parametrize(("name", "code"), [example(*fenced) for fenced in FENCED])
def test_docstring(name, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = code.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    run_example("\n".join(line[indent:] for line in lines), name, namespace(code))


def run_example(code, name, variables):
    """Run an example; compare the value of each expression with the Python literal in its comment."""
    lines = [*code.splitlines(), ""]
    for node in ast.parse(code).body:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), name, "exec"), variables)
            continue
        value = eval(compile(ast.Expression(node.value), name, "eval"), variables)
        comment = lines[node.end_lineno - 1][node.end_col_offset :] or lines[node.end_lineno]
        try:
            expected = ast.literal_eval(re.match(r"\s*# (.*?)(: .*)?$", comment)[1])
        except (TypeError, ValueError, SyntaxError):
            continue  # no comment, or not a literal
        assert (tuple(value) if isinstance(expected, tuple) else value) == expected


def test_wrong_results_in_comments_are_found():
    run_example("x = 1\nx + 1  # 2\nx  # the number\nx + 2\n# 3: a sum\nx", "example", {})
    for code in ("1 + 1  # 3", "1 + 1\n# 3: a sum", "(1, 2)  # (1, 3)"):
        with pytest.raises(AssertionError):
            run_example(code, "example", {})


def test_examples_have_one_form():
    assert [name for name, text in docstrings() if ">>>" in text] == []


@pytest.fixture
def small(monkeypatch):
    """Reduce the images of the examples, and the network that takes longest to compile."""
    load, noise_net = keras_snn.data.load, keras_snn.models.noise_net

    def load_part(name):
        (x, y), (x_test, y_test) = load(name)
        return (x[:2400], y[:2400]), (x_test[:128], y_test[:128])  # one batch of `inspect`

    def one_layer(*args, **kwargs):
        full = noise_net(*args, **kwargs)  # checks the arguments
        x = inputs = keras.Input(full.input_shape[1:])
        x = keras_snn.Repeat(1)(keras.layers.Dense(10)(keras.layers.Flatten()(x)))
        return keras.Model(inputs, keras_snn.layers.TemporalAveragePooling()(keras_snn.layers.NoisyLIF()(x)))

    monkeypatch.setattr(keras_snn.data, "load", load_part)
    monkeypatch.setattr(keras_snn.models, "noise_net", one_layer)


README = ROOT / "README.rst"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.rst"))]
GUIDES = [path for path in PAGES if path.parent.name == "guides"]
#: Guides that use the model of the README's example, which is trained once.
WITH_MODEL = [path for path in GUIDES if path.stem in ("evaluation", "robustness")]


def blocks(path, language):
    """Return the code blocks of an .rst page in a language."""
    indented = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?: {{3}}.*\n|\n)+)", path.read_text(encoding="utf-8"), re.M
    )
    return [re.sub(r"^ {3}", "", block, flags=re.M) for block in indented]


def run_page(path, names=()):
    """Run the Python blocks of an .rst page with the variables ``names``; return all variables."""
    names = dict(names)
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), names)
    return names


def page_id(path):
    return path.relative_to(ROOT).with_suffix("").as_posix()


#: Pages whose scripts need processes of their own: test_several_devices.py runs them.
WITH_SCRIPTS = [ROOT / "docs" / "several_devices.rst"]


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if path not in [README, *GUIDES, *WITH_SCRIPTS] and blocks(path, "python")],
    ids=page_id,
)
def test_page(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(path)


def test_readme(tmp_path, monkeypatch, small):
    """The README and the guides that use its model."""
    monkeypatch.chdir(tmp_path)
    readme = run_page(README)
    assert readme["report"][1].accuracy > 0.6  # chance is 0.1; five epochs of 1,600 images give about 0.75
    assert (tmp_path / "report.html").stat().st_size > 10_000
    (command,) = (text for path, text in COMMANDS if path == README and "model.keras" in text)
    assert cli.main(command.split()) == 0  # the README's example saves this model
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    for name, value in names_of_the_readme().items():
        assert readme[name] is value or np.array_equal(readme[name], value), name
    guides = {path.stem: run_page(path, readme) for path in WITH_MODEL}
    assert guides["evaluation"]["search"].dt in (0.1, 1)  # at 0.01 the accuracy is about 10 % below the target
    assert len(guides["evaluation"]["latency"].accuracy) == 10
    assert (tmp_path / "spikes.png").stat().st_size > 10_000


def names_of_the_readme():
    """Return the modules and the data of the README's example, which the guides use."""
    (x, y), (x_test, y_test) = keras_snn.data.load("fashion_mnist_sample")
    data = {"x": x[800:], "y": y[800:], "x_test": x_test, "y_test": y_test}
    return {"keras": keras, "keras_snn": keras_snn, **data}


@pytest.mark.parametrize("path", [path for path in GUIDES if path not in WITH_MODEL], ids=page_id)
def test_guide(path, tmp_path, monkeypatch, small):
    if path.stem == "export" and keras.config.backend() != "tensorflow":
        pytest.skip("TensorFlow only: its files are those of TensorFlow")
    monkeypatch.chdir(tmp_path)
    names = run_page(path, names_of_the_readme())
    if path.stem == "own_neuron":
        assert isinstance(names["loaded"].layers[0], names["Quadratic"])
    if path.stem == "conversion":
        assert len(names["latency"].accuracy) == 10


#: (page, arguments) of each command `keras-snn` in the pages.
COMMANDS = [
    (path, command)
    for path in PAGES
    for text in [*blocks(path, "bash"), *re.findall(r"``(keras-snn [^`]+)``", path.read_text(encoding="utf-8"))]
    for command in re.findall(
        r"(?:^|[ /])keras-snn ((?:run|inspect|list|classify|events|compress-events|serve).*?)(?: +#.*)?$", text, re.M
    )
]


def test_commands_are_valid_and_name_dt():
    """Commands in the pages parse. `inspect` has `--dt`: with the model's dt, the accuracy of the example is 19 %."""
    texts = [command for _, command in COMMANDS]
    names = {"run", "inspect", "list", "classify", "events", "compress-events", "serve"}
    assert {text.split()[0] for text in texts} == names
    for path, text in COMMANDS:
        if len(text.split()) > 1 or text == "list":  # not only the name of the command
            options = cli._parser().parse_args(text.split())
            assert options.command != "run" or options.name in experiments.ENTRIES, (path, text)
            assert options.command != "inspect" or options.dt, (path, text)


def test_linked_files_exist_and_all_pages_are_linked():
    link = re.compile(r"<([\w./]+[a-z\d])>`__|^\.\. _\w+: (\S+)$|^ *\.\. image:: (\S+)$", re.M)
    targets = {
        (page_id(path), path.parent / "".join(groups))
        for path in PAGES
        for groups in link.findall(path.read_text(encoding="utf-8"))
    }
    assert len(targets) > 40
    assert [(page, str(target)) for page, target in targets if not target.exists()] == []
    linked = {target.resolve() for _, target in targets}
    assert [page_id(path) for path in PAGES if path != README and path.resolve() not in linked] == []


def test_the_limits_state_what_is_not_modeled():
    text = " ".join((ROOT / "docs" / "limits.rst").read_text(encoding="utf-8").split())
    assert keras_snn.energy.NOT_MODELED in text


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 250
