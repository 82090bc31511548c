"""What the study `requests` measures of copies that a gate refuses, and of attacks that begin before the request."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from expunge.adversaries.requesters import (
    AlteredCopies,
    Backdoor,
    Blended,
    BoundaryCopies,
    Camouflage,
    Crafted,
    Exhaust,
    FirstOrder,
    Matching,
    NeverTrained,
    Preconditioned,
    Requester,
    Task,
    Usability,
    benign,
)
from expunge.networks import MLP
from expunge.records import Records
from expunge.screening import Ground, Submission, Verdict, screen
from expunge.studies.requests_cells import Row, each_of, measured, targets_between, told, trained
from expunge.training import HeadSolver, Model, Recipe, train
from expunge.unlearning import Method, Newton, Retrain

L2: Final = 1e-3
"""Penalty of the linear model whose certificate is attacked."""


def modification(records: Records, seed: int, count: int) -> list[Row]:
    """Copies against a server of the literature: without a gate, and through record matching.

    With the gate the server carries out what is left of the request, which for a refused one is nothing.
    """
    made, rows = trained(records, seed), list[Row]()
    ground, low, high = Ground(made.model, records), records.train.features.min(), records.train.features.max()
    copies = AlteredCopies(low=float(low), high=float(high))
    attacks: Sequence[Requester] = (
        copies,
        replace(copies, noise=True),
        Blended(),
        BoundaryCopies(),
        BoundaryCopies(across=True),
        NeverTrained(),
    )
    for target in each_of(targets_between(made.model, records, 0.05, 0.4, count)):
        wanted = made.model.logits(target.features).topk(2).indices[:, 1]
        task = Task(records, made, FirstOrder(0.02), target, 10, wanted=wanted, seed=seed)
        for attack in attacks:
            name, crafted = attack.describe().name, attack.run(task)
            rows.append(told(task, crafted, name, "5-40 %"))
            rows.append({**_gated(task, ground, crafted, name), "defence": "record matching"})
    return rows


def _gated(task: Task, ground: Ground, crafted: Crafted, name: str) -> Row:
    """What the server with the gate ends up with: its old model where the request is refused."""
    verdict = screen(Submission(ground, tuple(sorted(crafted.forget)), copies=crafted.copies)).verdict
    if verdict is not Verdict.REFUSED:
        return {**told(task, crafted, name, "5-40 %"), "refused": False}
    return {**measured(task, task.trained.model, crafted, name, "5-40 %", "record matching"), "refused": True}


def planted(records: Records, seed: int, count: int) -> list[Row]:
    """Attacks that begin before the request: camouflage and a patch by retraining, usability by two servers."""
    made, rows = trained(records, seed), list[Row]()
    low, high = float(records.train.features.min()), float(records.train.features.max())
    eps = 0.25 * (high - low)
    matching = Matching(eps=eps, steps=40, restarts=1, low=low, high=high)
    for target in each_of(targets_between(made.model, records, 0.0, 0.2, count)):
        task = Task(records, made, Retrain(), target, max(10, round(0.02 * len(records.train))), seed=seed)
        rows.append(_laid(task, Camouflage(matching), "lowest 20 %"))
    broad = Task(records, made, Retrain(), records.test, max(10, round(0.02 * len(records.train))), seed=seed)
    if len(records.shape) == 3:
        rows.append(_laid(broad, Backdoor(value=high), "every test record"))
    servers: tuple[Method, ...] = (Retrain(), FirstOrder(0.05))
    for method in servers:
        task = replace(broad, method=method)
        rows.append(_laid(task, Usability(matching), "every test record"))
        rows.append(told(task, benign(task, "random"), "random", "every test record"))
    return [*rows, *_exhaustion(records, seed)]


def _laid(task: Task, attack: Preconditioned, group: str) -> Row:
    """Only targets that the prepared model has right are counted."""
    ready = attack.prepared(task)
    found = ready.trained.model.predict(ready.targets.features) == ready.targets.targets
    if not bool(found.any()):
        return {**told(ready, attack.run(ready), attack.describe().name, group), "flips": 0, "targets": 0}
    ready = replace(
        ready,
        targets=ready.targets.select(found.nonzero()[:, 0]),
        wanted=None if ready.wanted is None else ready.wanted[found],
    )
    return told(ready, attack.run(ready), attack.describe().name, group)


def _exhaustion(records: Records, seed: int) -> list[Row]:
    """How far a Newton step of a certified linear model ends from the optimum: what its noise has to cover."""
    recipe = Recipe(network=MLP(()), optimiser=HeadSolver(l2=L2), epochs=80, seed=seed)
    made = train(recipe, records)
    task = Task(records, made, Newton(damping=0.0), records.test, max(5, round(0.005 * len(records.train))), seed=seed)
    rows = []
    for name, crafted in (("exhaust-budget", Exhaust().run(task)), ("random", benign(task, "random"))):
        done = task.carried_out(crafted)
        row = {"part": "exhaustion", "seed": seed, "order": name, "records": len(crafted.forget)}
        rows.append({**row, "distance": _distance(done.trained.model, done.records.train)})
    return rows


def _distance(model: Model, retained: Records) -> float:
    """The bound on the distance to the optimum that a certificate pays for: gradient norm over the penalty."""
    module = model.module().double()
    parts = list(module.parameters())
    loss = nn.functional.cross_entropy(module(retained.features.double()), retained.targets)
    loss = loss + L2 / 2 * torch.stack([part.square().sum() for part in parts]).sum()
    slopes = torch.autograd.grad(loss, parts)
    return float(torch.cat([slope.flatten() for slope in slopes]).norm()) / L2
