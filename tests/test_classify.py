"""The command `keras-snn classify`: image files, their conversion, and the output."""

import json
import os

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import data
from keras_snn.cli import main
from keras_snn.image_commands import read_image

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.backend_free

NAMES = data.class_names("fashion_mnist")


@pytest.fixture(scope="module")
def images():
    (x, y), (x_test, _) = data.load("fashion_mnist_sample")
    return x, y, x_test


@pytest.fixture(scope="module")
def model(images, tmp_path_factory):
    """Return the path of a spiking classifier of Fashion-MNIST, and the model."""
    keras.utils.set_random_seed(0)
    spikes = keras_snn.SpikingActivation("relu", dt=0.1)
    parts = [keras.layers.Flatten(), keras.layers.Dense(32), keras_snn.Repeat(5), spikes]
    parts += [keras_snn.layers.TemporalAveragePooling(), keras.layers.Dense(10, activation="softmax")]
    trained = keras.Sequential([keras.Input((28, 28)), *parts])
    trained.compile("adam", "sparse_categorical_crossentropy")
    trained.fit(*images[:2], batch_size=128, verbose=0)
    path = tmp_path_factory.mktemp("models") / "clothes.keras"
    trained.save(path)
    return path, trained


def save(path, pixels, **options):
    """Write an image in [0, 1] to a file."""
    Image.fromarray(np.rint(255 * pixels).astype("uint8")).save(path, **options)
    return os.fspath(path)


def classify(capsys, *arguments):
    assert main(["classify", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.every_backend
def test_copies_as_jpeg_get_the_classes_of_the_arrays(model, images, tmp_path, capsys):
    path, trained = model
    x = images[2][:200]
    files = [save(tmp_path / f"{i}.jpg", row, quality=95) for i, row in enumerate(x)]
    answer = json.loads(classify(capsys, *files, "--model", path, "--classes", "fashion_mnist", "--json"))
    assert answer["model"] == str(path)
    assert [image["file"] for image in answer["images"]] == files
    report = keras_snn.inspect(trained, x, examples=200, verbose=0)
    (result,) = report
    expected = result.examples.output[:, -1]
    classes = [image["class"] for image in answer["images"]]
    assert len(set(classes)) >= 8
    assert np.mean([a == NAMES[b] for a, b in zip(classes, expected.argmax(-1), strict=True)]) >= 0.98
    actual = np.array([list(image["probabilities"].values()) for image in answer["images"]])
    np.testing.assert_allclose(actual.sum(1), 1, atol=1e-5)
    assert np.mean(np.abs(actual - expected)) < 0.02  # copies of quality 95
    (counts,) = result.examples.counts.values()
    spikes = np.array([image["spikes"] for image in answer["images"]])
    assert np.corrcoef(spikes, counts.sum((1, 2)))[0, 1] > 0.99


def test_the_table_has_a_row_for_each_file(model, images, tmp_path, capsys):
    path, trained = model
    files = [save(tmp_path / f"{i}.png", images[2][i]) for i in range(2)]
    out = classify(
        capsys, *files, "--model", path, "--dt", "0.5", "--n-steps", "7", "--classes", ",".join("abcdefghij")
    )
    title, _, header, _, *rows, _ = out.splitlines()
    assert title == f"{path}, dt = 0.5 s, 7 steps; probabilities in %"
    assert header.split() == ["file", "class", *"abcdefghij", "spikes"]
    (result,) = keras_snn.inspect(trained, np.rint(images[2][:2] * 255) / 255, dt=0.5, n_steps=7, verbose=0)
    for row, file, scores, counts in zip(
        rows, files, result.examples.output[:, -1], next(iter(result.examples.counts.values())), strict=True
    ):
        cells = row.split()
        assert cells[:2] == [file, "abcdefghij"[scores.argmax()]]
        np.testing.assert_allclose([float(cell) for cell in cells[2:-1]], 100 * scores, atol=0.051)
        assert int(cells[-1]) == counts.sum()
    assert "class 3" in classify(capsys, files[0], "--model", path)


def test_the_newest_model_of_a_run_and_the_picture(model, images, tmp_path, capsys, monkeypatch):
    _, trained = model
    monkeypatch.chdir(tmp_path)
    file = save(tmp_path / "a.png", images[2][0])
    assert main(["classify", file]) == 1
    assert "No model of `keras-snn run fashion-mnist` was found in runs/." in capsys.readouterr().err
    for age, name in enumerate(("quick/ann", "quick/aware", "quick/filtered", "full/spiking")):
        target = tmp_path / "runs" / f"fashion-mnist-{name}.keras"
        target.parent.mkdir(parents=True, exist_ok=True)
        trained.save(target)
        os.utime(target, (1e9 - age, 1e9 - age))
    out = classify(capsys, file, "--show")
    assert out.startswith(os.path.join("runs", "fashion-mnist-quick", "aware.keras"))
    assert NAMES[5] in out
    picture = os.path.join("runs", "classified.png")
    assert out.endswith(f"Written to {picture}.\n")
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 200


def test_images_are_converted(tmp_path):
    ramp = np.linspace(0, 1, 56)[:, None] * np.ones(56)
    gray = read_image(save(tmp_path / "gray.png", ramp), (28, 28, 1))
    assert gray.shape == (28, 28, 1) and gray.dtype == np.float32
    # Means of two rows; Lanczos's filter is exact for a ramp, apart from its borders. Half a level of 255.
    np.testing.assert_allclose(gray[2:-2, :, 0], ramp.reshape(28, 2, 56).mean(1)[2:-2, ::2], atol=0.006)
    inverted = read_image(tmp_path / "gray.png", (28, 28, 1), invert=True)
    np.testing.assert_allclose(inverted, 1 - gray, atol=0.006)
    color = np.zeros((28, 28, 3))
    color[..., 0] = 1
    np.testing.assert_array_equal(read_image(save(tmp_path / "red.png", color), (28, 28, 3)), color)
    np.testing.assert_allclose(read_image(tmp_path / "red.png", (28, 28, 1)), 0.299, atol=0.003)  # luma of ITU-R 601
    wide = read_image(save(tmp_path / "wide.png", np.ones((28, 56))), (28, 28, 1))[..., 0]
    np.testing.assert_array_equal(wide[:7], 0)
    np.testing.assert_array_equal(wide[7:21], 1)
    Image.fromarray(np.full((28, 28), 65535 // 2, "uint16")).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read_image(tmp_path / "deep.png", (28, 28, 1)), 0.5, atol=0.003)
    for invert in (False, True):  # a black object on nothing, and a white one
        layers = np.zeros((28, 28, 4), "uint8")
        layers[10:20, 10:20] = (0, 0, 0, 255) if invert else (255, 255, 255, 255)
        Image.fromarray(layers).save(tmp_path / "alpha.png")
        np.testing.assert_array_equal(
            read_image(tmp_path / "alpha.png", (28, 28, 1), invert=invert)[..., 0], layers[..., 3] / 255
        )


def test_errors_name_the_file(model, images, tmp_path, capsys):
    path, _ = model
    good = save(tmp_path / "good.jpg", images[2][0])
    text, cut, missing = tmp_path / "text.jpg", tmp_path / "cut.jpg", tmp_path / "missing.jpg"
    text.write_text("no image")
    cut.write_bytes((tmp_path / "good.jpg").read_bytes()[:400])
    for bad in (text, cut, missing, tmp_path):
        assert main(["classify", good, str(bad), "--model", str(path)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"keras-snn: {bad} cannot be read as an image: ")
    assert main(["classify", *[good] * 21, "--model", str(path), "--show", str(tmp_path / "a.png")]) == 1
    assert capsys.readouterr().err == "keras-snn: --show draws at most 20 images; got 21.\n"
    inputs = keras.Input((7,))
    keras.Model(inputs, keras_snn.LIF()(keras_snn.Repeat(2)(inputs))).save(tmp_path / "vectors.keras")
    assert main(["classify", good, "--model", str(tmp_path / "vectors.keras")]) == 1
    assert "must have one input of images (height, width)" in capsys.readouterr().err
