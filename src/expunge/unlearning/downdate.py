"""Exact unlearning of a least-squares head: subtract what the forgotten records added, and solve again."""

from dataclasses import dataclass, replace

import torch

from expunge.errors import ProgrammerError
from expunge.networks import State, initialise, state_of
from expunge.training import Cost, LeastSquares, MemoryCheckpoints, Model, Trained, courses, training_log
from expunge.training.head import head_of, write_head
from expunge.training.least_squares import SUMS, Sums, sums_of
from expunge.training.platform import deterministic
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.release import clock
from expunge.unlearning.retrain import EXACT, Retrain


@dataclass(frozen=True)
class Downdate:
    """Take the forgotten records out of the sums that the head was solved from, and solve it again.

    The sums are whole numbers (`training.least_squares`), so that these are the bytes of training on the retained
    records. The work is one pass over the *forgotten* records and one solution; epsilon and delta are 0.
    """

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "downdate",
            "Subtract what the records added to a least-squares head's sums, and solve it again.",
            ClaimKind.EXACT,
            "downdating of normal equations, with sums of whole numbers",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """One look at each forgotten record; all of retraining where the column preparation moves.

        **Raises:** `ProgrammerError("method-unfit")` for any other model.
        """
        self._sums(deletion)
        work = len(deletion.forgotten) if deletion.settled else deletion.retraining_evaluations
        return Forecast(work, deletion.retraining_evaluations, () if deletion.settled else (MOVED,))

    def run(self, deletion: Deletion) -> Unlearned:
        """Byte-identical to `train(recipe, retained.refit())` on the same platform; raises as `plan`."""
        started, before = clock(), self._sums(deletion)
        if not deletion.settled:
            again = Retrain().run(deletion)
            return replace(again, method=finish(self, deletion, again.trained, EXACT).method, degraded=(MOVED,))
        part, recipe = deletion.retained.train, deletion.recipe
        module, name, l2 = _parts(deletion)
        gone = deletion.forgotten
        with deterministic(deletion.threads):
            sums = before.minus(sums_of(module, gone.features, gone.targets, part.classes)) if len(gone) else before
            state = write_head(state_of(module), name, sums.solve(l2))
        (course,) = courses(recipe, part)
        store = MemoryCheckpoints(states={course.stages[-1].name: state, SUMS: sums.to_state()})
        model = Model(recipe, part.shape, part.classes, (state,))
        log = training_log(model, part, store, deletion.threads)
        trained = Trained(model, log, Cost.since(started, len(gone)), store)
        return finish(self, deletion, trained, replace(EXACT, assumptions=EXACT.assumptions + ASSUMPTIONS))

    def _sums(self, deletion: Deletion) -> Sums:
        """Those of the present model, number for number, or a refusal."""
        kept = deletion.trained.checkpoints.load(SUMS)
        before = deletion.trained.model.constituents
        if kept is None or len(before) != 1 or before[0] is None:
            raise ProgrammerError("method-unfit", "the model keeps no sums: it has no least-squares head")
        sums, (module, name, l2) = Sums.from_state(kept), _parts(deletion)
        with deterministic(deletion.threads):
            solved: State = write_head(state_of(module), name, sums.solve(l2))
        same = all(torch.equal(part, before[0][key]) for key, part in solved.items())
        if sums.count != len(deletion.records.train) or not same:
            raise ProgrammerError("method-unfit", "the sums that were kept are not those of this model")
        return sums


def _parts(deletion: Deletion) -> tuple[torch.nn.Module, str, float]:
    """The network as the recipe makes it, the name of its last layer, and the penalty."""
    recipe, before = deletion.recipe, deletion.trained.model
    module = initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network")
    found = head_of(module)
    if found is None or not isinstance(recipe.optimiser, LeastSquares):
        raise ProgrammerError("method-unfit", "the model was not trained with a least-squares head")
    return module, found[0], recipe.optimiser.l2


MOVED = "The column preparation moved with these records, and every sum with it: the model was trained anew."

ASSUMPTIONS = ("The sums kept beside the model, which the forgotten records were part of, are replaced with it.",)
"""Beyond those of every exact method."""
