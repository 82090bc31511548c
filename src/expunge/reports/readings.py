"""An audit's readings and curves as a page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from expunge.reports.drawing import Drawing, Tone
from expunge.reports.figures import bars, roc
from expunge.reports.forms import Axis, Bar, Group, Series
from expunge.reports.numbers import Measured, Range, Unit
from expunge.reports.sparks import lanes

VERDICTS: Final = {
    "differs from retraining": "no",
    "consistent with retraining": "yes",
    "no power": "open",
    "not measured": "none",
}
"""Findings of `expunge.auditing`, the weightiest first, to the signs that a page puts before them."""

MEANINGS: Final = {
    "UA": "unlearning accuracy: error on the forget set",
    "RA": "accuracy on the retained records",
    "TA": "accuracy on the test set",
    "MIA-Efficacy": "share of the forget set that a confidence attack calls non-members",
    "LiRA AUC": "likelihood-ratio attack; 0.5 is guessing",
    "RMIA AUC": "pairwise likelihood-ratio attack; 0.5 is guessing",
    "LiRA detection at 1 % FPR": "share of the forget set found while 1 in 100 others is accused",
    "LiRA detection at 5 % FPR": "share of the forget set found while 5 in 100 others are accused",
    "loss on D_f": "cross-entropy on the forget set",
    "loss on test": "cross-entropy on the test set",
    "KL from retrained on D_f": "how far the predictions on the forget set are from a retrained model's",
    "KL from retrained on test": "how far the predictions on the test set are from a retrained model's",
    "relearning time": "work until the forget set is known as well as before",
}
"""What well-known readings are, in a few words; others stand by their name."""

GUESSING: Final = 0.5
"""The area under the ROC of a test that guesses."""

_UNITS: Final = {"share": Unit.SHARE, "points": Unit.POINTS, "gradient evaluations": Unit.COUNT}


@dataclass(frozen=True)
class ShownReading:
    """One reading: its numbers, the picture of them, and what it says.

    **Arguments:** `is_area`: an area under an ROC, for which one half is guessing; the others as the audit has them.
    """

    name: str
    meaning: str
    unit: Unit
    unit_words: str
    is_area: bool
    before: Measured | None
    after: Measured | None
    references: Range | None
    floor: Range | None
    has_power: bool
    finding: str
    verdict: str
    words: str
    note: str
    picture: Markup


def shown_readings(audit: Mapping[str, Any]) -> list[ShownReading]:
    """The readings in the audit's order."""
    return [_shown(found) for found in audit["readings"]]


def _shown(found: Mapping[str, Any]) -> ShownReading:
    before, after = estimate(found["before"]), estimate(found["after"])
    references = [one for one in map(estimate, found["references"]) if one is not None]
    floor = None if found["floor"] is None else Range(*found["floor"])
    is_area = found["unit"] == "share" and found["no_signal"] == GUESSING
    unit = Unit.PLAIN if is_area else _UNITS.get(found["unit"], Unit.PLAIN)
    return ShownReading(
        name=found["name"],
        meaning=MEANINGS.get(found["name"], ""),
        unit=unit,
        unit_words="" if found["unit"] == "share" else found["unit"],
        is_area=is_area,
        before=before,
        after=after,
        references=_spread([one.value for one in references], floor),
        floor=floor,
        has_power=found["has_power"],
        finding=found["finding"],
        verdict=VERDICTS.get(found["finding"], "none"),
        words=found["words"],
        note=found["note"],
        picture=lanes(before, after, references, floor, unit),
    )


def estimate(plain: Mapping[str, Any]) -> Measured | None:
    """An estimate of the audit; without interval where nothing is random (both ends are the value)."""
    value, low, high = plain["value"], plain["low"], plain["high"]
    if value is None:
        return None
    return Measured(value) if low is None or low == high else Measured(value, low, high)


def _spread(values: Sequence[float], floor: Range | None) -> Range | None:
    """From the lowest to the highest, with the digits that the noise floor leaves any meaning."""
    width = None if floor is None else floor.high - floor.low
    return Range(min(values), max(values), width) if values else None


@dataclass(frozen=True)
class ShownFinding:
    """All readings that say the same, with what that is in words, and the notes of single readings."""

    finding: str
    verdict: str
    words: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


def shown_findings(readings: Sequence[ShownReading]) -> list[ShownFinding]:
    """Every finding that some reading has: what differs first."""
    found = []
    said = dict.fromkeys((*VERDICTS, *(each.finding for each in readings)))
    for finding in [one for one in said if any(each.finding == one for each in readings)]:
        alike = [each for each in readings if each.finding == finding]
        notes = tuple(f"{each.name}: {each.note}" for each in alike if each.note)
        names = tuple(each.name for each in alike)
        found.append(ShownFinding(finding, alike[0].verdict, alike[0].words, names, notes))
    return found


def membership_bars(readings: Sequence[ShownReading]) -> Drawing | None:
    """Areas under the ROC curves, before and after, against the noise floor and against guessing."""
    found = [each for each in readings if each.is_area and each.before and each.after and each.floor]
    if not found:
        return None
    return bars(
        "How well membership tests find the forget set",
        [Group(each.name, _pair(each), _ends(each.floor)) for each in found],
        Axis("Area under the ROC curve (AUC)", low=0, high=1.02),
        mark=GUESSING,
        band="Retrained (noise floor)",
    )


def _pair(each: ShownReading) -> tuple[Bar, ...]:
    named = (("Before", each.before, Tone.BEFORE), ("After", each.after, Tone.AFTER))
    return tuple(Bar(name, measured, tone) for name, measured, tone in named if measured is not None)


def _ends(floor: Range | None) -> tuple[float, float] | None:
    return None if floor is None else (floor.low, floor.high)


@dataclass(frozen=True)
class ShownCurve:
    """One membership test's ROC, twice: whole, and where false accusations are few."""

    name: str
    linear: Drawing
    log: Drawing


def shown_curves(audit: Mapping[str, Any]) -> list[ShownCurve]:
    """A pair of drawings for each test that has curves."""
    return [_shown_curve(found) for found in audit["curves"]]


def _shown_curve(found: Mapping[str, Any]) -> ShownCurve:
    series = [
        Series(label, [x for x, _ in found[key]], [y for _, y in found[key]], tone=tone)
        for label, key, tone in (
            ("Before", "before", Tone.BEFORE),
            ("After", "after", Tone.AFTER),
            ("Retrained", "reference", Tone.RETRAINED),
        )
    ]
    name = found["name"]
    linear = roc(f"{name}: the whole curve", series)
    return ShownCurve(name, linear, roc(f"{name}: few false accusations", series, log=True))
