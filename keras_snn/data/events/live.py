"""Frames of events that arrive as text lines, ``t,x,y,p``, while they arrive."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_snn.data.events.frames import frame_shape, to_frames

NOT_FOUR, NOT_FINITE, NOT_WHOLE, NEGATIVE, OUTSIDE, POLARITY, BACK, JUMP = range(1, 9)
#: Reasons to reject a line, in the order in which they are checked.
REASONS = {
    NOT_FOUR: "not four numbers t,x,y,p",
    NOT_FINITE: "not finite",
    NOT_WHOLE: "not whole numbers",
    NEGATIVE: "negative time or coordinate",
    OUTSIDE: "outside of the sensor",
    POLARITY: "polarity is not 0 or 1 (or -1)",
    BACK: "time goes back to an earlier frame",
    JUMP: "time jumps, and the next event does not confirm it",
}
_NO_EVENT = -1  # code of a blank line or a header

_LONGEST = 1000  # characters of a line
_MOST_DIGITS = 18  # below 2**63
_MOST_EXAMPLES = 5
_END, _COMMA, _ZERO, _NINE = b"\n,09"
_HEADER = re.compile(rb"\s*t\s*,\s*x\s*,\s*y\s*,\s*p\s*", re.I)
_NUMBER = re.compile(rb"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.I)
_SPECIAL = re.compile(rb"\s*[+-]?(nan|inf|infinity)\s*", re.I)


class Rejected:
    """Rejected lines: their number for each reason, and the first of them.

    Attributes:
        counts: Array, the number of lines for each code of ``REASONS``.
        examples: List of (line number, reason, text).
    """

    def __init__(self) -> None:
        self.counts = np.zeros(len(REASONS) + 1, "int64")
        self.examples: list[tuple[int, str, str]] = []

    def __len__(self) -> int:
        return int(self.counts.sum())

    def add(self, code: int, number: int, text: str) -> None:
        """Count a line."""
        self.counts[code] += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append((number, REASONS[code], text[:60]))


class EventLines:
    """Parse lines ``t,x,y,p`` of whole numbers: time in microseconds, column, row, and polarity 0 or 1 (or -1 and 1).

    Blank lines and headers ``t,x,y,p`` are left out. Other lines that are not an event of the sensor are rejected.

    Args:
        size: Pair of integers, height and width of the sensor.
        rejected: ``Rejected``.
    """

    def __init__(self, size: tuple[int, int], rejected: Rejected) -> None:
        self.size, self.rejected = size, rejected
        self.n_lines = 0
        self._rest = b""  # the beginning of a line

    def feed(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return the events of the lines that ``text`` completes: int64 rows (t, x, y, p), and their line numbers."""
        text = self._rest + text
        end = text.rfind(b"\n") + 1
        self._rest = text[end:][: _LONGEST + 1]
        if not end:
            return np.zeros((0, 4), "int64"), np.zeros(0, "int64")
        return self._events(text[:end].replace(b"\r\n", b"\n"))

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the event of a last line without an end."""
        return self.feed(b"\n" if self._rest else b"")

    def _events(self, text):
        characters = np.frombuffer(text, "uint8")
        ends = np.flatnonzero(characters == _END)
        starts = np.concatenate([[0], ends[:-1] + 1])
        # Lines of four fields of digits are parsed at once, others one by one.
        is_plain = _are_plain(characters, starts)
        plain = text if is_plain.all() else characters[np.repeat(is_plain, ends + 1 - starts)].tobytes()
        rows, codes = np.zeros((len(ends), 4), "int64"), np.zeros(len(ends), "int64")
        if plain:
            rows[is_plain] = np.fromstring(plain.replace(b"\n", b",")[:-1], "int64", sep=",").reshape(-1, 4)
        for i in np.flatnonzero(~is_plain):
            codes[i], rows[i] = _parsed(text[starts[i] : ends[i]])
        self._check_ranges(rows, codes)
        numbers = self.n_lines + 1 + np.arange(len(ends))
        self.n_lines += len(ends)
        for i in np.flatnonzero(codes > 0):
            self.rejected.add(int(codes[i]), int(numbers[i]), ascii(text[starts[i] : ends[i]].decode("latin-1"))[1:-1])
        return rows[codes == 0], numbers[codes == 0]

    def _check_ranges(self, rows, codes):
        """Set the codes of events outside of the ranges."""
        _, x, y, p = rows.T
        height, width = self.size
        for code, is_wrong in (
            (NEGATIVE, (rows[:, :3] < 0).any(axis=1)),
            (OUTSIDE, (x >= width) | (y >= height)),
            (POLARITY, (p < -1) | (p > 1)),
        ):
            codes[(codes == 0) & is_wrong] = code


def _are_plain(characters, starts):
    """Return for each line whether it has four fields of digits."""
    is_comma = characters == _COMMA
    is_separator = is_comma | (characters == _END)
    is_wrong = ~(is_separator | ((characters >= _ZERO) & (characters <= _NINE)))
    separators = np.flatnonzero(is_separator)
    n_digits = np.diff(separators, prepend=-1) - 1
    is_wrong[separators[(n_digits == 0) | (n_digits > _MOST_DIGITS)]] = True
    n_commas = np.add.reduceat(is_comma, starts, dtype="int64")
    return (n_commas == 3) & ~np.logical_or.reduceat(is_wrong, starts)


def _parsed(line):
    """Return the code of a line, and its four numbers or zeros."""
    if not line.strip() or _HEADER.fullmatch(line):
        return _NO_EVENT, 0
    fields = line.split(b",")
    if len(line) > _LONGEST or len(fields) != 4:
        return NOT_FOUR, 0
    if not all(_NUMBER.fullmatch(field) or _SPECIAL.fullmatch(field) for field in fields):
        return NOT_FOUR, 0
    numbers: list[Any] = []
    for field in fields:
        try:
            number: Any = int(field)
        except ValueError:
            number = float(field)
            if not np.isfinite(number):
                return NOT_FINITE, 0
            if number != int(number):
                return NOT_WHOLE, 0
        numbers.append(int(number))
    most = 10**_MOST_DIGITS  # a time of 30,000 years
    return 0, [min(max(number, -most), most) for number in numbers]


class Frame(NamedTuple):
    """A frame of events: the time of its end, the counts of ``to_frames``, and whether a new recording begins."""

    end: int
    counts: np.ndarray
    is_first: bool


class LiveFrames:
    """Cut events into frames while they arrive. The frames are those of ``to_frames(events, size, window=window)``.

    A frame ends when an event of a later frame arrives. Events of one frame may be in any order. An event of an
    earlier frame is rejected. So is an event whose time is more than ``most_gap`` before or after the last one, unless
    the next such event is near it: then a new recording begins.

    Args:
        size: Pair of integers, height and width.
        window: Integer, the time of a frame in microseconds.
        polarity: As in ``to_frames``.
        most_gap: Integer, in microseconds.

    Attributes:
        rejected: ``Rejected``.
        n_events: Number of events in the frames so far.
    """

    def __init__(self, size: tuple[int, int], window: int, *, polarity: str = "channels", most_gap: int) -> None:
        self.size, self.window, self.polarity, self.most_gap = size, window, polarity, most_gap
        self.rejected = Rejected()
        self.n_events = 0
        self._lines = EventLines(size, self.rejected)
        self._start: Any = None  # the time of the first event
        self._last: Any = None  # the latest time
        self._step = 0  # the number of the frame that is being counted
        self._counts = self._zeros()
        self._jump: Any = None  # row and line number of an event that has to be confirmed

    def feed(self, text: bytes) -> Iterator[Frame]:
        """Yield the frames that the events in ``text`` end."""
        yield from self._frames(*self._lines.feed(text))

    def end(self) -> Iterator[Frame]:
        """Yield the last frames, at the end of the events."""
        yield from self._frames(*self._lines.end())
        self._reject_jump()
        yield from self._last_frame()

    def _frames(self, rows, numbers):
        while len(rows):
            if self._start is None:
                self._start = self._last = int(rows[0, 0])
            t = rows[:, 0]
            latest = np.maximum.accumulate(np.concatenate([[self._last], t]))
            is_far = np.abs(t - latest[:-1]) > self.most_gap
            n = int(np.argmax(is_far)) if is_far.any() else len(rows)
            if n:
                self._reject_jump()
                yield from self._count(rows[:n], numbers[:n], latest[:n])
                self._last = int(latest[n])
            if n < len(rows) and self._jump is not None and abs(t[n] - self._jump[0][0, 0]) <= self.most_gap:
                yield from self._last_frame()
                rows = np.concatenate([self._jump[0], rows[n:]])
                numbers = np.concatenate([self._jump[1], numbers[n:]])
                self._jump = self._start = None
            else:
                if n < len(rows):
                    self._reject_jump()
                    self._jump = rows[n : n + 1], numbers[n : n + 1]
                rows, numbers = rows[n + 1 :], numbers[n + 1 :]

    def _count(self, rows, numbers, latest):
        """Count events that are near each other; yield the frames that end. ``latest``: the latest time before each."""
        steps = (rows[:, 0] - self._start) // self.window
        is_late = steps < (latest - self._start) // self.window
        for i in np.flatnonzero(is_late):
            self.rejected.add(BACK, int(numbers[i]), _text(rows[i]))
        rows, steps = rows[~is_late], steps[~is_late]
        for part in np.split(rows, np.flatnonzero(np.diff(steps)) + 1) if len(rows) else ():
            step = (part[0, 0] - self._start) // self.window
            while self._step < step:
                yield self._frame()
            t, x, y, p = part.T
            events = {"t": t, "x": x, "y": y, "p": p == 1}
            (counts,) = to_frames(events, self.size, n_frames=1, polarity=self.polarity, sort=True)
            self._counts += counts
            self.n_events += len(part)

    def _frame(self):
        """Return the frame that is being counted, and begin the next one."""
        counts, self._counts, self._step = self._counts, self._zeros(), self._step + 1
        return Frame(self._start + self._step * self.window, counts, is_first=self._step == 1)

    def _last_frame(self):
        if self._start is not None:
            yield self._frame()
        self._start, self._step = None, 0

    def _reject_jump(self):
        if self._jump is not None:
            (row,), (number,) = self._jump
            self.rejected.add(JUMP, int(number), _text(row))
            self._jump = None

    def _zeros(self):
        return np.zeros(frame_shape(self.size, self.polarity), "float32")


def _text(row):
    return ",".join(map(str, row))
