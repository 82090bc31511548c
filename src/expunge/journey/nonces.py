"""The verifier's book of nonces on disk: lines are added, never changed, by one process at a time."""

import fcntl
import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Final

from expunge.errors import ExpungeError, OperatorError
from expunge.ledger import files, strict_json
from expunge.verification import Commitment, NonceBook, deleted_leaves

MOST_BYTES: Final = 1 << 28


def read_book(path: Path) -> NonceBook:
    """The book in a file.

    **Raises:** `OperatorError("no-such-file" | "bad-data")`.
    """
    return NonceBook.from_bytes(_read(path))


def draw(commitment: Path, book: Path, *, again: bool = False) -> dict[str, Any]:
    """Draw the nonce for a commitment file and write it down, synced, before anybody sees it.

    **Raises:** as `NonceBook.draw`; `OperatorError("no-such-file" | "bad-data")`.
    """
    made = read_commitment(_read(commitment))
    with files.judged():
        descriptor = os.open(book, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, files.PRIVATE)
        with os.fdopen(descriptor, "r+b") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # /dev/null would forget every draw
                raise OperatorError("bad-data", f"{book.name} is not a regular file")
            fcntl.flock(file, fcntl.LOCK_EX)
            known = NonceBook.from_bytes(file.read(MOST_BYTES))
            found, new = known.draw(made, again=again)
            if new:
                file.write(found.to_bytes())
                file.flush()
                os.fsync(file.fileno())
    return {
        "commitment": made.digest,
        "nonce": found.nonce,
        "new": new,
        "draws_for_these_records": len(known.for_leaves(deleted_leaves(made))) + new,
        "old_root": made.old_root,
        "root": made.root,
        "method": dict(made.method),
    }


def read_commitment(data: bytes) -> Commitment:
    """A commitment as it was published; raises `OperatorError("bad-data")` for anything else."""
    try:
        plain = strict_json.loads(data)
        made = Commitment.from_json(plain if isinstance(plain, dict) else {})
    except ExpungeError:
        raise OperatorError("bad-data", "this is no commitment") from None
    if hashlib.sha256(data).hexdigest() != made.digest:
        raise OperatorError("bad-data", "this is no commitment as it was published: other bytes, another digest")
    return made


def _read(path: Path) -> bytes:
    if not path.exists():
        raise OperatorError("no-such-file", f"no such file: {path.name}")
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise OperatorError("bad-data", f"{path.name} is not a regular file of at most {MOST_BYTES:,} bytes")
    return path.read_bytes()
