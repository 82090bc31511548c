"""Repair: retraining that a chosen deletion bends less, from the retained records alone.

A deletion that was chosen to flip a target works because few records hold the target up. What was deleted must not be
put back, and the old model, which saw it, must not teach the new one. What is left to use are the retained records:
each is trained on together with copies moved a little, in ways that keep its class, so that every neighbourhood,
thinned out or not, is held up from further away.
"""

from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import Course, MemoryCheckpoints, Stage, evaluations, train
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish


@dataclass(frozen=True)
class Repair:
    """Train the recipe on the retained records and moved copies of them.

    Images are turned, stretched and shifted; other records are moved towards a near record of their class. Neither the
    forgotten records nor the old model steer anything, so that the claim is exact; but what it is exact for is this
    augmented recipe from scratch on the retained records, and not the recipe that the model was trained by. Reference,
    assumptions and `degraded` of every run say so.

    **Arguments:** `copies` of each retained record; `turn`: radians at most, `stretch` and `shift`: shares of the size
    at most, of images; `near`: how many nearest records of the class others are moved towards one of.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    copies: int = 8
    turn: float = 0.2
    stretch: float = 0.12
    shift: float = 0.08
    near: int = 5

    def __post_init__(self) -> None:
        if min(self.copies, self.near) < 1 or min(self.turn, self.stretch, self.shift) < 0 or self.stretch >= 1:
            raise ProgrammerError("bad-hyperparameter", "copies and near are positive; 0 <= stretch < 1; the rest >= 0")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "repair", "Train from scratch on what is left and moved copies of it.", ClaimKind.EXACT, "spec 4, D3; ours"
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """Retraining, times one more than the copies."""
        _check(deletion)
        rows, recipe = range(len(deletion.retained.train) * (self.copies + 1)), deletion.recipe
        course = Course("network", (Stage("train", tuple(rows), recipe.epochs),), recipe.seed)
        notes = ("Moved copies are taken to keep the class of their record: judge whether yours do.",)
        return Forecast(evaluations(recipe, [course]), deletion.retraining_evaluations, notes)

    def run(self, deletion: Deletion) -> Unlearned:
        """The repaired model; its checkpoints are not kept, for they are none of the plain recipe's.

        **Raises:** `ProgrammerError("method-unfit")` for a regression or shards; what `train` raises.
        """
        _check(deletion)
        trained = train(
            deletion.recipe,
            self.augmented(deletion.refitted, deletion.recipe.seed),
            executor=deletion.executor,
            progress=deletion.progress,
            threads=deletion.threads,
        )
        log = replace(trained.log, checkpoints={}, records=len(deletion.refitted.train))
        return finish(self, deletion, replace(trained, log=log, checkpoints=MemoryCheckpoints()), CLAIM, OTHER_RECIPE)

    def augmented(self, records: Records, seed: int, near: Records | None = None) -> Records:
        """The training records and their moved copies; a function of these records and the seed alone.

        `near`: training records that others may be moved towards, where they are not these very records.
        """
        part, draw = records.train, torch_generator(seed, "unlearning/repair")
        image, others = len(records.shape) == 3, part if near is None else near.train
        moved = [
            self._turned(part.features, draw) if image else self._pulled(part, others, draw) for _ in range(self.copies)
        ]
        ids = tuple(f"{record}/{copy}" for copy in range(self.copies + 1) for record in part.ids)
        owners, count = part.owners * (self.copies + 1), len(ids)
        features, targets = torch.cat([part.features, *moved]), part.targets.repeat(self.copies + 1)
        return Records(features, targets, ids, owners, ("train",) * count, records.classes, records.preparation)

    def _turned(self, images: Float[Tensor, "n c h w"], draw: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Each image under its own affine map; zeros come in from outside, as they stand around centred objects."""
        angle, skew, size, right, down = (torch.rand(5, len(images), generator=draw) * 2 - 1).unbind()
        scale, angle = 1 + self.stretch * size, self.turn * angle
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        first = torch.stack([cos, self.turn * skew - sin, 2 * self.shift * right], 1)
        second = torch.stack([sin, cos, 2 * self.shift * down], 1)
        grid = nn.functional.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
        return nn.functional.grid_sample(images, grid, align_corners=False)

    def _pulled(self, part: Records, others: Records, draw: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Each record moved up to half way towards one of its nearest among the others of the class."""
        flat, around, moved = part.features.flatten(1), others.features.flatten(1), part.features.flatten(1).clone()
        own = torch.tensor([others.row_of.get(record, -1) for record in part.ids])
        for label in part.targets.unique().tolist():
            rows, like = ((some.targets == label).nonzero()[:, 0] for some in (part, others))
            count = min(self.near, len(like) - 1)
            for some in rows.split(1024) if count > 0 else ():
                far = torch.cdist(flat[some], around[like])
                far = far.masked_fill(own[some][:, None] == like[None], torch.inf)
                nearest = far.topk(count, largest=False).indices
                picked = nearest.gather(1, torch.randint(count, (len(some), 1), generator=draw))[:, 0]
                share = 0.5 * torch.rand(len(some), 1, generator=draw)
                moved[some] = flat[some] + share * (around[like[picked]] - flat[some])
        return moved.reshape(part.features.shape)


CLAIM = Claim(
    ClaimKind.EXACT,
    "an augmented recipe from scratch on the retained records: the recipe, with its seeds, on them and on moved copies",
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


def _check(deletion: Deletion) -> None:
    if not deletion.records.classes or deletion.recipe.sharding is not None:
        raise ProgrammerError("method-unfit", "repair takes a classifier of one network")
