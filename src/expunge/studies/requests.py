"""Study `requests`: attack x unlearner x defence (Qian et al., KDD 2023; Zhao et al., NeurIPS 2023)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import le

import numpy as np

from expunge.adversaries.requesters import KINDS
from expunge.errors import OperatorError
from expunge.records import Records
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim, mean_claim, share_claim
from expunge.studies.frame import Row, Setting
from expunge.studies.requests_cells import GROUPS, greedy, modification, screens, selection, sequential
from expunge.studies.requests_figures import requests_figures

COUNTS = {"small": (2, 2, 4, 12, 40), "full": (6, 6, 12, 40, 100)}
"""Targets of a group, far targets, targets of copies, attacked targets and honest batches of the screens."""


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
        parts = ("selection", "greedy", "modification", "screens", "sequential")
        return [f"seed-{seed}.{part}" for seed in setting.seeds for part in parts]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        first, part = cell.split(".")
        seed = int(first.removeprefix("seed-"))
        records = reduced(setting.records) if setting.scale == "small" else setting.records
        near, far, copies, attacked, honest = COUNTS[setting.scale]
        parts: dict[str, Callable[[], list[Row]]] = {
            "selection": partial(selection, records, seed, near),
            "greedy": partial(greedy, records, seed, far),
            "modification": partial(modification, records, seed, copies),
            "screens": partial(screens, records, seed, attacked, honest),
            "sequential": partial(sequential, records, seed),
        }
        return [{**row, "trained_on": len(records.train)} for row in parts[part]()]

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        return [*_selections(rows), *_copies(rows), *_screens(rows), *_repair(rows), *_stream(rows)]

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Flips by attack and unlearner; AUC by screen and attack."""
        del setting
        return requests_figures(rows)


def reduced(records: Records) -> Records:
    """At most 1,500 training and 600 test records, evenly over the order: what small scale has time for."""
    kept = set[str]()
    for part, most in ((records.train, 1500), (records.test, 600)):
        step = max(1, -(-len(part) // most))
        kept |= set(part.ids[::step])
    return records if len(kept) == len(records) else records.select(records.rows(kept))


def flips(rows: Sequence[Row], attack: str, **more: object) -> list[bool]:
    """Whether each target was flipped, over the rows of an attack."""
    own = [r for r in rows if r["part"] == "attack" and r["attack"] == attack]
    return [bool(r["flips"]) for r in own if all(r[key] == value for key, value in more.items())]


def _selections(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    exact = {"unlearner": "retrain", "defence": "none"}
    low = flips(rows, "influence", group="lowest 5 %", **exact)
    yield share_claim("influence.flip_rate_low_margin", low, ">= 0.85", lambda value: value >= 0.85)
    mid = flips(rows, "influence", group="5-20 %", **exact)
    yield share_claim("influence.flip_rate_mid_margin", mid, ">= 0.3", lambda value: value >= 0.3)
    yield share_claim("random.flip_rate", flips(rows, "random", **exact), "<= 0.1", lambda value: value <= 0.1)
    lost = [100 * (r["accuracy_before"] - r["accuracy_after"]) for r in _exact(rows, "influence")]
    yield mean_claim("influence.accuracy_lost", lost, "<= 1.5 points", lambda value: value <= 1.5)
    rounds, once = (flips(rows, name, group="20-40 %, 2 % deleted") for name in ("greedy", "influence"))
    gains = [float(one) - float(other) for one, other in zip(rounds, once, strict=True)]
    yield mean_claim("greedy.gain", gains, ">= 0.2 of the targets", lambda value: value >= 0.2)
    yield _correlation(rows)


def _exact(rows: Sequence[Row], attack: str, defence: str = "none") -> list[Row]:
    own = [r for r in rows if r["part"] == "attack" and r["attack"] == attack and r["defence"] == defence]
    return [r for r in own if r["unlearner"] == "retrain" and r["group"] in GROUPS]


def _correlation(rows: Sequence[Row]) -> StudyClaim:
    name = "influence.predicted_actual_correlation"
    own = [r for r in _exact(rows, "influence") + _exact(rows, "capped-influence") if r.get("predicted") is not None]
    pairs = np.array([[r["predicted"], r["fell"]] for r in own])
    if len(pairs) < 4 or not pairs.std(0).all():
        return StudyClaim(name, None, None, None, None, "fewer than four different requests were retrained")
    return StudyClaim(name, float(np.corrcoef(pairs.T)[0, 1]), None, "over requests of one size, by retraining")


def _copies(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    open_, gated = ({"defence": each} for each in ("none", "record matching"))
    yield share_claim(
        "modification.asr_without_gate", flips(rows, "altered-copies", **open_), ">= 0.9", lambda v: v >= 0.9
    )
    yield share_claim("modification.asr_of_noise", flips(rows, "noisy-copies", **open_), "<= 0.15", lambda v: v <= 0.15)
    names = ("altered-copies", "noisy-copies", "blended-copies", "never-trained")
    through = [each for name in names for each in flips(rows, name, **gated)]
    yield share_claim("modification.asr_with_gate", through, "0", lambda value: value == 0)
    refused = [not r["refused"] for r in rows if r.get("refused") is not None]
    yield share_claim("modification.accepted_with_gate", refused, "0", lambda value: value == 0)


def _screens(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    found = [r for r in rows if r["part"] == "screen"]
    for among, end in (("unknown", ""), ("probes", ".on_probes")):
        some = [r for r in found if r["targets_among"] == among]
        for attack in ("naive", "capped", "neighbour"):
            yield _auc(some, attack, f"screen.auc.{attack}{end}")
    for kind in KINDS:
        own = {r["seed"]: r["fpr"] for r in found if r["honest"] == kind and r["screen"] == "combined"}
        name = f"screen.fpr.{kind.replace('-', '_')}"
        yield mean_claim(name, list(own.values()), "<= 0.05", lambda value: value <= 0.05)


def _auc(found: Sequence[Row], attack: str, name: str) -> StudyClaim:
    """The combined screen's AUC, and the best screen by name."""
    least = {each: _least(found, each, attack) for each in {r["screen"] for r in found}}
    if not least:
        return mean_claim(name, [])
    best = max(sorted(least), key=lambda each: float(np.mean(least[each])))
    mark = 0.95 if attack == "naive" else 0.9
    words = f">= {mark}, combined screen, the worst of three kinds of owners; best: {best}"
    return mean_claim(name, least["combined"], f"{words} {float(np.mean(least[best])):.2f}", partial(le, mark))


def _least(found: Sequence[Row], name: str, attack: str) -> list[float]:
    """For each seed the least AUC over the kinds of honest owners."""
    own = [r for r in found if r["screen"] == name and r["attack"] == attack]
    return [min(r["auc"] for r in own if r["seed"] == seed) for seed in sorted({r["seed"] for r in own})]


def _repair(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    left = [
        each for name in ("influence", "capped-influence", "neighbours") for each in flips(rows, name, defence="repair")
    ]
    yield share_claim("repair.flips_left", left, "<= 0.05", lambda value: value <= 0.05)
    gaps = [100 * r["gap_to_retraining"] for r in rows if r.get("gap_to_retraining") is not None]
    yield mean_claim("repair.test_gap", gaps, "<= 0.5 points below retraining", lambda value: value <= 0.5)


def _stream(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    yield share_claim("sequential.flip_rate", flips(rows, "sequential"), "exact retraining after each request")
    seen = [100 * r["stealth"] for r in rows if r.get("stealth") is not None]
    yield mean_claim("sequential.stealth", seen, "<= 1 point of accuracy by one request", lambda value: value <= 1)
