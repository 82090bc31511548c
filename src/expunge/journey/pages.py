"""The pages beside a receipt: what was done, for people; and the cases that argue it."""

from collections.abc import Iterable

from expunge.errors import OperatorError
from expunge.journey import artifacts, casework, sharing
from expunge.journey.steps import METHODS, method_of
from expunge.ledger import objects
from expunge.ledger.store import Store
from expunge.reports.deletion import deletion_report
from expunge.reports.story import DeletionStory


def write(store: Store, request: str) -> None:
    """Make the pages of a closed request, kept in the store so that `fsck` watches them; export again what is missing.

    **Raises:** what the store raises.
    """
    holder = f"receipt/{request}"
    places = {"page": f"reports/{request}.html", "case-page": f"cases/{request}.html"}
    missing = [role for role, path in places.items() if not (store.folder / path).exists()]
    with store.reading() as connection:
        kept = objects.held(connection, holder)
    made = _made(store, request) if "page" in missing and "page" not in kept else {}
    if wanted := [role for role in missing if role in kept or role in made]:
        with store.transaction() as tx:
            for role in wanted:
                digest = kept.get(role) or objects.put(tx, made[role].encode(), "page", (holder, role))
                objects.export(tx, digest, places[role])


def lost(store: Store, requests: Iterable[str]) -> list[str]:
    """Those of these closed requests one of whose pages is not there; one look at each folder."""
    there = [{path.stem for path in (store.folder / name).glob("*.html")} for name in ("reports", "cases")]
    return [request for request in requests if not all(request in folder for folder in there)]


def _made(store: Store, request: str) -> dict[str, str]:
    """What the pages of a closed request say, while the workspace still stands on its model; else nothing."""
    done, found = (sharing.shared(store, request, name) for name in ("unlearn", "audit"))
    described = method_of(store, {"kind": _class(done["method"]), **done["parameters"]}).describe()
    if done["new_model"] != artifacts.digest_of(store, artifacts.WORKSPACE, "model"):
        return {}
    story = DeletionStory.of(
        store.folder / "receipts" / f"{request}.bundle.json",
        store.folder / artifacts.MODEL_FILE,
        audit=found if found["readings"] else None,
        method={"summary": described.summary, "source": described.source},
        retraining_seconds=None if found["retraining"] is None else found["retraining"]["seconds"],
    )
    cases = casework.deletion_page(store, request)
    return {"page": deletion_report(story)} | ({} if cases is None else {"case-page": cases})


def _class(name: str) -> str:
    found = {method().describe().name: method.__name__ for method in METHODS}.get(name)
    if found is None:
        raise OperatorError("unknown-method", f"no method is called {name[:40]!r}")
    return found
