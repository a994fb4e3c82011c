"""Events of cameras and audio sensors: recordings, their files, frames and filters."""

from keras_snn.data.events.batches import EventFrames, find_recordings
from keras_snn.data.events.files import iter_events, read_events, sensor_size, write_events
from keras_snn.data.events.filters import (
    crop_time,
    downsample,
    hot_pixels,
    mask_events,
    refractory_filter,
    remove_hot_pixels,
)
from keras_snn.data.events.frames import event_frames, to_events, to_frames
from keras_snn.data.events.plots import animate, plot_events, plot_frames
from keras_snn.data.events.recording import as_events
from keras_snn.data.events.simulator import simulate_saccades
from keras_snn.data.events.summary import summarize_events
from keras_snn.data.events.surfaces import to_time_surface, to_voxel_grid
from keras_snn.data.events.windows import time_windows

__all__ = [
    "EventFrames",
    "animate",
    "as_events",
    "crop_time",
    "downsample",
    "event_frames",
    "find_recordings",
    "hot_pixels",
    "iter_events",
    "mask_events",
    "plot_events",
    "plot_frames",
    "read_events",
    "refractory_filter",
    "remove_hot_pixels",
    "sensor_size",
    "simulate_saccades",
    "summarize_events",
    "time_windows",
    "to_events",
    "to_frames",
    "to_time_surface",
    "to_voxel_grid",
    "write_events",
]
