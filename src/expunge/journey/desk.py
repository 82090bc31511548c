"""The desk: where requests are taken, carried out, looked up and decided on in a workspace."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from expunge.errors import OperatorError, RequesterError
from expunge.journey import (
    artifacts,
    casework,
    config,
    history,
    proving,
    requests,
    screened,
    subjects,
    transitions,
    worker,
)
from expunge.journey.requests import Request, Subject, Wish
from expunge.journey.steps import ModelSteps, method_of, record_ids
from expunge.journey.transitions import State
from expunge.journey.workspace import Workspace, salt_name
from expunge.ledger import objects, salts
from expunge.ledger.store import Store
from expunge.plain import encode
from expunge.progress import Progress
from expunge.records import Records
from expunge.reports.deletion import deletion_report
from expunge.reports.story import DeletionStory
from expunge.unlearning import Method, prepare
from expunge.verification import Commitment, retained_to_bytes


@dataclass(eq=False)
class Desk:
    """Requests of one workspace."""

    workspace: Workspace

    def forget(
        self,
        *,
        owner: str | None = None,
        ids: Sequence[str] | None = None,
        method: Method | None = None,
        key: str | UUID | None = None,
        by: str = "operator",
        copies: Records | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """File a request whose right is established, and carry it to its signed receipt.

        What the workspace cannot honour is refused before anything is filed. `key` is the idempotency key: the same
        one files the same request once. `copies` are records as the requester handed them in, in place of `ids`: they
        are matched with their commitments and kept nowhere.

        **Raises:** `RequesterError("altered-copy" | "not-owner")` for copies;
        `RequesterError("unknown-owner" | "unknown-record" | "nothing-to-delete" | "delete-everything")`;
        what the method refuses; `OperatorError("not-trained")`; `RequesterError("key-reused")`.
        """
        with self.workspace.store() as store:
            self._catch_up(store)
            if copies is not None:
                ids, owner = screened.check_copies(store, copies, owner), None
            request = self._file(store, owner, ids, method, key, by)
            self._work(store, [request.id], progress)
            return self.outcome(store, request.id)

    def commit(
        self,
        *,
        owner: str | None = None,
        ids: Sequence[str] | None = None,
        method: Method | None = None,
        every: int | None = None,
        key: str | UUID | None = None,
        by: str = "operator",
    ) -> dict[str, Any]:
        """File a provable request and commit to it; it runs when `challenge` brings the verifier's nonce.

        **Raises:** as `forget`; `ProgrammerError("method-unfit")` for a method that cannot be replayed.
        """
        with self.workspace.store() as store:
            wished = proving.Provable(method or method_of(store, None), every)
            request = self._file(store, owner, ids, wished, key, by)
            made = proving.committed(store, request, self._ids(store, request), wished)
            self.workspace.publish(store)
            return {**self._committed(store, request, made), "nonce": proving.read_nonce(store, request.id)}

    def challenge(
        self, request: str, nonce: str, retained: Path | None = None, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Take the verifier's nonce, carry the request out under the schedule that it draws, hand the proof over.

        **Arguments:** `retained`: where to write the retained records with their salts, for the verifier alone.

        **Raises:** `OperatorError("nonce-used" | "nonce-missing" | "commitment-stale" | "illegal-move" |
        "unknown-request")`, and as `forget`.
        """
        with self.workspace.store() as store:
            with store.reading() as connection:
                found = requests.get(connection, request)
            wished = method_of(store, found.method)
            if not isinstance(wished, proving.Provable):
                raise OperatorError("illegal-move", "the request is not provable: file it with --provable")
            if found.state is not State.CLOSED:
                before = proving.read_commitment(store, request)
                made = proving.committed(store, found, self._ids(store, found), wished)
                if before is None or before.digest != made.digest:
                    proving.spend(store, request, nonce)
                    raise OperatorError("commitment-stale", "the data is no longer what the commitment says")
                proving.take_nonce(store, found, nonce, made)
                self._work(store, [request], progress)
            elif proving.read_nonce(store, request) != nonce:
                raise OperatorError("nonce-used", "the request was carried out under another nonce")
            if retained is not None:
                _write_bytes(retained, retained_to_bytes(proving.retained(store, request)), private=True)
            proof = self.workspace.folder / "proofs" / f"{request}.proof"
            handed = {"proof": str(proof), "retained": None if retained is None else str(retained)}
            return {**self.outcome(store, request), **handed}

    def resume(self, progress: Progress | None = None) -> dict[str, Any]:
        """Carry every open request as far as it goes: after a kill, a failure, or a person's decision."""
        with self.workspace.store() as store:
            self._catch_up(store)
            done = self._work(store, None, progress)
            return {
                "requests": [self._line(store, request) for request in done.requests],
                "waiting": dict(done.waiting),
            }

    def outcome(self, store: Store, request: str) -> dict[str, Any]:
        """What became of a request: what was done, what it cost, and where its receipt is."""
        with store.reading() as connection:
            found = requests.get(connection, request)
        done = worker.read_record(store, request, "unlearn")
        if done is None or found.state is not State.CLOSED:
            return {**self._line(store, found), "request": request}
        folder, work = self.workspace.folder, done["gradient_evaluations"]
        audit = worker.read_record(store, request, "audit")
        stopped = None if audit["retraining"] is None else audit["retraining"]["stopped_evaluations"]
        return {
            "request": request,
            "state": str(found.state),
            "method": done["method"],
            "claim": done["claim"]["kind"],
            "epsilon": done["claim"]["epsilon"],
            "delta": done["claim"]["delta"],
            "budget_left": done["claim"]["budget_left"],
            "forgotten": len(done["commitments"][request]),
            "cost": {
                "gradient_evaluations": work,
                "retraining_evaluations": done["retraining_evaluations"],
                "stopped_retraining_evaluations": stopped,
                "times_cheaper": done["retraining_evaluations"] / work if work else None,
                "seconds": done["seconds"],
            },
            "audit": audit["summary"],
            "degraded": done["degraded"],
            "tuning": done.get("tuning"),
            "model": done["new_model"],
            "model_file": str(folder / artifacts.MODEL_FILE),
            "bundle": str(folder / "receipts" / f"{request}.bundle.json"),
            "report": str(folder / "reports" / f"{request}.html"),
            "case": casework.summary(store, request, folder / "cases" / f"{request}.html"),
        }

    def status(self) -> dict[str, Any]:
        """The workspace's facts, and a line for each request."""
        with self.workspace.store() as store:
            with store.reading() as connection:
                everything = requests.list_all(connection)
            return {**self.workspace.facts(), "requests": [self._line(store, each) for each in everything]}

    def show(self, request: str) -> dict[str, Any]:
        """One request with its history and the records that its steps left."""
        with self.workspace.store() as store:
            with store.reading() as connection:
                found = requests.get(connection, request)
                events = [event.to_json() for event in history.read(connection, request)]
            names = ("screen", "plan", "unlearn", "audit", "receipt")
            left = {name: worker.read_record(store, request, name) for name in names}
            return {**self._line(store, found), "history": events, "steps": left}

    def screening(self, request: str, *, again: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """What screening found in a request; `again` judges it anew, which changes nothing of the request.

        **Raises:** as `screened.shown`.
        """
        with self.workspace.store() as store:
            return screened.shown(store, request, again=again, progress=progress)

    def audits(self) -> dict[str, Any]:
        """The audit of every request that has one, newest last."""
        with self.workspace.store() as store:
            with store.reading() as connection:
                everything = requests.list_all(connection)
            found = [(each.id, worker.read_record(store, each.id, "audit")) for each in everything]
            return {"audits": [{"request": name, **record} for name, record in found if record is not None]}

    def forget_salts(self, request: str, reason: str) -> dict[str, Any]:
        """Destroy the salts of a closed request's records.

        **Raises:** `OperatorError("unknown-request" | "illegal-move" | "bad-arguments")`, and what the store raises.
        """
        subjects.check_words(reason)
        with self.workspace.store() as store:
            with store.reading() as connection:
                found = requests.get(connection, request)
            if found.state is not State.CLOSED:
                raise OperatorError(
                    "illegal-move", f"the request is {found.state}: only a closed one lets its salts go"
                )
            places = worker.read_record(store, request, "unlearn")["places"][request]
            with store.transaction() as tx:
                gone = salts.destroy(tx, [salt_name(place) for place in places], reason)
            return {"request": request, "destroyed": len(gone)}

    def _file(
        self,
        store: Store,
        owner: str | None,
        ids: Sequence[str] | None,
        method: Method | None,
        key: str | UUID | None,
        by: str,
    ) -> Request:
        """The request for this, filed now or before; refuses at the door what no step could carry out."""
        subject = Subject(owner, tuple(sorted(set(ids or ()))))
        request = self._filed(store, _checked_key(key), subject)
        if request is None:
            self._check(store, owner, ids, method)
            wished = None if method is None else encode(method)
            wish = Wish(subject, wished, config.read(self.workspace.folder).regime)
            with store.transaction() as tx:
                request = requests.file(tx, key or uuid4(), wish, verified_by=by)
        return request

    def _ids(self, store: Store, request: Request) -> tuple[str, ...]:
        return record_ids(artifacts.read_records(store), request)

    def _committed(self, store: Store, request: Request, made: Commitment) -> dict[str, Any]:
        file = self.workspace.folder / "proofs" / f"{request.id}.commitment.json"
        return {
            **self._line(store, request),
            "request": request.id,
            "commitment": made.digest,
            "commitment_file": str(file),
            "root": made.root,
            "every": made.every,
        }

    def _filed(self, store: Store, key: str | None, subject: Subject) -> Request | None:
        """The request under this key; without one, a request for the same that is still open: a kill left it so."""
        if key is not None:
            return self._under_key(store, key, subject)
        with store.reading() as connection:
            still = (each for each in requests.list_all(connection, transitions.OPEN) if each.verified_at is not None)
            return next((each for each in still if each.subject == subject), None)

    def _under_key(self, store: Store, key: str, subject: Subject) -> Request | None:
        """The request under this key, unless it was for somebody else: whose records are still here was not deleted."""
        with store.reading() as connection:
            found = [each for each in requests.filed_under(connection, key) if each.verified_at is not None]
        if not found:
            return None
        records = artifacts.read_records(store)
        here = subject.owner in records.owners or any(record in records.row_of for record in subject.records)
        if found[0].subject != subject and (found[0].subject is not None or here):
            raise RequesterError("key-reused", "this idempotency key was used for another request")
        return found[0]

    def _check(self, store: Store, owner: str | None, ids: Sequence[str] | None, method: Method | None) -> None:
        """Refuse at the door what no step could carry out."""
        records = artifacts.read_records(store)
        named = records.owned_by(owner) if owner is not None else tuple(ids or ())
        trained = artifacts.load_trained(store)
        deletion = prepare(trained, records, named)
        proving.settled(store, method or method_of(store, None), deletion).plan(deletion)

    def _work(self, store: Store, ids: Sequence[str] | None, progress: Progress | None) -> worker.Outcome:
        steps = ModelSteps(store, config.read(self.workspace.folder), progress)
        done = worker.work(store, steps, ids)
        for request in done.requests:
            if request.state is State.CLOSED:
                self._report(store, request.id)
        self.workspace.publish(store)
        return done.demand()

    def _catch_up(self, store: Store) -> None:
        """Write what a kill after the close of a request kept back: its page, and the log in `log/`."""
        with store.reading() as connection:
            closed = requests.list_all(connection, [State.CLOSED])
        for request in closed:
            self._report(store, request.id)
        if closed:
            self.workspace.publish(store)

    def _report(self, store: Store, request: str) -> None:
        """The pages beside the receipt, kept in the store so that `fsck` watches them; exported again where missing."""
        holder, folder = f"receipt/{request}", self.workspace.folder
        places = {"page": f"reports/{request}.html", "case-page": f"cases/{request}.html"}
        missing = [role for role, path in places.items() if not (folder / path).exists()]
        with store.reading() as connection:
            kept = objects.held(connection, holder)
        made = self._pages(store, request) if "page" in missing and "page" not in kept else {}
        if wanted := [role for role in missing if role in kept or role in made]:
            with store.transaction() as tx:
                for role in wanted:
                    digest = kept.get(role) or objects.put(tx, made[role].encode(), "page", (holder, role))
                    objects.export(tx, digest, places[role])

    def _pages(self, store: Store, request: str) -> dict[str, str]:
        """What the pages of a closed request say, while the workspace still stands on its model; else nothing."""
        folder = self.workspace.folder
        done, found = (worker.read_record(store, request, name) for name in ("unlearn", "audit"))
        described = method_of(store, {"kind": _class(done["method"]), **done["parameters"]}).describe()
        if done["new_model"] != artifacts.digest_of(store, artifacts.WORKSPACE, "model"):
            return {}
        story = DeletionStory.of(
            folder / "receipts" / f"{request}.bundle.json",
            folder / artifacts.MODEL_FILE,
            audit=found if found["readings"] else None,
            method={"summary": described.summary, "source": described.source},
            retraining_seconds=None if found["retraining"] is None else found["retraining"]["seconds"],
        )
        cases = casework.deletion_page(store, request)
        return {"page": deletion_report(story)} | ({} if cases is None else {"case-page": cases})

    def _line(self, store: Store, request: Request) -> dict[str, Any]:
        with store.reading() as connection:
            due = requests.deadline(connection, request, datetime.now(UTC))
        done = worker.read_record(store, request.id, "unlearn")
        screened = worker.read_record(store, request.id, "screen")
        return {
            **request.to_json(),
            "deadline": {**asdict(due), "received": due.received.isoformat(), "due": due.due.isoformat()},
            "records": None if screened is None else screened["records"],
            "method": request.method if done is None else done["method"],
        }


def _checked_key(key: str | UUID | None) -> str | None:
    try:
        return None if key is None else str(UUID(str(key)))
    except ValueError:
        raise OperatorError("bad-arguments", "an idempotency key is a UUID") from None


def _class(name: str) -> str:
    from expunge.journey.steps import METHODS

    found = {method().describe().name: method.__name__ for method in METHODS}.get(name)
    if found is None:
        raise OperatorError("unknown-method", f"no method is called {name[:40]!r}")
    return found


def _write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(0o600 if private else 0o666)
    partial.write_bytes(data)
    partial.replace(path)
