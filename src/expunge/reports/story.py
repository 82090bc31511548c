"""What a deletion report is made from: plain JSON values, the receipt among them verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import expunge_verify
from expunge.errors import ProgrammerError
from expunge.ledger import bundle as bundles

_READING: Final = (
    "name",
    "unit",
    "before",
    "after",
    "references",
    "floor",
    "has_power",
    "finding",
    "words",
    "note",
    "no_signal",
)
_AUDIT: Final = ("summary", "primary", "audits", "readings", "curves", "references", "seed", "seconds", "degraded")


@dataclass(frozen=True)
class DeletionStory:
    """One deletion from request to receipt. Plain JSON values, and nothing that the receipt may not hold.

    **Arguments:**

    - `receipt`: the predicate of the signed receipt.
    - `checks`: what the verifier said of the bundle: `name`, `holds`, `code`, `message` each.
    - `log`: `origin`, `size` and `root` of the checkpoint, the receipt's `index`, and `key`, the signer's id in hex.
    - `files`: names of the `bundle` and of the `model`, as a reader is to type them; no folders.
    - `audit`: `AuditReport.to_json()`; `None` where no audit was made.
    - `method`: `summary` and `source` of the method's description.
    - `retraining_seconds`: wall time of full retraining, where it was measured.

    **Raises:** `ProgrammerError("bad-figure")` for an audit of another form, or one that is not the receipt's.
    """

    receipt: Mapping[str, Any]
    checks: Sequence[Mapping[str, Any]]
    log: Mapping[str, Any]
    files: Mapping[str, str]
    audit: Mapping[str, Any] | None
    method: Mapping[str, str]
    retraining_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.audit is not None:
            _check_audit(self.audit, self.receipt["audit"])

    @staticmethod
    def of(
        bundle: Path,
        model: Path,
        *,
        audit: Mapping[str, Any] | None,
        method: Mapping[str, str],
        retraining_seconds: float | None = None,
    ) -> "DeletionStory":
        """The story that the bundle and the model file tell, once they are verified.

        **Raises:** what `expunge.ledger.bundle.demand` raises for a bundle that does not hold: there is no report
        without a receipt; and as the constructor.
        """
        data = bundle.read_bytes()
        report = expunge_verify.verify(data, model=model)
        bundles.demand(report)
        if report.receipt is None:
            raise ProgrammerError("bad-figure", "a bundle that holds has a receipt")
        opened = bundles.parse(data)
        head = expunge_verify.open_checkpoint(opened.checkpoint, opened.keys)
        signer = opened.envelope["signatures"][0]["keyid"]
        log = {"origin": head.origin, "size": head.size, "root": head.root.hex(), "index": opened.index, "key": signer}
        files = {"bundle": bundle.name, "model": model.name}
        checks = report.to_json()["checks"]
        return DeletionStory(report.receipt, checks, log, files, audit, method, retraining_seconds)


def _check_audit(audit: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> None:
    """The audit must have the form that `AuditReport.to_json` gives, and say of the new model what the receipt says."""
    readings = audit.get("readings", ())
    missing = [key for key in _AUDIT if key not in audit]
    missing += [key for found in readings for key in _READING if key not in found]
    if missing:
        raise ProgrammerError("bad-figure", f"the audit lacks {missing[0]}")
    after = {found["name"]: found["after"]["value"] for found in readings}
    if any(figure["name"] in after and figure["value"] != after[figure["name"]] for figure in figures):
        raise ProgrammerError("bad-figure", "the audit that was handed over is not the one in the receipt")
