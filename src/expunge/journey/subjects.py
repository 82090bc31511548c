"""Whom requests concern: kept in one table that can be erased, compared, and named nowhere else."""

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import delete

from expunge.errors import OperatorError, RequesterError
from expunge.journey import tables
from expunge.ledger import salts, strict_json
from expunge.ledger.store import Transaction
from expunge.ledger.tables import add, find, next_id

MAX_ID: Final = 256
"""Longest owner or record id, in UTF-8 bytes."""
MAX_WORDS: Final = 2000
"""Longest reason, with the name of who gives it, in characters."""
_NEEDLE: Final = 256
_SHORT: Final = 3


@dataclass(frozen=True)
class Subject:
    """Whom and what a request concerns: an owner, or records by their ids. Never shown."""

    owner: str | None = field(default=None, repr=False)
    records: tuple[str, ...] = field(default=(), repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Every id in it."""
        return (*self.records, *([] if self.owner is None else [self.owner]))


def plain(subject: Subject) -> Subject:
    """The one form of all subjects that mean the same: record ids once each, in order."""
    return replace(subject, records=tuple(sorted(set(subject.records))))


def check(subject: Subject) -> None:
    """Refuses subjects that cannot be stored.

    **Raises:** `RequesterError("nothing-to-delete")`; `OperatorError("bad-arguments")`.
    """
    if not subject.names:
        raise RequesterError("nothing-to-delete", "a request names an owner or records")
    if not all(0 < len(name.encode(errors="replace")) <= MAX_ID for name in subject.names):
        raise OperatorError("bad-arguments", f"owner and record ids have 1 to {MAX_ID} bytes")
    if any("\ud800" <= character <= "\udfff" for name in subject.names for character in name):
        raise OperatorError("bad-arguments", "owner and record ids are well-formed text")


def keep(tx: Transaction, request: str, subject: Subject) -> None:
    """Store whom a request concerns, with a mark that makes it one of a kind, so that its deletion can be checked."""
    owner, records = subject.owner, list(plain(subject).records)
    content = strict_json.canonical({"mark": secrets.token_hex(16), "owner": owner, "records": records})
    add(tx.connection, tables.subjects, id=next_id(tx.connection, tables.subjects), request=request, content=content)


def commit(tx: Transaction, request: str, subject: Subject) -> str:
    """A salted commitment to whom a request concerned, in hex; its salt is kept, and goes with the records' salts."""
    salt = salts.new()
    salts.keep(tx, {salt_name(request): salt})
    return commitment(salt, subject)


def commitment(salt: bytes, subject: Subject) -> str:
    """SHA-256(salt || owner and record ids as canonical JSON), in hex."""
    same = plain(subject)
    content = strict_json.canonical({"owner": same.owner, "records": list(same.records)})
    return hashlib.sha256(salt + content).hexdigest()


def salt_name(request: str) -> str:
    """Under which name the salt of a request's commitment is kept."""
    return f"subject/{request}"


def parse(content: bytes) -> Subject:
    """The subject in a row's bytes."""
    found = strict_json.loads(content)
    return Subject(found["owner"], tuple(found["records"]))


def erase(tx: Transaction, requests: Iterable[str]) -> int:
    """Delete for good whom these requests concern; returns how many were erased.

    **Raises:** after the commit `OperatorError("not-erased" | "store-busy")`.
    """
    erased = 0
    for request in requests:
        row = find(tx.connection, tables.subjects, {"request": request})
        if row is not None:
            tx.connection.execute(delete(tables.subjects).where(tables.subjects.c.id == row["id"]))
            tx.scrub(bytes(row["content"])[:_NEEDLE])
            erased += 1
    return erased


def refuse_names(subject: Subject, words: str) -> None:
    """What stays for ever must not name whom a request concerns, in whatever case or Unicode form.

    Ids of up to three letters would be in any words.

    **Raises:** `OperatorError("names-a-person")`; as `check_words`.
    """
    check_words(words)
    words = _folded(words)
    for name in map(_folded, subject.names):
        if len(name) > _SHORT and name in words and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words):
            raise OperatorError("names-a-person", "the words name an owner or a record of the request")


def refuse_committed(salt: bytes | None, committed: str, words: str) -> None:
    """As `refuse_names`, once the owner is known by a commitment alone: as they were written, up to four words long.

    **Raises:** `OperatorError("names-a-person")`.
    """
    parts = re.findall(r"[^\s,;:.!?()\"']+", words) + words.split()
    spans = {" ".join(parts[at : at + length]) for at in range(len(parts)) for length in range(1, 5)}
    if salt is not None and any(commitment(salt, Subject(owner)) == committed for owner in spans):
        raise OperatorError("names-a-person", "the words name the owner of the request")


def check_words(words: str) -> None:
    """What people say is kept and shown on terminals and pages; raises `OperatorError("bad-arguments")`."""
    if len(words) > MAX_WORDS or not words.replace("\n", "").isprintable():
        raise OperatorError("bad-arguments", f"words are printable, and at most {MAX_WORDS:,} characters")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
