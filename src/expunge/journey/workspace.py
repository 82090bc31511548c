"""A workspace: one model, its records and its requests, in one folder."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from expunge.errors import OperatorError, ProgrammerError
from expunge.journey import artifacts, carry_out, config, keys, lineage
from expunge.journey.artifacts import TRAINING, WORKSPACE, StoredCheckpoints
from expunge.journey.salting import salt_name
from expunge.journey.surroundings import LOG_FOLDER
from expunge.journey.tables import MIGRATIONS
from expunge.ledger import database, files, log, objects, salts, tiles
from expunge.ledger.store import Store, Transaction
from expunge.networks import check_fit, initialise, needs_two_records
from expunge.progress import Progress
from expunge.records import DataTree, Records, commitments, new_salts
from expunge.training import Executor, Model, Recipe, Trained, courses, train
from expunge.training.courses import all_trained, check_batches, first_with_records

SNAPSHOT_STEPS: Final = 1000
"""Optimiser steps between snapshots inside a stage: seconds of work that a kill can cost."""

_OTHERWISE: Final = "the model was adopted or changed by a deletion; training would replace it without a receipt"

DATA: Final = "data"
"""Setting under which stands what the records were read from, as the user named it, without folders."""


@dataclass(eq=False)
class Workspace:
    """The folder, opened. Every verb opens the store for itself and leaves it closed."""

    folder: Path

    @staticmethod
    def create(folder: Path, records: Records, recipe: Recipe, data: str) -> "Workspace":
        """Make a workspace; after a kill, the same call carries on.

        **Raises:** `OperatorError("workspace-exists" | "bad-data")`; what building the network raises, before anything
        is written.
        """
        plain = recipe.to_json()
        if not len(records.train) or not len(records.test):
            raise OperatorError("bad-data", "a workspace needs training records and test records")
        if records.classes and len(records.train.targets.unique()) == 1:
            raise OperatorError("bad-data", "the training records hold one class only: there is nothing to learn")
        _refuse_idle_shards(recipe, records)
        _try_network(recipe, records)
        secret = new_salts(len(records))
        tree = DataTree(commitments(records, secret))
        _refuse_other_files(folder)
        with files.judged():
            files.make_folder(folder)
        key = keys.make_keys(folder)
        config.write(folder, carry_out.SHADOWS, carry_out.FEW_SHADOWS)

        def fill(tx: Transaction) -> None:
            """All that a new store holds, in its first transaction."""
            artifacts.put_records(tx, WORKSPACE, records)
            artifacts.put_tree(tx, WORKSPACE, tree)
            objects.put_json(tx, plain, "recipe", (WORKSPACE, "recipe"))
            salts.keep(tx, {salt_name(place): salt for place, salt in enumerate(secret)})
            log.start(tx.connection, key.public)
            tx.remember(keys.ORIGIN, f"expunge/{key.id[:16]}")
            log.sign(tx.connection, f"expunge/{key.id[:16]}", key)
            tx.remember(DATA, _readable(Path(data).name))

        Store.create(folder, fill, steps=MIGRATIONS).close()
        return Workspace(folder)

    @staticmethod
    def open(folder: Path) -> "Workspace":
        """The workspace in `folder`.

        **Raises:** `OperatorError("workspace-missing")`, and what the store raises.
        """
        Store.open(folder, steps=MIGRATIONS).close()
        return Workspace(folder)

    def store(self) -> Store:
        """The store, opened; close it."""
        return Store.open(self.folder, steps=MIGRATIONS)

    def facts(self) -> dict[str, Any]:
        """What the workspace holds, in plain values."""
        with self.store() as store:
            records, recipe = artifacts.read_records(store), artifacts.read_recipe(store)
            module = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="probe")
            return {
                "workspace": str(self.folder),
                "data": store.recall(DATA),
                "records": len(records),
                "training_records": len(records.train),
                "test_records": len(records.test),
                "owners": len(set(records.owners)),
                "classes": records.classes,
                "data_root": artifacts.read_tree(store).root.hex(),
                "recipe": recipe.to_json(),
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
                "networks": recipe.sharding.shards if recipe.sharding else 1,
                "untrained_networks": sum(first_with_records(each) is None for each in courses(recipe, records.train)),
                "model": artifacts.digest_of(store, WORKSPACE, "model"),
            }

    def train(self, progress: Progress | None = None, executor: Executor | None = None) -> dict[str, Any]:
        """Train the recipe on the records; stages and snapshots survive a kill, and the same call carries on.

        Once it is done, the same call finds it done and writes nothing.

        **Raises:** `OperatorError("bad-config")` for settings that a later step would refuse;
        `OperatorError("already-trained")` where the model came otherwise; what training and the store raise.
        """
        config.read(self.folder)
        with self.store() as store:
            records, recipe = artifacts.read_records(store), artifacts.read_recipe(store)
            checkpoints = StoredCheckpoints(store, TRAINING, every=SNAPSHOT_STEPS)
            present = artifacts.digest_of(store, WORKSPACE, "model")
            if present is not None and not all_trained(recipe, records.train, checkpoints.known):
                raise OperatorError("already-trained", _OTHERWISE)
            trained = train(recipe, records, checkpoints=checkpoints, progress=progress, executor=executor)
            if present is None:
                self._keep(store, trained)
            elif present != trained.model.digest:
                raise OperatorError("already-trained", _OTHERWISE)
        return {**_quality(trained.model, records), **_spent(trained), "model": trained.model.digest}

    def adopt(self, path: Path) -> dict[str, Any]:
        """Take weights that were trained elsewhere by the workspace's recipe as its model.

        **Raises:** `OperatorError("no-such-file" | "already-trained")`; `AttackSuspected("not-a-model" |
        "malformed-model")`; what `expunge.adopt` raises.
        """
        from expunge import adopt
        from expunge.ledger.safetensors_check import check_file

        check_file(path)
        state = artifacts.load_state(path.read_bytes())
        with self.store() as store:
            if artifacts.digest_of(store, WORKSPACE, "model") is not None:
                raise OperatorError("already-trained", "the workspace has a model; adopt into a new workspace")
            records, recipe = artifacts.read_records(store), artifacts.read_recipe(store)
            module = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="network")
            try:
                module.load_state_dict(state, assign=True)  # copying would cast another type, silently
            except RuntimeError:
                raise OperatorError("bad-data", "the weights do not fit the workspace's network") from None
            trained = adopt(module, records, recipe)
            self._keep(store, trained)
        return {**_quality(trained.model, records), "model": trained.model.digest}

    def rotate_key(self) -> dict[str, Any]:
        """Hand the log over to a fresh signing key; raises as `keys.rotate`."""
        with self.store() as store:
            old, new = keys.rotate(store)
            self.publish(store)
        return {"old": old, "new": new, "public": str(self.folder / keys.PUBLIC_FILE)}

    def publish(self, store: Store) -> None:
        """Write what the log gained into `log/`, in the tlog-tiles layout that anyone can be served."""
        with store.reading() as connection:
            tiles.publish(connection, self.folder / LOG_FOLDER)

    def _keep(self, store: Store, trained: Trained) -> None:
        with store.transaction() as tx:
            digest = artifacts.put_model(tx, WORKSPACE, trained.model)
            objects.put_json(tx, artifacts.plain_log(trained), "log", (WORKSPACE, "log"))
            objects.export(tx, digest, artifacts.MODEL_FILE)
            lineage.register(tx, digest, "trained")
            objects.collect(tx, "training is done")


def _quality(model: Model, records: Records) -> dict[str, Any]:
    parts = {"train": records.train, "test": records.test}
    if not records.classes:
        errors = {name: model.predict(part.features) - part.targets for name, part in parts.items()}
        roots = {name: float(error.square().mean().sqrt()) for name, error in errors.items()}
        return {"records": len(records.train), **{f"rmse_{name}": root for name, root in roots.items()}}
    right = {name: model.predict(part.features) == part.targets for name, part in parts.items()}
    shares = {f"accuracy_{name}": float(hits.to(torch.float64).mean()) for name, hits in right.items()}
    return {"records": len(records.train), **shares}


def _spent(trained: Trained) -> dict[str, Any]:
    return asdict(trained.cost)


def _try_network(recipe: Recipe, records: Records) -> None:
    """Build the network and run one record through it, so that a misfit shows before anything is written."""
    module = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="probe")
    check_fit(module, records.features[:1], records.classes)
    for course in courses(recipe, records.train):
        for stage in course.stages:
            check_batches(stage, recipe.batch_size, two_needed=needs_two_records(module))


def _readable(name: str) -> str:
    """A file's name as text that any terminal shows: what is no UTF-8, and what does not print, stands as a mark."""
    return "".join(each if each.isprintable() else "\ufffd" for each in os.fsencode(name).decode("utf-8", "replace"))


def _refuse_idle_shards(recipe: Recipe, records: Records) -> None:
    """More shards, or slices of one, than there are owners to place (or records) train on nobody for certain."""
    if recipe.sharding is None:
        return
    units = len(set(records.train.owners if recipe.sharding.by == "owner" else records.train.ids))
    for word, count in (("shards", recipe.sharding.shards), ("slices", recipe.sharding.slices)):
        if count > units:
            of = f"{units} {recipe.sharding.by}(s) to train on"
            raise ProgrammerError("bad-hyperparameter", f"{count} {word} are more than the {of}")


def _refuse_other_files(folder: Path) -> None:
    """A folder that holds something else is never turned into a workspace."""
    known = {database.NAME, config.NAME, "keys"}
    if folder.exists() and not folder.is_dir():
        raise OperatorError("workspace-exists", f"{folder.name} is a file")
    if folder.is_dir() and any(folder.iterdir()) and not known & {path.name for path in folder.iterdir()}:
        raise OperatorError("workspace-exists", f"{folder.name} holds other files")
