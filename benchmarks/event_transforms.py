"""Transforms of a million events: ours and tonic's, on one core."""

import numpy as np

from keras_snn import data

SIZE, SENSOR = (128, 128), (128, 128, 2)
N_EVENTS = 1_000_000
#: tonic's refractory filter is a Python loop: 1 / 50 of the events shows its speed.
PART = 50


def events(transform, library):
    """Return a function that applies a transform of ``library`` to random events of one second."""
    rng = np.random.default_rng(0)
    recording = np.empty(N_EVENTS, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
    recording["x"], recording["y"] = rng.integers(128, size=(2, N_EVENTS))
    recording["t"], recording["p"] = np.sort(rng.integers(10**6, size=N_EVENTS)), rng.random(N_EVENTS) < 0.5
    return {"ours": _ours, "tonic": _tonic}[library](recording)[transform]


def _ours(recording):
    return {
        "window": lambda: data.to_frames(recording, SIZE, window=10_000),
        "bins": lambda: data.to_frames(recording, SIZE, n_frames=10),
        "count": lambda: data.to_frames(recording, SIZE, count=10_000),
        "voxel grid": lambda: data.to_voxel_grid(recording, SIZE, 10),
        "time surface": lambda: data.to_time_surface(recording, SIZE, 10_000, 5e4),
        "refractory": lambda: data.refractory_filter(recording, 500),
        "hot pixels": lambda: data.hot_pixels(recording, 80.0),
    }


def _tonic(recording):
    import tonic.functional as functional

    part = recording[: N_EVENTS // PART]
    whole = recording.astype([(field, "i8") for field in "xytp"])  # its voxel grid writes -1 to p
    options = {"include_incomplete": True}
    return {
        "window": lambda: functional.to_frame_numpy(recording, SENSOR, time_window=10_000, **options),
        "bins": lambda: functional.to_frame_numpy(recording, SENSOR, n_time_bins=10),
        "count": lambda: functional.to_frame_numpy(recording, SENSOR, event_count=10_000),
        "voxel grid": lambda: functional.to_voxel_grid_numpy(whole, SENSOR, 10),
        "time surface": lambda: functional.to_timesurface_numpy(recording, SENSOR, 10_000, 5e4, **options),
        "refractory": lambda: functional.refractory_period_numpy(part, 500),
        "hot pixels": lambda: functional.drop_pixel.identify_hot_pixel(recording, 80.0),
    }
