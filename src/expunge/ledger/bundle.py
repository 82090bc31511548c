"""The bundle: a receipt in one file, with everything that checking it takes.

    {"checkpoint": signed note, "consistency": [{size, root, proof}], "envelope": DSSE, "format": URL,
     "inclusion": {index, proof}, "keys": [first, ..., current], "rotations": [DSSE, ...]}

in canonical JSON, so that no byte can change without changing what the bundle says; hashes and keys in base64.
"""

import base64
from collections.abc import Iterable
from typing import Any

import expunge_verify
from expunge.errors import AttackSuspected, ExpungeError, OperatorError, ProgrammerError, ProviderDishonest
from expunge.ledger.strict_json import canonical
from expunge_verify import Bundle, Report

SUFFIX = ".bundle.json"
"""Bundles are called `<request>.bundle.json`."""


def to_bytes(bundle: Bundle) -> bytes:
    """The file's content.

    **Raises:** `ProgrammerError("receipt-incomplete")` where no verifier would read it: too large.
    """
    data = canonical(
        {
            "format": expunge_verify.BUNDLE_FORMAT,
            "envelope": dict(bundle.envelope),
            "inclusion": {"index": bundle.index, "proof": _encode(bundle.inclusion)},
            "checkpoint": bundle.checkpoint,
            "consistency": [_earlier(each) for each in bundle.earlier],
            "keys": _encode(bundle.keys),
            "rotations": [dict(each) for each in bundle.rotations],
        }
    )
    if len(data) > expunge_verify.MAX_BYTES:
        raise ProgrammerError("receipt-incomplete", f"the bundle has {len(data)} bytes: split the request")
    return data


def parse(data: bytes) -> Bundle:
    """The bundle in a file's content, by its form alone: `expunge_verify.verify` checks it.

    **Raises:** `AttackSuspected("bad-bundle")`.
    """
    try:
        return expunge_verify.parse_bundle(data)
    except expunge_verify.Refused as refused:
        raise AttackSuspected("bad-bundle", f"{refused.code}: {refused}") from None


def demand(report: Report) -> None:
    """Turns the first failed check of a report into an error; nothing where all that was asked holds.

    **Raises:** `OperatorError("no-such-file")`, `AttackSuspected("bad-bundle")` or
    `ProviderDishonest("evidence-refused")`.
    """
    for check in report.checks:
        if check.holds is False:
            raise _error(expunge_verify.CODES[check.code][0], f"{check.name}: {check.code}: {check.message}")


def _error(status: int, message: str) -> ExpungeError:
    if status == OperatorError.exit_status:
        return OperatorError("no-such-file", message)
    if status == AttackSuspected.exit_status:
        return AttackSuspected("bad-bundle", message)
    return ProviderDishonest("evidence-refused", message)


def _earlier(each: expunge_verify.Earlier) -> dict[str, Any]:
    return {"size": each.size, "root": base64.b64encode(each.root).decode(), "proof": _encode(each.proof)}


def _encode(hashes: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]
