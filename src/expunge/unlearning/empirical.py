"""What empirical methods share: the networks concerned, a guard against collapse, and the record of the run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.networks import State, initialise
from expunge.progress import Advance, task
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import BatchStream, Cost, MemoryCheckpoints, Model, Recipe, Stage, Trained, courses, training_log
from expunge.training.log import begun
from expunge.training.platform import deterministic
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Forecast, Method, Unlearned, finish

EMPIRICAL: Final = Claim(ClaimKind.EMPIRICAL, "none: compare the audit's figures with those of retraining", ())

COLLAPSE: Final = 0.1
"""Loss of accuracy on the retained records from which on a model counts as destroyed."""

LOOKED_AT: Final = 2000
"""Retained records that the guard looks at."""


@dataclass(frozen=True, eq=False)
class Part:
    """Features `[records, *shape]` and targets `[records]` of one side."""

    features: Float[Tensor, "records *shape"]
    targets: Shaped[Tensor, " records"]

    def __len__(self) -> int:
        return len(self.targets)

    def on(self, rows: Int[Tensor, " rows"]) -> "Part":
        """The records at `rows`."""
        return Part(self.features.index_select(0, rows), self.targets.index_select(0, rows))


@dataclass(eq=False)
class Ground:
    """One network that saw forgotten records, with all that a method may use to change it.

    **Arguments:**

    - `name`: of its last stage of training; keys every stream of randomness.
    - `recipe`: without shards. `state`: the network as it stands.
    - `retained`, `forgotten`: of this network's own training records; neither is empty.
    - `seed`: of the method's own draws.
    """

    name: str
    recipe: Recipe
    shape: tuple[int, ...]
    classes: int
    state: State
    retained: Part
    forgotten: Part
    seed: int
    spent: int = 0
    advance: Advance | None = field(default=None, repr=False)

    def charge(self, records: int) -> None:
        """Count gradients of single records."""
        self.spent += records
        if self.advance is not None:
            self.advance(records)

    def module(self, state: State | None = None) -> nn.Module:
        """A module in evaluation mode with the present weights, or others."""
        return Model(self.recipe, self.shape, self.classes, (state or self.state,)).module()

    def fresh(self, name: str) -> nn.Module:
        """A module in evaluation mode with initial weights of a stream of its own."""
        return initialise(self.recipe.network, self.shape, self.classes, seed=self.seed, name=name).eval()

    def stage(self, part: Part, epochs: float, name: str) -> Stage:
        """`epochs` over one side."""
        return Stage(f"{name}/{self.name}", tuple(range(len(part))), epochs)

    def evaluations(self, part: Part, epochs: float) -> int:
        """Gradients that `epochs` over one side take."""
        return self.stage(part, epochs, "").evaluations(self.recipe.batch_size)

    def batches(self, part: Part, epochs: float, name: str) -> Iterator[Part]:
        """`epochs` over one side, in batches of equal width."""
        stage = self.stage(part, epochs, name)
        stream = BatchStream(stage, self.recipe.batch_size, self.seed)
        return (part.on(stream[step]) for step in range(stage.steps(self.recipe.batch_size)))

    def endless(self, part: Part, name: str) -> Iterator[Part]:
        """Batches of one side for as long as they are asked for."""
        stream, step = BatchStream(self.stage(part, 1, name), self.recipe.batch_size, self.seed), 0
        while True:
            yield part.on(stream[step])
            step += 1

    @cached_property
    def sample(self) -> Part:
        """Retained records that the guard looks at."""
        order = torch.randperm(len(self.retained), generator=torch_generator(self.seed, f"guard/{self.name}"))
        return self.retained.on(order[:LOOKED_AT])

    def quality(self, state: State) -> float:
        """Share right of the sample; for regression, minus the mean loss. Minus infinity for weights not finite."""
        if not all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point()):
            return -torch.inf
        outputs = Model(self.recipe, self.shape, self.classes, (state,)).logits(self.sample.features)
        if self.classes:
            return float((outputs.argmax(1) == self.sample.targets).double().mean())
        return -float(self.recipe.loss.per_record(outputs, self.sample.targets).double().mean())

    @cached_property
    def floor(self) -> float:
        """Quality below which a network counts as destroyed."""
        before = self.quality(self.state)
        if self.classes:
            return before - COLLAPSE
        return min(2 * before, before - COLLAPSE * float(self.sample.targets.double().var(unbiased=False)))


States = Callable[[Ground], Iterator[State]]
"""A method at work on one network: each state that may be the end, in turn. The last sound one is taken."""

Work = Callable[[Ground], int]
"""Gradients of single records that a method takes on one network."""


def grounds(deletion: Deletion) -> list[Ground | State | None]:
    """For each constituent: a ground where it saw forgotten records and keeps others; else what it becomes.

    A network that never saw a forgotten record stays as it is; one that is left without records is dropped.
    """
    before, part, gone = deletion.trained.model, deletion.retained.train, deletion.forgotten
    finals = [course.stages[-1] for course in courses(deletion.recipe, part)]
    where = _shards(deletion.recipe, gone)
    recipe = replace(deletion.recipe, sharding=None)
    found: list[Ground | State | None] = []
    for number, (final, state) in enumerate(zip(finals, before.constituents, strict=True)):
        rows = torch.tensor([row for row, shard in enumerate(where) if shard == number], dtype=torch.long)
        if state is None or not len(rows):
            found.append(state)
            continue
        kept = torch.tensor(final.rows, dtype=torch.long)
        if not len(kept):
            found.append(None)
            continue
        forgotten = Part(gone.features, gone.targets).on(rows)
        retained = Part(part.features, part.targets).on(kept)
        found.append(
            Ground(final.name, recipe, before.shape, before.classes, state, retained, forgotten, deletion.seed)
        )
    return found


def forecast(deletion: Deletion, work: Work) -> Forecast:
    """What the method would take, by its own count."""
    total = sum(work(ground) for ground in grounds(deletion) if isinstance(ground, Ground))
    return Forecast(total, deletion.retraining_evaluations)


def carry_out(method: Method, deletion: Deletion, states: States, *notes: str) -> Unlearned:
    """Change every network concerned, under guard; raises what the method raises."""
    started = begun()
    found: list[State | None] = []
    words: list[str] = []
    spent = 0
    total = method.plan(deletion).gradient_evaluations
    with deterministic(deletion.threads), task(deletion.progress, method.describe().name, total) as advance:
        for ground in grounds(deletion):
            if not isinstance(ground, Ground):
                found.append(ground)
                continue
            ground.advance = advance
            state, said = guarded(ground, states(ground))
            found.append(state)
            words += said
            spent += ground.spent
    return released(method, deletion, found, Cost.since(started, spent), *notes, *words)


def released(method: Method, deletion: Deletion, states: list[State | None], cost: Cost, *notes: str) -> Unlearned:
    """The record of an empirical run: the new model, and only checkpoints that never saw a forgotten record."""
    before = deletion.trained.model
    clean = MemoryCheckpoints.reusing(deletion.trained.checkpoints, deletion.clean_stages)
    model = Model(before.recipe, before.shape, before.classes, tuple(states))
    log = training_log(model, deletion.retained.train, clean, deletion.threads)
    return finish(method, deletion, Trained(model, log, cost, clean), EMPIRICAL, *notes)


def guarded(ground: Ground, states: Iterator[State]) -> tuple[State, list[str]]:
    """The last state before the network is destroyed, and what there is to say where it would have been."""
    kept, number = ground.state, 0
    with torch.random.fork_rng(devices=[]):
        for state in states:
            quality = ground.quality(state)
            if quality < ground.floor:
                return kept, [_collapsed(ground, quality, number)]
            kept, number = state, number + 1
    return kept, []


def _collapsed(ground: Ground, quality: float, number: int) -> str:
    kind, unit = ("accuracy", 100.0) if ground.classes else ("minus the loss", 1.0)
    end = f"rolled back to round {number}" if number else "rolled back to the model before: nothing is forgotten"
    where = "" if ground.name == "train" else f" of {ground.name}"
    before = ground.quality(ground.state)
    return (
        f"Collapse in round {number + 1}{where}: {kind} on retained records {unit * before:.4g} -> "
        f"{unit * quality:.4g}; stopped and {end}."
    )


def needs_classes(method: Method, deletion: Deletion) -> None:
    """Refuse what only a classifier can be asked for.

    **Raises:** `ProgrammerError("method-unfit")`.
    """
    if not deletion.trained.model.classes:
        raise ProgrammerError("method-unfit", f"{method.describe().name} needs classes, and the targets are numbers")


def check_positive(**values: float | None) -> None:
    """Refuse hyper-parameters that are not positive; None stands for one that is left open.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ProgrammerError("bad-hyperparameter", f"{name} must be positive, not {value}")


def _shards(recipe: Recipe, records: Records) -> list[int]:
    if recipe.sharding is None:
        return [0] * len(records)
    return [shard for shard, _ in recipe.sharding.places(records)]
