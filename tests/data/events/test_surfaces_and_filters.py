import numpy as np
import pytest
from reference import event_files

from keras_snn import data

pytestmark = pytest.mark.backend_free

SIZE = (6, 8)


def recording(n=400, span=5000, seed=0):
    events = event_files.random_events(n, span, seed=seed)
    events["x"] %= SIZE[1]
    events["y"] %= SIZE[0]
    return events


def test_voxel_grid_by_hand():
    events = {"x": [0, 1, 0, 1], "y": [0, 0, 0, 0], "t": [0, 30, 75, 100], "p": [1, 0, 1, 1]}
    grid = data.to_voxel_grid(events, (1, 2), 4)[:, 0, :, 0]  # u = 0, 1.2, 3 and 4
    np.testing.assert_allclose(grid, [[1, 0], [0, -0.8], [0, -0.2], [1, 0]], atol=1e-7)  # float32
    assert data.to_voxel_grid({"x": [0], "y": [0], "t": [5], "p": [0]}, (1, 1), 3).ravel().tolist() == [-1, 0, 0]
    assert data.to_voxel_grid({"x": [], "y": [], "t": [], "p": []}, (1, 1), 3).ravel().tolist() == [0, 0, 0]
    in_step = data.to_voxel_grid(events, (1, 2), 2, start=-100, stop=100)[:, 0, :, 0]  # u = 1, 1.3, 1.75 and 2
    np.testing.assert_allclose(in_step, [[0, 0], [1.25, -0.7]], atol=1e-7)


def test_time_surface_is_that_of_a_loop():
    events = recording()
    surfaces = data.to_time_surface(events, SIZE, window=700, tau=300.0, start=0, stop=5000)
    assert surfaces.shape == (8, *SIZE, 2)
    for k, surface in enumerate(surfaces):
        latest = np.full((*SIZE, 2), -np.inf)
        for x, y, t, p in events.tolist():
            if t < (k + 1) * 700:
                latest[y, x, int(p)] = t
        np.testing.assert_allclose(
            surface, np.exp((latest - (k + 1) * 700) / 300), rtol=2e-6
        )  # exponents of up to 17 in float32


def test_refractory_filter_is_that_of_a_loop():
    events, last, expected = recording(), {}, []
    for event in events:
        pixel = int(event["x"]), int(event["y"])
        if pixel not in last or event["t"] - last[pixel] > 150:
            expected.append(event)
        last[pixel] = event["t"]
    filtered = data.refractory_filter(events, 150)
    assert 0 < len(filtered) < len(events)
    np.testing.assert_array_equal(filtered, np.array(expected, events.dtype))
    assert len(data.refractory_filter(events[:0], 5)) == 0


def test_hot_pixels():
    events = np.concatenate([recording(300), np.full(100, np.array((3, 2, 0, True), recording().dtype))])
    events["t"][300:] = np.arange(100) * 50
    events = data.as_events(events, sort=True)
    rate = 50 / 5e-3
    assert data.hot_pixels(events, rate).tolist() == [[3, 2]]
    cleaned = data.remove_hot_pixels(events, rate)
    assert len(cleaned) == ((events["x"] != 3) | (events["y"] != 2)).sum()
    assert data.hot_pixels(events, rate * 1e6 / 1e3, unit=1e-3).size == 0  # the same times in milliseconds: 5 s
    for few in (events[:0], events[:1]):
        assert data.hot_pixels(few, 1.0).shape == (0, 2)
        np.testing.assert_array_equal(data.remove_hot_pixels(few, 1.0), few)
    audio = {"x": [4, 4, 4, 1], "t": [0, 1, 2, 1000], "p": [1, 1, 1, 1]}
    assert data.hot_pixels(audio, 2000.0).tolist() == [[4]]
    assert data.remove_hot_pixels(audio, 2000.0)["x"].tolist() == [1]


def test_crop_time():
    events = recording()
    parts = [data.crop_time(events, start, start + 1000) for start in range(0, 5000, 1000)]
    np.testing.assert_array_equal(np.concatenate(parts), events)  # each event is in one part
    assert data.crop_time(events, 1000, 2000, shift=True)["t"].min() >= 0
    assert data.crop_time(events, shift=True)["t"][0] == 0
    np.testing.assert_array_equal(data.crop_time(events), events)
    assert len(data.crop_time(events, 10_000)) == 0
    with pytest.raises(ValueError, match="`stop` must be after `start`"):
        data.crop_time(events, 5, 5)


def test_downsample():
    events = recording()
    small = data.downsample(events, 2)
    np.testing.assert_array_equal(small["x"], events["x"] // 2)
    np.testing.assert_array_equal(small["y"], events["y"] // 2)
    np.testing.assert_array_equal(small[["t", "p"]], events[["t", "p"]])
    assert data.downsample({"x": [9], "t": [0], "p": [1]}, 4)["x"].tolist() == [2]
    with pytest.raises(ValueError, match="`factor` must be an integer of at least 1; got 0.5"):
        data.downsample(events, 0.5)


@pytest.mark.every_backend
@pytest.mark.parametrize("shape", [SIZE, (*SIZE, 2), (4, *SIZE, 2)])
def test_mask_events_is_a_loop(shape):
    events = recording()
    mask = np.random.default_rng(1).random(shape) < 0.3
    expected = []
    for event in events:
        step = int(event["t"] * 4 // 5000)
        place = (step, event["y"], event["x"], int(event["p"]))
        place = place[1:] if len(shape) < 4 else place
        expected.append(bool(mask[place[: len(shape)]]))
    kept = data.mask_events(events, mask, start=0, stop=5000)
    np.testing.assert_array_equal(kept, events[expected])
    frames = data.to_frames(events, SIZE, n_frames=4, start=0, stop=5000)
    masked = frames * (mask if len(shape) > 2 else mask[..., None])
    np.testing.assert_array_equal(data.to_frames(kept, SIZE, n_frames=4, start=0, stop=5000), masked)


def test_masks_of_another_shape_are_refused():
    for mask in (np.ones(3), np.ones((2, 2, 3)), np.ones((1, 2, 2, 1))):
        with pytest.raises(ValueError, match=r"`mask` must be of shape \(height, width\)"):
            data.mask_events(recording(), mask)
    with pytest.raises(ValueError, match=r'"x" of `recording` must be from 0 to 1, within `size`'):
        data.mask_events(recording(), np.ones((6, 2)))


def test_against_tonic():
    """Equal to tonic's transforms where their edges are ours. tonic drops events at the end of the last slice."""
    functional = pytest.importorskip("tonic.functional")
    events = recording(n=900, span=6000)
    events["t"] -= events["t"][0]
    events["t"][-1] = 6000
    sensor = (SIZE[1], SIZE[0], 2)

    def frames_of_tonic(**options):
        return np.moveaxis(functional.to_frame_numpy(events.copy(), sensor, **options), 1, -1)

    def equal(ours, theirs):
        np.testing.assert_array_equal(ours, theirs)
        assert theirs.sum() > 500

    equal(data.to_frames(events, SIZE, count=90), frames_of_tonic(event_count=90))
    equal(data.to_frames(events, SIZE, n_frames=9, split_by="number"), frames_of_tonic(n_event_bins=9))
    options = {"time_window": 700, "include_incomplete": True, "start_time": 0, "end_time": 6001}
    equal(data.to_frames(events, SIZE, window=700), frames_of_tonic(**options))
    before_end = events[:-1]
    equal(data.to_frames(before_end, SIZE, n_frames=6, start=0, stop=6000), frames_of_tonic(n_time_bins=6))
    grid = np.moveaxis(functional.to_voxel_grid_numpy(events.astype([(n, "i8") for n in "xytp"]), sensor, 5), 1, -1)
    np.testing.assert_allclose(data.to_voxel_grid(events, SIZE, 5), grid, atol=1e-6)  # float32 against float64
    surfaces = functional.to_timesurface_numpy(events, sensor, 500, 200.0, include_incomplete=True)
    ours = data.to_time_surface(events, SIZE, 500, 200.0, start=0, stop=6000)
    np.testing.assert_allclose(ours[:11], np.moveaxis(surfaces, 1, -1)[:11], rtol=4e-6)  # exponents up to 30 in float32
    later = events[events["t"] > 0]  # tonic removes a first event at time 0
    equal(data.refractory_filter(later, 200)["t"], functional.refractory_period_numpy(later, 200)["t"])
    rate = 20 / 6e-3
    assert data.hot_pixels(events, rate).tolist() == functional.identify_hot_pixel(events, rate).tolist()
    assert len(data.hot_pixels(events, rate)) > 3
