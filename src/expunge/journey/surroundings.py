"""For `fsck`: what stands beside the store in a workspace's folder: keys, settings, the published log, and no links.

A store that was made without a workspace around it (it names no log) has nothing beside it to look at.
"""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from expunge.errors import ExpungeError
from expunge.journey import config, keys
from expunge.ledger import database, head, log, recovery, tables, tiles
from expunge.ledger.fsck import Check, Problem
from expunge.ledger.signatures import SigningKey, public_pem
from expunge.ledger.store import Store

LOG_FOLDER: Final = "log"
"""Where the log is published, in the tlog-tiles layout."""

_OURS: Final = (
    *(database.NAME, head.NAME, recovery.OBJECTS, recovery.INCOMING, config.NAME, "keys", keys.KEY_FILE),
    *(keys.PUBLIC_FILE, LOG_FOLDER, "receipts", "reports", "cases", "proofs"),
)


def check_links(store: Store, connection: Connection) -> Iterator[Problem]:
    """No file or folder of ours is a link: what is erased behind one, or written, is somewhere else."""
    del connection
    for name in _OURS:
        if (store.folder / name).is_symlink():
            yield Problem("link", name, "a link stands in its place, so that its content lies outside the workspace")


def check_keys(store: Store, connection: Connection) -> Iterator[Problem]:
    """The signing key is the log's, only its owner can read it, and the public keys beside it are those of the log."""
    if not _in_workspace(connection):
        return
    publics = log.history(connection).keys
    found = []
    for name in (keys.KEY_FILE, *([keys.NEXT_FILE] if (store.folder / keys.NEXT_FILE).exists() else [])):
        try:
            found.append(SigningKey.load(store.folder / name).public)
        except ExpungeError as error:
            yield Problem(error.code, name, str(error))
    if found and publics[-1] not in found:  # a rotation that was killed leaves two, and the log says which is in force
        yield Problem("key", keys.KEY_FILE, "this key is not the one that the log names")
    path = store.folder / keys.PUBLIC_FILE
    if not path.is_file():
        yield Problem("missing", keys.PUBLIC_FILE, "the public keys are not there; `expunge rotate-key` writes them")
    elif path.read_bytes() != "".join(map(public_pem, publics)).encode():
        yield Problem("damaged", keys.PUBLIC_FILE, "these are not the log's public keys")


def check_settings(store: Store, connection: Connection) -> Iterator[Problem]:
    """The settings can be read."""
    if _in_workspace(connection):
        try:
            config.read(store.folder)
        except ExpungeError as error:
            yield Problem(error.code, config.NAME, str(error))


def check_published(store: Store, connection: Connection) -> Iterator[Problem]:
    """What is published of the log is what the store would publish; more of it, or another one, is a fork."""
    folder = store.folder / LOG_FOLDER
    if not _in_workspace(connection) or not folder.exists():
        return
    if not (folder / tiles.CHECKPOINT).is_file():
        yield Problem("missing", f"{LOG_FOLDER}/{tiles.CHECKPOINT}", "the published log has no checkpoint")
        return
    for line in tiles.published_faults(connection, folder):
        yield Problem("damaged", LOG_FOLDER, line)


def _in_workspace(connection: Connection) -> bool:
    return tables.find(connection, tables.settings, {"name": keys.ORIGIN}) is not None


SURROUNDINGS: Final[tuple[Check, ...]] = (check_links, check_keys, check_settings, check_published)
