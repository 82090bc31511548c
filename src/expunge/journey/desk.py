"""The desk: where requests are taken, carried out, looked up and decided on in a workspace."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from expunge.errors import OperatorError
from expunge.journey import (
    artifacts,
    casework,
    config,
    earlier,
    filing,
    history,
    lookups,
    pages,
    proving,
    requests,
    screened,
    sharing,
    transitions,
    worker,
)
from expunge.journey.requests import Request, Subject
from expunge.journey.steps import ModelSteps, method_of
from expunge.journey.transitions import State
from expunge.journey.workspace import Workspace
from expunge.ledger.store import Store
from expunge.progress import Progress
from expunge.records import Records
from expunge.training import Executor
from expunge.unlearning import Method
from expunge.verification import Commitment, retained_to_bytes


@dataclass(eq=False)
class Desk:
    """Requests of one workspace; networks are trained on `executor`, in this process unless given."""

    workspace: Workspace
    executor: Executor | None = None

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
        what the method refuses; `OperatorError("not-trained")`; `RequesterError("key-reused")`;
        `RequesterError("already-deleted")` for records that are gone, by another wish than the one that deleted them.
        The very same wish is a retry: it has the outcome of then, and a `notice` under that code.
        """
        with self.workspace.store() as store:
            self._catch_up(store)
            if copies is not None:
                if filing.here(artifacts.read_records(store), Subject(None, copies.ids)):  # else what is over is found
                    screened.check_copies(store, copies, owner)
                ids, owner = copies.ids, None
            (request,) = filing.file(store, {filing.subject(owner, ids): key}, method, by)
            if request.state is not State.CLOSED:
                self._work(store, [request.id], progress)
            return self._answer(store, request)

    def forget_batch(
        self,
        owners: Sequence[str],
        *,
        method: Method | None = None,
        key: str | UUID | None = None,
        by: str = "operator",
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """File a request for each of these people, all or none, and carry them in one run to a receipt each.

        What cannot be deleted together is refused before anything is filed. `key` stands for all of them.

        **Raises:** as `forget`.
        """
        with self.workspace.store() as store:
            self._catch_up(store)
            found = filing.file(store, filing.batch(owners, key), method, by, requests.new_id("b"))
            if ids := [request.id for request in found if request.state is not State.CLOSED]:
                self._work(store, ids, progress)
            labels = {request.batch for request in found}
            done = [self._answer(store, request) for request in found]
            return {"batch": labels.pop() if len(labels) == 1 else None, "requests": done}

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
            self._catch_up(store)
            wished = proving.Provable(method or method_of(store, None), every)
            (request,) = filing.file(store, {filing.subject(owner, ids): key}, wished, by)
            ids = () if request.state in transitions.TERMINAL else self._ids(store, request)
            if not ids:  # it is over, or its records were deleted for another request: nothing is left to prove
                if request.state is not State.CLOSED:
                    self._work(store, [request.id], None)
                return self._answer(store, request)
            made = proving.committed(store, request, ids, wished)
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
            self._catch_up(store)
            with store.reading() as connection:
                found = requests.get(connection, request)
            wished = method_of(store, found.method)
            if not isinstance(wished, proving.Provable):
                raise OperatorError("illegal-move", "the request is not provable: file it with --provable")
            if found.state is State.CLOSED:
                if proving.read_nonce(store, request) not in (nonce, None):
                    raise OperatorError("nonce-used", "the request was carried out under another nonce")
            elif ids := self._ids(store, found):
                self._take(store, found, wished, ids, nonce)
            self._work(store, [request], progress)
            return {**self.outcome(store, request), **self._handed(store, request, retained)}

    def _handed(self, store: Store, request: str, retained: Path | None) -> dict[str, str | None]:
        """Where the proof is, and the retained records; neither where another request's run deleted the records."""
        if sharing.deleted_for(store, request):
            return {"proof": None, "retained": None}
        if retained is not None:
            _write_bytes(retained, retained_to_bytes(proving.retained(store, request)), private=True)
        proof = self.workspace.folder / "proofs" / f"{request}.proof"
        return {"proof": str(proof), "retained": None if retained is None else str(retained)}

    def _take(self, store: Store, found: Request, wished: proving.Provable, ids: Sequence[str], nonce: str) -> None:
        """Bind the nonce to the commitment, which must still stand."""
        before = proving.read_commitment(store, found.id)
        made = proving.committed(store, found, ids, wished)
        if before is None or before.digest != made.digest:
            proving.spend(store, found.id, nonce)
            raise OperatorError("commitment-stale", "the data is no longer what the commitment says")
        proving.take_nonce(store, found, nonce, made)

    def resume(self, progress: Progress | None = None) -> dict[str, Any]:
        """Carry every open request as far as it goes: after a kill, a failure, or a person's decision."""
        with self.workspace.store() as store:
            self._catch_up(store)
            done = self._work(store, None, progress)
            return {
                "requests": [lookups.line(store, request) for request in done.requests],
                "waiting": dict(done.waiting),
            }

    def _answer(self, store: Store, found: Request) -> dict[str, Any]:
        """The outcome, to whoever asked: under a notice where the request was closed when it was `found`."""
        return {**self.outcome(store, found.id), "notice": _notice(store, found)}

    def outcome(self, store: Store, request: str) -> dict[str, Any]:
        """What became of a request: what was done, what it cost, and where its receipt is."""
        with store.reading() as connection:
            found = requests.get(connection, request)
        done, audit = (sharing.shared(store, request, step) for step in ("unlearn", "audit"))
        if done is None or found.state is not State.CLOSED:
            return {**lookups.line(store, found), "request": request}
        folder, work = self.workspace.folder, done["gradient_evaluations"]
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
            return {**self.workspace.facts(), "requests": lookups.listed(store)}

    def screening(self, request: str, *, again: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """What screening found in a request; `again` judges it anew, which changes nothing of the request.

        **Raises:** as `screened.shown`.
        """
        with self.workspace.store() as store:
            return screened.shown(store, request, again=again, progress=progress)

    def _ids(self, store: Store, request: Request) -> tuple[str, ...]:
        return earlier.left(store, request, artifacts.read_records(store))

    def _committed(self, store: Store, request: Request, made: Commitment) -> dict[str, Any]:
        file = self.workspace.folder / "proofs" / f"{request.id}.commitment.json"
        return {
            **lookups.line(store, request),
            "request": request.id,
            "commitment": made.digest,
            "commitment_file": str(file),
            "root": made.root,
            "every": made.every,
        }

    def _work(self, store: Store, ids: Sequence[str] | None, progress: Progress | None) -> worker.Outcome:
        steps = ModelSteps(store, config.read(self.workspace.folder), progress, self.executor)
        done = worker.work(store, steps, ids, progress=progress)
        for request in done.requests:
            if request.state is State.CLOSED:
                pages.write(store, request.id)
        self.workspace.publish(store)
        return done.demand()

    def _catch_up(self, store: Store) -> None:
        """Do what a kill after the close of a request kept back: forget whom, write its page, and the log in `log/`."""
        with store.reading() as connection:
            over = requests.with_subject(connection, [State.CLOSED])
            closed = requests.ids(connection, [State.CLOSED])
        if over:
            with store.transaction() as tx:
                requests.erase_subjects(tx, over)
        for request in pages.lost(store, closed):
            pages.write(store, request)
        if closed:
            self.workspace.publish(store)


def _notice(store: Store, found: Request) -> dict[str, str] | None:
    """What a person must know who asks for what was done before: that nothing was done now."""
    if found.state is not State.CLOSED:
        return None
    with store.reading() as connection:
        when = [event.at for event in history.read(connection, found.id) if event.move == "close"][-1]
    said = f"nothing was done now: request {found.id} deleted these records, and was closed on {when:%Y-%m-%d}"
    return {"code": "already-deleted", "message": said}


def _write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(0o600 if private else 0o666)
    partial.write_bytes(data)
    partial.replace(path)
