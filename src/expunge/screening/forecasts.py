"""Screens on the dry run: what deleting the batch would do to probes, to itself, and beside the batches of others."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool

from expunge.screening.ground import Forecast, Ground, right
from expunge.screening.submission import Description, Finding, Submission, compared


@dataclass(frozen=True)
class DryRun:
    """Worst predicted fall of a margin over all probes, predicted flips, and the move of the last layer."""

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "dry-run",
            "Batches chosen by influence: they move a probe further than an honest batch does.",
            "Records below a cap on the gradient norm, chosen for a target that resembles no probe.",
            "Newton estimate: Koh and Liang, ICML 2017; spec D2 (1)",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Forecast and compare."""
        scores = dry_run(submission.ground, submission.forecast)
        return compared("dry-run", scores, "worst_drop", threshold, "Worst predicted fall of a probe's margin")


@dataclass(frozen=True)
class Statistics:
    """Batch statistics: gradient norm, loss, pairwise cosine, margins. Score: the mean gradient norm."""

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "statistics",
            "Batches of records with large gradients: the naive attack.",
            "Anybody who caps the norm; it also calls owners of hard records suspicious.",
            "spec D2 (2)",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Measure the batch."""
        scores = statistics(submission)
        return compared("statistics", scores, "gradient_norm", threshold, "Mean gradient norm")


@dataclass(frozen=True)
class GroupLeftOut:
    """Leave-group-out forecast: how far the batch's own margins would fall without it."""

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "group-left-out",
            "Batches that hold up their own region: neighbours of a target, which nothing else supports.",
            "Capped batches beside owners of hard records.",
            "leave-group-out forecast, ours",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Forecast for the batch itself."""
        found = submission.forecast
        scores = {"own_drop": float(found.own_drops.mean()) if len(found.own_drops) else 0.0}
        return compared("group-left-out", scores, "own_drop", threshold, "Fall of the batch's own margins")


@dataclass(frozen=True)
class Alignment:
    """Whether the records pull one way: the largest, over probes, of the sum of pulls over their root square sum.

    Records chosen for one target add up there; those of honest owners, hard or not, pull every way.
    """

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "alignment",
            "Capped and naive batches: each record helps against the same probe, however small its gradient.",
            "Clusters: records that resemble each other are aligned without any design.",
            "worst case over the whole validation set, ours",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Compare sums with root square sums."""
        scores = alignment(submission.ground, submission.forecast)
        return compared("alignment", scores, "alignment", threshold, "Alignment against the worst probe")


def dry_run(ground: Ground, found: Forecast, unseen: int | None = None) -> dict[str, float]:
    """Scores of the dry run; `unseen`: a probe to be left out."""
    good = _looked_at(ground, unseen)
    before, drops = ground.probe_margins[good], found.drops[good]
    relative = drops / before.clamp_min(NEAR)
    return {
        "worst_drop": _largest(drops),
        "worst_relative_drop": _largest(relative),
        "flips": float((drops > before).sum()),
        "move": found.move,
    }


def alignment(ground: Ground, found: Forecast, unseen: int | None = None) -> dict[str, float]:
    """Scores of alignment, over all probes that are right and over those with small margins; `unseen` as above."""
    good = _looked_at(ground, unseen)
    close = good & (ground.probe_margins < CLOSE)
    ratio = found.pulls.sum(0) / found.pulls.square().sum(0).sqrt().clamp_min(1e-12)
    agreeing = (found.pulls > 0).float().mean(0) if len(found.pulls) else torch.zeros(len(good))
    return {
        "alignment": _largest(ratio[good]),
        "alignment_close": _largest(ratio[close]),
        "agreement": _largest(agreeing[close]),
    }


def _looked_at(ground: Ground, unseen: int | None) -> Bool[torch.Tensor, " probes"]:
    good = right(ground)
    return good if unseen is None else good & (torch.arange(len(good)) != unseen)


def statistics(submission: Submission) -> dict[str, float]:
    """Batch statistics in the last layer."""
    ground, rows = submission.ground, submission.rows
    if not len(rows):
        return dict.fromkeys(("gradient_norm", "loss", "cosine", "feature_cosine", "small_margin"), 0.0)
    parts = [(head, head.of(rows)) for head in ground.heads]
    gradients = torch.cat([_unit(head.gradients(places)) for head, places in parts])
    centred = torch.cat([_unit(head.features[places] - head.features.mean(0)) for head, places in parts])
    return {
        "gradient_norm": float(ground.gradient_norms[rows].mean()),
        "loss": float(ground.losses[rows].mean()),
        "cosine": _pairwise(gradients),
        "feature_cosine": _pairwise(centred),
        "small_margin": -float(ground.margins[rows].mean()),
    }


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return found


def _pairwise(units: torch.Tensor) -> float:
    """Mean cosine between two different vectors, from the length of their sum."""
    count = len(units)
    return float((units.sum(0).square().sum() - count) / (count * (count - 1))) if count > 1 else 0.0


def _largest(values: torch.Tensor) -> float:
    return float(values.max()) if len(values) else 0.0


NEAR = 0.2
"""Margins below this count as this: a probe on the boundary flips by itself."""

CLOSE = 3.0
"""Margin in logits up to which a probe is worth an attack with few records."""
