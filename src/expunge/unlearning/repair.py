"""Repair: retraining that a chosen deletion bends less, from the retained records alone.

A deletion that was chosen to flip a target works because few records hold the target up. What was deleted must not be
put back, and the old model, which saw it, must not teach the new one. What is left to use are the retained records:
each is trained on together with copies moved a little, in ways that keep its class, so that every neighbourhood,
thinned out or not, is held up from further away. There are so many copies that the network sees each a few times only:
what it cannot learn by heart it has to smooth, and longer training steadies what it calls a target near a boundary.
"""

from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import HeadSolver, MemoryCheckpoints, Recipe, courses, evaluations, train
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish


@dataclass(frozen=True)
class Repair:
    """Train the recipe on the retained records and moved copies of them.

    Images are turned, stretched and shifted; other records are moved towards a near record of their class. Neither the
    forgotten records nor the old model steer anything, so that the claim is exact; but what it is exact for is this
    augmented recipe from scratch on the retained records, and not the recipe that the model was trained by. Reference,
    assumptions and `degraded` of every run say so.

    **Arguments:** `copies` of each retained record, fewer where memory has no room (`held`); `work`: gradients, beside
    those of retraining on the retained records; `turn`: radians at most, `stretch` and `shift`: shares of the size at
    most, of images; `near`: how many nearest records of the class others are moved towards one of.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    copies: int = 128
    work: float = 36.0
    turn: float = 0.2
    stretch: float = 0.12
    shift: float = 0.08
    near: int = 5

    def __post_init__(self) -> None:
        if min(self.copies, self.near) < 1 or min(self.turn, self.stretch, self.shift) < 0 or self.stretch >= 1:
            raise ProgrammerError("bad-hyperparameter", "copies and near are positive; 0 <= stretch < 1; the rest >= 0")
        if not 0 < self.work <= MOST_WORK:
            raise ProgrammerError("bad-hyperparameter", f"work is positive and at most {MOST_WORK:g}")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "repair", "Train from scratch on what is left and moved copies of it.", ClaimKind.EXACT, "spec 4, D3; ours"
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """Retraining, `work` times.

        **Raises:** as `run`, but for what `train` raises.
        """
        _check(deletion)
        left = deletion.retained
        recipe = self.lengthened(deletion.recipe, left)
        (course,) = courses(recipe, left.train)
        (stage,) = course.stages
        rows = tuple(range(len(left.train) * (self.held(left) + 1)))
        work = evaluations(recipe, [replace(course, stages=(replace(stage, rows=rows),))])
        notes = (
            "Moved copies are taken to keep the class of their record: judge whether yours do.",
            *self._short(left),
        )
        return Forecast(work, deletion.retraining_evaluations, notes)

    def run(self, deletion: Deletion) -> Unlearned:
        """The repaired model; its checkpoints are not kept, for they are none of the plain recipe's.

        **Raises:** `ProgrammerError("method-unfit")` for a regression or shards; what `train` raises.
        """
        _check(deletion)
        left = deletion.refitted
        made = train(
            self.lengthened(deletion.recipe, left),
            self.augmented(left, deletion.recipe.seed),
            executor=deletion.executor,
            progress=deletion.progress,
            threads=deletion.threads,
        )
        model = replace(made.model, recipe=deletion.recipe)
        log = replace(
            made.log,
            recipe=deletion.trained.log.recipe,
            checkpoints={},
            records=len(left.train),
            model=model.digest,
        )
        trained = replace(made, model=model, log=log, checkpoints=MemoryCheckpoints())
        return finish(self, deletion, trained, CLAIM, OTHER_RECIPE, *self._short(left))

    def held(self, records: Records) -> int:
        """How many copies of each training record there is memory for: `MOST_NUMBERS` features in all, one at least."""
        return max(1, min(self.copies, MOST_NUMBERS // max(1, records.train.features.numel()) - 1))

    def lengthened(self, recipe: Recipe, records: Records) -> Recipe:
        """The recipe over `augmented(records)` with `work` times the steps; a head is solved to its optimum as ever."""
        if isinstance(recipe.optimiser, HeadSolver):
            return recipe
        return replace(recipe, epochs=recipe.epochs * self.work / (self.held(records) + 1))

    def augmented(self, records: Records, seed: int, near: Records | None = None) -> Records:
        """The training records and their moved copies; a function of these records and the seed alone.

        `near`: training records that others may be moved towards, where they are not these very records.
        """
        part, draw, copies = records.train, torch_generator(seed, "unlearning/repair"), self.held(records)
        if len(records.shape) == 3:
            moved = [self._turned(part.features, draw) for _ in range(copies)]
        else:
            others = part if near is None else near.train
            nearest = self._nearest(part, others)
            moved = [_pulled(part, others, nearest, draw) for _ in range(copies)]
        ids = tuple(f"{record}/{copy}" for copy in range(copies + 1) for record in part.ids)
        owners, count = part.owners * (copies + 1), len(ids)
        features, targets = torch.cat([part.features, *moved]), part.targets.repeat(copies + 1)
        return Records(features, targets, ids, owners, ("train",) * count, records.classes, records.preparation)

    def _short(self, records: Records) -> tuple[str, ...]:
        held = self.held(records)
        return (
            ()
            if held == self.copies
            else (f"Memory has room for {held} moved copies of each record, not the {self.copies} asked for.",)
        )

    def _turned(self, images: Float[Tensor, "n c h w"], draw: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Each image under its own affine map; zeros come in from outside, as they stand around centred objects."""
        angle, skew, size, right, down = (torch.rand(5, len(images), generator=draw) * 2 - 1).unbind()
        scale, angle = 1 + self.stretch * size, self.turn * angle
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        first = torch.stack([cos, self.turn * skew - sin, 2 * self.shift * right], 1)
        second = torch.stack([sin, cos, 2 * self.shift * down], 1)
        grid = nn.functional.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
        return nn.functional.grid_sample(images, grid, align_corners=False)

    def _nearest(self, part: Records, others: Records) -> Int[Tensor, "n near"]:
        """Rows of the nearest others of each record's class, -1 where there are fewer."""
        flat, around = part.features.flatten(1), others.features.flatten(1)
        own = torch.tensor([others.row_of.get(record, -1) for record in part.ids])
        found = torch.full((len(part), self.near), -1)
        for label in part.targets.unique().tolist():
            rows, like = ((some.targets == label).nonzero()[:, 0] for some in (part, others))
            count = min(self.near, len(like) - 1)
            for some in rows.split(1024) if count > 0 else ():
                far = torch.cdist(flat[some], around[like])
                far = far.masked_fill(own[some][:, None] == like[None], torch.inf)
                found[some, :count] = like[far.topk(count, largest=False).indices]
        return found


def _pulled(
    part: Records, others: Records, nearest: Int[Tensor, "n near"], draw: torch.Generator
) -> Float[Tensor, "n *shape"]:
    """Each record moved up to half way towards one of its nearest; one without any stays."""
    flat, around = part.features.flatten(1), others.features.flatten(1)
    count = (nearest >= 0).sum(1, keepdim=True)
    place, share = torch.rand(2, len(part), 1, generator=draw)
    picked = nearest.gather(1, (place * count).long().minimum(count - 1).clamp_min(0))[:, 0]
    moved: Tensor = flat + 0.5 * share * (count > 0) * (around[picked] - flat)
    return moved.reshape(part.features.shape)


CLAIM = Claim(
    ClaimKind.EXACT,
    "an augmented recipe from scratch on the retained records: the recipe, with its seeds and for more steps, on them "
    "and on moved copies",
    (
        "The augmented recipe is another than the one the model was trained by, and was taken for this deletion.",
        "Recipe, moves and declared preparation were not chosen by looking at the forgotten records.",
        "That repair was chosen at all may tell that somebody found the request suspicious.",
    ),
)

OTHER_RECIPE: Final = (
    "The model comes from an augmented recipe, not from the one the model before was trained by: it is exact for the "
    "former alone, and differs from plain retraining by more than the deleted records."
)


MOST_NUMBERS: Final = 2**27
"""Features of all records and copies together: half a gigabyte, and as much again while they are joined."""

MOST_WORK: Final = 1000.0
"""More retrainings than this is a slip of the keyboard."""


def _check(deletion: Deletion) -> None:
    if not deletion.records.classes or deletion.recipe.sharding is not None:
        raise ProgrammerError("method-unfit", "repair takes a classifier of one network")
