"""The deletion report: what was asked, what was done, what the audit can and cannot say, and what is not covered."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from expunge.reports.drawing import Drawing, Table, Tone
from expunge.reports.figures import bars
from expunge.reports.forms import Axis, Bar, Group
from expunge.reports.html import page
from expunge.reports.numbers import Cell, Measured, Unit, shown
from expunge.reports.readings import membership_bars, shown_curves, shown_findings, shown_readings
from expunge.reports.story import DeletionStory

CLAIMS: Final = {
    "exact": "The new model has the distribution of training without the records.",
    "certified": "A theorem bounds how far the new model is from training without the records.",
    "empirical": "No theorem: only the audit below speaks, and only as far as its power reaches.",
}
"""What each kind of claim means, in one sentence."""


def deletion_report(story: DeletionStory) -> str:
    """One self-contained page; the same story gives the same bytes.

    **Raises:** `ProgrammerError("bad-figure")` for NaN and infinity.
    """
    receipt, audit = story.receipt, story.audit
    readings = [] if audit is None else shown_readings(audit)
    return page(
        "deletion.html",
        story=story,
        receipt=receipt,
        audit=audit,
        claim_words=CLAIMS[receipt["claim"]["kind"]],
        parameters=_flat(receipt["method"]["parameters"]),
        costs=_costs(story),
        cost_words=_cost_words(receipt["cost"]),
        deadline=_deadline(receipt["request"]),
        readings=readings,
        findings=shown_findings(readings),
        primary=next((found for found in readings if audit and found.name == audit["primary"]), None),
        powerful=sum(found.has_power for found in readings),
        membership=membership_bars(readings),
        curves=[] if audit is None else shown_curves(audit),
        degraded=[*receipt["degraded"], *([] if audit is None else audit["degraded"])],
        command=_command(story),
        moment=_moment,
    )


def _flat(value: Any, name: str = "") -> list[tuple[str, Cell]]:
    """Nested parameters as names with dots and plain values; the kind is said elsewhere."""
    if isinstance(value, Mapping):
        items = [(f"{name}.{key}".strip("."), inside) for key, inside in value.items() if key != "kind" or name]
        return [pair for key, inside in items for pair in _flat(inside, key)]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(str(item) for item in value) or "none")]
    return [(name, "not set" if value is None else value)]


@dataclass(frozen=True)
class _Costs:
    """The cost table, and its figure where there is more than one bar to compare."""

    drawing: Drawing
    table: Table


def _costs(story: DeletionStory) -> _Costs:
    """Gradient evaluations and seconds of this deletion beside retraining, stopped early and in full."""
    cost = story.receipt["cost"]
    rows: list[tuple[str, float | None, float | None]] = [
        ("This deletion", cost["gradient_evaluations"], cost["seconds"]),
        ("Retraining, stopped at equal test accuracy", cost["stopped_retraining_evaluations"], None),
        ("Retraining in full", cost["retraining_evaluations"], story.retraining_seconds),
    ]
    groups = [_cost_bar(name, work) for name, work, _ in rows if work is not None]
    drawing = bars("Gradient evaluations", groups, Axis("Gradients of single records", Unit.COUNT, low=0))
    body: list[tuple[Cell, ...]] = [(name, work, seconds) for name, work, seconds in rows]
    note = "" if all(None not in row for row in rows) else "– stands where nothing was measured."
    table = Table(("", "Gradient evaluations", "Wall time"), tuple(body), (Unit.PLAIN, Unit.COUNT, Unit.SECONDS), note)
    return _Costs(drawing, table)


def _cost_bar(name: str, work: float) -> Group:
    tone = Tone.AFTER if name == "This deletion" else Tone.RETRAINED
    return Group(name, (Bar(name, Measured(work), tone),))


@dataclass(frozen=True)
class _CostWords:
    """How many times the work of this deletion the two retrainings take; `None` where there is nothing to divide by."""

    full: float | None
    stopped: float | None


def _cost_words(cost: Mapping[str, Any]) -> _CostWords:
    own, stopped = cost["gradient_evaluations"], cost["stopped_retraining_evaluations"]
    return _CostWords(
        cost["retraining_evaluations"] / own if own else None,
        stopped / own if own and stopped is not None else None,
    )


@dataclass(frozen=True)
class _Deadline:
    """Whether the deadline was kept, and by how much."""

    kept: bool
    margin: str


def _deadline(request: Mapping[str, str]) -> _Deadline:
    left = _parse(request["deadline"]) - _parse(request["completed"])
    seconds = abs(left.total_seconds())
    days = int(seconds // 86400)
    size = f"{days} day{'' if days == 1 else 's'}" if days else shown(seconds, Unit.SECONDS)
    return _Deadline(left.total_seconds() >= 0, f"{size} {'early' if left.total_seconds() >= 0 else 'late'}")


def _parse(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _moment(stamp: str) -> str:
    """A time as the receipt has it, for people."""
    return _parse(stamp).strftime("%-d %B %Y, %H:%M:%S UTC")


def _command(story: DeletionStory) -> str:
    """The one command that checks the receipt."""
    bundle, model = (shlex.quote(story.files[name]) for name in ("bundle", "model"))
    return f"expunge verify {bundle} --model {model}"
