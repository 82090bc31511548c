"""The contract of every defence against malicious requests, and the records that cross its door."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.records import TRAIN, Records
from expunge.screening.ground import Forecast, Ground, forecast
from expunge.training import Model


class Verdict(StrEnum):
    """What a defence says of a request; a gate's verdict is the gravest of its screens'."""

    PASSED = "passed"
    """Nothing speaks against it."""

    HELD = "held"
    """A person must look; the law allows no more than a delay."""

    REFUSED = "refused"
    """It does not ask for the deletion of records that are held here: there is nothing lawful to carry out."""


@dataclass(frozen=True)
class Past:
    """An earlier request: a pseudonym of its owner (never the id), when in days, and how many records it named."""

    owner: str
    day: float
    records: int


@dataclass(frozen=True)
class Committed:
    """What the store keeps to recognise records: id -> commitment, and id -> salt, 32 bytes each."""

    leaves: Mapping[str, bytes] = field(repr=False)
    salts: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Submission:
    """A request as the screens see it.

    **Arguments:**

    - `ground`: what the provider knows before any request; shared by all that are judged against one model.
    - `ids`: the records that the request names.
    - `owner`: who asks, where ownership is to be checked; `pseudonym`: the same for `history`.
    - `copies`: records as the requester submitted them, where it did.
    - `committed`: what record matching compares with.
    - `history`: earlier requests; `day`: now, in the same days.
    - `after`: the model after the deletion, for screens that compare.
    """

    ground: Ground
    ids: tuple[str, ...]
    owner: str | None = None
    pseudonym: str = ""
    copies: Records | None = None
    committed: Committed | None = None
    history: tuple[Past, ...] = ()
    day: float = 0.0
    after: Model | None = None

    @cached_property
    def rows(self) -> Int[Tensor, " requested"]:
        """Positions of the requested training records among `ground.records.train`; unknown ids are left out."""
        place = self.ground.records.train.row_of
        return torch.tensor(sorted(place[each] for each in set(self.ids) if each in place), dtype=torch.long)

    @cached_property
    def forecast(self) -> Forecast:
        """What the deletion would do; computed once for all screens that look at it."""
        return forecast(self.ground, self.rows)

    @property
    def unknown(self) -> int:
        """How many of the ids are not held here."""
        return sum(each not in self.ground.records.row_of for each in self.ids)

    @property
    def training(self) -> int:
        """How many of the records train the model."""
        known = self.ground.records
        return sum(each in known.row_of and known.split[known.row_of[each]] == TRAIN for each in self.ids)


@dataclass(frozen=True)
class Finding:
    """What one screen found.

    **Arguments:**

    - `screen`: its name; `words`: one sentence without owner data.
    - `scores`: name -> number; more is more suspicious. `statistic`: the one that decides, if any.
    - `threshold`: what that one was compared with; None where the screen is not calibrated: it then holds nothing.
    - `code`: of the error that a refusal raises.
    - `suspects`: positions in `Submission.rows` of the records that it points at.
    """

    screen: str
    verdict: Verdict
    words: str
    scores: Mapping[str, float] = field(default_factory=dict)
    statistic: str | None = None
    threshold: float | None = None
    code: str | None = None
    suspects: tuple[int, ...] = ()

    @property
    def score(self) -> float:
        """The deciding score; 0 where the screen only says yes or no."""
        return 0.0 if self.statistic is None else self.scores[self.statistic]

    def to_json(self) -> dict[str, Any]:
        """Plain form for records and receipts; it names no record."""
        kept = {name: getattr(self, name) for name in ("screen", "words", "statistic", "threshold", "code")}
        return {**kept, "verdict": str(self.verdict), "scores": dict(self.scores), "suspects": len(self.suspects)}


@dataclass(frozen=True)
class Description:
    """A screen in words: what it catches, what it does not, and where it is from."""

    name: str
    catches: str
    misses: str
    source: str


@runtime_checkable
class Screen(Protocol):
    """A frozen dataclass whose fields are the settings. Two verbs, the same for all."""

    def describe(self) -> Description:
        """The screen in words."""

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Look at a request; changes nothing. `threshold` is a calibration's, for the deciding score."""


def compared(name: str, scores: Mapping[str, float], statistic: str, threshold: float | None, what: str) -> Finding:
    """The finding of a screen whose one score is held against a threshold."""
    score = scores[statistic]
    if threshold is None:
        return Finding(name, Verdict.PASSED, f"{what}: {score:.3g}; not calibrated, holds nothing.", scores, statistic)
    held = score > threshold
    side = "above" if held else "within"
    words = f"{what}: {score:.3g}, {side} {threshold:.3g}, exceeded by 5 % of honest requests at most."
    return Finding(name, Verdict.HELD if held else Verdict.PASSED, words, scores, statistic, threshold)
