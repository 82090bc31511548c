"""Certified methods in a workspace: which one, and what of the budget is used."""

from dataclasses import replace
from typing import Any, Final

from expunge.journey import artifacts, requests, worker
from expunge.ledger.store import Store
from expunge.unlearning import (
    Certified,
    CertifiedHead,
    Deletion,
    Method,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    RewindAndDescend,
)
from expunge.unlearning.accounting import LEAST, epsilon_of, mu_of

BUDGETED: Final = (CertifiedHead, NoisyFineTuning, OutputPerturbation, Newton, RewindAndDescend)
"""Methods that add noise and draw on a budget."""


def settled(store: Store, method: Method, deletion: Deletion) -> Method:
    """The method that will run: a wish for a guarantee becomes a method, and the budget knows what was spent.

    **Raises:** as `Certified.choose`.
    """
    if isinstance(method, Certified):
        method = replace(method, spent=spent(store, method.delta)).choose(deletion)
    if isinstance(method, BUDGETED):
        return replace(method, spent=spent(store, method.delta))
    return method


def adds_noise(method: Method) -> bool:
    """Whether a proof of the run shows noise that a guarantee rests on, so that its draw needs a secret share."""
    return isinstance(getattr(method, "method", method), BUDGETED)


def spent(store: Store, delta: float) -> float:
    """Epsilon, at `delta`, of all certified releases that led to the present model since it was last trained alone."""
    digest = artifacts.digest_of(store, artifacts.WORKSPACE, "model")
    runs = {done["new_model"]: done for done in _runs(store)}
    while digest in runs:
        claim, digest = runs[digest]["claim"], runs[digest]["old_model"]
        if claim["kind"] == "exact":
            return 0.0
        if claim["kind"] == "certified":
            return max(epsilon_of(mu_of(claim["epsilon"], claim["delta"]), delta), LEAST)
    return 0.0


def _runs(store: Store) -> list[dict[str, Any]]:
    with store.reading() as connection:
        everything = requests.list_all(connection)
    found = [worker.read_record(store, each.id, "unlearn") for each in everything]
    return [record for record in found if record is not None and record["old_model"] != record["new_model"]]
