"""Deadlines against a calendar read by hand, and against a naive count of days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import OperatorError
from expunge.journey.deadlines import FILE, ClockEvent, Deadline, Span, add, deadline, load, recorded_rule, rule

MOMENTS = st.datetimes(datetime(2019, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(regime: str, received: str, *events: tuple[str, str], now: str | None = None) -> Deadline:
    moment = at(received)
    under = rule(regime, moment.date())
    return deadline(under, moment, [ClockEvent(name, at(when)) for name, when in events], at(now or received))


# Read off a calendar.
CALENDAR = [
    ("gdpr", "2026-03-15", (), "2026-04-15"),
    ("gdpr", "2026-03-15T23:59:59", (), "2026-04-15"),
    ("gdpr", "2026-01-31", (), "2026-02-28"),
    ("gdpr", "2024-01-31", (), "2024-02-29"),
    ("gdpr", "2025-12-31", (), "2026-01-31"),
    ("gdpr", "2026-05-31", (), "2026-06-30"),
    ("gdpr", "2026-03-15", (("extend", "2026-04-01"),), "2026-06-15"),
    # Three months from 31 January end on 30 April; one month and then two end on 28 April: the sooner holds.
    ("gdpr", "2026-01-31", (("extend", "2026-02-10"),), "2026-04-28"),
    ("ccpa", "2026-03-15", (), "2026-04-29"),
    ("ccpa", "2026-03-15", (("extend", "2026-04-01"),), "2026-06-13"),
    ("ccpa", "2024-02-01", (), "2024-03-17"),
    ("gdpr", "2026-03-15", (("stop-clock", "2026-03-20"), ("start-clock", "2026-03-27")), "2026-04-22"),
    ("gdpr", "2026-03-15", (("stop-clock", "2026-03-20T12:00"), ("start-clock", "2026-03-22T11:59")), "2026-04-16"),
    (
        "gdpr",
        "2026-03-15",
        (
            ("stop-clock", "2026-03-20"),
            ("start-clock", "2026-03-22"),
            ("extend", "2026-03-23"),
            ("stop-clock", "2026-03-24"),
            ("start-clock", "2026-03-27"),
        ),
        "2026-06-20",
    ),
]


@pytest.mark.parametrize(("regime", "received", "events", "expected"), CALENDAR)
def test_the_calendar(regime: str, received: str, events: tuple[tuple[str, str], ...], expected: str):
    assert due(regime, received, *events).due == date.fromisoformat(expected)


def test_a_stopped_clock_shows_where_it_stands():
    stopped = due("gdpr", "2026-03-15", ("stop-clock", "2026-03-20"), now="2026-03-30")
    assert (stopped.stopped, stopped.due) == (True, date(2026, 4, 25))
    running = due("gdpr", "2026-03-15", now="2026-04-20")
    assert (running.stopped, running.days_left) == (False, -5)


def test_a_clock_set_back_stops_no_deadline_for_good():
    """Events count in the order in which they were recorded: their times may run backwards."""
    found = due("gdpr", "2026-03-15", ("stop-clock", "2026-03-20T12:00"), ("start-clock", "2026-03-20T11:59"))
    assert (found.stopped, found.due) == (False, date(2026, 4, 15))


@given(received=MOMENTS)
def test_45_days_are_45_days(received: datetime):
    under = rule("ccpa", received.date())
    assert (deadline(under, received, (), received).due - received.date()).days == 45


@given(received=MOMENTS, extended=st.booleans())
def test_a_month_is_never_read_longer_than_any_reading(received: datetime, extended: bool):
    """Naive oracle: walk day by day until the month number has moved on and the day is as late as it can be."""
    months = 3 if extended else 1
    day, crossed = received.date(), 0
    while crossed < months or (day.day < received.day and (day + timedelta(days=1)).day != 1):
        after = day + timedelta(days=1)
        crossed += after.month != day.month
        day = after
    events = [ClockEvent("extend", received)] if extended else []
    found = deadline(rule("gdpr", received.date()), received, events, received)
    assert found.due <= day
    assert (day - found.due).days <= 3
    if received.day <= 28:
        assert found.due == day


@given(start=st.dates(date(2000, 1, 1), date(2100, 1, 1)), months=st.integers(0, 40), days=st.integers(0, 90))
def test_adding_months(start: date, months: int, days: int):
    moved = add(start, Span(months))
    assert (moved.year * 12 + moved.month) - (start.year * 12 + start.month) == months
    assert moved.day == start.day or (moved + timedelta(days=1)).day == 1
    assert add(start, Span(months, days)) == moved + timedelta(days=days)


@given(received=MOMENTS, gaps=st.lists(st.integers(0, 10**6), max_size=6))
def test_stopping_never_makes_a_deadline_sooner_nor_later_than_the_time_that_stood(received: datetime, gaps: list[int]):
    names, moments, moment = ("stop-clock", "start-clock"), [], received
    for gap in gaps:
        moment += timedelta(seconds=gap)
        moments.append(moment)
    events = [ClockEvent(names[index % 2], when) for index, when in enumerate(moments)]
    stood = sum((b - a for a, b in zip(moments[::2], moments[1::2], strict=False)), timedelta())
    under = rule("gdpr", received.date())
    plain = deadline(under, received, (), moment).due
    moved = deadline(under, received, events, moment).due
    assert plain <= moved <= plain + timedelta(days=stood.days)


def test_rules_are_versioned_data():
    for each in load():
        assert recorded_rule(each.regime, each.version) == each
        assert each.source
        assert rule(each.regime, each.in_force) == each
    assert rule("gdpr", date(1999, 1, 1)).version == 1
    for call in (lambda: rule("moon", date(2026, 1, 1)), lambda: recorded_rule("gdpr", 99)):
        with pytest.raises(OperatorError) as caught:
            call()
        assert caught.value.code == "unknown-regime"


def test_a_later_version_holds_from_the_day_it_is_in_force(tmp_path: Path, monkeypatch):
    text = FILE.read_text()
    later = (
        text.replace('"version": 1', '"version": 2')
        .replace("2018-05-25", "2030-01-01")
        .replace('"days": 45', '"days": 30')
    )
    first, second = load(), tmp_path / "rules.json"
    second.write_text(later)
    monkeypatch.setattr("expunge.journey.deadlines.load", lambda: (*first, *load(second)))
    assert rule("gdpr", date(2029, 12, 31)).version == 1
    assert rule("gdpr", date(2030, 1, 1)).version == 2
    assert recorded_rule("gdpr", 1) == first[0]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"format": 2, "rules": []}', "bad-config"),
        ('{"format": 1, "rules": [{}]}', "bad-config"),
        ('{"format": 1}', "bad-config"),
        ("[]", "bad-config"),
        ('{"format": 1, "format": 1, "rules": []}', "bad-json"),
        ("", "bad-json"),
    ],
)
def test_malformed_rules(tmp_path: Path, content: str, code: str):
    (tmp_path / "rules.json").write_text(content)
    with pytest.raises(OperatorError) as caught:
        load(tmp_path / "rules.json")
    assert caught.value.code == code
