"""Data sufficiency of series of readings: outliers, and gaps in time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.pictures import bars, shown
from expunge.assurance.sufficiency import column
from expunge.errors import OperatorError
from expunge.records import Records

NORMAL: Final = 1.4826
"""Median absolute deviation to standard deviation, for normal values."""


@dataclass(frozen=True)
class Outliers:
    """Accuracy: values far from the middle, by the modified z-score (Iglewicz and Hoaglin, 1993).

    **Arguments** of the node: `columns` [name, or [new, old] for the change from one to the other], `beyond` (robust
    standard deviations), `most` (share).
    """

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """The share of records beyond, for each column."""
        records, most, beyond = subjects[self.inputs[0]], float(arguments["most"]), float(arguments["beyond"])
        shares = {name: far(values, beyond) for name, values in _series(records, arguments["columns"])}
        bad = [name for name, share in shares.items() if share > most]
        words = "no more outliers than allowed" if not bad else f"too many outliers: {', '.join(bad)}"
        formula = f"share of |x - median| > {beyond:g} · 1.4826 · MAD"
        drawn = shown(bars(f"Values beyond {beyond:g} robust deviations", "share of records", shares, most))
        verdict = Verdict.FAILS if bad else Verdict.HOLDS
        return Finding(verdict, words, shares, formula, f"<= {most:g} each", drawn)


def far(values: Float[np.ndarray, " records"], beyond: float) -> float:
    """Share of values more than `beyond` robust standard deviations from the median; 1.2533 times the mean deviation
    stands in where half of the values are equal."""
    distance = np.abs(values - np.median(values))
    scale = NORMAL * float(np.median(distance)) or 1.2533 * float(distance.mean())
    return float((distance > beyond * scale).mean())


def _series(records: Records, wanted: Any) -> Iterator[tuple[str, Float[np.ndarray, " records"]]]:
    for each in wanted:
        if isinstance(each, str):
            yield each, column(records, each)
        else:
            yield f"{each[0]} - {each[1]}", column(records, each[0]) - column(records, each[1])


@dataclass(frozen=True)
class Gaps:
    """Completeness in time: records that are missing between a person's first and last one.

    The time of a record is the number after the last `-` of its id (`7-1260`). **Arguments** of the node: `every` (time
    from one record to the next), `longest` (time without a record), `most` (share of records missing), `unit`, and
    perhaps `span`: how long everybody should have been followed, so that records that end early are missing too.
    """

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count what is missing, and the longest silence."""
        records: Records = subjects[self.inputs[0]]
        every, longest, most = (float(arguments[name]) for name in ("every", "longest", "most"))
        times = list(times_of(records).values())
        steps = np.concatenate([np.diff(each) for each in times]) if times else np.zeros(0)
        short = [max(float(arguments.get("span", 0)) - (each[-1] - each[0]), 0.0) for each in times]
        missing = float(np.round(steps / every - 1).clip(min=0).sum() + np.floor(np.array(short) / every).sum())
        share, worst = missing / (missing + len(records)), float(steps.max(initial=0.0))
        verdict = Verdict.HOLDS if share <= most and worst <= longest else Verdict.FAILS
        unit = str(arguments.get("unit", ""))
        words = f"{100 * share:.1f} % of the records are missing; the longest silence is {worst:g} {unit}".rstrip()
        figures: dict[str, float | None] = {
            "share missing": share,
            "longest silence": worst,
            "people cut short": float(sum(map(bool, short))),
        }
        formula = "missing = sum (step / every - 1) within a person; missing / (missing + records)"
        threshold = f"<= {most:g}; <= {longest:g} {unit}".rstrip()
        return Finding(verdict, words, figures, formula, threshold, shown(_lengths(steps, every, unit)))


def times_of(records: Records) -> dict[str, Float[np.ndarray, " records"]]:
    """Each person's times, ascending; raises `OperatorError("bad-case")` for ids without one."""
    try:
        times = np.array([float(name.rpartition("-")[2]) for name in records.ids])
    except ValueError:
        raise OperatorError("bad-case", "a gap needs record ids that end in -TIME") from None
    owners = np.array(records.owners)
    return {name: np.sort(times[owners == name]) for name in sorted(set(records.owners))}


def _lengths(steps: Float[np.ndarray, " steps"], every: float, unit: str) -> dict[str, Any]:
    """How many silences of each length."""
    ends = [1.5, 4.5, 12.5, 48.5, np.inf]
    names = [
        f"{low * every:g} to {high * every:g}" if high < np.inf else f"over {low * every:g}"
        for low, high in pairwise(ends)
    ]
    counts = [float(((steps > low * every) & (steps <= high * every)).sum()) for low, high in pairwise(ends)]
    return bars(f"Silences by length, {unit}".rstrip(", "), "silences", dict(zip(names, counts, strict=True)))
