"""The one form of every study: cells that run once, rows, claims, `results.json` and `report.html`.

A study is cut into cells (one seed and setting each). A cell's rows are written as soon as they are measured, so that a
killed study goes on where it stopped, and each cell depends on nothing but its key and the setting.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from expunge import __version__
from expunge.errors import OperatorError
from expunge.progress import Progress, task
from expunge.records import Records
from expunge.reports.study import StudyFigure, study_report
from expunge.studies.claims import StudyClaim
from expunge.training import Executor, fingerprint

Row = dict[str, Any]
"""One line of a study's table: plain JSON values."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a study runs on.

    **Arguments:**

    - `records`, `data`: the records, and what they are called in the results.
    - `scale`: `"small"` takes at most five minutes on two cores; `"full"` is the paper's.
    - `seeds`: one independent repetition each.
    """

    records: Records
    data: str
    scale: str
    seeds: tuple[int, ...]
    executor: Executor | None = None
    progress: Progress | None = None


@runtime_checkable
class Study(Protocol):
    """A paper's experiment. A frozen dataclass; its fields are knobs that the command line does not show."""

    @property
    def name(self) -> str:
        """What the command line and the results call it."""

    def cells(self, setting: Setting) -> Sequence[str]:
        """Keys of the cells, in the order to run them: letters, digits, dots and dashes."""

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """What the rows say, each against its mark."""

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Pictures for the report."""


def run_study(study: Study, setting: Setting, out: Path) -> dict[str, Any]:
    """Run what is left to run, and write `out/results.json` and `out/report.html`; returns the results.

    **Raises:** `OperatorError("bad-data")` for records that the study cannot use, and what its cells raise.
    """
    cells = study.cells(setting)
    folder = out / "cells" / _digest(study, setting)
    folder.mkdir(parents=True, exist_ok=True)
    with task(setting.progress, f"study {study.name}", len(cells)) as advance:
        done = [_cell(study, replace(setting, progress=None), cell, folder, advance) for cell in cells]
    rows = [row for part in done for row in part["rows"]]
    results = {
        "study": study.name,
        "version": __version__,
        "platform": fingerprint(threads=1),
        "data": setting.data,
        "scale": setting.scale,
        "seeds": list(setting.seeds),
        "seconds": round(sum(part["seconds"] for part in done), 3),
        "rows": rows,
        "claims": [claim.to_json() for claim in study.claims(setting, rows)],
    }
    _write(out / "results.json", json.dumps(results, indent=1, allow_nan=False).encode() + b"\n")
    _write(out / "report.html", study_report(results, study.figures(setting, rows)).encode())
    return results


def _cell(study: Study, setting: Setting, cell: str, folder: Path, advance: Any) -> dict[str, Any]:
    file = folder / f"{cell}.json"
    if not file.exists():
        started = time.monotonic()
        rows = study.run(setting, cell)
        body = {"rows": rows, "seconds": time.monotonic() - started}
        _write(file, json.dumps(body, allow_nan=False).encode())
    advance()
    return dict(json.loads(file.read_bytes()))


def _digest(study: Study, setting: Setting) -> str:
    """Cells are reused only for the same study, version, scale and data."""
    content = hashlib.sha256(repr((study, __version__, setting.scale, setting.records.ids)).encode())
    content.update(setting.records.features.numpy().tobytes())
    content.update(setting.records.targets.numpy().tobytes())
    return content.hexdigest()[:16]


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a killed study leaves no half cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def check_scale(scale: str) -> None:
    """Refuse a scale that is neither small nor full.

    **Raises:** `OperatorError("bad-arguments")`.
    """
    if scale not in ("small", "full"):
        raise OperatorError("bad-arguments", f"scale is small or full, not {scale[:20]!r}")
