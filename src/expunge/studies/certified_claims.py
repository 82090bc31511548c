"""The claims of the study `certified`, each from the rows that bear it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from expunge.studies.claims import StudyClaim, mean_claim
from expunge.studies.frame import Row
from expunge.unlearning.accounting import HONEST

SHARE = "<= 0.2"
FOUND = 2.6
"""Standard deviations from which a mark is found: one in a hundred of clean models reaches it by chance."""
At = tuple[str, int, float]
"""Network, seed, share deleted."""
Keyed = dict[At, Row]
Values = dict[At, float]
Holds = Callable[[float], bool]


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
    below = "<= 2 points below the retrained network"
    return [
        StudyClaim("head.epsilon", most, None, "<= 1", most <= 1),
        _worst("head.test_gap", _gaps(network, head), below, _two),
        _worst("head.test_gap_to_retrained_head", _gaps(own, head)),
    ]


def _noisy(done: Sequence[Row]) -> list[StudyClaim]:
    noisy, network = _of(done, "noisy-fine-tuning"), _of(done, "retrain")
    most = float(np.max([row["epsilon"] for row in noisy.values()]))
    return [
        StudyClaim("nft.epsilon", most, None, "<= 1", most <= 1 + 1e-6),
        _worst("nft.test_gap", _gaps(network, noisy), "<= 2", _two),
        _worst("nft.time_share", _column(noisy, "time_share"), SHARE, _fifth),
        _worst("nft.points_above_fresh", _above_fresh(noisy), "> 0", lambda value: value > 0, least=True),
    ]


def _best(done: Sequence[Row]) -> list[StudyClaim]:
    """The cheapest method that meets epsilon 1 within two points of retraining the network, then the cheapest one that
    does so by a certificate: an exact method has no epsilon to be true.
    """
    base, head = _of(done, "retrain"), _of(done, "certified-head")
    names = dict.fromkeys(row["method"] for row in done if row["claim"] in ("exact", "certified"))
    fit = [rows for name in names if not name.startswith("retrain") and _meets(rows := _of(done, name), base)]
    noisy = [rows for rows in fit if all(row["claim"] == "certified" for row in rows.values())]
    best = min(fit, key=_dearest, default=head)
    own, stopped = "time_share_of_own_retraining", "time_share_of_stopped_network"
    fresh = "> 0 points at equal seconds"
    return [
        _shared("best.time_share", best),
        *_each_share(best),
        _worst("best.test_gap", _gaps(base, best), "<= 2 points", _two),
        _worst(f"best.{own}", _column(best, own), SHARE, _fifth),
        _worst(f"best.{stopped}", _column(best, stopped), "< 1", lambda value: value < 1),
        _worst("best.beats_fresh", _above_fresh(best), fresh, lambda value: value > 0, least=True),
        _shared("best.certified_time_share", min(noisy, key=_dearest, default=head)),
        _worst("head.time_share", _column(head, "time_share"), SHARE, _fifth),
        _worst(f"head.{own}", _column(head, own), SHARE, _fifth),
        _worst("head.time_share_of_own_stopped", _column(head, "time_share_of_own_stopped")),
    ]


def _meets(rows: Keyed, base: Keyed) -> bool:
    """Whether every deletion is certified at epsilon 1, within two points of retraining and above a fresh network."""
    true = all(row["claim"] in ("exact", "certified") and row["epsilon"] <= 1 + 1e-6 for row in rows.values())
    return true and all(map(_two, _gaps(base, rows).values())) and min(_above_fresh(rows).values()) > 0


def _shared(name: str, rows: Keyed) -> StudyClaim:
    """What the dearest of its deletions takes, which method that is, and what it claims."""
    claim, first = _worst(name, _column(rows, "time_share"), SHARE, _fifth), next(iter(rows.values()))
    epsilon = max(row["epsilon"] for row in rows.values())
    kind = "exact, so that epsilon is 0" if first["claim"] == "exact" else f"certified, at epsilon {epsilon:.3g}"
    return replace(claim, why=f"The method is {first['method']}; its claim: {kind}. {claim.why}")


def _dearest(rows: Keyed) -> float:
    return _worst("", _column(rows, "time_share")).value or 0.0


def _each_share(rows: Keyed) -> list[StudyClaim]:
    means = _means("best.time_share", _column(rows, "time_share"), SHARE, _fifth)
    return [replace(claim, name=f"{claim.name}.{at[0]}.{100 * at[1]:.0f}_percent") for at, claim in means.items()]


def _worst(
    name: str, values: Values, target: str | None = None, holds: Holds | None = None, *, least: bool = False
) -> StudyClaim:
    """The largest (or least) mean over networks and shares deleted; the interval is over its seeds alone."""
    means = _means(name, values, target, holds)
    if not means:
        return mean_claim(name, [], target, holds)
    at = (min if least else max)(means, key=lambda key: means[key].value or 0.0)
    return replace(means[at], why=f"The worst of {len(means)}: {at[0]}, {at[1]:.0%} deleted.")


def _means(name: str, values: Values, target: str | None, holds: Holds | None) -> dict[tuple[str, float], StudyClaim]:
    """The mean over seeds for each network and share."""
    groups: dict[tuple[str, float], list[float]] = {}
    for (network, _, share), value in sorted(values.items()):
        groups.setdefault((network, share), []).append(value)
    return {at: mean_claim(name, found, target, holds) for at, found in groups.items()}


def _audits(parts: dict[str, list[Row]]) -> list[StudyClaim]:
    """Attacks on the claims: games on small problems, games on the models themselves, and poison."""
    fair = [row["violated"] for row in parts["games"] if not row["broken"]]
    broken = [row["violated"] for row in parts["games"] if row["broken"]]
    held = [row for row in parts["deletion"] if row["claim"] == "certified" and row["shown_epsilon"] is not None]
    violations = sum(fair) + sum(row["shown_epsilon"] > row["epsilon"] for row in held)
    newton = min(row["shown_epsilon"] for row in parts["deletion"] if row["method"] == "newton")
    return [
        StudyClaim("audit.violations", float(violations), None, "0", violations == 0),
        StudyClaim("audit.broken_found", float(all(broken)), None, "1", all(broken)),
        StudyClaim("audit.newton_shown_epsilon", newton, None, "> 1: no noise of 0.001 hides the step", newton > 1),
        *_poison(parts["poison"]),
    ]


def _poison(rows: Sequence[Row]) -> list[StudyClaim]:
    """Whether the marks are gone; no answer where they are not even found in a model that nothing was taken from."""
    sizes = {row["method"]: abs(row["z"]) for row in rows}
    network, head = sizes["none"], sizes["none, fixed features"]
    names, marks = ("poison.certified_and_exact_clean", "poison.newton_z"), ("1", ">= 2.6: still there")
    if network < FOUND:
        why = f"the marks are not found in the untouched network either (|Z| {network:.2f}): too few records to tell"
        return [StudyClaim(name, None, None, mark, None, why) for name, mark in zip(names, marks, strict=True)]
    clean = all(sizes[row["method"]] < FOUND for row in rows if row["claim"] in ("certified", "exact"))
    idle = f"of the head it tells nothing: before the deletion it shows no marks either (|Z| {head:.2f})"
    why = idle if head < FOUND else ""
    kept = sizes["newton"]
    return [
        StudyClaim(names[0], float(clean), None, marks[0], clean, why),
        StudyClaim(names[1], kept, None, marks[1], kept >= FOUND),
    ]


def _convex(parts: dict[str, list[Row]]) -> list[StudyClaim]:
    """Strongly convex trials, the head's residual, and the sequence of deletions."""
    (covered,) = parts["coverage"]
    trials, least = covered["trials"], min(row["bound_over_residual"] for row in parts["head"])
    share = covered["newton_error_over_no_op"]
    left = [row["budget_left"] for row in parts["sequence"]]
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
            _two,
        ),
    ]


def _fifth(value: float) -> bool:
    return value <= 0.2


def _two(value: float) -> bool:
    return value <= 2


def _of(done: Sequence[Row], method: str) -> Keyed:
    return {(row["network"], row["seed"], row["share"]): row for row in done if row["method"] == method}


def _column(rows: Keyed, name: str) -> Values:
    return {key: row[name] for key, row in rows.items() if row[name] is not None}


def _gaps(above: Keyed, below: Keyed) -> Values:
    """Points of test accuracy."""
    return {key: float(100 * (above[key]["accuracy_test"] - row["accuracy_test"])) for key, row in below.items()}


def _above_fresh(rows: Keyed) -> Values:
    """Points above a fresh network at equal effort."""
    return {key: 100 * (row["accuracy_test"] - row["accuracy_fresh_network"]) for key, row in rows.items()}
