"""Pictures of recordings: the cloud of events, frames, and an animation."""

from typing import Any

import numpy as np

from keras_snn import checks, files
from keras_snn.data.events.recording import checked_events

#: A Matplotlib figure, ``matplotlib.figure.Figure``.
Figure = Any

_COLORS = ("tab:red", "tab:blue")  # polarity 0, 1
_MAX_EVENTS = 20_000


def plot_events(recording: Any, path: files.Path | None = None, *, unit: float = 1e-6) -> Figure:
    """Draw the events in time and space, blue for polarity 1 and red for 0.

    Args:
        recording: Recording of events with x and y, as in ``as_events``. At most 20,000 events are drawn, at
            equal intervals.
        path: Path of a picture. Default None: no file.
        unit: Number, the unit of "t" in seconds. Default 1e-6: microseconds.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: For a recording that ``as_events`` refuses, or without y.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "t": [5, 6, 9], "p": [1, 0, 0]}
    keras_snn.data.plot_events(events, "events.png")
    ```
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    unit = checks.number("unit", unit, above=0)
    events = checked_events(recording, "`recording`")
    if "y" not in (events.dtype.names or ()):
        raise ValueError('`recording` must have a "y"; got events of an audio sensor.')
    n = len(events)
    events = events[:: max(1, -(-n // _MAX_EVENTS))]
    figure = Figure(figsize=(7, 4.5))
    axis: Any = figure.add_axes((0.0, 0.05, 0.95, 0.9), projection="3d")
    colors = np.array(_COLORS)[events["p"].astype(int)]  # one call: two would draw one polarity over the other
    axis.scatter(1e3 * unit * events["t"], events["x"], events["y"], s=1, c=colors)
    for polarity, color in enumerate(_COLORS):
        axis.scatter([], [], [], s=1, c=color, label=f"polarity {polarity}")
    axis.set(xlabel="time (ms)", ylabel="x (pixels)", zlabel="y (pixels)")
    axis.invert_zaxis()
    axis.yaxis.set_major_locator(MaxNLocator(3))
    axis.set_box_aspect((2, 1, 1), zoom=1.2)
    axis.view_init(elev=20, azim=-60)
    axis.set_title(f"{n:,} events" if len(events) == n else f"{len(events):,} of {n:,} events", fontsize=10)
    axis.legend(frameon=False, fontsize=8, markerscale=6, loc="upper left")
    return _saved(figure, path)


def plot_frames(frames: Any, path: files.Path | None = None, *, n_columns: int = 5) -> Figure:
    """Draw frames as pictures: blue where polarity 1 prevails, red where polarity 0 does.

    Args:
        frames: Array ``(frames, height, width, 2)`` or ``(frames, height, width, 1)`` of ``to_frames`` or
            ``to_voxel_grid``.
        path: Path of a picture. Default None: no file.
        n_columns: Integer. Default 5.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: For another shape.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "t": [5, 6, 9], "p": [1, 0, 0]}
    keras_snn.data.plot_frames(keras_snn.data.to_frames(events, (2, 3), n_frames=2), "frames.png")
    ```
    """
    from matplotlib.figure import Figure

    signed = _signed(frames)
    n_columns = min(checks.integer("n_columns", n_columns, least=1), len(signed))
    n_rows = -(-len(signed) // n_columns)
    height, width = signed.shape[1:]
    figure = Figure(figsize=(9, 0.4 + 9 / n_columns * height / width * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for number, axis in enumerate(axes):
        axis.set_axis_off()
        if number < len(signed):
            image = axis.imshow(signed[number], **_colors(signed))
            axis.set_title(f"frame {number}", fontsize=8)
    bar = figure.colorbar(image, ax=axes.tolist(), fraction=0.02, pad=0.01)
    bar.set_label("events of polarity 1 minus 0", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return _saved(figure, path)


def animate(frames: Any, path: files.Path, *, fps: float = 10.0) -> None:
    """Write the frames as an animation, a GIF that repeats.

    Args:
        frames: As in ``plot_frames``.
        path: Path of a ``.gif`` file, written atomically.
        fps: Number > 0, frames per second. Default 10.

    Raises:
        OSError: If the file cannot be written.
        ValueError: For another ending or shape, or a number out of range.
        ImportError: If Pillow is missing.

    Example:

    ```python
    events = {"x": [0, 2, 2], "y": [1, 0, 0], "t": [5, 6, 9], "p": [1, 0, 0]}
    keras_snn.data.animate(keras_snn.data.to_frames(events, (2, 3), n_frames=2), "clip.gif")
    ```
    """
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fps = checks.number("fps", fps, above=0)
    if not str(path).endswith(".gif"):
        raise ValueError(f"`path` must end in .gif; got {str(path)!r}.")
    signed = _signed(frames)
    height, width = signed.shape[1:]
    figure = Figure(figsize=(3, 3 * height / width))
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    image = axis.imshow(signed[0], **_colors(signed))
    animation = FuncAnimation(figure, lambda k: image.set_data(signed[k]), frames=len(signed))
    with files.replacing(path) as temporary:
        animation.save(temporary, writer=PillowWriter(fps=fps))  # type: ignore[arg-type]


def _signed(frames):
    """Return polarity 1 minus polarity 0, ``(frames, height, width)``."""
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] not in (1, 2) or not len(frames):
        raise ValueError(
            "`frames` must be of shape (frames, height, width, 2) or (frames, height, width, 1), with at least one "
            f"frame; got {frames.shape}."
        )
    return frames[..., 0] if frames.shape[-1] == 1 else frames[..., 1] - frames[..., 0]


def _colors(signed):
    limit = max(1e-6, float(np.abs(signed).max()))
    return {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}


def _saved(figure, path):
    if path is not None:
        files.save_figure(figure, path)
    return figure
