"""Claims of the study `requests`: the marks of issue and specification."""

from collections.abc import Iterator, Sequence

import numpy as np

from expunge.adversaries.requesters import KINDS
from expunge.studies.claims import StudyClaim, mean_claim, share_claim
from expunge.studies.frame import Row
from expunge.studies.requests_cells import GROUPS


def requests_claims(rows: Sequence[Row]) -> list[StudyClaim]:
    """Every claim of the study."""
    parts = (_selections, _copies, _planted, _screens, _repair, _stream)
    return [claim for part in parts for claim in part(rows)]


def flips(rows: Sequence[Row], attack: str, **more: object) -> list[bool]:
    """Whether each target was flipped, over the rows of an attack."""
    own = [r for r in rows if r["part"] == "attack" and r["attack"] == attack]
    found = [r for r in own if all(r[key] == value for key, value in more.items())]
    return [number < r["flips"] for r in found for number in range(r["targets"])]


def _selections(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    exact = {"unlearner": "retrain", "defence": "none"}
    low = flips(rows, "influence", group="lowest 5 %", **exact)
    yield share_claim("influence.flip_rate_low_margin", low, ">= 0.85", lambda value: value >= 0.85)
    mid = flips(rows, "influence", group="5-20 %", **exact)
    yield share_claim("influence.flip_rate_mid_margin", mid, ">= 0.3", lambda value: value >= 0.3)
    some = [each for group in GROUPS for each in flips(rows, "random", group=group, **exact)]
    yield share_claim("random.flip_rate", some, "<= 0.1", lambda value: value <= 0.1)
    for group, end in zip(GROUPS, ("low", "mid"), strict=True):
        yield share_claim(
            f"random.flip_rate_{end}_margin", flips(rows, "random", group=group, **exact), "the noise floor"
        )
    grey = flips(rows, "grey-box influence", group="lowest 5 %", **exact)
    yield share_claim("influence.flip_rate_grey_box", grey, "recipe and half of the records are known, lowest 5 %")
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
    names = sorted({r["attack"] for r in rows if r.get("defence") == "record matching"})
    through = [each for name in names for each in flips(rows, name, **gated)]
    yield share_claim("modification.asr_with_gate", through, "0", lambda value: value == 0)
    refused = [not r["refused"] for r in rows if r.get("refused") is not None]
    yield share_claim("modification.accepted_with_gate", refused, "0", lambda value: value == 0)


def _screens(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    found = [r for r in rows if r["part"] == "screen"]
    for among, end in (("unknown", ""), ("probes", ".on_probes")):
        some = [r for r in found if r["targets_among"] == among]
        for attack in ("naive", "capped", "neighbour", "evading"):
            yield _auc(some, attack, f"screen.auc.{attack}{end}")
    for attack in ("naive", "capped", "neighbour", "evading"):
        yield share_claim(f"screened.flip_rate.{attack}", flips(rows, attack, group="screened"), "by retraining")
    for kind in KINDS:
        own = {r["seed"]: r for r in found if r["honest"] == kind and r["screen"] == "combined"}
        held = [number < r["held"] for r in own.values() for number in range(r["honest_batches"])]
        yield share_claim(f"screen.fpr.{kind.replace('-', '_')}", held, "<= 0.05", lambda value: value <= 0.05)


def _auc(found: Sequence[Row], attack: str, name: str) -> StudyClaim:
    """The combined screen's AUC, the least over the kinds of owners; and the best screen by name."""
    least = {each: _least(found, each, attack) for each in {r["screen"] for r in found}}
    if not least:
        return mean_claim(name, [])
    means = {each: float(np.mean([r["auc"] for r in some])) for each, some in least.items()}
    best = max(sorted(means), key=lambda each: means[each])
    own, value = least["combined"], means["combined"]
    interval = (float(np.mean([r["auc_low"] for r in own])), float(np.mean([r["auc_high"] for r in own])))
    if attack == "evading":
        return StudyClaim(name, value, interval, f"adapted to the fitted screen; best: {best} {means[best]:.2f}")
    mark = 0.95 if attack == "naive" else 0.9
    words = f">= {mark}, combined screen, the worst of three kinds of owners; best: {best} {means[best]:.2f}"
    return StudyClaim(name, value, interval, words, value >= mark)


def _least(found: Sequence[Row], name: str, attack: str) -> list[Row]:
    """For each seed the row of the kind of honest owner with the least AUC."""
    own = [r for r in found if r["screen"] == name and r["attack"] == attack]
    seeds = sorted({r["seed"] for r in own})
    return [min((r for r in own if r["seed"] == seed), key=lambda r: float(r["auc"])) for seed in seeds]


def _repair(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    own = [r for r in rows if r.get("gap_to_retraining") is not None]
    left, before = ([number < r[key] for r in own for number in range(r["targets"])] for key in _FLIPPED)
    yield share_claim("repair.flips_without", before, "the same requests, retrained and not repaired")
    yield share_claim("repair.flips_left", left, "<= 0.05", lambda value: value <= 0.05)
    for group, end in zip(GROUPS, ("low", "mid"), strict=True):
        some = [number < r["flips"] for r in own if r["group"] == group for number in range(r["targets"])]
        yield share_claim(f"repair.flips_left_{end}_margin", some, f"margins {group}")
    yield from _nearest(own)
    floor = [each for group in GROUPS for each in flips(rows, "random", group=group, defence="repair")]
    yield share_claim("repair.flips_of_random", floor, "repair after random requests: what no attack causes")
    aware = flips(rows, "influence on repair")
    yield share_claim("repair.flips_of_aware_attacker", aware, "lowest margins of the repaired model, influence on it")
    gaps = [100 * r["gap_to_retraining"] for r in own]
    yield mean_claim("repair.test_gap", gaps, "<= 0.5 points below retraining", lambda value: value <= 0.5)
    moved = [bool(r["moved_by_forgotten"]) for r in rows if r.get("moved_by_forgotten") is not None]
    yield share_claim(
        "repair.moved_by_forgotten", moved, "0: other forgotten records, the same bytes", lambda v: v == 0
    )
    yield _audited([r for r in rows if r.get("lira_auc") is not None])


_FLIPPED = ("flips", "unrepaired_flips")


def _nearest(own: Sequence[Row]) -> Iterator[StudyClaim]:
    """What a learner of another kind makes of what is left: whether the network is what fails the targets."""
    wrong = [number < r["nearest_flips"] for r in own for number in range(r["targets"])]
    yield share_claim(
        "repair.flips_left_nearest", wrong, "three nearest neighbours on the same records, eight copies each"
    )
    low = [number < r["nearest_flips"] for r in own if r["group"] == "lowest 5 %" for number in range(r["targets"])]
    yield share_claim("repair.flips_left_nearest_low_margin", low, "margins lowest 5 %")
    both = [number < r["both"] for r in own for number in range(r["flips"])]
    yield share_claim("repair.left_is_wrong_by_nearest", both, "of the targets that repair leaves flipped")
    better = [100 * (r["nearest_accuracy"] - r["accuracy_after"]) for r in own]
    yield mean_claim("repair.nearest_accuracy", better, "points of test accuracy above the repaired model")


def _audited(rows: Sequence[Row]) -> StudyClaim:
    """The repaired model under LiRA: at most what one more model of the repair's recipe would show, trained without."""
    if not rows:
        return mean_claim("repair.lira_auc", [])
    first = rows[0]
    high = first["lira_floor"][1]
    words = f"<= {high:.3f}, the floor of models repaired without the records; one with them {first['lira_before']:.3f}"
    interval, value = (first["lira_low"], first["lira_high"]), first["lira_auc"]
    held = None if first["lira_finding"] == "no power" else value <= high
    return StudyClaim("repair.lira_auc", value, interval, words, held, f"audit: {first['lira_finding']}")


def _planted(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    yield share_claim("camouflage.flip_rate", flips(rows, "camouflage"), "by retraining; true records are requested")
    yield share_claim("backdoor.flip_rate", flips(rows, "backdoor-by-deletion"), "targets with a patch, by retraining")
    for name, server in (("first_order", "first-order"), ("retrain", "retrain")):
        lost = [_lost(rows, attack, server) for attack in ("usability", "random")]
        more = [one - other for one, other in zip(*lost, strict=True)]
        yield mean_claim(f"usability.accuracy_lost.{name}", more, "points more than by a random request")
    for name in ("blended-copies", "boundary-inside", "boundary-across"):
        own = [r for r in rows if r["part"] == "attack" and r["attack"] == name and r["defence"] == "none"]
        lost_ = [100 * (r["accuracy_before"] - r["accuracy_after"]) for r in own]
        yield mean_claim(f"{name.replace('-', '_')}.accuracy_lost", lost_, "points, first-order server, no gate")
    far = {r["order"]: r["distance"] for r in rows if r["part"] == "exhaustion"}
    ratio = [far["exhaust-budget"] / far["random"]] if far.get("random") else []
    yield mean_claim("exhaustion.noise_factor", ratio, "noise to cover, beside a random request's")


def _lost(rows: Sequence[Row], attack: str, server: str) -> list[float]:
    own = [r for r in rows if r["part"] == "attack" and r["attack"] == attack and r["unlearner"] == server]
    some = [r for r in own if r["group"] == "every test record"]
    return [100 * (r["accuracy_before"] - r["accuracy_after"]) for r in some]


def _stream(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    yield share_claim("sequential.flip_rate", flips(rows, "sequential"), "exact retraining after each request")
    seen = [100 * r["stealth"] for r in rows if r.get("stealth") is not None]
    yield mean_claim("sequential.stealth", seen, "<= 1 point of accuracy by one request", lambda value: value <= 1)
