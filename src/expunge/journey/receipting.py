"""From what the steps recorded to a signed receipt in the log, and the bundle that travels."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from expunge.journey import keys
from expunge.ledger import bundle, log, objects, receipts
from expunge.ledger.store import Transaction

SCHEME: Final = "SHA-256(salt || record encoding), see docs/data.md; salts are held back and can be destroyed"

NOT_COVERED: Final = (
    "backups and snapshots of the workspace's disk",
    "copies of the records, the model or its outputs that were exported or made elsewhere",
    "models derived from the old one that nobody recorded in the workspace (command derive)",
    "what people or other systems learnt from the old model while it was in use",
    "hyper-parameters and features that were chosen by looking at the deleted records",
)


def write_receipt(tx: Transaction, request: str, receipt: receipts.Receipt) -> bytes:
    """Sign, log and bundle a receipt in the transaction that closes its request; returns the bundle's bytes.

    The bundle is exported as `receipts/<request>.bundle.json`.

    **Raises:** what keys, log and store raise.
    """
    key = keys.current_key(tx.connection, tx.folder)
    envelope = receipt.seal(key)
    log.append(tx.connection, [log.entry_of(envelope)])
    log.sign(tx.connection, tx.recall(keys.ORIGIN) or "", key)
    data = bundle.to_bytes(log.prove(tx.connection, envelope))
    digest = objects.put(tx, data, "bundle", (f"receipt/{request}", "bundle"))
    objects.export(tx, digest, f"receipts/{request}{bundle.SUFFIX}")
    return data


def figures(report: Mapping[str, Any]) -> tuple[receipts.Figure, ...]:
    """The readings of an audit as figures of a receipt: the model after, against the retrained references."""
    return tuple(_figure(reading) for reading in report["readings"])


def _figure(reading: Mapping[str, Any]) -> receipts.Figure:
    after, values = reading["after"], [each["value"] for each in reading["references"]]
    measured = [value for value in values if value is not None]
    middle = sum(measured) / len(measured) if measured else None
    reference = receipts.Reference(f"mean of {len(values)} retrained models", middle, _pair(reading["floor"]))
    interval = _pair([after["low"], after["high"]])
    note = "; ".join(part for part in (f"in {reading['unit']}", reading["finding"], reading["note"]) if part)
    confidence = None if interval is None else 0.95
    return receipts.Figure(reading["name"], after["value"], interval, confidence, reference, note)


def _pair(values: Sequence[float | None] | None) -> tuple[float, float] | None:
    if values is None or values[0] is None or values[1] is None:
        return None
    return float(values[0]), float(values[1])


def claim(plain: Mapping[str, Any]) -> receipts.Claim:
    """The claim of an unlearning step as a receipt states it."""
    return receipts.Claim(**{**plain, "assumptions": tuple(plain["assumptions"])})


def cost(step: Mapping[str, Any], retraining: Mapping[str, Any] | None) -> receipts.Cost:
    """The cost of an unlearning step as a receipt states it, beside the retraining that the audit step measured."""
    names = ("seconds", "gradient_evaluations", "retraining_evaluations", "peak_memory")
    stopped = None if retraining is None else retraining["stopped_evaluations"]
    return receipts.Cost(**{name: step[name] for name in names}, stopped_retraining_evaluations=stopped)
