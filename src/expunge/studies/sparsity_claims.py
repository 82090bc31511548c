"""What the rows of the study `sparsity` say, each figure against its mark."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from expunge.studies.claims import StudyClaim, mean_claim
from expunge.studies.floor import CLASSIC, Floor
from expunge.studies.frame import Row
from expunge.studies.sparsity_scene import BARE, SMALL_RATE

RANDOM: Final = "random 10 %"
FIVE: Final = (*CLASSIC, "exposure")
PAPER_GAIN: Final = 77.0
"""Points of UA that the paper's l1-sparse gains over fine-tuning, class-wise, on CIFAR-10 with ResNet-18."""


def sparsity_claims(rows: Sequence[Row]) -> list[StudyClaim]:
    """The marks of the study."""
    parts = (_class, _small_rate, _doses, _random, _sparse, _backdoor, _others)
    return [claim for part in parts for claim in part(rows)]


def of(rows: Sequence[Row], scenario: str, method: str, sparsity: float = 0.0) -> list[Row]:
    """Rows of a method in a scenario."""
    return [r for r in rows if (r["scenario"], r["method"], r["sparsity"]) == (scenario, method, sparsity)]


def at_most(most: float) -> Callable[[float], bool]:
    """Whether a value keeps under a mark."""
    return lambda value: value <= most


def at_least(least: float) -> Callable[[float], bool]:
    """Whether a value reaches a mark."""
    return lambda value: value >= least


def _class(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    l1, bare, tuned, retrain = (of(rows, "class", name) for name in ("l1-sparse", BARE, "fine-tune", "retrain"))
    yield mean_claim("l1.class.ua", _values(l1, "ua"), ">= 99", at_least(99))
    yield mean_claim("l1.class.mia", _values(l1, "mia"), ">= 99", at_least(99))
    yield mean_claim("l1.class.ra", _values(l1, "ra"), ">= 97", at_least(97))
    losses = _differences(of(rows, "class", "original"), l1, "ta")
    yield mean_claim("l1.class.ta_loss", losses, "<= 2, in points", at_most(2))
    words = "<= 0.3, of retraining's processor seconds, after tuning"
    yield mean_claim("l1.class.rte", _values(l1, "rte"), words, at_most(0.3))
    yield mean_claim("l1.class.rte_tuned", _values(l1, "rte_tuned"), "with the seconds of its tuning")
    yield mean_claim("ft_at_tuned_rate.class.ua", _values(bare, "ua"), "fine-tuning at the tuned penalty's rate")
    yield mean_claim("l1.gain_at_tuned_rate", _differences(l1, bare, "ua"), "over fine-tuning at that rate")
    yield mean_claim("ft_tuned.class.ua", _values(tuned, "ua"), "fine-tuning at its own best rate")
    yield mean_claim("l1.gain_over_tuned_ft", _differences(l1, tuned, "ua"), "each at its own best")
    yield mean_claim("retrain.class.ua", _values(retrain, "ua"), ">= 99.5", at_least(99.5))


def _small_rate(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    """The paper's own comparison: one small rate and ten epochs for both, and gamma alone is chosen."""
    l1, bare = (of(rows, SMALL_RATE, name) for name in ("l1-sparse", BARE))
    mark = "fine-tuning as in the paper: 10 epochs at a fifth of the recipe's rate (22.5 there)"
    yield mean_claim("ft.class.ua", _values(bare, "ua"), mark)
    yield mean_claim("l1_small_rate.class.ua", _values(l1, "ua"), ">= 99, the penalty there", at_least(99))
    yield mean_claim("l1_small_rate.class.ra", _values(l1, "ra"), ">= 97", at_least(97))
    losses = _differences(of(rows, SMALL_RATE, "original"), l1, "ta")
    yield mean_claim("l1_small_rate.class.ta_loss", losses, "<= 2, in points", at_most(2))
    yield mean_claim("l1_small_rate.class.rte", _values(l1, "rte"), "of retraining's processor seconds")
    mark = f">= {PAPER_GAIN:g}, the paper's, at one small rate for both"
    yield mean_claim("l1.gain_over_ft", _differences(l1, bare, "ua"), mark, at_least(PAPER_GAIN))


def _doses(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    """The paper's gain is against a rate at which fine-tuning forgets little: the same rate, with and without."""
    own = of(rows, "dose", "fine-tune")
    rates = sorted({row["lr"] for row in own})
    bare = [row for row in own if rates and row["lr"] == rates[min(1, len(rates) - 1)]]
    penalised = [row for row in of(rows, "dose", "l1-sparse") if row["gamma"] == 1e-3]
    yield mean_claim("dose.ft.ua", _values(bare, "ua"), "fine-tuning at the recipe's own rate, 5 epochs")
    yield mean_claim(
        "dose.l1_gain", _differences(penalised, bare, "ua"), ">= 25, at that rate, gamma 0.001", at_least(25)
    )
    before, ascents = of(rows, "dose", "original"), of(rows, "dose", "gradient-ascent")
    losses = [max(own["ra"] - row["ra"] for row in ascents if row["seed"] == own["seed"]) for own in before]
    mark = "<= 10, points of RA lost at the worst rate: a collapse is rolled back"
    yield mean_claim("dose.ga.ra_loss", losses, mark, at_most(10))


def _random(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    """The winner of the tuning seed, held against the leave-one-out floor of the other seeds."""
    methods = sorted({r["method"] for r in rows if r["scenario"] == RANDOM} - {"original", "retrain"})
    keys = FIVE if methods and of(rows, RANDOM, "retrain")[0]["exposure"] is not None else CLASSIC
    if not methods:
        return
    choosing = _floor(rows, f"{RANDOM}, choosing", keys)
    best = min(methods, key=lambda name: choosing.judged(of(rows, f"{RANDOM}, choosing", name)).far)
    floor, own = _floor(rows, RANDOM, keys), of(rows, RANDOM, best)
    verdicts = {name: floor.judged(of(rows, RANDOM, name)) for name in methods}
    limit = verdicts[best].gap_limit
    yield mean_claim("noise_floor.random.gap", floor.gaps, "a retrained model against the mean of the others")
    words = f"<= {limit:.2f}, what 95 % of retrained models keep under; {best}, chosen on another seed"
    yield mean_claim("best.random.gap", _values(own, "gap"), words, at_most(limit))
    yield mean_claim("best.rte_share", _values(own, "rte"), "<= 1, of retraining", at_most(1))
    yield mean_claim("best.rte_share_tuned", _values(own, "rte_tuned"), "with the seconds of its tuning")
    yield mean_claim("original.random.gap", _values(of(rows, RANDOM, "original"), "gap"), "doing nothing")
    yield from _divergences(rows)
    if keys == FIVE:
        yield from _exposure(rows, best)
    far = verdicts[best]
    words = (
        f"<= {far.limit:.2f}, in spreads on the worst of {len(keys)} figures, what 95 % of retrained models keep under"
    )
    yield StudyClaim("best.random.far", far.far, None, words, far.within, "" if far.within else f"by {far.worst}")
    inside = [name for name in methods if verdicts[name].within]
    why = "; ".join(f"{n} is betrayed by {v.worst} ({v.far:.1f})" for n, v in verdicts.items() if not v.within)
    words = f">= 1, methods within the floor on all figures: {', '.join(inside) or 'none'}"
    yield StudyClaim("within_floor.random.methods", float(len(inside)), None, words, bool(inside), why)


def _divergences(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    apart, before = (
        [row["kl"] for row in of(rows, RANDOM, name) if row["kl"] is not None] for name in ("retrain", "original")
    )
    yield mean_claim("noise_floor.random.kl", apart, "nats on the forgotten records, a retrained model from the others")
    limit = 1.5 * float(np.mean(apart)) if apart else 0.0
    yield mean_claim("original.random.kl", before, f">= {limit:.3f}, 1.5 times the floor", at_least(limit))


def _exposure(rows: Sequence[Row], best: str) -> Iterator[StudyClaim]:
    exact, before, own = (_values(of(rows, RANDOM, name), "exposure") for name in ("retrain", "original", best))
    yield mean_claim("retrain.random.exposure", exact, "LiRA's AUC on models that never saw the records")
    words = ">= 0.6, for LiRA to have power over this model, so that its silence means something"
    yield mean_claim("original.random.exposure", before, words, at_least(0.6))
    yield mean_claim("best.random.exposure", own, "LiRA's AUC; held against the floor in best.random.far")


def _floor(rows: Sequence[Row], scenario: str, keys: Sequence[str]) -> Floor:
    own = of(rows, scenario, "retrain")
    seeds = dict.fromkeys(row["seed"] for row in own)
    return Floor.of([[row for row in own if row["seed"] == seed] for seed in seeds], keys)


def _sparse(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    for level in (0.95, 0.99):
        yield _prune_claim(rows, level)
    dense, pruned = (of(rows, "class", "fine-tune", level) for level in (0.0, 0.95))
    claim = mean_claim(
        "prune95.cnn.ua_gain", _differences(pruned, dense, "ua"), "printed with its sign, never promised"
    )
    back = sum("Collapse" in row.get("degraded", "") for row in pruned)
    yield replace(claim, why=f"a collapse was taken back in {back} of {len(pruned)} sparse runs" if back else claim.why)


def _prune_claim(rows: Sequence[Row], level: float) -> StudyClaim:
    """What pruning adds to fine-tuning's UA; nothing is gained where the pruned network can no longer classify."""
    dense, pruned = (of(rows, "prune-first", "fine-tune", each) for each in (0.0, level))
    losses = _differences(dense, pruned, "ta")
    lost = float(np.mean(losses)) if losses else 0.0
    mark = f">= 10, in the paper's direction, with at most 3 points of TA lost (here {lost:.1f})"
    claim = mean_claim(f"prune{level * 100:.0f}.ft.ua_gain", _differences(pruned, dense, "ua"), mark)
    return replace(claim, holds=None if claim.value is None else claim.value >= 10 and lost <= 3)


def _backdoor(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    names = ("original", "retrain", "l1-sparse", "l1-sparse 0.003", "fine-tune", "fine-tune, fixed")
    own = {name: of(rows, "backdoor", name) for name in names}
    if not own["original"]:
        for name in ("backdoor.original.asr", "backdoor.l1.asr"):
            yield StudyClaim(name, None, why="a patch needs images, and these records are none")
        return
    hits = {name: _values(found, "asr") for name, found in own.items()}
    yield mean_claim("backdoor.original.asr", hits["original"], ">= 97", at_least(97))
    yield mean_claim("backdoor.retrain.asr", hits["retrain"], "<= 2", at_most(2))
    yield mean_claim("backdoor.l1.asr", hits["l1-sparse"], "<= 25, tuned", at_most(25))
    losses = _differences(own["original"], own["l1-sparse"], "ta")
    yield mean_claim("backdoor.l1.ta_loss", losses, "<= 5, in points", at_most(5))
    yield mean_claim("backdoor.ft_tuned.asr", hits["fine-tune"], "fine-tuning at its own best rate")
    yield mean_claim("backdoor.l1_fixed.asr", hits["l1-sparse 0.003"], "<= 25, at gamma 0.003", at_most(25))
    losses = _differences(own["original"], own["l1-sparse 0.003"], "ta")
    yield mean_claim("backdoor.l1_fixed.ta_loss", losses, "<= 5, in points", at_most(5))
    yield mean_claim("backdoor.ft.asr", hits["fine-tune, fixed"], ">= 50, at the recipe's own rate", at_least(50))


def _others(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    short = _differences(of(rows, "transfer", "retrain"), of(rows, "transfer", "l1-sparse"), "probe")
    if short:
        yield mean_claim("transfer.l1.probe_gap", short, "<= 2, points below retraining", at_most(2))
    steps, once = (of(rows, "sequential", f"l1-sparse, {kind}") for kind in ("four in a row", "at once"))
    apart = [max(abs(one[key] - other[key]) for key in ("ra", "ta")) for one, other in zip(steps, once, strict=True)]
    yield mean_claim("sequential.l1.drift", apart, "<= 2, points of RA and TA", at_most(2))


def _values(rows: Sequence[Row], key: str) -> list[Any]:
    return [row[key] for row in rows]


def _differences(rows: Sequence[Row], less: Sequence[Row], key: str) -> list[float]:
    """Of the same seed, where both sides have it."""
    other = {row["seed"]: row[key] for row in less}
    return [row[key] - other[row["seed"]] for row in rows if row["seed"] in other]
