"""What a workspace's owners are worth: estimated, kept current through deletions, settled.

What is kept stands under the holder `valuation`: the order (estimator, error, budget, seed), the constituents and the
values. A deletion replaces all three in the transaction that logs its receipt: no byte that saw a leaver stays.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from expunge.errors import OperatorError
from expunge.journey import artifacts
from expunge.journey.artifacts import WORKSPACE
from expunge.ledger import objects
from expunge.ledger.store import Store, Transaction
from expunge.plain import encode
from expunge.progress import Progress
from expunge.records import Records
from expunge.reports.values import values_report
from expunge.training import Executor, Recipe
from expunge.valuation import (
    Adjusted,
    Cached,
    Complementary,
    Evaluations,
    Exact,
    HalfWidth,
    Multilinear,
    Partition,
    Permutation,
    ShardedGame,
    Stop,
    Truncated,
    UtilitySampling,
    Values,
    owners_of,
    partition_of,
    settle,
    training_game,
    value,
)
from expunge.valuation.estimator import Estimator
from expunge.valuation.storage import Known, from_bytes, restore, to_bytes, values_from_json, values_to_json
from expunge.valuation.update import LEAST

HOLDER: Final = "valuation"
PAGE: Final = "reports/values.html"
REVENUE: Final = "valuation-revenue"
"""Setting that holds the revenue of the last sale that was settled, in its smallest unit."""

PARTS: Final = 1_000_000
"""Revenue that a statement shares out where no sale was settled yet: payouts are then parts in a million."""

MOST: Final = 2**53 - 1
"""Largest revenue: statements are JSON, whose numbers are whole up to here."""

ESTIMATORS: Final = (Adjusted, Permutation, UtilitySampling, Complementary, Multilinear, Truncated, Exact)


@dataclass(frozen=True)
class Order:
    """How values are estimated: half-width `error` at 95 % for every owner, or `budget` utilities, whichever is first.

    A run that the budget ended says so: its half-widths are what they are.

    **Raises:** `OperatorError("bad-arguments")` for an error that no interval can have.
    """

    estimator: Estimator = Adjusted()
    error: float = 0.01
    budget: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.error < float("inf"):
            raise OperatorError("bad-arguments", f"the half-width to reach is a number above 0, not {self.error}")

    @property
    def stop(self) -> Stop:
        """The stopping rule."""
        return self._within(HalfWidth(self.error))

    @property
    def change(self) -> Stop:
        """The same for what a deletion changes, to half the width."""
        return self._within(HalfWidth(self.error / 2, least=LEAST))

    def _within(self, rule: Stop) -> Stop:
        return rule if self.budget is None else rule | Evaluations(self.budget)


@dataclass(frozen=True, eq=False)
class Scene:
    """A game over a workspace's records, its cache, who stands in which column, and ids of the test records."""

    game: ShardedGame
    cache: Cached
    names: tuple[str, ...]
    tests: tuple[str, ...]

    @staticmethod
    def of(recipe: Recipe, records: Records, known: Known, executor: Executor | None = None) -> "Scene":
        """The game of the recipe over the records, with the constituents that are known."""
        names = owners_of(records)
        game = training_game(recipe, records, executor=executor)
        restore(game, known, names)
        return Scene(game, Cached(game), names, records.test.ids)


def order_value(
    store: Store, order: Order, *, executor: Executor | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Estimate the values of the workspace's owners and keep them; a killed run goes on from its constituents.

    **Raises:** `OperatorError("bad-data")`, `ProgrammerError("bad-partition" | "too-many-coalitions")`.
    """
    records, recipe = artifacts.read_records(store), artifacts.read_recipe(store)
    scene = Scene.of(recipe, records, known_constituents(store, records.test.ids), executor)
    partition = partition_of(recipe, scene.names)
    scene.game.trained = _keeper(store, scene)
    values = value(scene.cache, partition, order.estimator, order.stop, seed=order.seed, progress=progress)
    with store.transaction() as tx:
        put(tx, HOLDER, scene, body_of(scene, order, values, data_digest(store)))
        objects.collect(tx, "a later valuation took its place")
    return {**shown(store), "trainings": scene.game.trainings, "seconds": values.seconds}


def shown(store: Store) -> dict[str, Any]:
    """The values that stand: a line for each owner, and what they cost.

    **Raises:** `OperatorError("not-valued")`.
    """
    body = stored(store)
    if body is None:
        raise OperatorError("not-valued", "the owners of this workspace were not valued yet")
    values, names, ends = values_from_json(body["values"]), body["names"], body["ends"]
    lines = [{**line, "owner": names[line["owner"]]} for line in values.to_json()]
    halves = [line["half_width"] for line in lines]
    widest = None if None in halves else max(halves)
    return {
        "owners": lines,
        "shards": len(values.partition.shards),
        "utility_of_all": ends[1],
        "utility_of_none": ends[0],
        "half_width": widest,
        "reached": widest is not None and widest <= body["order"]["error"],
        "estimator": body["order"]["estimator"],
        "evaluations": values.evaluations,
        "current": body["data"] == data_digest(store),
        "how": body["how"],
        "page": str(store.folder / PAGE),
    }


def settle_sale(store: Store, revenue: int) -> dict[str, Any]:
    """Share the revenue of a sale out by the values that stand, and remember it for later statements.

    **Arguments:** `revenue`: in the smallest unit of the currency, at most `MOST`.

    **Raises:** `OperatorError("bad-arguments" | "not-valued" | "incomplete-values")`.
    """
    if not 0 <= revenue <= MOST:
        raise OperatorError("bad-arguments", f"revenue is a whole number from 0 to {MOST:,} of the smallest unit")
    body = stored(store)
    if body is None:
        raise OperatorError("not-valued", "the owners of this workspace were not valued yet")
    if body["data"] != data_digest(store):
        raise OperatorError("not-valued", "the records have changed since the owners were valued: value them again")
    values = values_from_json(body["values"])
    settlement = settle(values, revenue)
    with store.transaction() as tx:
        tx.remember(REVENUE, str(revenue))
    lines = [
        {
            "owner": body["names"][owner],
            "label": body["labels"].get(body["names"][owner]),
            "value": worth,
            "payout": payout,
        }
        for owner, worth, payout in zip(settlement.owners, settlement.values, settlement.payouts, strict=True)
    ]
    return {"revenue": revenue, "unallocated": settlement.unallocated, "lines": lines}


def body_of(
    scene: Scene,
    order: Order,
    values: Values,
    data: str | None,
    *,
    how: str = "estimated",
    labels: dict[str, str] | None = None,
    previous: dict[str, list[float | None]] | None = None,
) -> dict[str, Any]:
    """What is kept of values: those who left have no name, no column and no label any more."""
    everybody = np.isin(np.arange(len(scene.names)), values.owners)
    ends = scene.cache.utilities(np.stack([np.zeros_like(everybody), everybody]))
    return {
        "order": encode(order),
        "data": data,
        "names": [scene.names[owner] for owner in values.owners],
        "values": values_to_json(_compressed(values)),
        "ends": ends.tolist(),
        "how": how,
        "labels": labels or {},
        "previous": previous or {},
    }


def _compressed(values: Values) -> Values:
    """The same values with owners in columns 0, 1, ...: order is kept."""
    place = {owner: column for column, owner in enumerate(values.owners)}
    shards = tuple(tuple(place[owner] for owner in shard) for shard in values.partition.shards)
    return replace(values, partition=Partition(shards), run=None)


def put(tx: Transaction, holder: str, scene: Scene, body: dict[str, Any]) -> None:
    """Keep constituents and values under `holder`."""
    left = set(body["names"])
    names = [name if name in left else "" for name in scene.names]
    objects.put(tx, to_bytes(scene.game, names, scene.tests), "constituents", (holder, "constituents"))
    objects.put_json(tx, body["data"], "settings", (holder, "data"))
    objects.put_json(tx, body, "values", (holder, "values"))
    objects.put(tx, _page(body).encode(), "page", (holder, "page"))
    if holder == HOLDER:
        show_page(tx)


def show_page(tx: Transaction) -> None:
    """Keep the page of the values that stand in the workspace's reports. It names owners, and goes with its object."""
    digest = objects.pointed(tx.connection, HOLDER, "page")
    if digest is not None:
        objects.export(tx, digest, PAGE)


def _page(body: dict[str, Any]) -> str:
    values = values_from_json(body["values"])
    lines = [{**line, "owner": body["names"][line["owner"]]} for line in values.to_json()]
    facts = {
        "lead": f"By {body['order']['estimator']['kind']}: {body['how']}.",
        "shards": len(values.partition.shards),
        "shared": body["ends"][1] - body["ends"][0],
        "evaluations": values.evaluations,
    }
    return values_report(facts, lines, body["previous"])


def _keeper(store: Store, scene: Scene) -> Callable[[], None]:
    """Stores the constituents as they are trained, but spends no more than a twentieth of the time on it."""
    data, rest = data_digest(store), 0.0

    def keep() -> None:
        """Store them now, unless the last time is too recent for what it took."""
        nonlocal rest
        started = time.monotonic()
        if started < rest:
            return
        with store.transaction() as tx:
            objects.put(tx, to_bytes(scene.game, scene.names, scene.tests), "constituents", (HOLDER, "constituents"))
            objects.put_json(tx, data, "settings", (HOLDER, "data"))
            objects.collect(tx, "later ones took their place")
        rest = time.monotonic() + 20 * (time.monotonic() - started)

    return keep


def known_constituents(store: Store, tests: Sequence[str]) -> Known:
    """The constituents that are stored for the records that the workspace stands on."""
    with store.reading() as connection:
        held = objects.held(connection, HOLDER)
    if "constituents" not in held or objects.read_json(store, held["data"]) != data_digest(store):
        return {}
    return from_bytes(objects.read(store, held["constituents"]), tests)


def stored(store: Store) -> dict[str, Any] | None:
    """What is kept of the values that stand; None where there are none."""
    digest = artifacts.digest_of(store, HOLDER, "values")
    return None if digest is None else dict(objects.read_json(store, digest))


def data_digest(store: Store, holder: str = WORKSPACE) -> str | None:
    """Digest of the records: constituents and values belong to these."""
    return artifacts.digest_of(store, holder, "records")
