"""Is a claimed epsilon true? A game that would show a false one: tell releases from references, over many runs.

Whatever an attacker can show is a lower bound on the true epsilon. A bound above the claim refutes the claim; one below
it proves nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class CertificateAudit:
    """What the game showed.

    **Arguments:**

    - `epsilon`: lower bound at `confidence`, at this `delta`; 0 where nothing was shown.
    - `runs`: of each of both sides, half of them for choosing the attack.
    - `hits`, `false_alarms`: shares of releases and of references that the attack calls releases.
    """

    epsilon: float
    delta: float
    confidence: float
    runs: int
    hits: float
    false_alarms: float

    def refutes(self, claimed: float) -> bool:
        """Whether the claimed epsilon is false, at this confidence."""
        return self.epsilon > claimed


Run = Callable[[int], Float[np.ndarray, " numbers"]]
"""One run under a seed: what is published, as numbers."""


def play(
    release: Run,
    reference: Run,
    runs: int,
    delta: float,
    *,
    confidence: float = 0.95,
    line: Float[np.ndarray, " numbers"] | None = None,
) -> CertificateAudit:
    """Run both sides `runs` times and attack along a line: for Gaussian noise around two points no attack is better.

    `line` is the direction between the two points for an attacker who knows all but the noise, which epsilon is meant
    to withstand; `None` for one who has only the runs, half of which then decide it.

    **Raises:** as `epsilon_lower_bound`.
    """
    inside = np.stack([release(run) for run in range(runs)])
    outside = np.stack([reference(runs + run) for run in range(runs)])
    if line is None:
        half = runs // 2
        line = inside[:half].mean(0) - outside[:half].mean(0)
        # Off-line noise of a mean over few runs in many dimensions would swamp the gap: the largest gaps decide.
        line[np.abs(line) < np.quantile(np.abs(line), 0.5)] = 0
    return epsilon_lower_bound(inside @ line, outside @ line, delta, confidence=confidence)


def epsilon_lower_bound(
    inside: Float[np.ndarray, " runs"],
    outside: Float[np.ndarray, " runs"],
    delta: float,
    *,
    confidence: float = 0.95,
) -> CertificateAudit:
    """The epsilon that scores of releases (`inside`) and of references (`outside`) prove, threshold tests only.

    The first half of each chooses threshold and direction, the second half is counted. Both shares have
    Clopper-Pearson bounds at half of what the confidence leaves; hits <= e^epsilon false alarms + delta is then
    violated for all smaller epsilons (Jagielski, Ullman and Oprea, NeurIPS 2020).

    **Raises:** `ProgrammerError("bad-subject")` for fewer than 40 runs a side or sides of different length.
    """
    runs = len(inside)
    if runs < 40 or len(outside) != runs:
        raise ProgrammerError("bad-subject", f"the game takes 40 runs a side or more, not {runs} and {len(outside)}")
    half, tail = runs // 2, (1 - confidence) / 2
    best, found = -1.0, (1.0, 0.0, False)
    for sign in (1.0, -1.0):
        for threshold in np.quantile(
            np.concatenate([inside[:half], outside[:half]]) * sign, np.linspace(0.01, 0.99, 99)
        ):
            for turned in (False, True):
                first, second = (outside, inside) if turned else (inside, outside)
                value = _shown(first[:half] * sign > threshold, second[:half] * sign > threshold, delta, tail)
                if value > best:
                    best, found = value, (sign, float(threshold), turned)
    sign, threshold, turned = found
    first, second = (outside, inside) if turned else (inside, outside)
    hit, alarm = first[half:] * sign > threshold, second[half:] * sign > threshold
    shown = max(_shown(hit, alarm, delta, tail), 0.0)
    return CertificateAudit(shown, delta, confidence, runs, float(hit.mean()), float(alarm.mean()))


def _shown(hit: np.ndarray, alarm: np.ndarray, delta: float, tail: float) -> float:
    from scipy.special import betaincinv

    hits, alarms, count = int(hit.sum()), int(alarm.sum()), len(hit)
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(alarms + 1, count - alarms, 1 - tail)) if alarms < count else 1.0
    return math.log((low - delta) / high) if low > delta else -math.inf
