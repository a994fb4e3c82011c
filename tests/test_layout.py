"""The rules of the source tree: allowed imports, public names, marks of tests, type hints."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import keras_snn

pytestmark = pytest.mark.backend_free

PACKAGE = Path(keras_snn.__file__).parent
REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Each line imports only from the lines above it. Units on one line never import each other.
LINES = (
    ("hints",),
    ("config", "configured", "files", "checks", "text_table", "_version"),
    ("ops",),
    ("data",),
    ("probe",),
    ("surrogates", "activations", "constraints", "regularizers", "losses", "metrics", "learning_rules"),
    ("layers",),
    ("models",),
    ("graph", "fingerprint"),
    ("streaming",),
    ("energy",),
    ("inspector", "model_energy"),
    ("callbacks",),
    ("conversion", "export"),
    ("robustness", "energy_comparison"),
    ("experiments",),
    ("public",),
    ("event_commands", "image_commands", "serve_command"),
    ("cli",),
    ("__init__", "__main__"),
)
PLACE = {unit: place for place, line in enumerate(LINES) for unit in line}
BACKENDS = {"tensorflow", "jax", "torch"}
EVERYWHERE = {"keras", "numpy", "tabulate", "keras_snn", *sys.stdlib_module_names}


def module_name(path):
    """Return the module name keras_snn.a.b of a file. An __init__.py has the name of its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def unit_of(module):
    """Return the unit in LINES of a module of the package."""
    return module.split(".")[1]


def imports(source, package="keras_snn"):
    """Return (module, is at module level) for every import; `from a import b` gives a.b."""
    found = []

    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*above, base] if base else above)
                found.extend((f"{base}.{alias.name}", top) for alias in child.names)
            walk(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    walk(ast.parse(source), True)
    return found


def breaches(module, source):
    """Return the imports in a module of the package that break the rules."""
    own_unit, found = unit_of(module), []
    for name, top in imports(source, package=module.rpartition(".")[0]):
        root, *rest = name.split(".")
        if root == "keras_snn":
            unit = rest[0] if rest else "__init__"
            if unit != own_unit and PLACE.get(unit, len(LINES)) >= PLACE[own_unit]:
                found.append(f"{own_unit} imports {name}")
        elif root in BACKENDS:
            pipeline = module.startswith("keras_snn.data.") and root == "tensorflow" and not top  # tf.data
            if not (pipeline or module.startswith("keras_snn.ops.backend.")):
                found.append(f"{name} outside ops/backend")
        elif name == "keras.src" or name.startswith("keras.src."):
            found.append(f"{name} is private to Keras")
        elif top and root not in EVERYWHERE:
            found.append(f"{name} at module level")
    return found


def test_imports_go_one_way():
    sources = {module_name(path): path.read_text(encoding="utf-8") for path in SOURCES}
    assert {unit_of(module) for module in sources} <= PLACE.keys(), "a new file or folder must be in LINES"
    assert {module: found for module, source in sources.items() if (found := breaches(module, source))} == {}


def test_forbidden_imports_are_found():
    for module, source in (
        ("keras_snn.ops.scan", "from keras_snn.layers import LIF"),
        ("keras_snn.ops.scan", "from keras_snn import layers"),
        ("keras_snn.ops.scan", "import keras_snn.layers.base"),
        ("keras_snn.ops.scan", "import keras_snn"),
        ("keras_snn.ops.scan", "from keras_snn import SpikingActivation"),
        ("keras_snn.ops.scan", "from ..layers import LIF"),
        ("keras_snn.ops.scan", "def f():\n    from keras_snn import layers"),
        ("keras_snn.files", "from keras_snn.config import default"),
        ("keras_snn.constraints", "from keras_snn import regularizers"),
        ("keras_snn.layers.time.repeat", "import tensorflow as tf"),
        ("keras_snn.layers.time.repeat", "def f():\n    import jax.numpy as jnp"),
        ("keras_snn.ops.scan", "from torch import nn"),
        ("keras_snn.data.datasets", "import tensorflow as tf"),
        ("keras_snn.data.datasets", "def f():\n    import jax"),
        ("keras_snn.ops.scan", "from keras.src import backend"),
        ("keras_snn.ops.scan", "import keras.src.backend"),
        ("keras_snn.ops.scan", "from keras import src"),
        ("keras_snn.data.datasets", "from sklearn.datasets import load_digits"),
        ("keras_snn.data.datasets", "try:\n    import PIL\nexcept ImportError:\n    pass"),
        ("keras_snn.inspector.plots", "class A:\n    from matplotlib import pyplot"),
    ):
        assert len(breaches(module, source)) == 1, source


def test_allowed_imports_pass():
    for module, source in (
        ("keras_snn.layers.time.repeat", "from keras_snn import probe\nfrom keras_snn.layers.base import RNN"),
        ("keras_snn.layers.time.repeat", "from . import last_step\nfrom ...ops import scan"),
        ("keras_snn.ops.backend.tensorflow", "import tensorflow as tf\nfrom keras_snn.config import default"),
        ("keras_snn.data.datasets", "def pipeline():\n    import tensorflow as tf"),
        ("keras_snn.inspector.plots", "import os\nimport numpy as np\ndef f():\n    from matplotlib import figure"),
        ("keras_snn.__main__", "from keras_snn.cli import main"),
    ):
        assert breaches(module, source) == [], source


@pytest.mark.every_backend
def test_every_folder_lists_its_public_names():
    for folder in {path.parent for path in SOURCES}:
        name = ".".join(folder.relative_to(PACKAGE.parent).parts)
        assert (folder / "__init__.py").exists(), name
        public = importlib.import_module(name).__all__
        assert public, name
        assert len(public) == len(set(public)), name
        assert all(hasattr(sys.modules[name], public_name) for public_name in public), name


def test_library_code_has_no_assert():
    found = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_no_file_of_the_package_is_longer_than_400_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: n for path, n in lengths.items() if n > 400} == {}


def repository_files():
    """Return the text files of the repository. Beside an installed package, some folders are missing."""
    endings = (".py", ".rst", ".md", ".cfg", ".toml", ".ipynb", ".json", ".txt")
    folders = [PACKAGE, *(REPOSITORY / name for name in ("tests", "tools", "benchmarks", "notebooks", "docs"))]
    files = [path for folder in folders for path in folder.rglob("*")] + list(REPOSITORY.glob("*"))
    return [path for path in files if path.suffix in endings and path.is_file()]


def test_no_file_has_paths_of_the_development_machine():
    # Concatenated, because this file is searched too.
    places = re.compile("|".join([r"(?<![\w.$])/" + r"work\b", r"\.\./" + "shared", "/" + "home/", "/" + "Users/"]))
    files = repository_files()
    assert len(files) > len(SOURCES)
    found = [
        f"{path}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if places.search(line)
    ]
    assert found == []


def marks(node):
    """Return the names of the marks ``pytest.mark.name`` in a syntax tree."""
    return [
        child.attr
        for child in ast.walk(node)
        if isinstance(child, ast.Attribute) and ast.unparse(child.value) == "pytest.mark"
    ]


def one_test_on_every_backend(source):
    """Return False for a backend_free file that does not have exactly one test for every backend."""
    tree = ast.parse(source)
    of_file = [
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return not any("backend_free" in marks(node) for node in of_file) or marks(tree).count("every_backend") == 1


def test_a_backend_free_file_has_one_test_for_every_backend():
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    assert Path(__file__) in files
    assert [str(path) for path in files if not one_test_on_every_backend(path.read_text(encoding="utf-8"))] == []


def test_files_with_no_or_two_tests_for_every_backend_are_found():
    free, marked = "pytestmark = [pytest.mark.backend_free]\n", "@pytest.mark.every_backend\ndef test():\n    pass\n"
    assert [one_test_on_every_backend(source) for source in (marked, free + marked)] == [True, True]
    assert [one_test_on_every_backend(source) for source in (free, free + marked + marked)] == [False, False]


# Files and folders whose public functions and constructors must have type hints.
HINTED = (
    "activations.py",
    "callbacks",
    "checks.py",
    "cli.py",
    "config.py",
    "constraints.py",
    "conversion",
    "data",
    "energy",
    "energy_comparison.py",
    "experiments",
    "export",
    "files.py",
    "fingerprint.py",
    "graph",
    "hints.py",
    "inspector",
    "layers",
    "learning_rules.py",
    "losses.py",
    "metrics.py",
    "model_energy.py",
    "models",
    "ops",
    "probe.py",
    "regularizers.py",
    "robustness",
    "serve_command.py",
    "streaming.py",
    "surrogates.py",
    "text_table.py",
)
KERAS_HOOKS = {
    *("build", "call", "get_config", "from_config", "compute_output_shape", "compute_output_spec", "compute_mask"),
    *("get_build_config", "get_initial_state"),
    *("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end", "on_train_batch_begin", "on_train_batch_end"),
}


def without_hints(source):
    """Return the names of the public functions in a source that lack a type hint."""
    found = []

    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                walk(child, f"{child.name}.")
            elif isinstance(child, ast.FunctionDef) and is_public(child.name):
                arguments = child.args
                given = [
                    *arguments.posonlyargs,
                    *arguments.args,
                    *arguments.kwonlyargs,
                    arguments.vararg,
                    arguments.kwarg,
                ]
                lacking = [a.arg for a in given if a and a.arg not in ("self", "cls") and a.annotation is None]
                if lacking or (child.returns is None and child.name != "__init__"):
                    found.append(prefix + child.name)

    def is_public(name):
        return name == "__init__" or not (name.startswith("_") or name in KERAS_HOOKS)

    walk(ast.parse(source), "")
    return found


def test_public_functions_have_type_hints():
    paths = [path for name in HINTED for path in ([PACKAGE / name] if "." in name else (PACKAGE / name).rglob("*.py"))]
    assert paths
    assert not [(path.name, lacking) for path in paths if (lacking := without_hints(path.read_text(encoding="utf-8")))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x: int) -> int: ...", []),
        ("def f(x) -> int: ...", ["f"]),
        ("def f(x: int): ...", ["f"]),
        ("def _f(x): ...", []),
        ("class A:\n    def __init__(self, *, x: int, **kwargs): ...", ["A.__init__"]),
        ("class A:\n    def __init__(self, x: int): ...\n    def call(self, x): ...", []),
    ],
)
def test_missing_type_hints_are_found(source, expected):
    assert without_hints(source) == expected
