"""When a request must be answered: rules as versioned data, read at their earliest, and moved by events alone.

Earliest reading: the day of receipt (UTC) starts the clock, not the day of verification; a month ends on its last day
where it has no such date; where an extension can be counted in two ways, the sooner holds; hours for which the clock
stood still count as whole days rounded down; weekends and holidays put nothing off.
"""

import calendar
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from expunge.errors import OperatorError
from expunge.ledger import strict_json

FILE: Final = Path(__file__).with_name("deadlines.json")
DEFAULT: Final = "gdpr"


@dataclass(frozen=True)
class Span:
    """A length of time in calendar months and days."""

    months: int = 0
    days: int = 0


@dataclass(frozen=True)
class Rule:
    """One regime's deadline in one version: versions that requests stand under stay in the file for ever."""

    regime: str
    version: int
    in_force: date
    initial: Span
    extension: Span
    clock_stops: bool
    source: str


@dataclass(frozen=True)
class ClockEvent:
    """What moves a deadline: `extend`, `stop-clock` or `start-clock`, and when it happened."""

    name: str
    at: datetime


@dataclass(frozen=True)
class Deadline:
    """When a request is due, and why. A stopped clock shows where it stands now."""

    regime: str
    version: int
    received: date
    due: date
    extended: bool
    stopped: bool
    days_left: int

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "received": self.received.isoformat(), "due": self.due.isoformat()}


def rule(regime: str, received: date) -> Rule:
    """The rule in force on the day of receipt, or the regime's first where a request is older than that.

    **Raises:** `OperatorError("unknown-regime")`.
    """
    known = sorted((each for each in load() if each.regime == regime), key=lambda each: each.version)
    if not known:
        raise OperatorError("unknown-regime", f"no deadlines are known for {regime[:40]!r}")
    return ([each for each in known if each.in_force <= received] or known[:1])[-1]


def recorded_rule(regime: str, version: int) -> Rule:
    """The rule that a request was filed under.

    **Raises:** `OperatorError("unknown-regime")`.
    """
    for each in load():
        if (each.regime, each.version) == (regime, version):
            return each
    raise OperatorError("unknown-regime", f"no version {version} of {regime[:40]!r} is known")


def deadline(under: Rule, received: datetime, events: Iterable[ClockEvent], now: datetime) -> Deadline:
    """The deadline of a request that was received at `received`, after these events, seen from `now` (both UTC).

    Events count in the order in which they were recorded: where the system's clock was set back between two of them,
    their times are no order, and the clock stood still for no time.
    """
    happened = list(events)
    extended = any(event.name == "extend" for event in happened)
    stood, stopped = _stood_still(happened, now)
    due = _due(under, received.date(), extended) + timedelta(days=stood)
    left = (due - now.date()).days
    return Deadline(under.regime, under.version, received.date(), due, extended, stopped, left)


def add(start: date, span: Span) -> date:
    """`start` and a span: the same day of a later month, or that month's last; then days.

    >>> add(date(2024, 1, 31), Span(months=1))
    datetime.date(2024, 2, 29)
    """
    months = start.year * 12 + start.month - 1 + span.months
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return date(year, month + 1, day) + timedelta(days=span.days)


@cache
def load(path: Path = FILE) -> tuple[Rule, ...]:
    """The rules in a file.

    **Raises:** `OperatorError("bad-config" | "bad-json")`.
    """
    found = strict_json.loads(path.read_bytes())
    try:
        if found["format"] != 1:
            raise OperatorError("bad-config", f"{path.name} has another format")
        return tuple(_rule(each) for each in found["rules"])
    except (KeyError, TypeError, ValueError):
        raise OperatorError("bad-config", f"{path.name} holds a malformed rule") from None


def _rule(each: dict[str, Any]) -> Rule:
    spans = {name: Span(**each[name]) for name in ("initial", "extension")}
    return Rule(
        regime=str(each["regime"]),
        version=int(each["version"]),
        in_force=date.fromisoformat(each["in_force"]),
        clock_stops=bool(each["clock_stops"]),
        source=str(each["source"]),
        **spans,
    )


def _due(under: Rule, received: date, extended: bool) -> date:
    first = add(received, under.initial)
    if not extended:
        return first
    whole = Span(under.initial.months + under.extension.months, under.initial.days + under.extension.days)
    return min(add(first, under.extension), add(received, whole))


def _stood_still(events: list[ClockEvent], now: datetime) -> tuple[int, bool]:
    """Whole days for which the clock stood still, and whether it does so now."""
    days, since = 0, None
    for event in events:
        if event.name == "stop-clock" and since is None:
            since = event.at
        elif event.name == "start-clock" and since is not None:
            days, since = days + max((event.at - since).days, 0), None
    if since is None:
        return days, False
    return days + max((now - since).days, 0), True
