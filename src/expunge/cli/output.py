"""What commands print: words for people or one JSON document on stdout; progress and errors on stderr."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from expunge.errors import ExpungeError
from expunge.progress import Progress, Tick

Result = dict[str, Any]


def emit(result: Result, as_json: bool, words: Callable[[Result], str]) -> None:
    """Print `result` as one JSON document, or in words."""
    text = json.dumps(result, indent=1, allow_nan=False) if as_json else words(result)
    sys.stdout.write(text.rstrip("\n") + "\n")


def emit_error(error: ExpungeError, as_json: bool) -> None:
    """One line, a hint, the code: on stderr for people, as the one error document on stdout for programs."""
    if as_json:
        sys.stdout.write(json.dumps(error.to_json(), indent=1) + "\n")
    else:
        sys.stderr.write(f"expunge: {error} [{error.code}]\n  {error.hint}\n")


def reporter() -> Progress:
    """A bar with time left on a terminal, one JSON line per tick elsewhere; both on stderr."""
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Bar:
    """One rewritten line."""

    def __init__(self) -> None:
        self._shown = 0.0

    def show(self, tick: Tick, *, final: bool) -> None:
        """Rewrite the line, ten times a second at most."""
        now = time.monotonic()
        if not final and now - self._shown < 0.1:
            return
        self._shown = now
        share = tick.done / tick.total if tick.total else 1.0
        filled = "━" * round(30 * share)
        left = "" if final or tick.seconds_left is None else f" {_clock(tick.seconds_left)} left"
        figures = "".join(f"  {name} {value:.3g}" for name, value in tick.figures.items())
        line = f"{tick.label[:28]:28} {filled:─<30} {share:4.0%}{left}{figures}"
        sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if final else ""))
        sys.stderr.flush()


class _Lines:
    """At most one line a second, and the last."""

    def __init__(self) -> None:
        self._shown = -1.0

    def show(self, tick: Tick, *, final: bool) -> None:
        """Write a line, once a second at most."""
        if not final and time.monotonic() - self._shown < 1:
            return
        self._shown = time.monotonic()
        left = tick.seconds_left
        body = {"progress": tick.label, "done": tick.done, "total": tick.total, "seconds": round(tick.seconds, 1)}
        body["seconds_left"] = 0 if final else None if left is None else round(left, 1)
        sys.stderr.write(json.dumps({**body, **tick.figures, "final": final}) + "\n")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
