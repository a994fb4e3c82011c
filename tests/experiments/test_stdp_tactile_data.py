"""The data of the experiment on touch: recordings, splits, recombined signals, images, features and baselines."""

import itertools

import numpy as np
import pytest

from keras_snn.experiments import stdp_tactile as tactile
from keras_snn.experiments.stdp_tactile import published

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def touch():
    return tactile.load("simulated", seed=0)


@pytest.fixture(scope="module")
def split(touch):
    return tactile.splits(touch, 1, seed=0)[0]


@pytest.mark.every_backend
def test_the_simulation(touch):
    assert (touch.name, touch.sensors, len(touch.classes)) == ("simulated", ("across", "along"), 8)
    assert touch.labels.tolist() == np.repeat(range(8), 10).tolist()
    for signals in touch.signals:
        assert {signal.dtype for signal in signals} == {np.dtype("float32")}
        assert len({len(signal) for signal in signals}) > 40
        # Rougher textures vibrate more.
        deviations = np.array([signal.std() for signal in signals]).reshape(8, 10).mean(axis=1)
        assert (np.diff(deviations) < 0).all()
    assert [len(signal) for signal in touch.signals[0]] == [len(signal) for signal in touch.signals[1]]
    same, other = tactile.load(seed=0), tactile.load(seed=1)
    np.testing.assert_array_equal(same.signals[1][79], touch.signals[1][79])
    assert not np.array_equal(other.signals[1][79][:800], touch.signals[1][79][:800])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The open sets, with two or three slides of each."""
    folder, rng = tmp_path_factory.mktemp("touch"), np.random.default_rng(0)
    columns = ["tdc", "tac", "pdc", *(f"pac{i}" for i in range(1, 23)), *(f"ele{i}" for i in range(1, 20))]
    materials = {"label": np.array([0, 1], "uint8"), "material": ["felt", "cork"]}
    x = rng.integers(0, 1000, (2, 801, 44)).astype("int16")
    np.savez(folder / "biotac.npz", x=x, columns=columns, length=np.array([580, 800], "int16"), **materials)
    taxels = rng.random((2, 75, 6, 10), "float32")
    np.savez(folder / "icub.npz", x=taxels, label=np.array([0, 1], "uint8"))
    fabric = rng.integers(0, 300, (60, 16)).astype("uint16")
    np.savez(
        folder / "fabric_slide.npz",
        x=fabric,
        offset=[0, 10, 30, 60],
        label=np.array([0, 0, 1], "uint8"),
        fabric=["Linen", "Denim"],
        force=[120, 150, 150],
        speed_mmps=[-20, -10, -10],
    )
    return folder, x, taxels, fabric.astype("float32")


def test_the_open_sets(folder):
    folder, x, taxels, fabric = folder
    names = ["biotac.npz", "icub.npz", "fabric_slide.npz"]
    assert tactile.find_sets(folder) == [str(folder / name) for name in names]
    biotac, icub, slides = (tactile.load(path) for path in tactile.find_sets(folder))

    assert biotac.classes == ("felt", "cork")
    assert biotac.labels.tolist() == icub.labels.tolist() == [0, 1]
    for slide, stop in ((0, 580), (1, 599)):
        # 22 pressure samples a frame, in the order of time; ele11 is column 25 + 10.
        np.testing.assert_array_equal(biotac.signals[0][slide], x[slide, 50:stop, 3:25].ravel())
        np.testing.assert_array_equal(biotac.signals[1][slide], x[slide, 50:stop, 35])
    np.testing.assert_array_equal(icub.signals[0][1], taxels[1, :, 1, 4])
    np.testing.assert_array_equal(icub.signals[1][1], taxels[1, :, 0, 4])

    assert slides.classes == ("Linen", "Denim")
    assert slides.labels.tolist() == [0, 1]  # the force of slide 0 is missing for Denim
    for signals, taxel in zip(slides.signals, (4, 12), strict=True):
        for signal, frames in zip(signals, (fabric[10:30], fabric[30:]), strict=True):
            np.testing.assert_allclose(signal, frames[:, taxel] - frames[:, taxel].mean(), rtol=1e-5, atol=1e-4)


def test_errors_of_load(folder, tmp_path):
    with pytest.raises(
        ValueError, match="`data_name` must be one set; the folder .* has biotac.npz, icub.npz, fabric.*path"
    ):
        tactile.load(folder[0])
    with pytest.raises(ValueError, match="`data_name` must be 'simulated', the path of biotac.npz, .*; got 'plates'"):
        tactile.load("plates")
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        tactile.load(seed=-1)
    np.savez(tmp_path / "icub.npz", label=[0])
    with pytest.raises(ValueError, match="must be the iCub recordings, and complete"):
        tactile.load(tmp_path)


def test_splits(touch):
    found = tactile.splits(touch, 3, seed=5)
    for split in found:
        assert [group.shape for group in split.groups] == [(8, 4), (8, 3)]
        slides = np.concatenate([*split.groups, split.test], axis=1)
        assert sorted(slides.ravel()) == list(range(80))  # 10 different slides of each class
        assert (touch.labels[slides] == np.arange(8)[:, None]).all()
    assert len({split.test.tobytes() for split in found}) == 3
    again = tactile.splits(touch, 1, seed=5)[0]
    np.testing.assert_array_equal(again.test, found[0].test)
    (small,) = tactile.splits(touch, 1, seed=0, group_sizes=(2, 1, 1), n_test=2)
    assert ([group.shape[1] for group in small.groups], small.test.shape) == ([2, 1, 1], (8, 2))
    with pytest.raises(ValueError, match="must add up to at most 10, the number of slides of '50 um'; got 11. Use sm"):
        tactile.splits(touch, 1, n_test=4)


def test_337_samples_of_a_class(split):
    samples = tactile.augmented(split)
    assert len(samples.rows) == len(samples.labels) == len(samples.groups) == 2696
    by_class = [{tuple(row) for row in samples.rows[samples.labels == label].tolist()} for label in range(8)]
    for label, rows in enumerate(by_class):
        first, second = (set(itertools.product(group[label].tolist(), repeat=4)) for group in split.groups)
        assert rows == first | second
        assert len(rows) == 337
        assert all((slide,) * 4 in rows for group in split.groups for slide in group[label])
    assert not set(samples.rows.ravel()) & set(split.test.ravel())
    # The folds of the cross-validation have no piece in common.
    assert not set(samples.rows[samples.groups == 0].ravel()) & set(samples.rows[samples.groups == 1].ravel())


def test_other_numbers_of_slides_groups_and_pieces(touch):
    (split,) = tactile.splits(touch, 1, group_sizes=(3, 2, 1), n_test=1)
    assert len(tactile.augmented(split, n_pieces=3).rows) == 8 * (27 + 8 + 1)
    recorded, tested = tactile.recorded(split), tactile.tested(split)
    assert recorded.rows.shape == (8 * 6, 1)
    assert tested.rows.tolist() == split.test.tolist()
    for samples in (recorded, tested):
        assert samples.labels.tolist() == touch.labels[samples.rows[:, 0]].tolist()
    with pytest.raises(ValueError, match="`n_pieces` must be an integer of at least 1; got 0"):
        tactile.augmented(split, n_pieces=0)


def test_pieces_are_equal_parts_of_each_signal(touch):
    signals = [np.arange(8), 100 + np.arange(10)]
    assert tactile.joined(signals, [0, 1, 1, 0]).tolist() == [0, 1, 102, 103, 104, 105, 106, 6, 7]
    assert tactile.joined(signals, [1, 1, 1, 1]).tolist() == signals[1].tolist()
    assert tactile.joined(signals, [0]).tolist() == signals[0].tolist()


def test_resampling():
    assert tactile.resample(np.array([1, 3]), 4).tolist() == [1, 1, 3, 3]
    np.testing.assert_allclose(tactile.resample(np.array([1, 2, 3]), 2), [4 / 3, 8 / 3])
    for n in (5, 784, 3000):
        signal = np.random.default_rng(0).standard_normal(n)
        assert tactile.resample(signal).mean() == pytest.approx(signal.mean(), abs=1e-12)


def samples(*slides):
    return tactile.Samples(np.array(slides)[:, None], np.zeros(len(slides), int), np.zeros(len(slides), int))


def test_images_have_one_scale():
    signals = [np.repeat([-2.0, 1.0], 392), np.full(784, 0.5), np.full(100, -4.0)]
    train, test = tactile.as_images(signals, samples(0, 1), samples(2))
    assert (train.shape, test.shape, train.dtype) == ((2, 28, 28), (1, 28, 28), "float32")
    assert (train[0, :14] == 255).all()
    assert (train[0, 14:] == 127.5).all()
    assert (train[1] == 63.75).all()
    assert (test == 255).all()  # clipped: the largest training value is 2
    both = tactile.side_by_side(train, 0 * train)
    assert both.shape == (2, 28, 56)
    assert (both[:, :, :28] == train).all()
    assert not both[:, :, 28:].any()
    (silent,) = tactile.as_images([np.zeros(10)], samples(0))
    assert not silent.any()


def test_images_of_the_drawn_curve():
    ramp, flat = np.linspace(-1, 1, 29), np.full(3, 5.0)
    train, test = tactile.as_images([ramp, flat], samples(0), samples(1), reading="waveform")
    # From the lower left corner to the upper right one: each column spans 27 / 28 of a pixel.
    assert [np.flatnonzero(column).tolist() for column in train[0].T][:2] == [[26, 27], [25, 26]]
    assert train[0, 0, 27] == 255
    assert set(np.unique(train)) == {0, 255}
    assert (np.flatnonzero(test[0].any(axis=1)) == [0]).all()  # above the range of the training samples: the top row
    with pytest.raises(ValueError, match="`reading` must be one of 'rectified', 'waveform'; got 'drawn'"):
        tactile.as_images([ramp], samples(0), reading="drawn")


def test_features():
    signals = [np.array([1, -2, 3, -2], "float32")]
    # The mean is 0, and 18 / 3 the variance.
    assert tactile.features(signals, samples(0)).tolist() == [[pytest.approx(6**0.5), 18, 8]]
    assert list(tactile.FEATURES) == ["standard deviation", "energy", "sum of absolute values"]


def test_baselines():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4)
    # Sensor 0 has the class in its amplitude, sensor 1 only noise.
    signals = [[((1 + 9 * label) * rng.uniform(0.9, 1.1, 40)) for label in labels], list(rng.random((8, 40)))]
    touch = tactile.TouchSet("two", ("a", "b"), ("low", "high"), tuple(signals), "V", labels, "")
    splits = tactile.splits(touch, 2, group_sizes=(2, 1), n_test=1)
    runs = [tactile.baselines(touch, tactile.augmented(split, 2), tactile.tested(split)) for split in splits]
    found = tactile.over_splits(runs)
    names = [(row["sensors"], row["input"], row["classifier"]) for row in found]
    assert names == list(itertools.product("ab", ("features", "signal"), ("kNN", "SVM-RBF", "ridge"))) + list(
        itertools.product(["both"], ("features", "signal"), ("kNN", "SVM-RBF", "ridge"))
    )
    for row in found[:6]:
        assert (row["mean"], row["deviation"], row["confusion"]) == (1, 0, [[2, 0], [0, 2]])
        assert row["interval"] == tactile.score([[2, 0], [0, 2]])["interval"]
    assert all(np.sum(row["confusion"]) == 4 for row in found)
    # A fold has only two samples for kNN: one group with 1 slide of each class.
    assert {row["chosen"] for run in runs for row in run if row["classifier"] == "kNN"} == {1}
    assert tactile.over_splits(runs[:1])[0]["deviation"] is None
    # Rows are true classes: two slides of the class "low", one of them labeled "high".
    low = tactile.Samples(np.array([[0], [1]]), np.array([0, 1]), np.zeros(2, int))
    assert tactile.baselines(touch, tactile.augmented(splits[0], 2), low)[0]["confusion"] == [[1, 0], [1, 0]]
    (whole,) = tactile.splits(touch, 1, group_sizes=(3,), n_test=1)
    with pytest.raises(ValueError, match="`train` must have at least two groups"):
        tactile.baselines(touch, tactile.recorded(whole), tactile.tested(whole))


def test_scores_of_the_published_figures():
    # The intervals of 20 of 24: 64 to 93 %.
    assert tactile.score([[20, 4], [0, 0]])["interval"] == pytest.approx([0.641, 0.933], abs=5e-4)
    table = tactile.score(published.CONFUSION)
    assert np.sum(published.CONFUSION, axis=1).tolist() == [15] * 8
    assert table["accuracy"] == 0.75


def test_pictures(touch, tmp_path):
    counts = np.arange(3 * 28 * 56).reshape(3, 28, 56)
    tactile.draw_spike_maps(np.zeros((28, 56)), counts, (50, 100, 350), tmp_path / "maps.png")
    tactile.draw_features(touch, tmp_path / "features.png", ("standard deviation", "sum of absolute values"))
    for name in ("maps", "features"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"shape \(durations, height, width\), \(2, 28, 28\); got \(3, 28, 56\)"):
        tactile.draw_spike_maps(np.zeros((28, 28)), counts, (50, 100), tmp_path / "maps.png")
