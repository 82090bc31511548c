"""The verifier's side of a provable deletion: receipt, proof and retained records in, verdict out. No workspace."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from expunge.errors import AttackSuspected, OperatorError
from expunge.ledger import bundle, strict_json
from expunge.training import HeadSolver, Recipe, courses, fingerprint
from expunge.verification import (
    BYTES,
    Retained,
    SpotCheck,
    Submission,
    Tolerance,
    Verdict,
    calibrate,
    prove_courses,
    retained_from_bytes,
    submission_from_bytes,
)

CALIBRATION_STEPS: Final = 64
"""Steps of the verifier's own honest run, on another platform than the provider's; three segments at least."""

MOST_CALIBRATION_STEPS: Final = 2000
MOST_THREADS: Final = 64


@dataclass(frozen=True)
class Asked:
    """What the verifier asks for.

    **Arguments:**

    - `bundle`, `records`: the receipt, and the retained records with their salts.
    - `proof`: by default `../proofs/<request>.proof`, or `<request>.proof` beside the bundle.
    - `model`: the file in use, by default the one in the proof.
    - `nonce`, `commitment`: the verifier's own nonce, and the commitment file that it was drawn for.
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
    differ = _differences(given, receipt, asked)
    if differ:  # nothing else that it says is looked at
        return _plain(Verdict((), 0, (), 0, 0.0, BYTES), given, differ, [])
    retained = retained_from_bytes(_read(asked.records))
    deployed = given.model if asked.model is None else _read(asked.model)
    threads = _threads(given) if asked.threads is None else asked.threads
    check = SpotCheck(share=asked.work, threads=threads, tolerance=_tolerance(given, retained, threads))
    verdict = check.verify(
        given,
        retained,
        given.nonce if asked.nonce is None else asked.nonce,
        transcript=receipt["verification"]["schedule_commitment"],
        deployed=deployed,
        owners=asked.owners,
    )
    return _plain(verdict, given, differ, _degraded(asked))


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


def _differences(given: Submission, receipt: dict[str, Any], asked: Asked) -> list[str]:
    """Where the receipt, the commitment at hand and the submission say different things."""
    made, parameters = given.commitment, receipt["method"]["parameters"]
    pairs = {
        "data root before": (made.old_root, receipt["data"]["old_root"]),
        "data root after": (made.root, receipt["data"]["retained_root"]),
        "model": (hashlib.sha256(given.model).hexdigest(), receipt["model"]["new"]),
        "model before": (made.start or receipt["model"]["old"], receipt["model"]["old"]),
        "nonce": (given.nonce, parameters.get("nonce")),
        "commitment": (made.digest, parameters.get("commitment")),
        "method": (dict(made.method), parameters.get("method")),
    }
    if asked.commitment is not None:
        kept = _read(asked.commitment)
        pairs["commitment kept"] = (hashlib.sha256(kept).hexdigest(), made.digest)
    return [name for name, (ours, theirs) in pairs.items() if ours != theirs]


def _threads(given: Submission) -> int:
    """As many as the provider says, where that is a number of threads at all."""
    said = given.commitment.platform.get("threads")
    return said if isinstance(said, int) and 1 <= said <= MOST_THREADS else 1


def _tolerance(given: Submission, retained: Retained, threads: int) -> Tolerance:
    """Bytes on the provider's platform; elsewhere what an honest run of the verifier's own calls for."""
    if fingerprint(threads) == dict(given.commitment.platform):
        return BYTES
    recipe, part = Recipe.from_json(given.commitment.recipe), retained.records.train
    if not len(part) or tuple(part.shape) != given.commitment.shape or part.classes != given.commitment.classes:
        return BYTES  # the data will be refused
    if isinstance(recipe.optimiser, HeadSolver):
        return Tolerance(1e-4, "another platform; a solved head is compared to four places")
    width = min(recipe.batch_size, len(part))
    steps = max(CALIBRATION_STEPS, min(3 * given.commitment.every, MOST_CALIBRATION_STEPS))
    own = replace(recipe, sharding=None, pruning=None, epochs=steps * width / len(part), seed=1)
    proof, _, _ = prove_courses(own, part, courses(own, part), every=given.commitment.every, batches=True, threads=1)
    return calibrate(proof, part, threads=sorted({1, 2, threads}))


def _degraded(asked: Asked) -> list[str]:
    notes = []
    if asked.nonce is None:
        notes.append("The nonce is the receipt's: that it was yours, and came after the commitment, only you know.")
    if asked.commitment is None:
        notes.append("No commitment was kept to compare with: that it came before the nonce shows in the log alone.")
    if asked.model is None:
        notes.append("No model file was given: what is in use was not looked at (--model).")
    return notes


def _plain(verdict: Verdict, given: Submission, differ: list[str], notes: list[str]) -> dict[str, Any]:
    words = "receipt and proof say the same" if not differ else f"receipt and proof differ: {', '.join(differ)}"
    checks = [{"name": "receipt", "holds": not differ, "message": words}, *map(asdict, verdict.checks)]
    return {
        "holds": not differ and verdict.holds,
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
