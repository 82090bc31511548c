"""The claims of the study `certified`, each from the rows that bear it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.studies.claims import StudyClaim, mean_claim
from expunge.studies.frame import Row
from expunge.unlearning.accounting import HONEST

SHARE = "<= 0.2"


def certified_claims(rows: Sequence[Row]) -> list[StudyClaim]:
    """Each claim of the study from its rows."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row["part"], []).append(row)
    paper = {row["setting"]: row.get("epsilon_bought") for row in parts["paper"]}
    return [
        *_solvers(parts["solvers"]),
        *_head(parts["deletion"]),
        *_noisy(parts["deletion"]),
        *_best(parts["deletion"]),
        *_audits(parts),
        *_convex(parts),
        StudyClaim("paper.epsilon_at_sigma_0.001", paper["theorem, damping 0.01"], why=HONEST),
        StudyClaim("paper.epsilon_without_any_step", paper["no step, sensitivity 2C"]),
    ]


def _solvers(rows: Sequence[Row]) -> list[StudyClaim]:
    lines = {row["solver"]: row for row in rows}
    pairs = (
        ("series, automatic scale", "conjugate gradient, same error"),
        ("series, public defaults", "conjugate gradient, same error as public"),
    )
    speed = min(lines[slow]["seconds"] / max(lines[quick]["seconds"], 1e-9) for slow, quick in pairs)
    matched = lines["series, automatic scale"]["relative_error"]
    return [
        StudyClaim("cg.speedup_over_neumann", speed, None, ">= 10", speed >= 10),
        StudyClaim("neumann.matches_exact", matched, None, "<= 0.01", matched <= 0.01),
    ]


def _head(done: Sequence[Row]) -> list[StudyClaim]:
    head, network, own = (_of(done, name) for name in ("certified-head", "retrain", "retrain-head"))
    most = float(np.max([row["epsilon"] for row in head.values()]))
    gaps = [_points(network[key], row) for key, row in head.items()]
    return [
        StudyClaim("head.epsilon", most, None, "<= 1", most <= 1),
        mean_claim("head.test_gap", gaps, "<= 2 points below the retrained network", lambda value: value <= 2),
        mean_claim("head.test_gap_to_retrained_head", [_points(own[key], row) for key, row in head.items()]),
    ]


def _noisy(done: Sequence[Row]) -> list[StudyClaim]:
    noisy, network = _of(done, "noisy-fine-tuning"), _of(done, "retrain")
    most = float(np.max([row["epsilon"] for row in noisy.values()]))
    gaps = [_points(network[key], row) for key, row in noisy.items()]
    above = [100 * (row["accuracy_test"] - row["accuracy_fresh_network"]) for row in noisy.values()]
    return [
        StudyClaim("nft.epsilon", most, None, "<= 1", most <= 1 + 1e-6),
        mean_claim("nft.test_gap", gaps, "<= 2", lambda value: value <= 2),
        mean_claim("nft.points_above_fresh", above, "> 0", lambda value: value > 0),
    ]


def _best(done: Sequence[Row]) -> list[StudyClaim]:
    """The cheapest method that meets epsilon 1 within two points of retraining the network; then the logistic head."""
    base, squares = _of(done, "retrain"), _of(done, "downdate")
    near = all(_points(base[key], row) <= 2 for key, row in squares.items())
    best, head = squares if near else _of(done, "certified-head"), list(_of(done, "certified-head").values())
    rows = list(best.values())
    each = _each_share(rows)
    worst = max(claim.value for claim in each if claim.value is not None)
    gap = max(_points(base[key], row) for key, row in best.items())
    beats = min(100 * (row["accuracy_test"] - row["accuracy_fresh_network"]) for row in rows)
    name = f"The dearest mean over networks and shares; the method is {rows[0]['method']}."
    own, stopped = _column(rows, "time_share_of_own_retraining"), _column(rows, "time_share_of_stopped_network")
    return [
        StudyClaim("best.time_share", worst, None, SHARE, worst <= 0.2, name),
        *each,
        StudyClaim("best.test_gap", gap, None, "<= 2 points, the largest", gap <= 2),
        mean_claim("best.time_share_of_own_retraining", own, SHARE, _fifth),
        mean_claim("best.time_share_of_stopped_network", stopped, "< 1", lambda value: value < 1),
        StudyClaim("best.beats_fresh", beats, None, "> 0 points at equal seconds, the least", beats > 0),
        mean_claim("head.time_share", _column(head, "time_share"), SHARE, _fifth),
        mean_claim("head.time_share_of_own_retraining", _column(head, "time_share_of_own_retraining"), SHARE, _fifth),
        mean_claim("head.time_share_of_own_stopped", _column(head, "time_share_of_own_stopped")),
    ]


def _each_share(rows: Sequence[Row]) -> list[StudyClaim]:
    groups = sorted({(row["network"], row["share"]) for row in rows})
    return [
        mean_claim(
            f"best.time_share.{network}.{100 * share:.0f}_percent",
            [row["time_share"] for row in rows if (row["network"], row["share"]) == (network, share)],
            SHARE,
            _fifth,
        )
        for network, share in groups
    ]


def _audits(parts: dict[str, list[Row]]) -> list[StudyClaim]:
    """Attacks on the claims: games on small problems, games on the models themselves, and poison."""
    fair = [row["violated"] for row in parts["games"] if not row["broken"]]
    broken = [row["violated"] for row in parts["games"] if row["broken"]]
    held = [row for row in parts["deletion"] if row["claim"] == "certified" and row["shown_epsilon"] is not None]
    violations = sum(fair) + sum(row["shown_epsilon"] > row["epsilon"] for row in held)
    newton = [row["shown_epsilon"] for row in parts["deletion"] if row["method"] == "newton"]
    poison = [(row["claim"], abs(row["z"])) for row in parts["poison"]]
    clean = all(z < 2.6 for claim, z in poison if claim in ("certified", "exact"))
    kept = next(abs(row["z"]) for row in parts["poison"] if row["method"] == "newton")
    return [
        StudyClaim("audit.violations", float(violations), None, "0", violations == 0),
        StudyClaim("audit.broken_found", float(all(broken)), None, "1", all(broken)),
        mean_claim("audit.newton_shown_epsilon", newton, "> 1: no noise of 0.001 hides the step", lambda v: v > 1),
        StudyClaim("poison.certified_and_exact_clean", float(clean), None, "1", clean),
        StudyClaim("poison.newton_z", kept, None, ">= 2.6: still there", kept >= 2.6),
    ]


def _convex(parts: dict[str, list[Row]]) -> list[StudyClaim]:
    """Strongly convex trials, the head's residual, and the sequence of deletions."""
    (covered,) = parts["coverage"]
    trials, least = covered["trials"], min(row["bound_over_residual"] for row in parts["head"])
    share = covered["newton_error_over_no_op"]
    left = _column(parts["sequence"], "budget_left")
    within = all(row["within_budget"] for row in parts["sequence"])
    both = covered["inside"] == covered["inside_theorem"] == trials
    growth = float(max(row["storage_growth"] for row in parts["sequence"]))
    return [
        StudyClaim("bound.coverage", float(covered["inside"]), None, "100", both and trials == 100),
        StudyClaim("bound.newton_error_over_no_op", share, None, "<= 0.01", share <= 0.01),
        StudyClaim("head.bound_over_residual", least, None, ">= 100", least >= 100),
        mean_claim("sequential.budget_left", left, ">= 0 after 10", lambda value: within and value >= 0),
        StudyClaim("sequential.storage_growth", growth, None, "0", growth == 0),
        mean_claim(
            "sequential.test_gap",
            [100 * (row["accuracy_retrained"] - row["accuracy_test"]) for row in parts["sequence"]],
            "<= 2",
            lambda value: value <= 2,
        ),
    ]


def _fifth(value: float) -> bool:
    return value <= 0.2


def _of(done: Sequence[Row], method: str) -> dict[tuple[Any, ...], Row]:
    return {(row["network"], row["seed"], row["share"]): row for row in done if row["method"] == method}


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None]


def _points(above: Row, below: Row) -> float:
    return float(100 * (above["accuracy_test"] - below["accuracy_test"]))
