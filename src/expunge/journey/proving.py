"""Provable requests: a commitment when they are filed, one nonce from the verifier, a run under the drawn schedule."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from expunge.errors import OperatorError
from expunge.journey import artifacts, certifying, keys
from expunge.journey.artifacts import WORKSPACE
from expunge.journey.requests import Request
from expunge.journey.salting import salt_name
from expunge.journey.worker import holder as holder_of
from expunge.ledger import log, objects, receipts, salts, strict_json
from expunge.ledger.store import Store, Transaction
from expunge.plain import encode
from expunge.training import courses
from expunge.unlearning import Deletion, Description, Forecast, Method, Retrain, Unlearned, prepare
from expunge.verification import Commitment, Retained, Submission, commit, plan_of, prove, submission_to_bytes
from expunge.verification.provable import grounds, starts_from_model

START_KEPT: Final = (
    "The proof for the verifier holds the model as it stood before the deletion, which the method starts from: it is "
    "erased with the next deletion; the verifier must erase its copy."
)


@dataclass(frozen=True)
class Provable:
    """A method whose schedule is drawn from the retained data's root and a nonce of the verifier's.

    **Arguments:**

    - `method`: what is proven.
    - `every`: steps between checkpoints; `None` for as many as cut the run into 128 segments.
    - `nonce`, `commitment`: the verifier's nonce, and the digest of what was committed to before it; empty until then.
    """

    method: Method = field(default_factory=Retrain)
    every: int | None = None
    nonce: str = ""
    commitment: str = ""

    def describe(self) -> Description:
        """The method in words."""
        inner = self.method.describe()
        words = f"{inner.summary} Under a schedule that a verifier's nonce draws, with checkpoints to replay."
        return Description("provable", words, inner.kind, inner.source)

    def plan(self, deletion: Deletion) -> Forecast:
        """What the drawn schedule takes; raises what the method raises, and for what cannot be replayed."""
        inner, before = self.method.plan(deletion), deletion.trained.model
        part, recipe = grounds(self.method, deletion).train, deletion.recipe
        every = tuple(range(len(courses(recipe, deletion.records.train))))
        plan = plan_of(self.method, recipe, part, 0, every, before if starts_from_model(self.method) else None)
        if plan is None or starts_from_model(self.method):
            return inner
        work = sum(course.evaluations(plan.recipe.batch_size) for course in plan.todo)
        return replace(inner, gradient_evaluations=work)

    def run(self, deletion: Deletion) -> Unlearned:
        """Never without a nonce; `proving.run` carries it out.

        **Raises:** `OperatorError("nonce-missing")`.
        """
        del deletion
        raise OperatorError("nonce-missing", "a provable deletion runs when the verifier's nonce is there")


def settled(store: Store, method: Method, deletion: Deletion) -> Method:
    """The method that will run, as `certifying.settled` says; of a provable one, what it proves is settled."""
    if isinstance(method, Provable):
        return replace(method, method=certifying.settled(store, method.method, deletion))
    return certifying.settled(store, method, deletion)


def committed(store: Store, request: Request, ids: Sequence[str], wished: Provable) -> Commitment:
    """Commit to a request that was filed: store, log and publish it. A commitment that still stands is kept.

    **Raises:** what the method refuses.
    """
    known = read_commitment(store, request.id)
    deletion = prepare(artifacts.load_trained(store), artifacts.read_records(store), ids)
    method = certifying.settled(store, wished.method, deletion)
    share = secrets.token_bytes(salts.BYTES) if certifying.adds_noise(method) else b""
    made = commit(method, deletion, artifacts.read_tree(store), every=wished.every, share=share)
    if known is not None and replace(made, share=known.share).digest == known.digest:
        return known
    with store.transaction() as tx:
        if share:
            salts.keep(tx, {_share(made.digest): share})
        digest = objects.put_json(tx, made.to_json(), "commitment", (holder_of(request.id), "commitment"))
        objects.release(tx, holder_of(request.id), "nonce")
        objects.export(tx, digest, f"proofs/{request.id}.commitment.json")
        _log(tx, bytes.fromhex(made.digest))
    return made


def take_nonce(store: Store, request: Request, nonce: str, current: Commitment) -> None:
    """Bind the verifier's nonce to a commitment, for good; the log shows it.

    **Raises:** `OperatorError("nonce-missing")` for an empty one; `OperatorError("nonce-used")` for a second one.
    """
    if not nonce.strip():
        raise OperatorError("nonce-missing", "the nonce is empty")
    known = read_nonce(store, request.id)
    if artifacts.digest_of(store, holder_of(request.id), _spent(nonce)) is not None:
        raise OperatorError("nonce-used", "this nonce was there before the commitment that stands now")
    if known is not None and known != nonce:
        raise OperatorError("nonce-used", "this commitment was given another nonce before")
    if known is None:
        body = {"commitment": current.digest, "nonce": nonce}
        with store.transaction() as tx:
            objects.put_json(tx, body, "nonce", (holder_of(request.id), "nonce"))
            _log(tx, hashlib.sha256(strict_json.canonical(body)).digest())


def spend(store: Store, request: str, nonce: str) -> None:
    """Remember a nonce that came too late for the commitment it was drawn for: it must draw nothing any more."""
    with store.transaction() as tx:
        objects.put_json(tx, {"nonce": nonce}, "nonce", (holder_of(request), _spent(nonce)))


def read_commitment(store: Store, request: str) -> Commitment | None:
    """What a request is committed to, if anything."""
    digest = artifacts.digest_of(store, holder_of(request), "commitment")
    return None if digest is None else Commitment.from_json(objects.read_json(store, digest))


def read_nonce(store: Store, request: str) -> str | None:
    """The nonce that a request's commitment was given, if any."""
    digest = artifacts.digest_of(store, holder_of(request), "nonce")
    return None if digest is None else str(objects.read_json(store, digest)["nonce"])


def completed(store: Store, request: Request, method: Method) -> Method:
    """A provable method with the nonce and the commitment that its request was given; any other as it is."""
    if not isinstance(method, Provable):
        return method
    nonce, made = read_nonce(store, request.id), read_commitment(store, request.id)
    return replace(method, nonce=nonce or "", commitment="" if made is None else made.digest)


def run(store: Store, request: str, method: Method, deletion: Deletion) -> tuple[Unlearned, Submission | None]:
    """Carry a method out; of a provable one also what the verifier gets.

    **Raises:** `OperatorError("nonce-missing")`; `OperatorError("commitment-stale")` where the data is no more what was
    committed to; what the method raises.
    """
    if not isinstance(method, Provable):
        return method.run(deletion), None
    made = read_commitment(store, request)
    if made is None or not method.nonce:
        return method.run(deletion), None
    current = artifacts.read_tree(store)
    root = current.bury([current.live[row] for row in deletion.records.rows(deletion.forget)]).root.hex()
    if root != made.root or current.root.hex() != made.old_root:
        raise OperatorError("commitment-stale", "the data is no longer what the commitment says")
    inner = certifying.settled(store, method.method, deletion)
    with store.reading() as connection:
        share = salts.read(connection, [_share(made.digest)]).get(_share(made.digest), b"")
    proven = prove(inner, deletion, made, method.nonce, share)
    done = proven.unlearned
    notes = (*done.degraded, START_KEPT) if proven.submission.start is not None else done.degraded
    return replace(done, method=encode(method), degraded=notes), proven.submission


def keep(tx: Transaction, holder: str, request: str, given: Submission, result: Unlearned) -> dict[str, Any]:
    """Store the proof under the run's holder, and the recipe with the drawn seed; returns what the receipt will say."""
    objects.put(tx, submission_to_bytes(given), "proof", (holder, "proof"))
    objects.put_json(tx, result.trained.model.recipe.to_json(), "recipe", (holder, "recipe"))
    segments = len(given.proof.segments)
    return {"request": request, "transcript": given.transcript, "segments": segments}


def switch(tx: Transaction, held: dict[str, str], stated: dict[str, Any] | None) -> None:
    """Make the run's proof and recipe the workspace's; the proof of a run before is erased by who calls."""
    objects.release(tx, WORKSPACE, "proof")
    for role in ("proof", "recipe"):
        if role in held:
            objects.point(tx, WORKSPACE, role, held[role])
    if stated is not None and "proof" in held:
        objects.export(tx, held["proof"], f"proofs/{stated['request']}.proof")


def statement(stated: dict[str, Any] | None) -> receipts.Verification | None:
    """What the receipt says: what was committed to. Whoever signs it replays nothing: that is for the verifier."""
    if stated is None:
        return None
    words = (
        "Schedule drawn from the retained data's root and the verifier's nonce; checkpoints committed. "
        "Not replayed by the signer: expunge verify --replay."
    )
    return receipts.Verification(stated["transcript"], stated["segments"], 0, 0.0, words)


def retained(store: Store, request: str) -> Retained:
    """What the verifier must hold to judge a request: the records that it left, with their salts.

    **Raises:** `OperatorError("commitment-stale")` where a later deletion took some of them away;
    `OperatorError("unknown-salt")` where a salt is gone.
    """
    made, tree = read_commitment(store, request), artifacts.read_tree(store)
    if made is None or tree.root.hex() != made.root:
        raise OperatorError("commitment-stale", "the retained records of this request are not here, or no longer whole")
    names = [salt_name(place) for place in tree.live]
    with store.reading() as connection:
        known = salts.read(connection, names)
    if len(known) != len(names):
        raise OperatorError("unknown-salt", "salts of retained records are gone: their commitments cannot be opened")
    secret = tuple(known[name] for name in names)
    return Retained(artifacts.read_records(store), secret, tree.live, len(tree.leaves))


def _log(tx: Transaction, entry: bytes) -> None:
    log.append(tx.connection, [entry])
    log.sign(tx.connection, tx.recall(keys.ORIGIN) or "", keys.current_key(tx.connection, tx.folder))


def _spent(nonce: str) -> str:
    return f"spent/{hashlib.sha256(nonce.encode()).hexdigest()[:32]}"


def _share(commitment: str) -> str:
    """Under which name the provider's share of a draw is kept, secret."""
    return f"share/{commitment[:32]}"
