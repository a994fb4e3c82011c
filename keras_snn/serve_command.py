"""The command that classifies live events."""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import keras
import numpy as np

from keras_snn import checks, text_table
from keras_snn.data.events.live import REASONS, Frame, LiveFrames
from keras_snn.files import load_model
from keras_snn.inspector.samples import chosen_class_names, class_name, probabilities
from keras_snn.streaming import stream

_BLOCK = 2**16  # bytes that are read at once, as in a pipe of Linux
_MOST_BARS = 10
_LATENCIES = 10_000  # steps whose latency is kept


def serve(options: argparse.Namespace) -> None:
    """Classify events while they arrive; print the classes and, at the end, a summary."""
    window = checks.integer("--frame-us", options.frame_us, least=1, most=10**9)
    every = checks.integer("--every", options.every, least=1)
    most_gap = checks.number("--max-gap-s", options.max_gap_s, least=window / 1e6, most=1e6)
    reset_after = checks.integer("--reset-after", options.reset_after, least=0, optional=True)
    model = load_model(options.model)
    size, polarity, n_steps = _frames_of(model)
    frames = LiveFrames(size, window, polarity=polarity, most_gap=round(1e6 * most_gap))
    reset_after = n_steps if reset_after is None else reset_after
    session = _Session(model, frames, chosen_class_names(options.classes), reset_after)
    is_live = sys.stdout.isatty() and not options.json
    with _opened(options.events) as source:
        try:
            _run(session, source, every, is_live)
        except KeyboardInterrupt:
            pass  # the usual end of a live run
        except BrokenPipeError:  # the reader of the output has ended; Python writes the rest of it at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            print(session.summary(), file=sys.stdout if is_live else sys.stderr)


def _frames_of(model: keras.Model) -> tuple[tuple[int, int], str, int]:
    """Return height and width of a model's frames, their polarity as in ``to_frames``, and its number of steps or 0."""
    shape: Any = getattr(model, "input_shape", None)
    is_single = isinstance(shape, tuple) and len(shape) in (4, 5) and None not in shape[2:]
    if not is_single or shape[4:] not in ((), (1,), (2,)):
        raise ValueError(
            "MODEL must take frames (batch, time, height, width, channels) with 2 channels (polarity 0, then 1) or 1 "
            f"(polarity 1 minus polarity 0), or frames (batch, time, height, width); got {shape}."
        )
    return (shape[2], shape[3]), "channels" if shape[4:] == (2,) else "signed", shape[1] or 0


@contextlib.contextmanager
def _opened(events: str) -> Iterator[BinaryIO]:
    """Open standard input, a file, a named pipe or a TCP connection."""
    address = re.fullmatch(r"\[?(.+?)\]?:(\d{1,5})", events)
    if events == "-":
        yield sys.stdin.buffer
    elif os.path.exists(events) or address is None:
        with pathlib.Path(events).open("rb") as file:
            yield file
    else:
        try:
            connection = socket.create_connection((address[1], int(address[2])))
        except (OSError, OverflowError) as error:
            raise OSError(
                f"--events must be -, a file, or HOST:PORT of a program that sends events; got {events!r}: {error}."
            ) from error
        with connection, connection.makefile("rb") as file:
            yield file


def _run(session, source, every, is_live):
    """Read the events to their end, and show the outputs."""
    if is_live:
        with _display(session):
            for frame in _all_frames(session.frames, source):
                session.step(frame)
        return
    for frame in _all_frames(session.frames, source):
        session.step(frame)
        if session.n_steps % every == 0:
            print(json.dumps(session.as_dict()), flush=True)
    if session.n_steps % every:
        print(json.dumps(session.as_dict()), flush=True)


def _all_frames(frames, source):
    while block := source.read1(_BLOCK):  # what has arrived, without waiting for a full block
        yield from frames.feed(block)
    yield from frames.end()


def _display(session):
    """Return the live display. A thread of rich draws it, also while no events arrive."""
    from rich.live import Live

    return Live(get_renderable=session.picture, refresh_per_second=8)


class _Session:
    """A stream of a model on frames of events, and its latest output and figures."""

    def __init__(self, model: keras.Model, frames: LiveFrames, class_names: Any, reset_after: int) -> None:
        self.frames, self.class_names, self.reset_after = frames, class_names, reset_after
        self.stream = stream(model)
        self._frame_shape = model.input_shape[2:]
        self.scores = self._warm_up()
        self.n_steps = self.n_resets = 0
        self.time: Any = None
        self.latencies: collections.deque = collections.deque(maxlen=_LATENCIES)  # ms
        self._n_events: collections.deque = collections.deque([0], maxlen=101)  # after each of the last frames
        self._steps_since_reset = 0
        self._clock: Any = None  # the difference of the machine's time and that of the events

    def _warm_up(self):
        """Compile the first step and the later ones, and check the output."""
        frame = np.zeros((1, *self._frame_shape), "float32")
        try:
            scores = [self.stream.step(frame) for _ in range(2)][-1]
        except ValueError as error:
            raise ValueError(f"MODEL must run step by step on frames: {error}") from error
        self.stream.reset()
        if not isinstance(scores, np.ndarray) or scores.ndim != 2 or scores.shape[1] < 2:
            shapes = keras.tree.map_structure(np.shape, scores)
            raise ValueError(f"MODEL must be a classifier with one output (batch, classes); got {shapes}.")
        n_classes = scores.shape[1]
        if self.class_names is not None and len(self.class_names) != n_classes:
            raise ValueError(
                f"--classes must have {n_classes} names, one for each output; got {len(self.class_names)}."
            )
        self.names = [class_name(k, self.class_names) for k in range(n_classes)]
        return np.full(n_classes, 1 / n_classes)

    def step(self, frame: Frame) -> None:
        """Run the model on a frame."""
        if frame.is_first or (self.reset_after and self._steps_since_reset >= self.reset_after):
            self.stream.reset()
            self._steps_since_reset = 0
            self.n_resets += self.n_steps > 0
        start = time.perf_counter()
        (outputs,) = self.stream.step(frame.counts.reshape(1, *self._frame_shape))
        now = time.perf_counter()
        self.latencies.append(1000 * (now - start))
        self.scores = probabilities(outputs)
        self.n_steps += 1
        self._steps_since_reset += 1
        if frame.is_first:
            self._clock = now - frame.end / 1e6
        self.lag = now - frame.end / 1e6 - self._clock
        self.time = frame.end
        self._n_events.append(self.frames.n_events)

    def as_dict(self) -> dict[str, Any]:
        """Return the output as a dict for JSON."""
        return {
            "t": self.time,
            "step": self.n_steps,
            "class": self.names[int(self.scores.argmax())],
            "probabilities": [round(float(p), 6) for p in self.scores],
            "events": self.frames.n_events,
            "rejected": len(self.frames.rejected),
        }

    def _latency(self):
        """Return the percentiles 50 and 99 of the latency as text."""
        if not self.latencies:
            return "-", "-"
        return tuple(f"{value:.3g} ms" for value in np.percentile(list(self.latencies), (50, 99)))

    def picture(self) -> Any:
        """Return the display: the class, the probabilities as bars, and figures."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self.time is None:
            return Text("Waiting for events. Ctrl-C ends the command.")
        scores, bars = self.scores, Table.grid(padding=(0, 1))
        best = int(scores.argmax())
        for k in sorted(np.argsort(-scores, kind="stable")[:_MOST_BARS]):
            style = "bold green" if k == best else ""
            bar = ProgressBar(total=1, completed=float(scores[k]), width=40)
            bars.add_row(Text(self.names[k], style), bar, Text(f"{100 * scores[k]:5.1f} %", style))
        counts = list(self._n_events)
        seconds = self.frames.window / 1e6 * (len(counts) - 1)
        p50, p99 = self._latency()
        figures = [
            f"step {self.n_steps:,}",
            f"{(counts[-1] - counts[0]) / seconds:,.0f} events/s",
            f"latency p50 {p50}, p99 {p99}",
            f"lag {max(0.0, self.lag):.2f} s",
            f"rejected {len(self.frames.rejected):,}",
        ]
        return Group(Text(self.names[best], "bold green"), bars, Text("   ".join(figures), "dim"))

    def summary(self) -> str:
        """Return a table of steps, events, rejected lines and latency."""
        rejected = self.frames.rejected
        p50, p99 = self._latency()
        rows = [("summary", ""), ("steps", f"{self.n_steps:,}"), ("resets of the stream", f"{self.n_resets:,}")]
        rows += [("events", f"{self.frames.n_events:,}"), ("rejected lines", f"{len(rejected):,}")]
        counts = zip(REASONS.values(), rejected.counts[1:], strict=True)
        rows += [(f"- {reason}", f"{n:,}") for reason, n in counts if n]
        rows += [("latency of a step, p50", p50), ("latency of a step, p99", p99)]
        lines = [f"Line {number}, {reason}: {text}" for number, reason, text in rejected.examples]
        return "\n".join([*text_table.rst(rows), *lines])
