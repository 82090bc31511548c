"""Progress of long work: what reporters look like, and the silent one. The command line has the visible ones."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass
class Tick:
    """Where one task stands: `done` of `total` units after `seconds`, with the figures of the moment."""

    label: str
    total: int
    done: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the task began."""
        return time.monotonic() - self.started

    @property
    def seconds_left(self) -> float | None:
        """Linear forecast; None before the first unit is done."""
        return None if not self.done else self.seconds * (self.total - self.done) / self.done


@runtime_checkable
class Progress(Protocol):
    """Receives ticks. `show` is called at the start, after each advance, and once with `done == total` or on exit."""

    def show(self, tick: Tick, *, final: bool) -> None:
        """Display one tick; `final` on the last one of a task."""


class Silent:
    """Shows nothing."""

    def show(self, tick: Tick, *, final: bool) -> None:
        """Nothing."""


class Advance:
    """Handed to the body of `task`: call it after each unit of work."""

    def __init__(self, progress: Progress, tick: Tick) -> None:
        self._progress, self._tick = progress, tick

    def __call__(self, amount: int = 1, **figures: float) -> None:
        """Report `amount` more units done, with any figures worth showing (loss, error bound)."""
        self._tick.done += amount
        self._tick.figures.update(figures)
        self._progress.show(self._tick, final=False)


@contextmanager
def task(progress: Progress | None, label: str, total: int) -> Iterator[Advance]:
    """One task of `total` units.

    >>> with task(None, "training", 3) as advance:
    ...     advance()
    """
    reporter = progress or Silent()
    tick = Tick(label, total)
    reporter.show(tick, final=False)
    try:
        yield Advance(reporter, tick)
    finally:
        reporter.show(tick, final=True)
