"""Which model came from which, so that a deletion reaches the copies, distillates and fine-tuned offspring too.

A request is not fulfilled while a known model that descends from one it changed, or from any of that model's
forerunners, is neither retired nor exempted by a person.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, select

from expunge.errors import OperatorError
from expunge.journey import tables
from expunge.ledger import paths
from expunge.ledger.store import Transaction
from expunge.ledger.tables import add, change, find, put


@dataclass(frozen=True)
class Model:
    """A model that the workspace knows of, by the digest of its file (SHA-256, hex).

    **Arguments:**

    - `kind`: `trained`, `unlearned`, or what was done to derive it: `distilled`, `fine-tuned`, `quantised`.
    - `retired_at`: when it was deleted or replaced; None while it is in use.
    - `replaced_by`: the model in its place, if there is one.
    """

    digest: str
    kind: str
    known_at: str
    retired_at: str | None
    replaced_by: str | None
    note: str | None


KIND: Final = re.compile("[A-Za-z][A-Za-z -]{0,39}")
"""What a derivation may be called: without digits, as ids mostly have them, and without control characters."""


def register(tx: Transaction, digest: str, kind: str, note: str | None = None) -> None:
    """Make a model known; one that is known stays as it is.

    **Raises:** `AttackSuspected("unsafe-path")` for what is no digest.
    """
    if find(tx.connection, tables.models, {"digest": paths.digest(digest)}) is None:
        add(tx.connection, tables.models, digest=digest, kind=kind, known_at=tx.stamp, note=note)


def derive(tx: Transaction, parents: Sequence[str], child: str, kind: str, note: str | None = None) -> None:
    """Record that `child` was made from `parents`, which must be known.

    **Raises:** `OperatorError("unknown-model")`; `OperatorError("bad-arguments")` for a model that would descend from
    itself or is known as another kind, and for a `kind` that is more than a few plain words (it stays when the records
    go: nobody should be named in it); `AttackSuspected("unsafe-path")`.
    """
    if not KIND.fullmatch(kind):
        raise OperatorError("bad-arguments", "a kind is a few plain words: letters, blanks and hyphens, 40 at most")
    for parent in parents:
        _known(tx.connection, parent)
    if not parents or child in _ancestors(tx.connection, parents):
        raise OperatorError("bad-arguments", "a derived model has a parent, and does not descend from itself")
    register(tx, child, kind, note)
    if (known := _known(tx.connection, child).kind) != kind:
        raise OperatorError("bad-arguments", f"the model is known already, as {known}")
    for parent in parents:
        put(tx.connection, tables.derivations, {"child": child, "parent": parent})


def replace(tx: Transaction, requests: Iterable[str], old: str, new: str) -> None:
    """Record that deleting for these requests put model `new` in the place of `old`.

    **Raises:** `AttackSuspected("unsafe-path")`.
    """
    register(tx, old, "trained")
    for request in requests:
        put(tx.connection, tables.affected, {"request": request, "model": old})
    if old != new:
        register(tx, new, "unlearned")
        retire(tx, old, replaced_by=new)


def share(tx: Transaction, request: str, others: Iterable[str]) -> None:
    """Record that the deletions for `others` were a request's own: what was derived before them is in its way too."""
    for model in sorted({model for other in others for model in affected(tx.connection, other)}):
        put(tx.connection, tables.affected, {"request": request, "model": model})


def retire(tx: Transaction, digest: str, *, replaced_by: str | None = None) -> None:
    """Record that a model is no longer in use: deleted, or replaced by one without the records.

    A model that takes the place of a derived one should itself be recorded with `derive`.

    **Raises:** `OperatorError("unknown-model")`.
    """
    model = _known(tx.connection, digest)
    if replaced_by is not None:
        _known(tx.connection, replaced_by)
    if model.retired_at is None or (model.replaced_by is None and replaced_by is not None):
        stamp = model.retired_at or tx.stamp
        change(tx.connection, tables.models, {"digest": digest}, retired_at=stamp, replaced_by=replaced_by)


def retire_derived(tx: Transaction, digest: str, *, replaced_by: str | None = None) -> None:
    """`retire` for models that a person derived: the workspace retires its own when it unlearns.

    **Raises:** as `retire`; `OperatorError("illegal-move")` for a model that was not derived, or that would take its
    own place.
    """
    _known(tx.connection, digest)
    if digest not in parents(tx.connection) or digest == replaced_by:
        raise OperatorError("illegal-move", "only a model that was derived is retired by hand, and not for itself")
    retire(tx, digest, replaced_by=replaced_by)


def exempt(tx: Transaction, request: str, digest: str) -> None:
    """Take a derived model out of a request's way; `decisions.exempt` does it with the person's reasons.

    **Raises:** `OperatorError("unknown-model")`; `OperatorError("illegal-move")` for a model that was not derived.
    """
    _known(tx.connection, digest)
    if digest not in parents(tx.connection):
        raise OperatorError("illegal-move", "only a model that was derived can be in a request's way")
    put(tx.connection, tables.exemptions, {"request": request, "model": digest})


def untouched(connection: Connection, request: str) -> tuple[Model, ...]:
    """The derived models that keep a request from being fulfilled, oldest first."""
    if not _edges(connection):  # the usual case, and quick however many models there were
        return ()
    changed = set(connection.scalars(select(tables.affected.c.model).where(tables.affected.c.request == request)))
    earlier = changed | _forerunners(connection, changed)
    settled = set(connection.scalars(select(tables.exemptions.c.model).where(tables.exemptions.c.request == request)))
    waiting = _descendants(connection, earlier) - earlier - settled
    return tuple(model for model in list_all(connection) if model.digest in waiting and model.retired_at is None)


def affected(connection: Connection, request: str) -> tuple[str, ...]:
    """Digests of the models that a request's deletion replaced."""
    query = select(tables.affected.c.model).where(tables.affected.c.request == request)
    return tuple(connection.scalars(query.order_by(tables.affected.c.model)))


def changed_into(connection: Connection, digest: str) -> tuple[str, ...]:
    """The requests whose deletions put this model in another's place."""
    before = select(tables.models.c.digest).where(tables.models.c.replaced_by == digest)
    query = select(tables.affected.c.request).where(tables.affected.c.model.in_(before)).distinct()
    return tuple(connection.scalars(query.order_by(tables.affected.c.request)))


def derived_from(connection: Connection, digest: str) -> tuple[Model, ...]:
    """Every model in use that descends from this one or from its forerunners, oldest first."""
    if not _edges(connection):
        return ()
    earlier = {digest} | _forerunners(connection, {digest})
    offspring = _descendants(connection, earlier) - earlier
    return tuple(model for model in list_all(connection) if model.digest in offspring and model.retired_at is None)


def list_all(connection: Connection) -> tuple[Model, ...]:
    """Every model that is or was known, oldest first."""
    rows = connection.execute(select(tables.models).order_by(tables.models.c.known_at, tables.models.c.digest))
    return tuple(_model(row) for row in rows.mappings())


def parents(connection: Connection) -> dict[str, list[str]]:
    """What each derived model was made from."""
    found: dict[str, list[str]] = {}
    for parent, child in sorted(_edges(connection)):
        found.setdefault(child, []).append(parent)
    return found


def _model(row: RowMapping) -> Model:
    names = ("digest", "kind", "known_at", "retired_at", "replaced_by", "note")
    return Model(**{name: row[name] for name in names})


def _known(connection: Connection, digest: str) -> Model:
    row = find(connection, tables.models, {"digest": paths.digest(digest)})
    if row is None:
        raise OperatorError("unknown-model", f"no model {digest[:16]} is known")
    return _model(row)


def _edges(connection: Connection) -> list[tuple[str, str]]:
    """(parent, child) of every derivation."""
    return [(row.parent, row.child) for row in connection.execute(select(tables.derivations))]


def _descendants(connection: Connection, start: Iterable[str]) -> set[str]:
    return _closure(start, _edges(connection))


def _ancestors(connection: Connection, start: Iterable[str]) -> set[str]:
    return _closure(start, [(child, parent) for parent, child in _edges(connection)]) | set(start)


def _forerunners(connection: Connection, start: Iterable[str]) -> set[str]:
    """The models that these replaced, directly or in turn: what was made from them may hold the records as well."""
    replaced = [(model.replaced_by, model.digest) for model in list_all(connection) if model.replaced_by is not None]
    return _closure(start, replaced)


def _closure(start: Iterable[str], edges: Sequence[tuple[str, str]]) -> set[str]:
    goals: dict[str, list[str]] = {}
    for source, goal in edges:
        goals.setdefault(source, []).append(goal)
    found: set[str] = set()
    rim = list(start)
    while rim:
        fresh = [goal for goal in goals.get(rim.pop(), ()) if goal not in found]
        found.update(fresh)
        rim += fresh
    return found
