"""Events of cameras and audio sensors: recordings, their files, frames and filters."""

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
from keras_snn.data.events.recording import as_events
from keras_snn.data.events.surfaces import to_time_surface, to_voxel_grid

__all__ = [
    "as_events",
    "crop_time",
    "downsample",
    "event_frames",
    "hot_pixels",
    "iter_events",
    "mask_events",
    "read_events",
    "refractory_filter",
    "remove_hot_pixels",
    "sensor_size",
    "to_events",
    "to_frames",
    "to_time_surface",
    "to_voxel_grid",
    "write_events",
]
