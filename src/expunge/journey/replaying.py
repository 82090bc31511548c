"""The verifier's side of a provable deletion: receipt, proof and retained records in, verdict out. No workspace."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from expunge.errors import AttackSuspected, ExpungeError, OperatorError
from expunge.journey.nonces import read_book
from expunge.ledger import bundle, strict_json
from expunge.plain import decode
from expunge.training import HeadSolver, Recipe, courses, fingerprint
from expunge.unlearning import ClaimKind, Method
from expunge.verification import (
    BYTES,
    METHODS,
    Check,
    Commitment,
    NonceBook,
    Retained,
    SpotCheck,
    Submission,
    Tolerance,
    Verdict,
    calibrate,
    deleted_leaves,
    prove_courses,
    retained_from_bytes,
    submission_from_bytes,
)
from expunge.verification.verdict import STRONGEST_FIRST

CALIBRATION_STEPS: Final = 64
"""Steps of the verifier's own honest run, on another platform than the provider's; three segments at least."""

MOST_CALIBRATION_STEPS: Final = 2000
MOST_THREADS: Final = 64
GUARANTEE: Final = ("epsilon", "delta")


@dataclass(frozen=True)
class Asked:
    """What the verifier asks for.

    **Arguments:**

    - `bundle`, `records`: the receipt, and the retained records with their salts.
    - `proof`: by default `../proofs/<request>.proof`, or `<request>.proof` beside the bundle.
    - `model`: the file in use, by default the one in the proof.
    - `nonce`, `commitment`: the verifier's own nonce, and the commitment file that it was drawn for; or `book`: the
      verifier's book of nonces, which knows both.
    - `old_root`: root of the data, in hex, that the verifier kept from before the request.
    - `work`: share of retraining that replay may take.
    - `threads`: of the replay; `None` for as many as the provider says it used, so that bytes can be compared.
    - `owners`: people who left, where the verifier may know them.
    - `factories`: networks of one's own, as `module:name`, that the recipe may name: building one runs its code.
    """

    bundle: Path
    records: Path
    proof: Path | None = None
    model: Path | None = None
    nonce: str | None = None
    commitment: Path | None = None
    book: Path | None = None
    old_root: str | None = None
    work: float = 0.1
    threads: int | None = None
    owners: Sequence[str] = ()
    factories: Sequence[str] = ()


def replayed(asked: Asked) -> dict[str, Any]:
    """Every check of the replay, as plain values; the receipt itself is `expunge_verify`'s.

    **Raises:** `OperatorError("no-such-file")`; `AttackSuspected("bad-proof" | "bad-bundle")` for files that cannot be
    read.
    """
    receipt = _receipt(_read(asked.bundle))
    given = submission_from_bytes(_read(_proof_file(asked, receipt)), asked.factories)
    book = None if asked.book is None else read_book(asked.book)
    differ = _differences(given, receipt, asked, book)
    if differ:  # nothing else that it says is looked at
        return _plain(Verdict((), 0, (), 0, 0.0, BYTES), given, differ, [])
    retained = retained_from_bytes(_read(asked.records))
    threads = _threads(given) if asked.threads is None else asked.threads
    verdict = SpotCheck(share=asked.work, threads=threads).verify(
        given,
        retained,
        _nonce(given, asked, book),
        transcript=receipt["verification"]["schedule_commitment"],
        deployed=given.model if asked.model is None else _read(asked.model),
        owners=asked.owners,
        calibrated=lambda: _tolerance(given, retained, threads),
    )
    verdict = replace(verdict, checks=(*verdict.checks, _claim(verdict, receipt)))
    return _plain(verdict, given, differ, _degraded(given, asked, book))


def _nonce(given: Submission, asked: Asked, book: NonceBook | None) -> str:
    """The verifier's own, where it is known."""
    if book is not None:
        return book.nonce_of(given.commitment.digest) or ""
    return given.nonce if asked.nonce is None else asked.nonce


def _receipt(data: bytes) -> dict[str, Any]:
    """The predicate of a receipt about a provable deletion."""
    envelope = bundle.parse(data).envelope
    try:
        statement = strict_json.loads(base64.b64decode(envelope["payload"]))
        receipt = dict(statement["predicate"])
        known = receipt["verification"] is not None
    except (KeyError, TypeError, ValueError):
        raise AttackSuspected("bad-bundle", "the bundle holds no receipt") from None
    if not known:
        raise OperatorError("bad-arguments", "this deletion was not provable: its receipt names no schedule to replay")
    return receipt


def _proof_file(asked: Asked, receipt: dict[str, Any]) -> Path:
    if asked.proof is not None:
        return asked.proof
    name = f"{receipt['request']['id']}.proof"
    beside = asked.bundle.parent / name
    return beside if beside.exists() else asked.bundle.parent.parent / "proofs" / name


def _differences(given: Submission, receipt: dict[str, Any], asked: Asked, book: NonceBook | None) -> list[str]:
    """Where the receipt, what the verifier kept, and the submission say different things."""
    made, parameters = given.commitment, receipt["method"]["parameters"]
    pairs = {
        "data root before": (made.old_root, receipt["data"]["old_root"]),
        "data root after": (made.root, receipt["data"]["retained_root"]),
        "deletion proof": (dict(made.deletion), receipt["data"]["deletion_proof"]),
        "deleted records": (_leaves(made), sorted(receipt["forgotten"]["commitments"])),
        "model": (hashlib.sha256(given.model).hexdigest(), receipt["model"]["new"]),
        "model before": (made.start or receipt["model"]["old"], receipt["model"]["old"]),
        "nonce": (given.nonce, parameters.get("nonce")),
        "commitment": (made.digest, parameters.get("commitment")),
        "method": (dict(made.method), parameters.get("method")),
        "claim": (receipt["claim"]["kind"] in _allowed(made), True),
    }
    if asked.commitment is not None:
        kept = _read(asked.commitment)
        pairs["commitment kept"] = (hashlib.sha256(kept).hexdigest(), made.digest)
    if asked.old_root is not None:
        pairs["data root kept"] = (made.old_root, asked.old_root)
    if book is not None:
        pairs["book of nonces"] = (book.nonce_of(made.digest) is not None, True)
    return [name for name, (ours, theirs) in pairs.items() if ours != theirs]


def _allowed(made: Commitment) -> tuple[ClaimKind, ...]:
    """What a receipt may claim: what the method does, or less."""
    try:
        method: Method = decode(made.method, METHODS)
    except ExpungeError:
        return ()
    return STRONGEST_FIRST[STRONGEST_FIRST.index(method.describe().kind) :]


def _leaves(made: Commitment) -> list[str]:
    """The deleted leaves, in order; none where there is no proof of a deletion."""
    try:
        return sorted(deleted_leaves(made))
    except ExpungeError:
        return []


def _claim(verdict: Verdict, receipt: dict[str, Any]) -> Check:
    """What the receipt claims, against what the replay found: epsilon and delta of a short method show there."""
    said = receipt["claim"]
    if not verdict.holds:
        return Check("claim", None, "not reached")
    if verdict.covers(ClaimKind(said["kind"]), said["epsilon"], said["delta"]):
        return Check("claim", True, "the receipt claims no more than the method gives")
    return Check("claim", False, "the receipt claims more than the method gives")


def _threads(given: Submission) -> int:
    """As many as the provider says, where that is a number of threads at all."""
    said = given.commitment.platform.get("threads")
    return said if isinstance(said, int) and 1 <= said <= MOST_THREADS else 1


def _tolerance(given: Submission, retained: Retained, threads: int) -> Tolerance:
    """Bytes on the provider's platform; elsewhere what an honest run of the verifier's own calls for."""
    if fingerprint(threads) == dict(given.commitment.platform):
        return BYTES
    recipe, part = Recipe.from_json(given.commitment.recipe), retained.records.train
    if isinstance(recipe.optimiser, HeadSolver):
        return Tolerance(1e-4, "another platform; a solved head is compared to four places")
    width = min(recipe.batch_size, len(part))
    steps = max(CALIBRATION_STEPS, min(3 * given.commitment.every, MOST_CALIBRATION_STEPS))
    own = replace(recipe, sharding=None, pruning=None, epochs=steps * width / len(part), seed=1)
    proof, _, _ = prove_courses(own, part, courses(own, part), every=given.commitment.every, batches=True, threads=1)
    return calibrate(proof, part, threads=sorted({1, 2, threads}))


def _degraded(given: Submission, asked: Asked, book: NonceBook | None) -> list[str]:
    notes = []
    if book is not None:
        times = len(book.for_leaves(deleted_leaves(given.commitment)))
        if times > 1:
            notes.append(f"{times} nonces were drawn for these records: the provider may have chosen among the runs.")
    else:
        if asked.nonce is None:
            notes.append("The nonce is the receipt's: that it was yours, and came after the commitment, only you know.")
        if asked.commitment is None:
            notes.append(
                "No commitment was kept to compare with: that it came before the nonce shows in the log alone."
            )
        notes.append(
            "No book of nonces was given: that no other was drawn for these records is not looked at (--book)."
        )
    if asked.old_root is None:
        notes.append("That the data stood so before the request is the provider's word (--old-root).")
    if asked.model is None:
        notes.append("No model file was given: what is in use was not looked at (--model).")
    return notes


def _plain(verdict: Verdict, given: Submission, differ: list[str], notes: list[str]) -> dict[str, Any]:
    words = "receipt and proof say the same" if not differ else f"receipt and proof differ: {', '.join(differ)}"
    checks = [{"name": "receipt", "holds": not differ, "message": words}, *map(asdict, verdict.checks)]
    return {
        "holds": not differ and verdict.holds,
        "claim": None if verdict.claim is None else str(verdict.claim),
        "proves": verdict.proves,
        "guarantee": None if verdict.guarantee is None else dict(zip(GUARANTEE, verdict.guarantee, strict=True)),
        "method": dict(given.commitment.method),
        "recipe": {**given.commitment.recipe, "seed": str(given.commitment.recipe["seed"])},
        "checks": checks,
        "segments": verdict.segments,
        "replayed": len(verdict.replayed),
        "work_share": verdict.work,
        "tolerance": {"value": verdict.tolerance.value, "source": verdict.tolerance.source},
        "would_find": {f"{share:g}": verdict.would_find(share) for share in (0.01, 0.05, 0.1, 0.25, 0.5)},
        "degraded": [*verdict.degraded, *notes],
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise OperatorError("no-such-file", f"no such file: {path.name}") from None
