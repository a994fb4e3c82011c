import io

import numpy as np
import pytest

from keras_snn import data

Image = pytest.importorskip("PIL.Image", reason="Pillow is an optional package")


def stored(images):
    """Return the joined JPEG files of images as bytes, their offsets, and the decoded images."""
    files, decoded = [], []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG")
        files.append(buffer.getvalue())
        decoded.append(np.asarray(Image.open(buffer)))
    offset = np.cumsum([0, *map(len, files)])
    return np.frombuffer(b"".join(files), "uint8"), offset, np.stack(decoded)


def test_images_and_labels(tmp_path):
    rng = np.random.default_rng(0)
    arrays, expected = {}, {}
    for split, n in (("train", 5), ("test", 2)):
        jpeg, offset, expected[split] = stored(rng.integers(0, 256, size=(n, 8, 8, 3), dtype="uint8"))
        arrays |= {f"jpeg_{split}": jpeg, f"offset_{split}": offset, f"y_{split}": np.arange(n, dtype="uint8")}
    np.savez(tmp_path / "images.npz", **arrays)
    for (x, y), split in zip(data.load("cifar10", path=tmp_path / "images.npz"), ("train", "test"), strict=True):
        np.testing.assert_array_equal(x, (expected[split] / 255).astype("float32"))
        assert x.dtype == np.float32
        assert y.tolist() == list(range(len(x)))
        assert y.dtype == np.int64
    del arrays["y_test"]
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(ValueError, match=r"part\.npz' must be a file of JPEG images, and complete: .*y_test"):
        data.load("cifar10", path=tmp_path / "part.npz")
