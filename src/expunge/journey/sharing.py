"""What the steps of a request recorded, its own or those of the run that it shares; needs no torch."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from expunge.journey import worker
from expunge.ledger import objects
from expunge.ledger.store import Store

WORDS: Final = "The records were deleted before this request's turn, for another request that names them too."
"""Said in the screening of a request that has nothing left to delete."""


def deleted_for(store: Store, request: str) -> list[str]:
    """The requests whose runs deleted the records of one that found nothing left; none where it has its own run."""
    return _others(worker.read_record(store, request, "unlearn"), request)


def shared(store: Store, request: str, step: str) -> Any:
    """The record of a step; of a request with nothing left, that of the latest run that deleted its records.

    Its `places` and `commitments` then name the records of this request. Where several runs deleted them, no single
    proof joins the roots before and after: it is left out, and each of their receipts has its own.
    """
    own = worker.read_record(store, request, step)
    others = _others(own, request) if step == "unlearn" else deleted_for(store, request)
    if not others:
        return own
    record = worker.read_record(store, others[-1], step)
    if step != "unlearn":
        return record
    parts = [worker.read_record(store, other, step) for other in others]
    names = _names(request, places(store, request), parts)
    proof = record["deletion_proof"] if len({part["retained_root"] for part in parts}) == 1 else None
    said = f"{WORDS} Deleted under: {', '.join(others)}."
    return {
        **record,
        **names,
        "old_root": parts[0]["old_root"],
        "deletion_proof": proof,
        "degraded": [*record["degraded"], said],
    }


def places(store: Store, request: str) -> list[int]:
    """Where a request's records stood in the tree of commitments when it was filed."""
    with store.reading() as connection:
        digest = objects.pointed(connection, worker.holder(request), worker.PLACES)
    return [] if digest is None else list(objects.read_json(store, digest)["places"])


def _others(done: Mapping[str, Any] | None, request: str) -> list[str]:
    return [] if done is None else list(done.get("earlier", {}).get(request, ()))


def _names(request: str, stood: Sequence[int], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where this request's records stood and their commitments, as the runs that deleted them recorded both."""
    leaves: dict[int, str] = {}
    for part in parts:
        for other, some in part["places"].items():
            leaves |= dict(zip(some, part["commitments"][other], strict=True))
    known = [place for place in stood if place in leaves]
    return {"places": {request: known}, "commitments": {request: [leaves[place] for place in known]}}
