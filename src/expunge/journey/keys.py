"""The workspace's signing key: made once, rotated by hand, its history in the log."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

import expunge_verify
from expunge.ledger import files, log, receipts
from expunge.ledger.signatures import SigningKey, public_pem
from expunge.ledger.store import Store

KEY_FILE: Final = "keys/signing.pem"
NEXT_FILE: Final = "keys/next.pem"
"""The new key of a rotation that is under way."""

PUBLIC_FILE: Final = "keys/public.pem"
"""Every public key of the log from first to current: any of them vouches for those after it."""

ORIGIN: Final = "log-origin"
"""Setting under which the log's name stands."""


def make_keys(folder: Path) -> SigningKey:
    """The workspace's signing key, made where there is none; its public half beside it."""
    path = folder / KEY_FILE
    if not path.exists():
        with files.judged():
            path.parent.mkdir(mode=files.PRIVATE_FOLDER, exist_ok=True)
        SigningKey.generate().save(path)
    key = SigningKey.load(path)
    if not (folder / PUBLIC_FILE).exists():
        _publish(folder, (key.public,))
    return key


def current_key(connection: Connection, folder: Path) -> SigningKey:
    """The key in force by the log. Where a rotation was killed after its commit, its new key is put in place first.

    **Raises:** what `SigningKey.load` and `log.history` raise.
    """
    known, waiting = log.history(connection), folder / NEXT_FILE
    if waiting.exists():
        fresh = SigningKey.load(waiting)
        if fresh.public == known.current:
            _publish(folder, known.keys)
            with files.judged():
                os.replace(waiting, folder / KEY_FILE)
                files.sync_folder(waiting.parent)
            return fresh
    return SigningKey.load(folder / KEY_FILE)


def rotate(store: Store) -> tuple[str, str]:
    """Hand the log over to a fresh key and destroy the old private key; returns the ids of the old and the new one.

    Both keys sign the handover, which stands in every later bundle. Killed at any instant, the same call, or the next
    receipt, carries on.

    **Raises:** what keys, log and store raise.
    """
    waiting = store.folder / NEXT_FILE
    with store.reading() as connection:
        known = log.history(connection)
        if waiting.exists() and SigningKey.load(waiting).public == known.current:  # killed after its commit
            fresh = current_key(connection, store.folder)
            return expunge_verify.key_id(known.keys[-2]), fresh.id
    with store.transaction() as tx:
        old = current_key(tx.connection, store.folder)
        fresh = _fresh(waiting)
        log.rotate(tx.connection, old, fresh, receipts.timestamp(datetime.now(UTC)))
        log.sign(tx.connection, tx.recall(ORIGIN) or "", fresh)
    with store.reading() as connection:
        current_key(connection, store.folder)
    return old.id, fresh.id


def _fresh(waiting: Path) -> SigningKey:
    if not waiting.exists():
        SigningKey.generate().save(waiting)
    return SigningKey.load(waiting)


def _publish(folder: Path, publics: tuple[bytes, ...]) -> None:
    path = folder / PUBLIC_FILE
    partial = path.with_name(f".{path.name}.partial")
    with files.judged():
        partial.write_text("".join(map(public_pem, publics)), "utf-8")
        partial.replace(path)
