"""What each step of a deletion does to the workspace's model and records. Every step can be run again.

New things are stored under a holder of the request's own; the workspace is switched to them, and the old bytes are
erased, in the transaction that also logs the receipt.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from expunge.auditing import (
    RMIA,
    Accuracy,
    Audit,
    ConfidenceMIA,
    Divergence,
    LiRA,
    RelearningTime,
    Subject,
    audit,
    retrain_references,
)
from expunge.journey import artifacts, proving, tuning
from expunge.journey.artifacts import TRAINING, WORKSPACE
from expunge.journey.requests import Request
from expunge.ledger import objects
from expunge.ledger.store import Store, Transaction
from expunge.networks import initialise
from expunge.progress import Progress
from expunge.records import Records
from expunge.training import Executor, MemoryCheckpoints, Model, Recipe, accuracy_on_test, retraining_until, train
from expunge.training.stacked import layers_of
from expunge.unlearning import Deletion, Method, Repair, Unlearned, prepare

SHADOWS: Final = 64
"""Shadow models of the membership tests where the network can be stacked."""

FEW_SHADOWS: Final = 8
"""Shadow models where it cannot, and each costs a training run of its own."""

REPAIRED_SHADOWS: Final = 16
"""Shadow models at most where each trains on moved copies too, many times as long."""

OF_REPAIR: Final = (
    f"Audited beside references and at most {REPAIRED_SHADOWS} shadow models of the repair's own recipe, moved copies "
    "and all: beside plain retraining a repaired model differs by its recipe."
)


def plan(store: Store, ids: Sequence[str], method: Method) -> dict[str, Any]:
    """The method and what it would cost; raises what the method refuses."""
    deletion = _deletion(store, ids, None)
    method = proving.settled(store, method, deletion)
    forecast = method.plan(deletion)
    return {"method": method.describe().name, **asdict(forecast), "notes": list(forecast.notes)}


def unlearn(
    store: Store,
    request: Request,
    ids: Sequence[str],
    method: Method,
    progress: Progress | None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Run the method and store the new model, records, tree and checkpoints under the run's holder; raises as it."""
    holder, deletion = f"run/{request.run}", replace(_deletion(store, ids, progress), executor=executor)
    method = proving.settled(store, method, deletion)
    trials = None
    if isinstance(method, tuning.Tune):
        (result, trials), given, method = method.carried_out(deletion), None, method.method
    else:
        result, given = proving.run(store, request.id, method, deletion)
    tree = artifacts.read_tree(store)
    buried = tree.bury([tree.live[row] for row in deletion.records.rows(ids)])
    with store.transaction() as tx:
        artifacts.put_model(tx, holder, result.trained.model)
        artifacts.put_records(tx, holder, result.records)
        artifacts.put_tree(tx, holder, buried)
        objects.put_json(tx, artifacts.plain_log(result.trained), "log", (holder, "log"))
        objects.release(tx, _stages(holder))
        kept = result.trained.checkpoints
        for name, state in (kept.states if isinstance(kept, MemoryCheckpoints) else {}).items():
            artifacts.put_checkpoint(tx, _stages(holder), name, state)
        proof = None if given is None else proving.keep(tx, holder, request.id, given, result)
    return {
        "method": method.describe().name,
        "parameters": {key: value for key, value in result.method.items() if key != "kind"},
        "claim": _claim(result),
        "seconds": result.cost.seconds,
        "gradient_evaluations": result.cost.gradient_evaluations,
        "retraining_evaluations": result.retraining_evaluations,
        "peak_memory": result.cost.peak_memory,
        "old_model": deletion.trained.model.digest,
        "new_model": result.trained.model.digest,
        "reused_stages": list(result.trained.log.reused),
        "seed": result.seed,
        "platform": result.trained.log.platform,
        "degraded": list(result.degraded),
        "verification": proof,
        "tuning": trials,
    }


def audited(
    store: Store,
    holder: str,
    ids: Sequence[str],
    seed: int,
    shadows: int,
    progress: Progress | None,
    executor: Executor | None = None,
    *,
    tuned: bool = False,
    repair: Repair | None = None,
) -> dict[str, Any]:
    """Audit the new model against the old one and retrained references; plain form of the report.

    Test records that tuning looked at are left out. After `repair` references and shadow models are of its recipe.

    A request without training records leaves nothing to look for: the report then says so.
    """
    records = artifacts.read_records(store)
    gone = [record for record in ids if records.split[records.row_of[record]] == "train"]
    if not gone:
        return {
            "summary": "No training record was in the request: nothing to look for.",
            "readings": [],
            "degraded": [],
            "retraining": None,
        }
    retained, recipe = artifacts.read_records(store, holder), artifacts.read_recipe(store)
    view = _view(store, records, retained, recipe)
    after = artifacts.read_model(store, holder)
    pool = retained.train if repair is None else repair.augmented(retained, recipe.seed)
    beside = recipe if repair is None else repair.lengthened(recipe, retained)
    references = retrain_references(beside, pool, seed=seed, executor=executor, progress=progress)
    part = view.records.train
    subject = Subject(
        beside,
        view.before,
        after,
        part.select([part.row_of[record] for record in gone]),
        retained.train,
        tuning.parted(retained)[1] if tuned else retained.test,
        references,
        seed,
        executor=executor,
        progress=progress,
        augment=None if repair is None else lambda found, near: repair.augmented(found, recipe.seed, near),
    )
    chosen, notes = audits_for(recipe, retained, shadows if repair is None else min(shadows, REPAIRED_SHADOWS))
    report = audit(subject, chosen)
    degraded = [*report.degraded, *view.notes, *notes, *([] if repair is None else [OF_REPAIR])]
    price = _retraining(recipe, retained, after, progress)
    found: dict[str, Any] = _readable({**report.to_json(), "degraded": degraded, "retraining": price})
    return found


def _retraining(recipe: Recipe, retained: Records, after: Model, progress: Progress | None) -> dict[str, Any] | None:
    """What retraining would have cost, in full and stopped at the new model's accuracy; None without classes."""
    if not retained.classes:
        return None
    return asdict(retraining_until(recipe, retained, accuracy_on_test(after, retained), progress=progress))


def _readable(value: Any) -> Any:
    """Seeds have 63 bits and JSON numbers 53: larger integers are kept as text."""
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > 2**53 else value


@dataclass(frozen=True, eq=False)
class _View:
    """The records as the new model sees them, and the model before in that view."""

    records: Records
    before: Model
    notes: tuple[str, ...] = ()


def _view(store: Store, records: Records, retained: Records, recipe: Recipe) -> _View:
    if records.preparation == retained.preparation and records.classes == retained.classes:
        return _View(records, artifacts.read_model(store))
    seen = records.prepared_like(retained)
    note = (
        "The deletion moved the statistics of a column: in the audit, the model before is one trained by the same "
        "recipe on the same records under the new statistics."
    )
    return _View(seen, train(recipe, seen).model, (note,))


def audits_for(recipe: Recipe, records: Records, shadows: int) -> tuple[tuple[Audit, ...], tuple[str, ...]]:
    """The audits that this recipe can afford, and what was cut."""
    module = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="probe")
    count = shadows if layers_of(module, recipe, records) is not None else min(shadows, FEW_SHADOWS)
    audits = (Accuracy(), Divergence(), ConfidenceMIA(), LiRA(count), RMIA(count), RelearningTime())
    note = (
        f"Membership tests with {count} shadow models instead of {shadows}: this network cannot be trained in stacks."
    )
    return audits, (() if count == shadows else (note,))


def switch(tx: Transaction, holder: str, proof: dict[str, Any] | None = None) -> None:
    """Make what `holder` points at the workspace's own, and erase what saw the forgotten records, for good."""
    old = {**objects.held(tx.connection, WORKSPACE), **_prefixed(objects.held(tx.connection, TRAINING))}
    new = objects.held(tx.connection, holder)
    stages = objects.held(tx.connection, _stages(holder))
    for role in ("model", "records", "tree", "log"):
        objects.point(tx, WORKSPACE, role, new[role])
    proving.switch(tx, new, proof)
    objects.release(tx, TRAINING)
    for name, digest in stages.items():
        objects.point(tx, TRAINING, name, digest)
    objects.release(tx, holder)
    objects.release(tx, _stages(holder))
    objects.export(tx, new["model"], artifacts.MODEL_FILE)
    for digest in {*old.values()} - {*new.values()} - {*stages.values()} - {old["recipe"]}:
        objects.erase(tx, digest, "it held or saw records that were deleted on request")


def _prefixed(held: dict[str, str]) -> dict[str, str]:
    return {f"stage/{name}": digest for name, digest in held.items()}


def _stages(holder: str) -> str:
    return f"{holder}/stages"


def _deletion(store: Store, ids: Sequence[str], progress: Progress | None) -> Deletion:
    return prepare(artifacts.load_trained(store), artifacts.read_records(store), ids, progress=progress)


def _claim(result: Unlearned) -> dict[str, Any]:
    claim = asdict(result.claim)
    return {**claim, "kind": result.claim.kind.value, "assumptions": list(result.claim.assumptions)}
