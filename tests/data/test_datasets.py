"""The loaders, the embedded sample and their errors. Tests of full sets are skipped without the files."""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_snn import data
from keras_snn.data import sample

NAMES = ("fashion_mnist", "mnist", "cifar10", "cifar100", "digits", "nmnist", "fashion_mnist_sample")
KERAS_HOME = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
FILES = {
    "fashion_mnist": [
        f"fashion-mnist/{part}-ubyte.gz"
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    ],
    "mnist": ["mnist.npz"],
}
TFDS_DATA_DIR = os.environ.get("TFDS_DATA_DIR")

pytestmark = pytest.mark.backend_free


def need_files(name):
    """Skip the test unless Keras has the files of the set."""
    if not os.access(KERAS_HOME, os.W_OK) or not all((KERAS_HOME / "datasets" / f).exists() for f in FILES[name]):
        pytest.skip(f"KERAS_HOME ({KERAS_HOME}) is not a writable folder with {name}")


@pytest.fixture(scope="module")
def make_sample():
    path = Path(__file__).parents[2] / "tools" / "make_sample.py"
    spec = importlib.util.spec_from_file_location("make_sample", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The embedded sample


def test_the_first_n_images_of_the_sample_are_balanced():
    (x, y), (x_test, y_test) = data.load("fashion_mnist_sample")
    assert x.shape == (7800, 28, 28)
    assert x_test.shape == (1000, 28, 28)
    for images, labels in ((x, y), (x_test, y_test)):
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert (images.min(), images.max()) == (0, 1)
        np.testing.assert_array_equal(labels, np.arange(len(images)) % 10)


def test_sample_file_is_small_and_has_a_license_file():
    assert sample.PATH.stat().st_size <= 3_000_000
    license_text = sample.PATH.with_name("FASHION_MNIST_LICENSE.txt").read_text(encoding="utf-8")
    assert "Copyright © 2017 Zalando SE" in license_text
    assert "MIT License" in license_text


def test_sample_images_are_images_of_the_full_set():
    need_files("fashion_mnist")
    for (x, y), (x_full, y_full) in zip(sample.read(), keras.datasets.fashion_mnist.load_data(), strict=True):
        label = {image.tobytes(): int(c) for image, c in zip(x_full, y_full, strict=True)}
        assert [label.get(image.tobytes()) for image in x] == y.tolist()
        assert len({image.tobytes() for image in x}) == len(x)


def test_the_tool_makes_the_sample(make_sample, monkeypatch, tmp_path, capsys):
    need_files("fashion_mnist")
    monkeypatch.setattr(sample, "PATH", tmp_path / "again.npz")
    # Packing all 8,800 images takes seconds. A smaller sample has the first images of a larger one.
    monkeypatch.setattr(make_sample, "N_TRAIN", 50)
    monkeypatch.setattr(sample, "N_TEST", 20)
    make_sample.main()
    x, y = sample.unpack(sample.PATH)
    monkeypatch.undo()
    (x_train, y_train), (x_test, y_test) = sample.read()
    np.testing.assert_array_equal(x, np.concatenate([x_train[:50], x_test[:20]]))
    np.testing.assert_array_equal(y, np.concatenate([y_train[:50], y_test[:20]]))
    assert "SHA256 = " in capsys.readouterr().out


def test_packing_is_lossless(make_sample, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (5, 28, 28))
    sparse = noise * (rng.random((5, 28, 28)) < 0.3)
    steps = np.where(np.indices((28, 28)).sum(0) % 2, 255, 1)[None]
    x = np.concatenate([noise, sparse, steps, 255 * np.ones((1, 28, 28)), np.zeros((1, 28, 28))]).astype(np.uint8)
    y = np.arange(len(x), dtype=np.uint8)
    make_sample.pack(tmp_path / "x.npz", x, y)
    x_unpacked, y_unpacked = sample.unpack(tmp_path / "x.npz")
    np.testing.assert_array_equal(x_unpacked, x)
    np.testing.assert_array_equal(y_unpacked, y)
    assert x_unpacked.dtype == np.uint8


def test_predictor_by_hand():
    west, north, northwest = np.array([[10, 20, 5], [10, 20, 25], [10, 20, 12], [30, 0, 0]], np.int16).T
    # Northwest below both: the max. Above both: the min. Between: 10 + 20 - 12.
    assert sample.predict(west, north, northwest).tolist() == [20, 10, 18, 30]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_damaged_sample_is_one_clear_error(damage, monkeypatch, tmp_path):
    content = bytearray(sample.PATH.read_bytes())
    path = tmp_path / "fashion_mnist_sample.npz"
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    if damage != "missing":
        path.write_bytes(content[: {"truncated": 1_000_000, "empty": 0}.get(damage)])
    monkeypatch.setattr(sample, "PATH", path)
    with pytest.raises(OSError, match=r"fashion_mnist_sample\.npz is missing or damaged .* reinstall keras_snn"):
        data.load("fashion_mnist_sample")


# Keras


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_keras_arrays_are_only_scaled(name):
    need_files(name)
    raw = getattr(keras.datasets, name).load_data()
    for (x, y), (x_raw, y_raw), n in zip(data.load(name), raw, (60000, 10000), strict=True):
        assert x.shape == (n, 28, 28)
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x[::20], x_raw[::20] / np.float32(255))
        np.testing.assert_array_equal(y, y_raw)


@pytest.mark.every_backend
def test_labels_of_cifar10_are_one_dimensional(monkeypatch):
    x = np.full((4, 32, 32, 3), 51, np.uint8)
    y = np.array([[3], [1], [2], [0]], np.uint8)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: ((x, y), (x[:2], y[:2])))
    (x_train, y_train), (x_test, y_test) = data.load("cifar10")
    assert x_train.shape == (4, 32, 32, 3)
    assert (x_train == np.float32(0.2)).all()
    assert y_train.tolist() == [3, 1, 2, 0]
    assert x_test.shape == (2, 32, 32, 3)
    assert y_test.tolist() == [3, 1]


def test_damaged_file_of_keras_is_an_error_with_its_cause(monkeypatch):
    def load_data():
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    with pytest.raises(OSError, match="end-of-stream marker") as caught:
        data.load("fashion_mnist")
    assert isinstance(caught.value.__cause__, EOFError)


# TensorFlow Datasets


@pytest.fixture
def tfds():
    return pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")


def prepare(tfds, name, shape, data_dir, file_format):
    """Write a small set with the name and version of a real one. All pixels of image i are i."""

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.builder_cls(name).VERSION

        def _info(self):
            features = {
                "id": tfds.features.Text(),  # CIFAR-10 has ids; they are not read
                "image": tfds.features.Image(shape=shape),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(30), "test": self._generate_examples(12)}

        def _generate_examples(self, n):
            for i in range(n):
                yield i, {"id": "", "image": np.full(shape, i, np.uint8), "label": i % 10}

    Builder.name = name
    Builder(data_dir=data_dir, file_format=file_format).download_and_prepare()


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize(
    ("name", "shape", "data_format", "loaded"),
    [
        ("mnist", (28, 28, 1), "channels_first", (28, 28)),
        ("cifar10", (32, 32, 3), "channels_last", (32, 32, 3)),
        ("cifar10", (32, 32, 3), "channels_first", (3, 32, 32)),
    ],
)
def test_tfds_gives_the_original_order(tfds, name, shape, data_format, loaded, file_format, monkeypatch, tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow Datasets prepares files with TensorFlow")
    if file_format == "array_record":
        pytest.importorskip("array_record", reason="array_record is not installed")
    prepare(tfds, name, shape, tmp_path, file_format)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", None)  # must not be called for prepared files
    monkeypatch.setattr(keras.config, "image_data_format", lambda: data_format)
    for (x, y), n in zip(data.load(name, source="tfds", data_dir=tmp_path), (30, 12), strict=True):
        assert x.shape == (n, *loaded)
        assert x.dtype == np.float32
        image_numbers = np.arange(n, dtype=np.float32).reshape(-1, *[1] * len(loaded))
        np.testing.assert_array_equal(x, np.broadcast_to(image_numbers / 255, x.shape))
        assert y.dtype == np.int64
        assert y.tolist() == [i % 10 for i in range(n)]


@pytest.mark.nightly("all 70,000 images of a real set")
def test_tfds_equals_keras(tfds):
    need_files("fashion_mnist")
    if TFDS_DATA_DIR is None or not (Path(TFDS_DATA_DIR) / "fashion_mnist").exists():
        pytest.skip(f"TFDS_DATA_DIR ({TFDS_DATA_DIR}) is not a folder with fashion_mnist")
    pytest.importorskip("tensorflow", reason="the files are TFRecords")
    prepared = data.load("fashion_mnist", source="tfds")
    for (x, y), (x_keras, y_keras) in zip(prepared, data.load("fashion_mnist"), strict=True):
        np.testing.assert_array_equal(x, x_keras)
        np.testing.assert_array_equal(y, y_keras)


def test_failed_download_of_tfds_names_three_alternatives(tfds, monkeypatch, tmp_path):
    for error in (ConnectionError("no route"), tfds.download.DownloadError("no route")):

        def fail(self, error=error):
            raise error

        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
        with pytest.raises(OSError, match=r"'mnist' can be .*no route(?s:.*)KERAS_HOME(?s:.*)data_dir(?s:.*)_sample"):
            data.load("mnist", source="tfds", data_dir=tmp_path)


# scikit-learn


def test_digits_split():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    digits = datasets.load_digits()
    (x, _), (x_test, y_test) = data.load("digits")
    assert x.shape == (1437, 8, 8)
    assert x_test.shape == (360, 8, 8)
    # The two splits are the whole set, without duplicates.
    split = np.concatenate([x, x_test]) * 16
    all_images = digits.images.astype(np.float32)
    assert sorted(image.tobytes() for image in split) == sorted(image.tobytes() for image in all_images)
    # atol: a fifth of each class, rounded.
    np.testing.assert_allclose(np.bincount(y_test), np.bincount(digits.target) * 360 / 1797, atol=1)
    for image, label in zip(x_test, y_test, strict=True):
        rows = (digits.images == image * 16).all((1, 2))
        assert digits.target[rows].tolist() == [label]


def test_digits_split_is_the_same_everywhere():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    keras.utils.set_random_seed(1)  # the split does not use the global seed
    y_test = data.load("digits")[1][1]
    assert hashlib.sha256(y_test.astype(np.uint8).tobytes()).hexdigest()[:8] == "70ee2850"


# Names


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data.load("fashion"),
            "`name` must be one of 'fashion_mnist', .* 'fashion_mnist_sample'; got 'fashion'",
        ),
        (lambda: data.class_names("fashion"), "`name` must be one of .*; got 'fashion'"),
        (lambda: data.load("digits", source="web"), "`source` must be one of 'keras', 'tfds'; got 'web'"),
        (
            lambda: data.load("mnist", data_dir="x"),
            "data_dir='x' needs source='tfds', got source='keras'; .* KERAS_HOME",
        ),
        (lambda: data.load("nmnist"), "`path` must be a file of events for 'nmnist', .*; got None"),
        (
            lambda: data.load("mnist", path="x"),
            "`path` must be None for 'mnist'; got 'x'. Only 'cifar10' and 'nmnist' are read from a file",
        ),
        (lambda: data.load("cifar10", source="tfds", path="x"), "`path` must be None with source='tfds'; got 'x'"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("sklearn", {"name": "digits"}),
        ("tensorflow_datasets", {"name": "mnist", "source": "tfds"}),
        ("PIL", {"name": "cifar10", "path": "images.npz"}),
    ],
)
def test_missing_package_names_the_extra(module, arguments, monkeypatch):
    for name in [module, *(m for m in sys.modules if m.startswith(module + "."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'keras_snn\[data\]'"):
        data.load(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_class_names(name):
    names = data.class_names(name)
    assert len(set(names)) == (100 if name == "cifar100" else 10)
    ninth = {"cifar10": "truck", "cifar100": "bottle", "mnist": "9", "digits": "9", "nmnist": "9"}
    assert names[9] == ninth.get(name, "Ankle boot")
