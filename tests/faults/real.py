"""What is interrupted on a workspace with real records and a network: training, deletions, what comes after them.

The faults strike in our own functions and at the database (`Inside`): what torch reads while it works is not ours.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

import expunge_verify
import real_workspace
from expunge.journey import artifacts, requests, salting
from expunge.journey.desk import Desk
from expunge.journey.workspace import Workspace
from expunge.ledger import log, objects, salts
from expunge.ledger.store import Store
from faults.commands import Command, suppress_code

OWNER, OTHER, *_ = real_workspace.owners()


def looked(store: Store, connection: Connection) -> dict[str, object]:
    """What a workspace comes to: models to the byte, receipts that verify, pages, log; without ids and times."""
    found, folder = requests.list_all(connection), store.folder
    held = objects.held(connection, artifacts.WORKSPACE)
    published = folder / "log" / "checkpoint"
    return {
        "requests": sorted((each.state, each.failed_in, each.subject is None) for each in found),
        "model": held.get("model"),
        "exported": _digest(folder / artifacts.MODEL_FILE),
        "records": len(artifacts.read_records(store)),
        "roles": sorted(held),
        "log": log.size(connection),
        "published": int(published.read_text("utf-8").splitlines()[1]) if published.is_file() else None,
        "receipts": sorted(_receipt(folder, path) for path in (folder / "receipts").glob("*.bundle.json")),
        "pages": sorted(path.parent.name for path in folder.glob("*/r*.html")),
        "salts": len(salts.destroyed(connection)),
    }


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _receipt(folder: Path, path: Path) -> tuple[bool, int]:
    report = expunge_verify.verify(path.read_bytes(), model=folder / artifacts.MODEL_FILE)
    return report.holds, len(json.loads(path.read_bytes()))


def untrained(folder: Path) -> None:
    Workspace.create(folder, real_workspace.some_digits(), real_workspace.RECIPE, "digits")


def trained(folder: Path) -> None:
    real_workspace.create(folder)


def forgotten(folder: Path) -> None:
    trained(folder)
    forget(folder)


def committed(folder: Path) -> None:
    trained(folder)
    commit(folder)


def create(folder: Path) -> None:
    with suppress_code("workspace-exists"):
        untrained(folder)


def train(folder: Path) -> None:
    Workspace.open(folder).train()


def forget(folder: Path) -> None:
    Desk(Workspace.open(folder)).forget(owner=OWNER)


def commit(folder: Path) -> None:
    Desk(Workspace.open(folder)).commit(owner=OTHER)


def challenge(folder: Path) -> None:
    Desk(Workspace.open(folder)).challenge(_only(folder), "n-1")


def forget_salts(folder: Path) -> None:
    request = _only(folder)
    with Workspace.open(folder).store() as store:
        salting.forget(store, request, "asked for")


def _only(folder: Path) -> str:
    with Workspace.open(folder).store() as store, store.reading() as connection:
        return requests.list_all(connection)[0].id


def real(name: str, prepare: Callable[[Path], None], run: Callable[[Path], None], sample: int | None) -> Command:
    return Command(f"real: {name}", prepare, run, look=looked, inside=True, sample=sample)


REAL = (
    real("create", lambda folder: None, create, 60),
    real("train", untrained, train, 60),
    real("forget", trained, forget, 200),
    real("commit", trained, commit, 60),
    real("challenge", committed, challenge, 100),
    real("forget salts", forgotten, forget_salts, 60),
)
"""With how many faults each is struck, drawn from all: every one is a training or two, and all would take hours."""
