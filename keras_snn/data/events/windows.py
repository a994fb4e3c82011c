"""Recordings in parts of equal time."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_snn import checks
from keras_snn.data.events.recording import checked_events


def time_windows(parts: Iterable[Any], window: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the times at which windows begin, and their events. Only a part and a window are in memory at a time.

    The first window begins at the first event. A rest that is shorter than half a window belongs to the last window.
    Windows without events are left out.

    Args:
        parts: Iterable of the parts of a recording, such as ``iter_events``.
        window: Number > 0, in the unit of "t".

    Raises:
        ValueError: For a window out of range, or a recording that ``as_events`` refuses.

    Example:

    ```python
    events = {"x": [0] * 4, "y": [0] * 4, "p": [0] * 4, "t": [5, 8, 17, 26]}
    [(start, len(part)) for start, part in keras_snn.data.time_windows([events], 10)]  # [(5, 2), (15, 2)]
    ```
    """
    window = checks.number("window", window, above=0)
    start: Any = None
    held: Any = None
    for part in parts:
        events = checked_events(part, "`parts`")
        if not len(events):
            continue
        held = events if held is None else np.concatenate([held, events])
        start = held["t"][0].item() if start is None else start
        while held["t"][-1] >= start + 1.5 * window:
            n = int(np.searchsorted(held["t"], start + window))
            if n:
                yield start, held[:n]
                held = held[n:]
            start += window * max(1, (held["t"][0].item() - start) // window)  # past windows without events
    if held is not None:
        yield start, held
