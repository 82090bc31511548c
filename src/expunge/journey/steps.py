"""The work of each step of the journey, for the worker: screening, plan, unlearning, audit, receipt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, Final

from sqlalchemy import Connection

from expunge.errors import OperatorError
from expunge.journey import (
    artifacts,
    carry_out,
    casework,
    decisions,
    earlier,
    lineage,
    proving,
    receipting,
    requests,
    revaluing,
    screened,
    sharing,
    tuning,
    worker,
)
from expunge.journey.config import Config
from expunge.journey.requests import Request
from expunge.journey.worker import Record
from expunge.ledger import objects, receipts
from expunge.ledger.store import Store, Transaction
from expunge.plain import decode
from expunge.progress import Progress
from expunge.records import DataTree, Records
from expunge.training import Executor, LeastSquares
from expunge.training.curvature import Series
from expunge.unlearning import (
    AMUN,
    SCRUB,
    SSD,
    BadTeacher,
    BoundaryShrink,
    Certified,
    CertifiedHead,
    Downdate,
    FineTune,
    FisherForgetting,
    GradientAscent,
    Influence,
    L1Sparse,
    Langevin,
    Method,
    NegGradPlus,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    RandomLabels,
    Repair,
    Retrain,
    RewindAndDescend,
    SalUn,
    Sharded,
)

METHODS: Final[tuple[type, ...]] = (
    Retrain,
    Sharded,
    Downdate,
    FineTune,
    L1Sparse,
    SalUn,
    SCRUB,
    NegGradPlus,
    RandomLabels,
    AMUN,
    BoundaryShrink,
    BadTeacher,
    SSD,
    Influence,
    FisherForgetting,
    GradientAscent,
    Certified,
    CertifiedHead,
    NoisyFineTuning,
    OutputPerturbation,
    Newton,
    RewindAndDescend,
    Langevin,
    Repair,
    proving.Provable,
    tuning.Tune,
)
"""Classes that a request may name as its method."""


@dataclass(frozen=True, eq=False)
class ModelSteps:
    """Steps on the workspace's model; every one can be run again."""

    store: Store
    config: Config
    progress: Progress | None = None
    executor: Executor | None = None

    def screen(self, request: Request) -> Record:
        """Judge a request: every record must be held here as it was committed to; the forecast where it is on."""
        ids = self._ids([request])
        return screened.judge(self.store, ids, request, self.progress) if ids else screened.nothing_left()

    def plan(self, run: Sequence[Request]) -> Record:
        """What the method would cost."""
        ids = self._ids(run)
        if not ids:
            return self._nothing_left("plan")
        found = carry_out.plan(self.store, ids, self._method(run))
        now = {**found, "old_model": artifacts.read_model(self.store).digest}
        return {**found, "notes": [*found["notes"], *earlier.unrepaired(self.store, now)]}

    def unlearn(self, run: Sequence[Request]) -> Record:
        """The new model, under a holder of the run's own; the workspace still stands on the old one."""
        records, tree = artifacts.read_records(self.store), artifacts.read_tree(self.store)
        places = {each.id: self._places(records, tree, each) for each in run}
        before = {each.id: earlier.found(self.store, each, tree) for each in run}
        mine = {
            "places": places,
            "earlier": {request: others for request, others in before.items() if not places[request]},
        }
        if not (ids := self._ids(run)):
            return {**self._nothing_left("unlearn"), **mine}
        work = (self.progress, self.executor)
        done = carry_out.unlearn(self.store, run[0], ids, self._method(run), *work)
        valued = revaluing.after_deletion(self.store, _holder(run), *work)
        everything = sorted({place for some in places.values() for place in some})
        notes = [earlier.partly(others) for request, others in before.items() if places[request] and others]
        notes += earlier.unrepaired(self.store, done)
        again = screened.rechecked(self.store, _holder(run), ids)
        notes += screened.lost(again)
        return {
            **done,
            **mine,
            "degraded": [*done["degraded"], *revaluing.degraded(valued), *notes],
            "recheck": again,
            "valuation": valued,
            "commitments": {request: [tree.leaves[p].hex() for p in some] for request, some in places.items()},
            "old_root": tree.root.hex(),
            "retained_root": tree.bury(everything).root.hex(),
            "deletion_proof": tree.proof(everything).to_json(),
        }

    def audit(self, run: Sequence[Request]) -> Record:
        """What audits find in the new model."""
        ids, seed, shadows = self._ids(run), self.config.audit_seed, self.config.shadow_models
        if not ids:
            return self._nothing_left("audit")
        done, work = self._record(run[0], "unlearn"), (self.progress, self.executor)
        again = Repair(**done["parameters"]) if done["method"] == earlier.REPAIR else None
        tuned = done.get("tuning") is not None
        return carry_out.audited(self.store, _holder(run), ids, seed, shadows, *work, tuned=tuned, repair=again)

    def receipt(self, request: Request) -> Record:
        """Everything that the receipt will say but the time of its signing."""
        with self.store.reading() as connection:
            due = requests.deadline(connection, request, datetime.now(UTC))
            derived = _derived(connection, request.id)
        last = datetime.combine(due.due, time(23, 59, 59), UTC)
        assured = earlier.assurance(self.store, request.id) or casework.after_deletion(
            self.store, _holder([request]), request.id, self._steps(request), self.progress
        )
        rule = f"{due.regime}/{due.version}"
        return {"deadline": receipts.timestamp(last), "rule": rule, "derived": derived, "assurance": assured}

    def commit(self, tx: Transaction, step: str, run: Sequence[Request], record: Record) -> Record:
        """With the receipt: put the new model in place, erase what saw the records, sign, log, bundle."""
        if step != "receipt":
            return record
        (request,) = run
        steps = self._steps(request)
        holder = f"run/{request.run}"
        if "model" in objects.held(tx.connection, holder):
            carry_out.switch(tx, holder, self._record(request, "unlearn").get("verification"))
            revaluing.switch(tx, holder)
            screened.switch(tx)
        completed = receipts.timestamp(max(tx.now, request.received_at))  # the clock may have been set back since
        receipt = _receipt(request, steps, record, completed)
        receipting.write_receipt(tx, request.id, receipt)
        revaluing.put_annex(tx, request.id, steps["unlearn"]["valuation"])
        casework.keep(tx, request.id, record["assurance"])
        return {**record, "completed": completed}

    def _record(self, request: Request, step: str) -> dict[str, Any]:
        found: dict[str, Any] = worker.read_record(self.store, request.id, step)
        return found

    def _steps(self, request: Request) -> dict[str, Any]:
        """What the receipt and the case speak of; the screening with a person's word on it."""
        steps = {name: sharing.shared(self.store, request.id, name) for name in ("unlearn", "audit")}
        return {"screen": screened.decided(self.store, request, self._record(request, "screen")), **steps}

    def _ids(self, run: Sequence[Request]) -> list[str]:
        records = artifacts.read_records(self.store)
        return list(dict.fromkeys(each for request in run for each in earlier.left(self.store, request, records)))

    def _places(self, records: Records, tree: DataTree, request: Request) -> list[int]:
        return sorted(tree.live[row] for row in records.rows(earlier.left(self.store, request, records)))

    def _nothing_left(self, step: str) -> Record:
        return earlier.nothing_left(artifacts.digest_of(self.store, artifacts.WORKSPACE, "model") or "", step)

    def _method(self, run: Sequence[Request]) -> Method:
        with self.store.reading() as connection:
            repair = any(decisions.repaired(connection, request.id) for request in run)
        return proving.completed(self.store, run[0], Repair() if repair else method_of(self.store, run[0].method))


def method_of(store: Store, wished: Any) -> Method:
    """The method that was wished for; else the cheapest exact one: nothing weaker is ever chosen for anybody.

    **Raises:** `OperatorError("bad-config")` for one that this version does not know.
    """
    if wished is not None:
        found: Method = decode(wished, (*METHODS, Series))
        return found
    recipe = artifacts.read_recipe(store)
    if isinstance(recipe.optimiser, LeastSquares):
        return Downdate()
    return Retrain() if recipe.sharding is None else Sharded()


def check_repairable(store: Store) -> None:
    """Refuse before a release what repair cannot carry out. **Raises:** `OperatorError("illegal-move")`."""
    recipe, records = artifacts.read_recipe(store), artifacts.read_records(store)
    if recipe.sharding is not None or not records.classes:
        raise OperatorError("illegal-move", "repair takes a classifier of one network: release it without --repair")


def _holder(run: Sequence[Request]) -> str:
    return f"run/{run[0].run}"


def _derived(connection: Connection, request: str) -> list[str]:
    found = (lineage.derived_from(connection, old) for old in lineage.affected(connection, request))
    return list(dict.fromkeys(model.digest for models in found for model in models))


def _receipt(request: Request, steps: Mapping[str, Any], own: Record, completed: str) -> receipts.Receipt:
    done, found = steps["unlearn"], steps["audit"]
    received = receipts.timestamp(request.received_at)
    change = receipts.DataChange(done["old_root"], done["retained_root"], done["deletion_proof"])
    return receipts.Receipt(
        request=receipts.Request(request.id, received, own["deadline"], completed, own["rule"]),
        forgotten=receipts.Forgotten(tuple(done["commitments"][request.id]), receipting.SCHEME),
        model=receipts.ModelChange(done["old_model"], done["new_model"]),
        data=change,
        method=receipts.MethodUsed(done["method"], done["parameters"]),
        claim=receipting.claim(done["claim"]),
        audit=(*receipting.figures(found), *revaluing.figures(done["valuation"])),
        screening=receipts.Screening(steps["screen"]["verdict"], tuple(steps["screen"]["reasons"])),
        cost=receipting.cost(done, found["retraining"]),
        platform=done["platform"],
        verification=proving.statement(done.get("verification")),
        assurance=receipts.Assurance(own["assurance"]["digest"], own["assurance"]["verdict"]),
        not_covered=receipting.NOT_COVERED,
        lineage=tuple(receipts.Derived(model, "known, untouched when this was signed") for model in own["derived"]),
        degraded=tuple(dict.fromkeys([*done["degraded"], *found["degraded"], *own["assurance"]["degraded"]])),
    )
