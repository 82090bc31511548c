"""Values after a deletion: updated while the leavers' data may still be used, then everything that saw them is erased.

The statement of what each owner is paid before and after stands in the annex of the receipt's bundle: a file beside it,
whose digest the receipt signs. Its lines carry random labels; whose label is whose is kept until the next deletion.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from expunge.errors import ExpungeError
from expunge.journey import artifacts
from expunge.journey.valuing import (
    ESTIMATORS,
    HOLDER,
    PARTS,
    REVENUE,
    Order,
    Scene,
    body_of,
    data_digest,
    known_constituents,
    put,
    show_page,
    stored,
)
from expunge.ledger import objects, receipts, salts
from expunge.ledger.store import Store, Transaction
from expunge.plain import decode
from expunge.progress import Progress
from expunge.records import Records
from expunge.training import Executor, Recipe
from expunge.valuation import Settlement, Status, Values, partition_of, settle, statement, update, value
from expunge.valuation.storage import values_from_json

FORMAT: Final = "expunge-settlement/1"


@dataclass(frozen=True, eq=False)
class _Change:
    """Values before and after; `names` of the columns before; `leavers` who left, `touched` who lost records."""

    scene: Scene
    before: Values
    after: Values
    names: tuple[str, ...]
    leavers: tuple[str, ...]
    how: str


def after_deletion(
    store: Store, holder: str, progress: Progress | None = None, executor: Executor | None = None
) -> dict[str, Any] | None:
    """Update the values to the records that a run holds, and keep the result under the run's holder.

    None where nothing was valued. A deletion never fails for its values: where they cannot be kept current they are
    dropped, and the record says why.
    """
    with store.reading() as connection:
        if not objects.held(connection, HOLDER):
            return None
    body = stored(store)
    if body is None or body["data"] != data_digest(store):
        return _dropped("they did not belong to the records that the workspace stood on")
    order = decode(body["order"], (Order, *ESTIMATORS))
    try:
        change = _changed(store, holder, body, order, progress, executor)
        if Status.INCOMPLETE in (*change.before.status, *change.after.status):
            return _dropped("the budget leaves some owner without an estimate")
        return _kept(store, holder, order, change)
    except ExpungeError as error:
        return _dropped(f"{error} ({error.code})")


def switch(tx: Transaction, holder: str) -> None:
    """Make the updated values the workspace's own, and erase all that a leaver's data went into."""
    new, old = objects.held(tx.connection, _under(holder)), objects.held(tx.connection, HOLDER)
    objects.release(tx, HOLDER)
    for role, digest in new.items():
        if role != "annex":
            objects.point(tx, HOLDER, role, digest)
    objects.release(tx, _under(holder))
    show_page(tx)
    for digest in {*old.values()} - {*new.values()}:
        objects.erase(tx, digest, "values and utilities that data of a leaver went into")


def put_annex(tx: Transaction, request: str, record: dict[str, Any] | None) -> None:
    """The statement beside the bundle of a request's receipt."""
    if record is not None and record["annex"] is not None:
        objects.point(tx, f"receipt/{request}", "annex", record["annex"])
        objects.export(tx, record["annex"], f"receipts/{request}.annex.json")


def figures(record: dict[str, Any] | None) -> tuple[receipts.Figure, ...]:
    """What a receipt says of the values: the utility that owners share, and the digest of the annex."""
    if record is None or record["annex"] is None:
        return ()
    note = (
        f"S-Shapley values of {record['owners']} owners, {record['how']}; the statement stands in the annex beside the "
        f"bundle, SHA-256 {record['annex']}; {record['constituents_deleted']} networks' outputs that saw a leaver "
        "were deleted"
    )
    reference = receipts.Reference("before the deletion", record["shared_before"])
    return (receipts.Figure("valuation/utility-shared", record["shared_after"], None, None, reference, note),)


def degraded(record: dict[str, Any] | None) -> tuple[str, ...]:
    """What a receipt says where values could not be kept."""
    return () if record is None or record["annex"] is not None else (f"Values: {record['how']}.",)


def _dropped(why: str) -> dict[str, Any]:
    return {"how": f"dropped: {why}", "annex": None}


def _changed(
    store: Store,
    holder: str,
    body: dict[str, Any],
    order: Order,
    progress: Progress | None,
    executor: Executor | None,
) -> _Change:
    """An update where whole owners leave; an estimate anew where one who stays loses records, or columns moved."""
    recipe, old = artifacts.read_recipe(store), artifacts.read_records(store)
    retained = artifacts.read_records(store, holder)
    touched, staying = _touched(old, retained), set(retained.train.owners)
    leavers = tuple(name for name in touched if name not in staying)
    steady = old.preparation == retained.preparation and old.classes == retained.classes
    if not steady or touched != leavers:
        return _anew(store, recipe, retained, touched if steady else None, body, order, progress, executor)
    tests = set(retained.test.ids)
    view = old.select([row for row, part in enumerate(old.split) if part == "train" or old.ids[row] in tests])
    scene = Scene.of(recipe, view, known_constituents(store, view.test.ids), executor)
    before, how = _before(scene, recipe, body, order, progress, same_tests=len(view.test) == len(old.test))
    if not leavers:
        return _Change(scene, before, before, scene.names, (), how)
    columns = [scene.names.index(name) for name in leavers]
    after = update(before, scene.cache, columns, stop=order.change, seed=order.seed, progress=progress)
    return _Change(scene, before, after, scene.names, leavers, how)


def _before(
    scene: Scene, recipe: Recipe, body: dict[str, Any], order: Order, progress: Progress | None, *, same_tests: bool
) -> tuple[Values, str]:
    """The values that stand. Where test records leave too, they are measured anew on those that stay: a statement
    compares like with like, and what leaves is no yardstick."""
    if same_tests:
        return values_from_json(body["values"]), "updated"
    partition = partition_of(recipe, scene.names)
    measured = value(scene.cache, partition, order.estimator, order.stop, seed=order.seed, progress=progress)
    return measured, "updated, before and after measured on the test records that stay"


def _anew(
    store: Store,
    recipe: Recipe,
    retained: Records,
    touched: Sequence[str] | None,
    body: dict[str, Any],
    order: Order,
    progress: Progress | None,
    executor: Executor | None,
) -> _Change:
    """Estimate on what is left, from the constituents that no deleted record went into (`touched` None: from none)."""
    known = {} if touched is None else known_constituents(store, retained.test.ids)
    fit = {saw: found for saw, found in known.items() if set(touched or ()).isdisjoint(saw)}
    scene = Scene.of(recipe, retained, fit, executor)
    partition = partition_of(recipe, scene.names)
    after = value(scene.cache, partition, order.estimator, order.stop, seed=order.seed, progress=progress)
    why = "records of an owner who stays were deleted, or statistics of a column moved"
    return _Change(scene, values_from_json(body["values"]), after, tuple(body["names"]), (), f"estimated anew: {why}")


def _kept(store: Store, holder: str, order: Order, change: _Change) -> dict[str, Any]:
    """Store the updated values and the annex under the run's holder; returns the record, which names nobody."""
    revenue = int(store.recall(REVENUE) or PARTS)
    scene, before, after = change.scene, change.before, change.after
    trained, deleted = scene.game.trainings, 0
    annex, labels = _annex(settle(before, revenue), settle(after, revenue), change)
    columns = [scene.names.index(name) for name in change.leavers]
    data, previous = data_digest(store, holder), _previous(change)
    fresh = body_of(scene, order, after, data, how=change.how, labels=labels, previous=previous)
    scene.cache.forget(columns)
    deleted = scene.game.forget(columns)
    with store.transaction() as tx:
        objects.release(tx, _under(holder))
        digest = objects.put_json(tx, annex, "annex", (_under(holder), "annex"))
        put(tx, _under(holder), scene, fresh)
    return {
        "how": change.how,
        "annex": digest,
        "owners": len(after.owners),
        "evaluations": after.evaluations,
        "trainings": trained,
        "seconds": after.seconds,
        "constituents_deleted": deleted,
        "shared_before": float(before.value.sum()),
        "shared_after": float(after.value.sum()),
        "half_width": float(after.half_width().max()),
    }


def _previous(change: _Change) -> dict[str, list[float | None]]:
    """Value and half-width before, of those who stay, by name."""
    stay = {change.scene.names[owner] for owner in change.after.owners}
    return {
        change.names[line["owner"]]: [line["value"], line["half_width"]]
        for line in change.before.to_json()
        if change.names[line["owner"]] in stay
    }


def _annex(before: Settlement, after: Settlement, change: _Change) -> tuple[dict[str, Any], dict[str, str]]:
    """The statement under random labels, in their order, and the label of each owner who stays."""
    names = change.scene.names
    halves = dict(zip(change.after.owners, change.after.half_width().tolist(), strict=True))
    lines, labels = [], {}
    for line in statement(_aligned(before, change.names, names), after):
        label = salts.new()[:8].hex()
        half = halves.get(line.owner)
        if half is not None:
            labels[names[line.owner]] = label
        known = half is not None and bool(np.isfinite(half))
        lines.append({**line.to_json(), "owner": label, "half_width_after": half if known else None})
    body = {"format": FORMAT, "revenue": after.revenue, "unallocated": after.unallocated, "how": change.how}
    return {**body, "confidence": 0.95, "lines": sorted(lines, key=_label)}, labels


def _label(line: dict[str, Any]) -> str:
    return str(line["owner"])


def _aligned(settlement: Settlement, old: Sequence[str], new: Sequence[str]) -> Settlement:
    """The settlement before, in the columns of after; columns beyond stand for those who left."""
    column = {name: number for number, name in enumerate(new)}
    moved = tuple(column.get(old[owner], len(new) + owner) for owner in settlement.owners)
    return replace(settlement, owners=moved)


def _touched(old: Records, retained: Records) -> tuple[str, ...]:
    """Owners who lose training records, by name."""
    left = set(retained.train.ids)
    gone = {who for record, who in zip(old.train.ids, old.train.owners, strict=True) if record not in left}
    return tuple(sorted(gone))


def _under(holder: str) -> str:
    return f"{holder}/valuation"
