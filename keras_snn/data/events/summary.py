"""The contents of a recording in numbers."""

from collections.abc import Mapping
from typing import Any

from keras_snn import checks, text_table
from keras_snn.data.events.filters import hot_pixels
from keras_snn.data.events.recording import checked_events


def summarize_events(recording: Any, *, unit: float = 1e-6, hot_rate: float = 1000.0) -> dict[str, Any]:
    """Return the number of events, the duration, the rate, the polarities and the hot pixels of a recording.

    Args:
        recording: Recording of events, as in ``as_events``.
        unit: Number, the unit of "t" in seconds. Default 1e-6: microseconds.
        hot_rate: Number, events per second. A pixel with more is hot. Default 1000.

    Returns:
        Dict of "events", "start", "stop" (times of the first and the last event, in the unit of "t"), "duration"
        (seconds), "rate" (events per second), "positive" (share of the events with polarity 1), "width" and "height"
        (1 + the largest coordinate) and "hot_pixels" (list of [x, y], at most 1,000). None where there are no events.

    Raises:
        ValueError: For a number out of range, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0, 2, 2, 1], "y": [1, 0, 0, 0], "t": [0, 10, 20, 1000], "p": [1, 0, 0, 0]}
    keras_snn.data.summarize_events(events)["positive"]  # 0.25
    ```
    """
    unit = checks.number("unit", unit, above=0)
    events = checked_events(recording, "`recording`")
    n, t = len(events), events["t"]
    duration = unit * float(t[-1] - t[0]) if n else None
    return {
        "events": n,
        "start": t[0].item() if n else None,
        "stop": t[-1].item() if n else None,
        "duration": duration,
        "rate": n / duration if duration else None,
        "positive": float(events["p"].mean()) if n else None,
        "width": int(events["x"].max()) + 1 if n else None,
        "height": int(events["y"].max()) + 1 if n and "y" in (events.dtype.names or ()) else None,
        "hot_pixels": hot_pixels(events, hot_rate, unit=unit)[:1000].tolist(),
    }


def summary_table(summary: Mapping[str, Any], size: tuple[int, ...] | None, hot_rate: float) -> str:
    """Return the numbers of ``summarize_events`` as a text table. ``size`` is that of the sensor, or None."""

    def number(value, form):
        return "-" if value is None else format(value, form)

    hot = summary["hot_pixels"]
    found = f"{summary['width'] or '-'} x {summary['height'] or '-'}"
    rows = [
        ("content", "value"),
        ("events", f"{summary['events']:,}"),
        ("first and last time", f"{number(summary['start'], '')} and {number(summary['stop'], '')}"),
        ("duration (s)", number(summary["duration"], ".6g")),
        ("events per second", number(summary["rate"], ",.6g")),
        ("polarity 1 (%)", "-" if summary["positive"] is None else f"{100 * summary['positive']:.1f}"),
        ("pixels with events, up to x, y", found),
        ("sensor, width x height", "not in the file" if size is None else " x ".join(map(str, reversed(size)))),
        (f"pixels above {hot_rate:g} events/s", _pixels(hot)),
    ]
    return "\n".join(text_table.rst(rows))


def _pixels(hot):
    if not hot:
        return "none"
    first = ", ".join(str(tuple(pixel)) for pixel in hot[:5])
    return f"{len(hot)}: {first}" + (", ..." if len(hot) > 5 else "")
