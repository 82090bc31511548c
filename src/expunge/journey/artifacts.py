"""What a workspace keeps in its store: records, recipe, model, checkpoints, the tree of commitments."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from safetensors.torch import load, save

from expunge.errors import OperatorError
from expunge.ledger import objects
from expunge.ledger.safetensors_check import check
from expunge.ledger.store import Store, Transaction
from expunge.networks import State
from expunge.records import DataTree, Records, from_bytes, to_bytes
from expunge.training import Model, Recipe, Snapshot, Trained

WORKSPACE: Final = "workspace"
"""Holder of what the workspace stands on now."""

TRAINING: Final = "training"
"""Holder of the checkpoints of the present model, by stage."""

MODEL_FILE: Final = "model.safetensors"
"""Where the present model is exported."""


def read_records(store: Store, holder: str = WORKSPACE) -> Records:
    """The records that `holder` points at; raises as `need`."""
    return from_bytes(need(store, holder, "records"))


def read_recipe(store: Store) -> Recipe:
    """The workspace's recipe; raises as `need`."""
    return Recipe.from_json(json.loads(need(store, WORKSPACE, "recipe")))


def read_model(store: Store, holder: str = WORKSPACE) -> Model:
    """The model that `holder` points at.

    **Raises:** `OperatorError("not-trained")`, and as `need`.
    """
    if digest_of(store, holder, "model") is None:
        raise OperatorError("not-trained", "the workspace has no model yet")
    return Model.from_file(read_recipe(store), need(store, holder, "model"))


def read_tree(store: Store, holder: str = WORKSPACE) -> DataTree:
    """The tree of commitments; raises as `need`."""
    return DataTree(tuple(bytes.fromhex(leaf) for leaf in json.loads(need(store, holder, "tree"))))


def put_records(tx: Transaction, holder: str, records: Records) -> str:
    """Store records and point `holder` at them."""
    return objects.put(tx, to_bytes(records), "records", (holder, "records"))


def put_tree(tx: Transaction, holder: str, tree: DataTree) -> str:
    """Store the tree of commitments and point `holder` at it."""
    return objects.put_json(tx, [leaf.hex() for leaf in tree.leaves], "tree", (holder, "tree"))


def put_model(tx: Transaction, holder: str, model: Model) -> str:
    """Store a model file and point `holder` at it."""
    return objects.put(tx, model.file, "model", (holder, "model"))


def digest_of(store: Store, holder: str, role: str) -> str | None:
    """Digest of what (holder, role) points at."""
    with store.reading() as connection:
        return objects.pointed(connection, holder, role)


def need(store: Store, holder: str, role: str) -> bytes:
    """Bytes of what (holder, role) points at.

    **Raises:** `OperatorError("object-missing" | "object-erased" | "store-corrupt")`.
    """
    digest = digest_of(store, holder, role)
    if digest is None:
        raise OperatorError("object-missing", f"the workspace has no {role} where one belongs")
    return objects.read(store, digest)


def load_trained(store: Store) -> Trained:
    """The present model with its checkpoints and log."""
    from expunge.training import Cost, training_log

    model, records = read_model(store), read_records(store)
    checkpoints = StoredCheckpoints(store, TRAINING)
    log = training_log(model, records.train, checkpoints, threads=1)
    return Trained(model, log, Cost(0.0, 0, 0), checkpoints)


@dataclass(eq=False)
class StoredCheckpoints:
    """Checkpoints as objects of the store, pointed at by `holder` under the name of their stage."""

    store: Store
    holder: str
    every: int | None = None
    known: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        with self.store.reading() as connection:
            self.known = objects.held(connection, self.holder)

    def load(self, name: str) -> State | None:
        """The network after stage `name`, or None."""
        digest = self.known.get(name)
        return None if digest is None else load_state(objects.read(self.store, digest))

    def save(self, name: str, state: State) -> None:
        """Keep the network after stage `name`; drops the stage's snapshot."""
        with self.store.transaction() as tx:
            self.known[name] = put_checkpoint(tx, self.holder, name, state)
            objects.release(tx, self._snapshots, name)

    def load_snapshot(self, name: str) -> Snapshot | None:
        """The latest snapshot inside stage `name`, or None."""
        with self.store.reading() as connection:
            digest = objects.pointed(connection, self._snapshots, name)
        if digest is None:
            return None
        data = objects.read(self.store, digest)
        tensors, step = load_state(data), int(check(data).metadata["step"])
        return Snapshot(step, _under(tensors, "state/"), _under(tensors, "optimiser/"))

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot inside stage `name`, in place of the one before."""
        parts = {f"state/{key}": value for key, value in snapshot.state.items()}
        parts |= {f"optimiser/{key}": value for key, value in snapshot.optimiser.items()}
        data = save(_contiguous(parts), {"step": str(snapshot.step)})
        with self.store.transaction() as tx:
            objects.put(tx, data, "snapshot", (self._snapshots, name))
            objects.collect(tx, "a later snapshot took its place")

    @property
    def _snapshots(self) -> str:
        return f"{self.holder}/snapshots"


def put_checkpoint(tx: Transaction, holder: str, name: str, state: State) -> str:
    """Store a network's state and point (holder, name) at it; returns its digest."""
    return objects.put(tx, save(_contiguous(state)), "checkpoint", (holder, name))


def load_state(data: bytes) -> State:
    """The tensors of a safetensors file of ours, its header checked first."""
    check(data)
    return dict(load(data))


def plain_log(trained: Trained) -> dict[str, Any]:
    """The training log as JSON values."""
    log = trained.log
    return {**vars(log), "reused": list(log.reused)}


def _contiguous(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _under(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
