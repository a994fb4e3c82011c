"""Rotated images, noisy backgrounds and .amat files, against hand-made values."""

import numpy as np
import pytest

from keras_snn import data

# float32 coordinates up to 28 have errors up to 2e-6. Interpolated values have errors of a few times 2e-6.
ROUNDING = 1e-5

pytestmark = pytest.mark.backend_free


def images(n=5, height=28, width=28):
    return np.random.default_rng(1).random((n, height, width))


# Rotation


@pytest.mark.parametrize("size", [(28, 28), (5, 5), (4, 4), (1, 1)])
@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 4, 5])
def test_quarter_turns_equal_numpy(size, quarters):
    x = images(3, *size)
    rotated = data.turn(x, np.full(3, quarters * np.pi / 2))
    np.testing.assert_allclose(rotated, np.rot90(x, quarters, axes=(1, 2)), atol=ROUNDING)


@pytest.mark.every_backend
def test_half_a_turn_of_a_rectangle():
    x = images(2, 3, 8)
    np.testing.assert_allclose(data.turn(x, [np.pi, 0]), [x[0, ::-1, ::-1], x[1]], atol=ROUNDING)


def test_values_between_pixels_are_bilinear():
    # A point 2 to the right of the center moves to sqrt(2) up and sqrt(2) to the right. The value of a pixel is the
    # bilinear weight of the point at the inversely rotated position.
    x = np.zeros((1, 7, 7))
    x[0, 3, 5] = 1
    expected = np.zeros((7, 7))
    for i in range(-3, 4):
        for j in range(-3, 4):
            source_i, source_j = (i + j) * np.sqrt(0.5), (j - i) * np.sqrt(0.5)
            expected[i + 3, j + 3] = max(0, 1 - abs(source_i)) * max(0, 1 - abs(source_j - 2))
    rotated = data.turn(x, [np.pi / 4])[0]
    np.testing.assert_allclose(rotated, expected, atol=ROUNDING)
    assert np.unravel_index(rotated.argmax(), rotated.shape) in {(1, 4), (2, 4), (2, 5)}  # up and to the right


def test_pixels_from_outside_are_zero():
    rotated = data.turn(np.ones((1, 28, 28)), [np.pi / 4])[0]
    assert rotated[0, 0] == rotated[0, -1] == rotated[-1, 0] == rotated[-1, -1] == 0  # 19.1 from the center
    np.testing.assert_allclose(rotated[10:18, 10:18], 1, atol=ROUNDING)


def test_every_image_has_its_own_angle_in_every_batch():
    x = np.repeat(images(1), 300, axis=0).astype("float32")  # more than one batch
    angles = np.linspace(0, 6, 300)
    rotated = data.turn(x, angles)
    assert rotated.dtype == np.float32
    for k in (0, 255, 256, 299):
        np.testing.assert_array_equal(rotated[k], data.turn(x[:1], angles[k : k + 1])[0])
    assert len({image.tobytes() for image in rotated}) == 300


def test_rotate_draws_angles_from_the_whole_circle():
    x = np.zeros((2000, 9, 9), "float32")
    x[:, 4, 7] = 1  # 3 to the right of the center
    rotated = data.rotate(x, seed=0)
    total = rotated.sum(axis=(1, 2))
    up = -(rotated * (np.arange(9)[:, None] - 4)).sum(axis=(1, 2)) / total
    right = (rotated * (np.arange(9) - 4)).sum(axis=(1, 2)) / total
    angles = np.arctan2(up, right) % (2 * np.pi)
    # atol: five standard deviations of a count; 250 images per octant.
    counts = np.histogram(angles, bins=8, range=(0, 2 * np.pi))[0]
    np.testing.assert_allclose(counts, 250, atol=5 * np.sqrt(2000 / 8 * 7 / 8))


def test_rotate_is_fixed_by_its_seed():
    x = images()
    np.testing.assert_array_equal(data.rotate(x, seed=3), data.rotate(x, seed=3))
    np.testing.assert_array_equal(data.rotate(x, seed=3)[:2], data.rotate(x[:2], seed=3))
    assert not np.allclose(data.rotate(x, seed=3), data.rotate(x, seed=4))


# Noise


def test_background_is_the_max_of_image_and_noise():
    x = np.zeros((50, 28, 28), "float32")
    x[:, :14] = 0.25
    x[:, 14] = 1
    noisy = data.random_background(x, seed=0)
    noise = data.random_background(np.zeros_like(x), seed=0)
    np.testing.assert_array_equal(noisy, np.maximum(x, noise))
    assert noisy.dtype == np.float32
    assert noise.min() >= 0
    assert noise.max() < 1
    # abs: five standard errors of 39,200 values with mean 1/2 and variance 1/12.
    assert noise.mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / noise.size))
    assert noise.var() == pytest.approx(1 / 12, abs=5 * np.sqrt(1 / 180 / noise.size))


def test_background_is_fixed_by_its_seed():
    x = images()
    np.testing.assert_array_equal(data.random_background(x, seed=3)[:2], data.random_background(x[:2], seed=3))
    assert not np.array_equal(data.random_background(x, seed=3), data.random_background(x, seed=4))


@pytest.mark.parametrize("change", [lambda x: data.rotate(x, 0), lambda x: data.random_background(x, 0)])
def test_invalid_images_are_refused(change):
    with pytest.raises(ValueError, match=r"`images`.*\(784,\)"):
        change(np.zeros(784))
    with pytest.raises(TypeError, match="`images`.*uint8"):
        change(np.zeros((2, 28, 28), "uint8"))


def test_each_image_needs_an_angle():
    with pytest.raises(ValueError, match=r"`angles`.*5 images.*\(4,\)"):
        data.turn(images(), np.zeros(4))


# .amat files


def write(path, x, y):
    """Write images column by column, as in the published files."""
    lines = []
    for image, label in zip(x, y, strict=True):
        pixels = [image[i, j] for j in range(28) for i in range(28)]
        lines.append("   " + "   ".join(f"{value:.7e}" for value in (*pixels, label)))
    path.write_text("\n".join(lines) + "\n")
    return lines


def test_amat_round_trip(tmp_path):
    x, y = images().astype("float32"), np.array([3, 0, 9, 1, 7])
    write(tmp_path / "some.amat", x, y)
    x_read, y_read = data.load_amat(tmp_path / "some.amat")
    assert (x_read.dtype, y_read.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(x_read, x, rtol=1e-7)  # eight digits
    np.testing.assert_array_equal(y_read, y)


def test_amat_pixels_are_column_by_column(tmp_path):
    numbers = ["0"] * 785
    numbers[1] = "1"  # the second pixel is below the first
    numbers[28] = "0.5"  # the next column starts after 28 pixels
    (tmp_path / "one.amat").write_text(" ".join(numbers))
    (image,), (label,) = data.load_amat(str(tmp_path / "one.amat"))
    assert (image[1, 0], image[0, 1], label) == (1, 0.5, 0)
    assert image.sum() == 1.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.5 0.5 0.5", "line 3: must have 784 pixels and a label, got 3 numbers. The file is cut off"),
        ("0 " * 786, "line 3: .* got 786 numbers"),
        ("0 " * 784 + "five", "line 3: must be a line of numbers.*five"),
        ("0 " * 783 + "1.5 2", r"line 3: pixels must be in \[0, 1\], got 0 to 1.5"),
        ("0 " * 783 + "nan 2", "line 3: pixels"),
        ("0 " * 784 + "10", "line 3: the last number must be a label.*got 10"),
        ("0 " * 784 + "2.5", "line 3: .*label.*got 2.5"),
        ("\x00\xff\x17", "line 3: must be a line of numbers"),
    ],
)
def test_amat_errors_name_file_and_line(tmp_path, line, message):
    path = tmp_path / "broken.amat"
    first, second = write(path, images(2), [1, 2])
    path.write_text(f"{first}\n{second}\n{line}\n", encoding="latin-1")
    with pytest.raises(ValueError, match=f"broken.amat, {message}"):
        data.load_amat(path)


def test_amat_that_is_cut_off(tmp_path):
    path = tmp_path / "cut.amat"
    write(path, images(2), [1, 2])
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ValueError, match=r"cut\.amat, line 2: .* got 7\d\d numbers.* cut off"):
        data.load_amat(path)


def test_amat_that_is_empty_or_missing(tmp_path):
    (tmp_path / "empty.amat").write_text("\n \n")
    with pytest.raises(ValueError, match=r"empty\.amat must have an image in each line; the file is empty"):
        data.load_amat(tmp_path / "empty.amat")
    with pytest.raises(FileNotFoundError, match=r"missing\.amat"):
        data.load_amat(tmp_path / "missing.amat")
