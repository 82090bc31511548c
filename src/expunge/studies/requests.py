"""Study `requests`: attack x unlearner x defence (Qian et al., KDD 2023; Zhao et al., NeurIPS 2023)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from expunge.errors import OperatorError
from expunge.records import Records
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim
from expunge.studies.frame import Row, Setting
from expunge.studies.requests_cells import against_repair, audited, floor, greedy, repair, selection, sequential
from expunge.studies.requests_claims import requests_claims
from expunge.studies.requests_copies import modification, planted
from expunge.studies.requests_figures import requests_figures
from expunge.studies.requests_screens import screens


@dataclass(frozen=True)
class Counts:
    """How much is tried at one scale: targets of a group, of those attacked on other servers too, and so on."""

    targets: int
    others: int
    floor: int
    floor_repairs: int
    repairs: int
    far: int
    copies: int
    planted: int
    attacked: int
    honest: int
    streams: int
    audited: int


COUNTS = {
    "small": Counts(8, 1, 12, 3, 6, 3, 8, 3, 16, 60, 2, 500),
    "full": Counts(30, 6, 30, 10, 30, 8, 12, 10, 40, 200, 6, 4000),
}


@dataclass(frozen=True)
class RequestsStudy:
    """Flips of targets, test accuracy, screens with the adaptive attacks beside the naive one, repair, streams."""

    name: str = "requests"

    def cells(self, setting: Setting) -> Sequence[str]:
        """One for each part and seed.

        **Raises:** `OperatorError("bad-data")` for regression, and for fewer than 200 training records.
        """
        if setting.records.classes < 2 or len(setting.records.train) < 200:
            raise OperatorError("bad-data", "the study needs classes and at least 200 training records")
        parts = _parts(setting.records, 0, COUNTS[setting.scale])
        return [f"seed-{seed}.{part}" for seed in setting.seeds for part in parts]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        first, part = cell.split(".")
        records = replace(reduced(setting.records) if setting.scale == "small" else setting.records, raw=None)
        rows = _parts(records, int(first.removeprefix("seed-")), COUNTS[setting.scale])[part]()
        return [{"trained_on": len(records.train), **row} for row in rows]

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        return requests_claims(rows)

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Flips by attack and unlearner; AUC by screen and attack."""
        del setting
        return requests_figures(rows)


def _parts(records: Records, seed: int, many: Counts) -> dict[str, Callable[[], list[Row]]]:
    return {
        "selection": partial(selection, records, seed, many.targets, many.others),
        "floor": partial(floor, records, seed, many.floor, many.floor_repairs),
        "repair": partial(repair, records, seed, many.repairs),
        "audited": partial(audited, records, seed, many.audited),
        "against-repair": partial(against_repair, records, seed, many.repairs),
        "greedy": partial(greedy, records, seed, many.far),
        "modification": partial(modification, records, seed, many.copies),
        "planted": partial(planted, records, seed, many.planted),
        "screens": partial(screens, records, seed, many.attacked, many.honest),
        "sequential": partial(sequential, records, seed, many.streams),
    }


def reduced(records: Records) -> Records:
    """At most 1,500 training and 600 test records, evenly over the order: what small scale has time for."""
    kept = set[str]()
    for part, most in ((records.train, 1500), (records.test, 600)):
        step = max(1, -(-len(part) // most))
        kept |= set(part.ids[::step])
    return records if len(kept) == len(records) else records.select(records.rows(kept))
