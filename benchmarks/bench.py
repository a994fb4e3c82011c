"""Shared code of the rows: interpreters, rounds, and lines of the table."""

import statistics
import sys
from dataclasses import dataclass, field

from worker import Worker


@dataclass
class Figure:
    """A line of the table: a ratio, its bound, and the measurements, one for each round."""

    row: str
    what: str
    ratio: float | None = None
    means: str = ""
    low: float | None = None
    high: float | None = None
    bound: str = ""
    kept: bool | None = None
    note: str = ""
    unit: str = "ms"
    measured: list = field(default_factory=list)
    reference: list = field(default_factory=list)

    def cells(self):
        """Return the cells of the line."""
        if self.ratio is None:
            return (self.row, "-", "", self.bound, "", "", "", f"{self.what}: {self.note}")
        verdict = {None: "", True: "yes", False: "NO"}[self.kept]
        values = (f"{statistics.median(v):.4g} {self.unit}" for v in (self.measured, self.reference))
        span = f"{self.low:.2f} to {self.high:.2f}" if len(self.measured) > 1 else ""
        return (
            self.row,
            f"{self.ratio:.{2 if self.ratio >= 0.1 else 4}f}x {self.means}",
            span,
            self.bound,
            verdict,
            *values,
            self.what,
        )


def times_faster(row, what, measured, reference, at_least=None):
    """Return the ratio of the reference's time to ours."""
    ratios = [b / a for a, b in zip(measured, reference, strict=True)]
    return _figure(row, what, "faster", ratios, measured, reference, at_least, ">=")


def times_as_much(row, what, measured, reference, at_most=None, *, scale=1, unit="ms"):
    """Return the ratio of our time to the reference's; ``scale`` converts the reference's amount of work."""
    ratios = [a / b * scale for a, b in zip(measured, reference, strict=True)]
    means = "as long" if unit == "ms" else "as much"
    return _figure(row, what, means, ratios, measured, reference, at_most, "<=", unit)


def _figure(row, what, means, ratios, measured, reference, bound, sign, unit="ms"):
    ratio = statistics.median(ratios)
    kept = None if bound is None else (ratio >= bound if sign == ">=" else ratio <= bound)
    return Figure(
        row=row,
        what=what,
        ratio=ratio,
        means=means,
        low=min(ratios),
        high=max(ratios),
        bound="" if bound is None else f"{sign} {bound:g}x",
        kept=kept,
        unit=unit,
        measured=measured,
        reference=reference,
    )


class Bench:
    """The interpreters by library, and the number of rounds."""

    def __init__(self, pythons, rounds):
        self.pythons = pythons
        self.rounds = rounds

    def ours(self, backend="tensorflow"):
        return Worker(sys.executable, "ours.py", KERAS_BACKEND=backend)

    def peer(self, name):
        return Worker(self.pythons[name], f"peer_{name}.py") if self.pythons[name] else _NoPeer(name)

    def interleave(self, requests):
        """Time each request once per round. The order rotates by one each round.

        Args:
            requests: Dict from key to (worker, request).

        Returns:
            Dict from key to the list of milliseconds, or to the error message.
        """
        times = {key: [] for key in requests}
        keys = list(requests)
        for r in range(self.rounds):
            for key in keys[r % len(keys) :] + keys[: r % len(keys)]:
                worker, request = requests[key]
                if isinstance(times[key], str):
                    continue
                print(f"\r\033[Kround {r + 1} of {self.rounds}: {key}", end="", file=sys.stderr, flush=True)
                try:
                    times[key].append(worker.run_case(**request))
                except RuntimeError as error:
                    times[key] = str(error)
        print("\r\033[K", end="", file=sys.stderr, flush=True)
        return times


class _NoPeer:
    def __init__(self, name):
        option = {"keras_spiking": "--peer", "torch": "--torch-peer"}.get(name, f"--{name}")
        self.reason = f"skipped: {option} is not given"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run_case(self, *_, **__):
        raise RuntimeError(self.reason)


def compare(make, row, what, measured, reference, *args, **kwargs):
    """Return the figure of ``make``, or a figure with the error of the side that failed."""
    for side in (measured, reference):
        if isinstance(side, str):
            return Figure(row, what, note=side)
    return make(row, what, measured, reference, *args, **kwargs)


def label(shape):
    """Return a shape as text, such as 32x1000x128."""
    return "x".join(map(str, shape))
