"""Data sets as NumPy arrays, and recordings of event sensors."""

from keras_snn.data.datasets import class_names, load
from keras_snn.data.events import (
    as_events,
    crop_time,
    downsample,
    event_frames,
    hot_pixels,
    iter_events,
    mask_events,
    read_events,
    refractory_filter,
    remove_hot_pixels,
    sensor_size,
    to_events,
    to_frames,
    to_time_surface,
    to_voxel_grid,
    write_events,
)
from keras_snn.data.transforms import load_amat, random_background, rotate, turn

__all__ = [
    "as_events",
    "class_names",
    "crop_time",
    "downsample",
    "event_frames",
    "hot_pixels",
    "iter_events",
    "load",
    "load_amat",
    "mask_events",
    "random_background",
    "read_events",
    "refractory_filter",
    "remove_hot_pixels",
    "rotate",
    "sensor_size",
    "to_events",
    "to_frames",
    "to_time_surface",
    "to_voxel_grid",
    "turn",
    "write_events",
]
