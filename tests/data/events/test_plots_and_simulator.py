import numpy as np
import pytest
from reference import event_files

from keras_snn import data

pytestmark = pytest.mark.backend_free


@pytest.mark.every_backend
def test_pictures(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    events = event_files.random_events(30_000, 10**6)
    figure = data.plot_events(events, tmp_path / "events.png")
    axis = figure.axes[0]
    assert axis.get_title() == "15,000 of 30,000 events"
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_zlabel()) == ("time (ms)", "x (pixels)", "y (pixels)")
    frames = data.to_frames(data.downsample(events, 40), (18, 32), n_frames=7)
    figure = data.plot_frames(frames, tmp_path / "frames.png", n_columns=4)
    signed = frames[..., 1] - frames[..., 0]
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), signed[2])
    assert [axis.get_title() for axis in figure.axes[:8]] == [*(f"frame {k}" for k in range(7)), ""]
    data.animate(frames, tmp_path / "clip.gif", fps=5)
    with pillow.open(tmp_path / "clip.gif") as clip:
        assert clip.n_frames == 7
        assert clip.info["duration"] == 200
    assert {path.name for path in tmp_path.iterdir()} == {"events.png", "frames.png", "clip.gif"}


def test_what_is_not_drawn(tmp_path):
    with pytest.raises(ValueError, match='must have a "y"; got events of an audio sensor'):
        data.plot_events({"x": [1], "t": [1], "p": [1]})
    for frames in (np.zeros((2, 2)), np.zeros((0, 2, 2, 2)), np.zeros((1, 2, 2, 3))):
        with pytest.raises(ValueError, match="`frames` must be of shape"):
            data.plot_frames(frames)
    with pytest.raises(ValueError, match=r"`path` must end in \.gif; got .*clip\.mp4"):
        data.animate(np.zeros((1, 2, 2, 2)), tmp_path / "clip.mp4")
    data.plot_events({"x": [], "y": [], "t": [], "p": []})
    data.plot_frames(np.zeros((1, 2, 2, 1)))


def edge():
    """An image with a vertical edge: black on the left, white on the right."""
    image = np.zeros((1, 28, 28))
    image[0, 4:24, 14:24] = 1
    return image


def test_an_edge_gives_as_many_events_as_thresholds_fit():
    (events,) = data.simulate_saccades(edge(), noise_rate=0, threshold=0.35)
    assert events.dtype == np.dtype([("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
    assert (np.diff(events["t"]) >= 0).all()
    assert events["t"].min() >= 0
    assert events["t"].max() < 300_000
    # In the first saccade the image moves 2.5 pixels to the right: the edge at 16.3 darkens columns 14 to 16. The
    # logarithm of light changes by ln(10) = 2.3, six times the threshold.
    middle = (events["y"] == 17) & (events["t"] < 100_000)
    column = events[middle & (events["x"] == 15)]
    assert len(column) == int(np.log(10) / 0.35)
    assert not column["p"].any()
    np.testing.assert_array_equal(events["p"][middle & (events["x"] > 20)], True)  # the other edge comes


def test_a_pixel_gives_its_events_at_the_crossing_times():
    """The steps of the logarithm of light are compared with a plain loop over a fine time grid."""
    from keras_snn.data.events import simulator

    image = edge()[0].astype("float32")
    (events,) = data.simulate_saccades(image[None], noise_rate=0, threshold=0.35)
    steps = np.arange(301) / 300
    logs = np.log(0.1 + 0.9 * simulator._shifted(image, (34, 34), simulator._path(steps)))
    y, x, reference, expected = 17, 16, logs[0, 17, 16], []
    for step in range(300):
        fine = np.linspace(logs[step, y, x], logs[step + 1, y, x], 1001)
        for number, level in enumerate(fine):
            while abs(level - reference) >= 0.35:
                sign = np.sign(level - reference)
                reference += 0.35 * sign
                expected.append((1000 * step + number, sign > 0))
    found = events[(events["x"] == x) & (events["y"] == y)]
    assert found["p"].tolist() == [polarity for _, polarity in expected]
    assert np.abs(found["t"] - [time for time, _ in expected]).max() <= 2  # us, of the fine grid and of rounding


def test_seeds_and_noise():
    images = np.zeros((3, 28, 28))
    first = data.simulate_saccades(images, noise_rate=5, seed=1)
    again = data.simulate_saccades(images[:2], noise_rate=5, seed=1)
    other = data.simulate_saccades(images[:2], noise_rate=5, seed=2)
    for k in range(2):
        np.testing.assert_array_equal(first[k], again[k])  # does not depend on the other images
        assert len(other[k]) != len(first[k]) or (other[k] != first[k]).any()
    expected = 3 * 5 * 0.3 * 34 * 34  # 5,202 events, standard deviation 72
    assert abs(sum(map(len, first)) - expected) < 5 * np.sqrt(expected)
    assert data.simulate_saccades(images[:0]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": np.zeros((28, 28))}, r"`images` must be of shape \(n, height, width\)"),
        ({"images": np.full((1, 2, 2), 1.5)}, r"values in \[0, 1\]; got shape \(1, 2, 2\), values from 0 to 1.5"),
        ({"size": (34, 20)}, r"`size` must be at least the size of the images, \(28, 28\); got \(34, 20\)"),
        ({"threshold": 0}, "`threshold` must be a finite number above 0; got 0"),
        ({"duration": 10}, "`duration` must be an integer of at least 3000; got 10"),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        data.simulate_saccades(**({"images": edge()} | options))
