"""What is interrupted: every command that changes a workspace, each with the state that it starts from.

A command is run by a process of its own, as from the command line: it opens the store, does its work, and closes it.
Running it again after any fault must finish the work, and leave the same as a run that was never disturbed.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

import toy_workspace as toy
from expunge.errors import OperatorError
from expunge.journey import history, lineage, requests
from expunge.journey.transitions import State
from expunge.ledger import files, log, objects, recovery, salts, tables
from expunge.ledger.store import Store, Transaction
from toy_workspace import decisions

PEOPLE = 6
WORDS = {"by": "Jane", "reason": "because"}
CHILD = hashlib.sha256(b"child").hexdigest()

Change = Callable[[Transaction], object]


@dataclass(frozen=True)
class Command:
    """`prepare` makes the state before; `run` is what is interrupted, and what is then run again.

    `also` are other ways to a right end: the state afterwards, as `look` sees it, is that of `run` undisturbed, or of
    one of them. `inside`: faults strike in our own functions only. `sample`: how many of them strike, at most.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    also: tuple[Callable[[Path], None], ...] = ()
    look: Callable[[Store, Connection], dict[str, object]] | None = None
    inside: bool = False
    sample: int | None = None


def in_store(change: Change) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        with toy.open_store(folder) as store, store.transaction() as tx:
            change(tx)

    return run


def prepared(*stages: Callable[[Store], object]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        with toy.create(folder, toy.people(PEOPLE)) as store:
            for stage in stages:
                stage(store)

    return prepare


def only(connection: Any) -> str:
    return requests.list_all(connection)[0].id


def decision(decide: Callable[..., object], *arguments: str, **words: str) -> Callable[[Path], None]:
    return in_store(lambda tx: decide(tx, only(tx.connection), *arguments, **words))


def filed(store: Store) -> None:
    toy.file(store, 1, "owner-0001")


def filed_unverified(store: Store) -> None:
    toy.file(store, 1, "owner-0001", None)


def filed_batch(store: Store) -> None:
    for number in (1, 2):
        toy.file(store, number, f"owner-000{number}", batch="monday")


def filed_unknown(store: Store) -> None:
    toy.file(store, 1, "nobody-9")


def suspected(store: Store) -> None:
    toy.file(store, 1, "owner-0002")
    toy.carry(store, steps=toy.ToySteps(store, suspicious=2))


def carried(store: Store) -> None:
    toy.carry(store)


def stopped(store: Store) -> None:
    with store.transaction() as tx:
        decisions.stop_clock(tx, only(tx.connection), **WORDS)


def derived(store: Store) -> None:
    with store.transaction() as tx:
        parent = lineage.list_all(tx.connection)[0].digest
        lineage.derive(tx, [parent], CHILD, "distilled")


def stored(store: Store) -> None:
    with store.transaction() as tx:
        objects.export(tx, objects.put(tx, b"bytes of a person" * 300, "test", ("test", "role")), "copy.bin")


def idle(store: Store) -> None:
    with store.transaction() as tx:
        objects.put(tx, b"idle" * 100, "test")


def work(folder: Path) -> None:
    with toy.open_store(folder) as store:
        toy.carry(store).demand()


def work_apart(*numbers: int) -> Callable[[Path], None]:
    """Where one request of a batch fails, the others do not wait for it: they are carried in a run of their own."""

    def run(folder: Path) -> None:
        with toy.open_store(folder) as store:
            for number in numbers:
                with store.reading() as connection:
                    (request,) = requests.filed_under(connection, toy.key(number))
                toy.carry(store, [request.id]).demand()

    return run


def work_until_failed(folder: Path) -> None:
    with toy.open_store(folder) as store:
        for error in toy.carry(store).errors.values():
            if error.code != "unknown-owner":
                raise error


def create(folder: Path) -> None:
    with suppress_code("workspace-exists"):
        toy.create(folder, toy.people(PEOPLE)).close()


def recover(folder: Path) -> None:
    toy.open_store(folder).close()


class Killed(BaseException):
    """A kill: nothing after it runs."""


def killed_between(folder: Path) -> None:
    """A transaction that committed, and whose process died before it touched a file."""
    prepared(stored, filed)(folder)
    promote, settle = recovery.promote, recovery.settle
    recovery.promote = recovery.settle = _die  # type: ignore[assignment]
    try:
        store = toy.open_store(folder)
        with suppress(Killed), store.transaction() as tx:
            objects.erase(tx, digest_of(tx, "test", "role"), "why")
            objects.export(tx, objects.put(tx, b"new" * 500, "test", ("test", "new")), "new.bin")
            salts.destroy(tx, [toy.salt_name("owner-0003")], "why")
        store._engine.dispose()
    finally:
        recovery.promote, recovery.settle = promote, settle
    files.write_new(folder / recovery.INCOMING / f"{'0' * 64}.half", b"half of an object")


def _die(*arguments: object) -> None:
    raise Killed


def digest_of(tx: Transaction, holder: str, role: str) -> str:
    digest = objects.pointed(tx.connection, holder, role)
    assert digest is not None
    return digest


def put(tx: Transaction) -> None:
    digest = objects.put(tx, b"new" * 5000, "test", ("test", "new"))
    objects.export(tx, digest, "folder/new.bin")


def erase_subjects(tx: Transaction) -> None:
    requests.erase_subjects(tx, [only(tx.connection)])


@contextmanager
def suppress_code(code: str) -> Iterator[None]:
    try:
        yield
    except OperatorError as error:
        if error.code != code:
            raise


def keep(tx: Transaction) -> None:
    salts.keep(tx, {"new": bytes(range(32))})


COMMANDS = (
    Command("create", lambda folder: None, create),
    Command("recover", killed_between, recover),
    Command("file", prepared(), lambda folder: file_in(folder, "desk")),
    Command("file unverified", prepared(), lambda folder: file_in(folder, None)),
    Command("file verified after unverified", prepared(filed_unverified), lambda folder: file_in(folder, "desk")),
    Command("verify", prepared(filed_unverified), decision(decisions.verify, by="desk")),
    Command("work: screen to closed", prepared(filed), work),
    Command("work: a batch", prepared(filed_batch), work, (work_apart(1, 2), work_apart(2, 1))),
    Command("work: a failure", prepared(filed_unknown), work_until_failed),
    Command("work: hold", prepared(lambda store: toy.file(store, 1, "owner-0002")), lambda folder: hold_in(folder)),
    Command("release", prepared(suspected), decision(decisions.release, **WORDS)),
    Command("deny", prepared(filed), decision(decisions.deny, "no_match", **WORDS)),
    Command("cancel", prepared(filed), decision(decisions.cancel)),
    Command("retry", prepared(filed_unknown, carried), decision(decisions.retry, by="Jane")),
    Command("extend", prepared(filed), decision(decisions.extend, **WORDS)),
    Command("stop-clock", prepared(filed), decision(decisions.stop_clock, **WORDS)),
    Command("start-clock", prepared(filed, stopped), decision(decisions.start_clock, by="Jane")),
    Command("derive", prepared(), lambda folder: derive_in(folder)),
    Command("exempt", prepared(filed, derived), decision(decisions.exempt, CHILD, **WORDS)),
    Command("retire", prepared(derived), in_store(lambda tx: lineage.retire(tx, CHILD))),
    Command("put and export", prepared(stored), in_store(put)),
    Command("erase", prepared(stored), in_store(lambda tx: objects.erase(tx, digest_of(tx, "test", "role"), "why"))),
    Command("collect", prepared(idle), in_store(lambda tx: objects.collect(tx))),
    Command("withdraw", prepared(stored), in_store(lambda tx: objects.withdraw(tx, "copy.bin"))),
    Command("keep salts", prepared(), in_store(keep)),
    Command("forget salt", prepared(), in_store(lambda tx: salts.destroy(tx, [toy.salt_name("owner-0003")], "why"))),
    Command("erase a subject", prepared(filed, lambda store: denied(store)), in_store(erase_subjects)),
)


def file_in(folder: Path, by: str | None) -> None:
    with toy.open_store(folder) as store:
        toy.file(store, 1, "owner-0001", by)


def hold_in(folder: Path) -> None:
    with toy.open_store(folder) as store:
        toy.carry(store, steps=toy.ToySteps(store, suspicious=2)).demand()


def derive_in(folder: Path) -> None:
    with toy.open_store(folder) as store:
        derived(store)


def denied(store: Store) -> None:
    with store.transaction() as tx:
        decisions.deny(tx, only(tx.connection), "other", **WORDS)


def seen(store: Store, connection: Connection) -> dict[str, object]:
    """What a workspace comes to, without ids and times that differ from run to run."""
    found = requests.list_all(connection)
    runs = sorted({request.run for request in found if request.run})
    return {
        "requests": sorted((r.key, r.state, r.failed_in, r.subject is None, bool(r.run)) for r in found),
        "runs": len(runs),
        "moves": sorted((event.move, event.source, event.target) for event in _settled(history.read(connection))),
        "log": log.size(connection),
        "rows": sorted(toy.rows_now(store)),
        "models": sorted(_model(model) for model in lineage.list_all(connection)),
        "objects": sorted((each.kind, each.erased_at is not None) for each in _reached(connection)),
        "exports": sorted(_exports(store.folder, connection)),
        "salts": len(salts.destroyed(connection)),
    }


def _settled(events: tuple[history.Event, ...]) -> list[history.Event]:
    """The history without failures that were made good: a fault may well make a step fail once."""
    failing = (State.FAILED,)
    return [event for event in events if event.target not in failing and event.source not in failing]


def _model(model: lineage.Model) -> tuple[str, str, bool, bool]:
    return (model.digest, model.kind, model.retired_at is not None, model.replaced_by is not None)


def _reached(connection: Any) -> list[objects.Stored]:
    """Objects that something points at, and those that had to go. Steps that ran twice may leave others behind."""
    pointed = set(connection.scalars(select(tables.pointers.c.digest)))
    return [each for each in objects.list_all(connection) if each.digest in pointed or each.erased_at is not None]


def _exports(folder: Path, connection: Any) -> list[tuple[str, bool]]:
    names = connection.scalars(select(tables.exports.c.path))
    return [(name if "receipt" not in name else "receipt", os.path.isfile(folder / name)) for name in names]
