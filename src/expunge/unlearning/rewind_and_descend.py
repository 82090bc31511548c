"""Go back to an earlier checkpoint and descend on what is left."""

import math
from dataclasses import dataclass, field

from expunge.errors import ProgrammerError
from expunge.networks import State, initialise
from expunge.records import Records
from expunge.training import SGD, Constant, CrossEntropy, MemoryCheckpoints, Recipe, Snapshot, Trained, train
from expunge.training.head import fixed_features, head_of
from expunge.unlearning.accounting import Budget, Privacy
from expunge.unlearning.accounting.rewind import Rewind
from expunge.unlearning.head import check_features
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.release import ADAPTIVE, clock, ground, network, noised, released, trained_on

STAGE = "rewind"
"""Name under which the earlier checkpoint is kept, with how many steps it lies back: no other number may be claimed."""


def train_with_checkpoint(recipe: Recipe, records: Records, rewound: int) -> Trained:
    """Train, and keep the network as it stood `rewound` steps before the end.

    **Raises:** `ProgrammerError("bad-hyperparameter")` unless there are more steps than that; as `train`.
    """
    width = min(recipe.batch_size, len(records.train))
    steps = math.ceil(recipe.epochs * len(records.train) / width)
    if not 0 < rewound < steps:
        raise ProgrammerError("bad-hyperparameter", f"rewound must lie between 0 and {steps}, not be {rewound}")
    store = _First(every=steps - rewound, kept_as=f"{STAGE}/{rewound}")
    return train(recipe, records, checkpoints=store)


@dataclass
class _First(MemoryCheckpoints):
    """Keeps the first snapshot for good."""

    kept_as: str = field(default=STAGE, kw_only=True)

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep it, unless one was kept."""
        self.states.setdefault(self.kept_as, snapshot.state)


@dataclass(frozen=True)
class RewindAndDescend:
    """From the checkpoint of `train_with_checkpoint`, the last steps again without the forgotten records.

    The theorem is for full-batch gradient descent without momentum at a constant rate. On a convex head on fixed
    features all its constants are known exactly, and where `noise` covers the distance the claim is certified. On any
    other network or recipe it is empirical, and says why.

    **Arguments:** `rewound`: steps, as in `train_with_checkpoint`; `noise`; `epsilon`, `delta`, `spent`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    rewound: int = 100
    noise: float = 0.0
    epsilon: float = 1.0
    delta: float = 1e-5
    spent: float = 0.0

    def __post_init__(self) -> None:
        if self.rewound < 1 or self.noise < 0:
            raise ProgrammerError("bad-hyperparameter", "rewound >= 1 and noise >= 0 are needed")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "rewind-and-descend",
            "Go back to a checkpoint and take the last steps again on what is left.",
            ClaimKind.EMPIRICAL,
            "Mu and Klabjan, NeurIPS 2025; Neel, Roth and Sharifi-Malvajerdi, ALT 2021",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """The steps that are taken again."""
        self._checkpoint(deletion)
        part = ground(deletion).train
        return Forecast(self.rewound * min(deletion.recipe.batch_size, len(part)), deletion.retraining_evaluations)

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises `ProgrammerError("method-unfit")` without the checkpoint, and what training raises."""
        started, records = clock(), ground(deletion)
        state = self._checkpoint(deletion)
        part = records.train
        epochs = self.rewound * min(deletion.recipe.batch_size, len(part)) / len(part)
        final, work = trained_on(deletion, records, state, epochs, "rewind-and-descend")
        _, where, _ = network(deletion)
        if self.noise:
            noisy = noised(where.flatten(final), self.noise, deletion.noise_key, "unlearning/rewind")
            final = {**final, **{name: value.clone() for name, value in where.unflatten(noisy).items()}}
        claim = self._claim(deletion)
        return finish(self, deletion, released(deletion, records, final, started, work), claim, refitted=True)

    def _checkpoint(self, deletion: Deletion) -> State:
        state = deletion.trained.checkpoints.load(f"{STAGE}/{self.rewound}")
        if state is None:
            raise ProgrammerError(
                "method-unfit", f"no checkpoint {self.rewound} steps back was kept", "Train by train_with_checkpoint."
            )
        return state

    def _claim(self, deletion: Deletion) -> Claim:
        reference = "the same descent on the retained records from the start, plus the same noise"
        reasons = _outside(deletion)
        if reasons:
            return Claim(ClaimKind.EMPIRICAL, reference, reasons)
        bound, share = self.bound(deletion).distance, Privacy(self.epsilon, self.delta).share
        if bound > self.noise * share:
            why = f"The distance is at most {bound:.3g}; epsilon {self.epsilon:g} asks for noise {bound / share:.3g}."
            return Claim(ClaimKind.EMPIRICAL, reference, (why,))
        budget = Budget(Privacy(self.epsilon, self.delta), self.spent).charge(share)
        return Claim(
            ClaimKind.CERTIFIED,
            reference,
            (
                f"Full-batch descent on a convex head; all constants are exact; distance at most {bound:.3g}.",
                ADAPTIVE,
            ),
            theorem="contraction of gradient descent (Neel et al. 2021), Gaussian mechanism of Balle and Wang 2018",
            epsilon=budget.spent,
            delta=self.delta,
            budget_left=budget.left,
        )

    def bound(self, deletion: Deletion) -> Rewind:
        """The theorem's constants for a convex head: softmax bounds slope and curvature by the features' norms."""
        optimiser, part = deletion.recipe.stepwise, deletion.records.train
        squared = float(fixed_features(deletion.trained.model.module(), part.features).square().sum(1).max())
        return Rewind(
            steps=math.ceil(deletion.recipe.epochs),
            rewound=self.rewound,
            lr=optimiser.lr,
            gradient_bound=math.sqrt(2 * squared),
            smoothness=squared / 2 + optimiser.weight_decay,
            records=len(part),
            deleted=len(deletion.forgotten),
            convexity=optimiser.weight_decay,
        )


def _outside(deletion: Deletion) -> tuple[str, ...]:
    """Why the theorem does not cover this model; empty where it does."""
    if not deletion.settled:
        return ("The column preparation moved with these records: all features differ, and not only those records.",)
    recipe, before = deletion.recipe, deletion.trained.model
    optimiser = recipe.optimiser
    found = head_of(initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network"))
    if found is None or not isinstance(recipe.loss, CrossEntropy):
        return ("The smoothness of this network is not known, and an estimate of it carries no theorem.",)
    plain = isinstance(optimiser, SGD) and not optimiser.momentum and optimiser.weight_decay > 0
    whole = recipe.batch_size >= len(deletion.records.train)
    if not (plain and whole and isinstance(recipe.schedule, Constant)):
        return ("The theorem is for full-batch descent with a penalty, at a constant rate, without momentum.",)
    check_features(deletion, found[0])
    return ()
