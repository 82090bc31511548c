"""Hyper-parameters chosen in a workspace: a wish that becomes a method when the deletion is carried out.

Half of the test records judge the candidates; the audit then looks at the other half alone, so that no figure of the
receipt is measured on records that a choice was made on.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any, Final

from expunge.auditing import Tuned, candidates, tune
from expunge.auditing.tuning import FEWEST, GRIDS
from expunge.errors import OperatorError, ProgrammerError
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.unlearning import Deletion, Description, Forecast, L1Sparse, Method, Unlearned

BUDGET: Final = 2.0
"""Gradients of all trials together, as a share of retraining's."""


@dataclass(frozen=True)
class Tune:
    """A method at the hyper-parameters that validation chooses on the very deletion (`expunge.auditing.tune`).

    **Arguments:** `method`: which; `budget`: gradients of all trials together, as a share of retraining's.
    """

    method: Method = field(default_factory=L1Sparse)
    budget: float = BUDGET

    def describe(self) -> Description:
        """The method in words."""
        inner = self.method.describe()
        return replace(inner, name="tuned", summary=f"{inner.summary} At hyper-parameters chosen by validation.")

    def plan(self, deletion: Deletion) -> Forecast:
        """The method's own forecast and all of the budget.

        **Raises:** `ProgrammerError("method-unfit")` for a method without a grid and for regression;
        `OperatorError("bad-data")` with too few test records to spare half; what the method refuses.
        """
        name = self.method.describe().name
        if name not in GRIDS or not deletion.records.classes:
            raise ProgrammerError("method-unfit", f"{name} cannot be tuned: {', '.join(GRIDS)} can, for classes")
        if len(deletion.retained.test) < 2 * FEWEST:
            raise OperatorError(
                "bad-data", f"tuning needs {2 * FEWEST} test records, and spares the audit half of them"
            )
        inner = self.method.plan(deletion)
        spent = int(self.budget * inner.retraining_evaluations)
        note = "With the tuning: at most so many, for what the budget leaves over is not spent."
        return replace(inner, gradient_evaluations=inner.gradient_evaluations + spent, notes=(*inner.notes, note))

    def run(self, deletion: Deletion) -> Unlearned:
        """Tune, then run what was chosen; the record's cost is that of both."""
        return self.carried_out(deletion)[0]

    def carried_out(self, deletion: Deletion) -> tuple[Unlearned, dict[str, Any]]:
        """The run, and the record of the tuning: target, trials, budget."""
        started = time.monotonic()
        tuned = self._tuned(deletion)
        seconds = time.monotonic() - started
        done = tuned.method.run(deletion)
        cost = replace(
            done.cost,
            seconds=done.cost.seconds + seconds,
            gradient_evaluations=done.cost.gradient_evaluations + tuned.evaluations,
        )
        return replace(done, cost=cost, degraded=(*done.degraded, *_words(tuned))), tuned.to_json()

    def _tuned(self, deletion: Deletion) -> Tuned:
        validation, _ = parted(deletion.retained)
        return tune(
            deletion.trained,
            deletion.records,
            tuple(deletion.forget),
            candidates(self.method, deletion.recipe),
            validation,
            budget=self.budget,
            seed=deletion.seed,
            progress=deletion.progress,
        )


def parted(retained: Records) -> tuple[Records, Records]:
    """Test records that tuning may look at, and those that are left for the audit: the same halves every time."""
    test = retained.test
    order = numpy_generator(0, "journey/tuning").permutation(len(test)).tolist()
    half = len(test) // 2
    return test.select(sorted(order[:half])), test.select(sorted(order[half:]))


def _words(tuned: Tuned) -> tuple[str, ...]:
    if not tuned.idle:
        return ()
    return ("Tuning found no setting that comes nearer to retraining than the model before: judge by the audit.",)
