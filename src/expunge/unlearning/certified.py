"""The cheapest method that meets an epsilon on the model at hand, or a refusal that says what would."""

from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.networks import initialise
from expunge.training import CrossEntropy, LeastSquares
from expunge.training.head import head_of
from expunge.unlearning.accounting import Privacy
from expunge.unlearning.downdate import Downdate
from expunge.unlearning.head import CertifiedHead
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Method, Unlearned
from expunge.unlearning.noisy_fine_tuning import OutputPerturbation
from expunge.unlearning.retrain import Retrain


@dataclass(frozen=True)
class Certified:
    """Ask for a guarantee instead of a method.

    On fixed features with a least-squares end: `Downdate`, which is exact. With a cross-entropy end: `CertifiedHead`,
    or `Retrain` where that takes fewer gradients, for it meets every epsilon. On any other network a refusal that says
    what each way out would take: whole-network certificates at a small epsilon leave a network that is no better than
    a fresh one, so that none of them is chosen for anybody; who wants them names them.

    **Arguments:** `epsilon`, `delta`, `requests`, `spent`: as in `CertifiedHead`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    requests: int = 10
    spent: float = 0.0

    def __post_init__(self) -> None:
        _ = Privacy(self.epsilon, self.delta, self.requests)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "certified",
            "Whichever method meets epsilon and delta on this model at the least cost.",
            ClaimKind.CERTIFIED,
            "see certified-head",
        )

    def choose(self, deletion: Deletion) -> Method:
        """The method.

        **Raises:** `ProgrammerError("method-unfit")` with what would meet the guarantee; as `CertifiedHead.plan`.
        """
        recipe, before = deletion.recipe, deletion.trained.model
        if recipe.sharding is not None:
            raise ProgrammerError(
                "method-unfit", "a sharded model needs no epsilon", "`--method sharded` is exact, and cheap here."
            )
        fresh = initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network")
        if head_of(fresh) is None or not isinstance(recipe.loss, CrossEntropy):
            raise ProgrammerError(
                "method-unfit",
                f"no method that meets epsilon {self.epsilon:g} on this network leaves anything of its training",
                self._ways_out(deletion),
            )
        if isinstance(recipe.optimiser, LeastSquares):
            return Downdate()
        method = CertifiedHead(self.epsilon, self.delta, self.requests, self.spent)
        if method.plan(deletion).gradient_evaluations > deletion.retraining_evaluations:
            return Retrain()
        return method

    def _ways_out(self, deletion: Deletion) -> str:
        """What would meet the guarantee on a network, and what it takes."""
        known = (
            f"`--method retrain` is exact, meets every epsilon and takes {deletion.retraining_evaluations:,} gradients"
        )
        noisy = OutputPerturbation(self.epsilon, self.delta)
        try:
            work = noisy.plan(deletion).gradient_evaluations
            noise = f"and {work:,}, but what it leaves is no better than a fresh network"
            known += f"; `--method output-perturbation` takes noise of {noisy.sigma:.3g} {noise}"
        except ProgrammerError:
            known += "; no other method fits this network"
        return f"{known}; a model made by `expunge init --certifiable` can be certified cheaply."

    def plan(self, deletion: Deletion) -> Forecast:
        """That of the chosen method."""
        return self.choose(deletion).plan(deletion)

    def run(self, deletion: Deletion) -> Unlearned:
        """Run the chosen method; the record names it."""
        return self.choose(deletion).run(deletion)
