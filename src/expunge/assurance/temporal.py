"""Signal temporal logic over sampled traces, with its robustness: by how much a trace meets a formula, or misses it.

Robustness is in the unit of the signals (mg/dL): positive where the formula holds, negative where it does not, and no
change of the signals by less than its size turns the verdict (Donze and Maler, FORMATS 2010).
Traces are finite: a window that lies wholly behind the end holds nothing, so that `always` is met there and
`eventually` is not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from jaxtyping import Float

from expunge.errors import OperatorError

Trace = Float[np.ndarray, "steps ..."]
Signals = Mapping[str, Trace]
"""Sampled signals by name: steps first, any traces behind."""


class Formula(Protocol):
    """A frozen dataclass."""

    def robustness(self, signals: Signals) -> Trace:
        """At every step of every trace."""


@dataclass(frozen=True)
class Above:
    """signal > level."""

    signal: str
    level: float

    def robustness(self, signals: Signals) -> Trace:
        """signal - level."""
        return signals[self.signal] - self.level


@dataclass(frozen=True)
class Below:
    """signal < level."""

    signal: str
    level: float

    def robustness(self, signals: Signals) -> Trace:
        """Level - signal."""
        return self.level - signals[self.signal]


@dataclass(frozen=True)
class Not:
    """The formula does not hold."""

    inner: Formula

    def robustness(self, signals: Signals) -> Trace:
        """Its negative."""
        return -self.inner.robustness(signals)


@dataclass(frozen=True)
class And:
    """All hold."""

    inner: tuple[Formula, ...]

    def robustness(self, signals: Signals) -> Trace:
        """The least."""
        found: Trace = np.minimum.reduce([each.robustness(signals) for each in self.inner])
        return found


@dataclass(frozen=True)
class Or:
    """One holds."""

    inner: tuple[Formula, ...]

    def robustness(self, signals: Signals) -> Trace:
        """The greatest."""
        found: Trace = np.maximum.reduce([each.robustness(signals) for each in self.inner])
        return found


@dataclass(frozen=True)
class Always:
    """The formula holds at every step from `first` to `last` after now; to the end without `last`."""

    inner: Formula
    first: int = 0
    last: int | None = None

    def robustness(self, signals: Signals) -> Trace:
        """The least over the window."""
        return -_greatest(-self.inner.robustness(signals), self.first, self.last)


@dataclass(frozen=True)
class Eventually:
    """The formula holds at some step from `first` to `last` after now; to the end without `last`."""

    inner: Formula
    first: int = 0
    last: int | None = None

    def robustness(self, signals: Signals) -> Trace:
        """The greatest over the window."""
        return _greatest(self.inner.robustness(signals), self.first, self.last)


@dataclass(frozen=True)
class Until:
    """`then` holds at some step of the window, and `before` at every step from now to just before it."""

    before: Formula
    then: Formula
    first: int = 0
    last: int | None = None

    def robustness(self, signals: Signals) -> Trace:
        """max over t' of the window of min(then(t'), min of before over [t, t'))."""
        before, then = self.before.robustness(signals), self.then.robustness(signals)
        last = len(then) - 1 if self.last is None else min(self.last, len(then) - 1)
        found, held = np.full_like(then, -np.inf), np.full_like(then, np.inf)
        for step in range(last + 1):
            if step >= self.first:
                found = np.maximum(found, np.minimum(_later(then, step), held))
            held = np.minimum(held, _later(before, step))
        return found


def _later(values: Trace, steps: int) -> Trace:
    """What comes `steps` later; minus infinity behind the end."""
    moved = np.full_like(values, -np.inf)
    if steps < len(values):
        moved[: len(values) - steps] = values[steps:]
    return moved


def _greatest(values: Trace, first: int, last: int | None) -> Trace:
    """The greatest over [now + first, now + last]; windows of a power of two are joined from halves."""
    if last is None or last >= len(values):
        return _later(np.maximum.accumulate(values[::-1])[::-1], first)
    width, held, found = last - first + 1, values, None
    place, size = first, 1
    while width:
        if width & 1:
            part = _later(held, place)
            found = part if found is None else np.maximum(found, part)
            place += size
        held, size, width = np.maximum(held, _later(held, size)), 2 * size, width >> 1
    assert found is not None
    return found


def implies(condition: Formula, then: Formula) -> Formula:
    """Where the condition holds, so does the other."""
    return Or((Not(condition), then))


def robustness(formula: Formula, signals: Signals) -> Float[np.ndarray, " ..."]:
    """Of whole traces: at their first step."""
    found: Float[np.ndarray, " ..."] = formula.robustness(signals)[0]
    return found


WINDOWED: Final[Mapping[str, Callable[..., Formula]]] = {"always": Always, "eventually": Eventually}
JOINED: Final[Mapping[str, Callable[..., Formula]]] = {"and": And, "or": Or}


def parse(source: Any, every: float, names: Sequence[str]) -> Formula:
    """A formula from plain JSON: `["<" | ">", signal, level]`, `["not", f]`, `["and" | "or", f, ...]`, `["implies", f,
    g]`, `["always" | "eventually", f]` or `[..., f, first, last]`, `["until", f, g, first, last]`.

    **Arguments:** `every`: time from one step to the next, in the unit of `first` and `last`; `names` of the signals.

    **Raises:** `OperatorError("bad-case")`.
    """
    try:
        return _parsed(source, every, names)
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        raise OperatorError("bad-case", f"no formula: {str(source)[:60]}") from None


def _parsed(source: Any, every: float, names: Sequence[str]) -> Formula:
    word, *rest = source
    if word in ("<", ">"):
        signal, level = rest
        if signal not in names:
            raise OperatorError("bad-case", f"no signal is called {str(signal)[:40]!r}; there are {', '.join(names)}")
        return (Below if word == "<" else Above)(signal, float(level))
    if word in WINDOWED:
        return WINDOWED[word](_parsed(rest[0], every, names), *_steps(rest[1:], every))
    if word == "until":
        return Until(_parsed(rest[0], every, names), _parsed(rest[1], every, names), *_steps(rest[2:], every))
    inner = tuple(_parsed(each, every, names) for each in rest)
    if word == "not" and len(inner) == 1:
        return Not(inner[0])
    if word == "implies" and len(inner) == 2:
        return implies(*inner)
    if not inner:
        raise ValueError
    return JOINED[word](inner)


def _steps(ends: Sequence[float], every: float) -> tuple[int, ...]:
    found = tuple(round(float(each) / every) for each in ends)
    if len(found) not in (0, 2) or (found and not 0 <= found[0] <= found[1]):
        raise ValueError
    return found
