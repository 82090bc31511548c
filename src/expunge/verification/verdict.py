"""What a verifier finds: checks, what was replayed, and what all of it proves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from expunge.errors import ExpungeError, ProviderDishonest
from expunge.unlearning import ClaimKind
from expunge.verification.replay import Replayed, Tolerance

PROVES: Final[Mapping[ClaimKind, str]] = {
    ClaimKind.EXACT: "the model is what training on the retained records alone gives, under a schedule that nobody "
    "chose, but for segments that were not replayed",
    ClaimKind.CERTIFIED: "the method was run on the retained records with noise that nobody chose; epsilon and delta "
    "stand on the theorem's assumptions, and do not hold against whoever knows the noise, as the verifier does",
    ClaimKind.EMPIRICAL: "only that this procedure was followed, with these hyper-parameters: not that anything was "
    "forgotten",
}
"""What a verdict that holds proves of a method with this claim."""

STRONGEST_FIRST: Final = (ClaimKind.EXACT, ClaimKind.CERTIFIED, ClaimKind.EMPIRICAL)


@dataclass(frozen=True)
class Check:
    """One check: `name`, whether it holds (`None`: not reached), and a sentence."""

    name: str
    holds: bool | None
    message: str


@dataclass(frozen=True)
class Verdict:
    """What the verifier found.

    **Arguments:**

    - `checks`: in order; a failed one stops those that stand on it.
    - `segments`: of the run; `replayed`: those that were run again; `drawn`: how many of these were drawn at random.
    - `work`: gradients of single records that replay took, as a share of retraining's.
    - `degraded`: what fell short, one sentence each.
    - `claim`: of the committed method, or what the replay of a short one left of it; `None` where the commitment names
      none.
    - `guarantee`: epsilon and delta that a replayed method certifies, whatever its receipt says.
    """

    checks: tuple[Check, ...]
    segments: int
    replayed: tuple[Replayed, ...]
    drawn: int
    work: float
    tolerance: Tolerance
    degraded: tuple[str, ...] = ()
    claim: ClaimKind | None = None
    guarantee: tuple[float, float] | None = None

    @property
    def holds(self) -> bool:
        """Whether every check was made and holds."""
        return bool(self.checks) and all(check.holds is True for check in self.checks)

    @property
    def proves(self) -> str:
        """What this verdict proves, in words."""
        return PROVES[self.claim] if self.holds and self.claim is not None else "nothing: not every check holds"

    def covers(self, kind: ClaimKind, epsilon: float | None, delta: float | None) -> bool:
        """Whether a receipt may claim this: no stronger kind, and no smaller epsilon and delta than were found."""
        if self.claim is None or STRONGEST_FIRST.index(kind) < STRONGEST_FIRST.index(self.claim):
            return False
        if kind is not ClaimKind.CERTIFIED or self.guarantee is None:
            return kind is not ClaimKind.CERTIFIED
        said = (epsilon or 0.0, delta or 0.0)
        return all(ours >= (1 - 1e-9) * found for ours, found in zip(said, self.guarantee, strict=True))

    def would_find(self, share: float) -> float:
        """Probability at least that a provider faking this share of the segments had been found by the random draws.

        1 - (1 - f)^q: draws without repetition find no less.
        """
        return 1.0 if len(self.replayed) == self.segments and share > 0 else detection(share, self.drawn)

    def demand(self) -> "Verdict":
        """This verdict, or the first failed check raised; raises `ProviderDishonest("evidence-refused")`."""
        for check in self.checks:
            if check.holds is not True:
                raise ProviderDishonest("evidence-refused", f"{check.name}: {check.message}")
        return self


def detection(share: float, draws: int) -> float:
    """Probability that `draws` random segments meet a faked one when a `share` of them is faked: 1 - (1 - f)^q."""
    return float(1.0 - (1.0 - share) ** draws)


class Refused(Exception):
    """A check does not hold; those after it are not reached."""


class Undecided(Exception):
    """A check that cannot be made: nobody is accused, and nothing holds."""


def demand(holds: bool, why: str) -> None:
    """Raise `Refused(why)` unless it holds."""
    if not holds:
        raise Refused(why)


def answered(name: str, step: Callable[[], str]) -> Check:
    """The check that a step makes: it returns a sentence, or raises. Whatever a made-up file leads to is a refusal."""
    try:
        return Check(name, True, step())
    except Undecided as undecided:
        return Check(name, None, str(undecided))
    except Refused as refused:
        return Check(name, False, str(refused))
    except ExpungeError as error:
        return Check(name, False, f"{error.code}: {error}")
    except Exception as error:
        return Check(name, False, f"it cannot be followed: {type(error).__name__}")
