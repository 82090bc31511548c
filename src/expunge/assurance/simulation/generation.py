"""Glucose data of our own: virtual people, some days each, a row per 3 minutes, the same bytes for the same seed."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from expunge.assurance.simulation.devices import STEP
from expunge.assurance.simulation.loop import Controller, Traces, run
from expunge.assurance.simulation.peer import Simglucose
from expunge.assurance.simulation.physiology import Bodies, Physiology
from expunge.assurance.simulation.population import Therapy, draw, installed, titrate
from expunge.assurance.simulation.scenario import Scenario, days
from expunge.errors import OperatorError
from expunge.progress import Progress, task
from expunge.training import Executor, Serial

COLUMNS: Final = ("patient", "minute", "BG", "CGM", "CHO", "insulin")
MOST_DAYS: Final = 365
MOST_PEOPLE: Final = 1000

BASAL_BOLUS: Final = Controller(low=0.0, high=float("inf"))
"""Basal insulin and boluses for what is counted of the meals: what people without a loop do."""


def generate(
    out: Path,
    *,
    people: int = 10,
    duration: int = 5,
    seed: int = 0,
    population: str = "own",
    engine: str = "own",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write `patient, minute, BG, CGM, CHO, insulin` as CSV; returns what it holds.

    Meals are counted at 0 to 1.5 times what is eaten, so that hazards occur. With `engine="simglucose"` people are
    simulated one a job of `executor`.

    **Arguments:** `people` of each group (`population="own"`); `duration` in days.

    **Raises:** `OperatorError("bad-arguments" | "no-simglucose" | "no-such-file")`.
    """
    for name, value in (("population", population), ("engine", engine)):
        if value not in ("own", "simglucose"):
            raise OperatorError("bad-arguments", f"{name} is own or simglucose, not {str(value)[:20]!r}")
    if not 1 <= duration <= MOST_DAYS or not 1 <= people <= MOST_PEOPLE:
        raise OperatorError("bad-arguments", f"1 to {MOST_DAYS} days and 1 to {MOST_PEOPLE} people a group")
    check_out(out)
    who = installed() if population == "simglucose" else draw(people, seed)
    traces = simulate(who, duration, seed, engine, executor, progress)
    _write(traces, out)
    low = float((traces.bg < 70).mean())
    counts = {"patients": len(who.names), "rows": int(traces.bg.size), "below_70": round(low, 4)}
    return {**counts, "below_20": int((traces.bg < 20).sum()), "out": str(out)}


def check_out(out: Path) -> None:
    """Refuse a file that cannot be written; raises `OperatorError("no-such-file")`."""
    if not out.parent.is_dir() or out.is_dir():
        raise OperatorError("no-such-file", f"cannot write {out.name[:60]!r}: its folder is missing, or it is a folder")


def simulate(
    who: Physiology,
    duration: int,
    seed: int,
    engine: str = "own",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Traces:
    """`duration` days of these people under basal insulin and boluses."""
    therapy, scenario = titrate(who), days(who.names, duration, seed)
    if engine == "own":
        return run(Bodies(who), therapy, scenario, BASAL_BOLUS, progress=progress)
    parts = []
    with task(progress, "people in simglucose", len(who.names)) as advance:
        for part in (executor or Serial()).map(_alone, (who, therapy, scenario), list(range(len(who.names)))):
            parts.append(part)
            advance()
    bg, cgm, cho, insulin = (np.concatenate([getattr(p, name) for p in parts], 1) for name in Traces.CHANNELS)
    return Traces(who.names, bg, cgm, cho, insulin)


def _alone(shared: tuple[Physiology, Therapy, Scenario], place: int) -> Traces:
    who, therapy, scenario = shared
    body = Simglucose(who.select([place]))
    return run(body, therapy.select([place]), scenario.select([place]), BASAL_BOLUS)


def _write(traces: Traces, out: Path) -> None:
    """Whole or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for place, name in enumerate(traces.names):
            writer.writerows(_lines(traces, place, name))
    os.replace(partial, out)


def _lines(traces: Traces, place: int, name: str) -> Iterator[tuple[str, int, str, str, str, str]]:
    columns = (getattr(traces, each)[:, place] for each in Traces.CHANNELS)
    for row, (bg, cgm, cho, insulin) in enumerate(zip(*columns, strict=True)):
        yield name, STEP * row, f"{bg:.2f}", f"{cgm:.2f}", f"{cho:.4f}", f"{insulin:.4f}"
