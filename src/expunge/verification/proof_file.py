"""Proofs on disk: one file, in which every flipped bit is found and named by the step that it belongs to.

    "expunge-proof-1\\n" | SHA-256 of the header | length of the header, 8 bytes | header | blobs

The header is canonical JSON: recipe, ids, platform, and for each track its stage and, for each snapshot and for the
rows of each segment, length and SHA-256 of a blob of safetensors. Nothing in the file is executed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from safetensors.torch import load, save
from torch import Tensor

from expunge.errors import AttackSuspected, ExpungeError
from expunge.ledger import strict_json
from expunge.ledger.safetensors_check import check
from expunge.networks import State
from expunge.training import Recipe, Snapshot, Stage
from expunge.verification.proof import Proof, Track, snapshot_bytes

MAGIC: Final = b"expunge-proof-1\n"
_HEAD: Final = len(MAGIC) + 32 + 8
_MOST_HEADER: Final = 2**28


def proof_to_bytes(proof: Proof) -> bytes:
    """The file's content; the same proof gives the same bytes."""
    blobs: list[bytes] = []
    tracks = [_track(track, blobs) for track in proof.tracks]
    recipe = replace(proof.recipe, seed=0).to_json()
    body = {
        "recipe": recipe,
        "seed": str(proof.recipe.seed),
        "ids": list(proof.ids),
        "platform": proof.platform,
        "tracks": tracks,
    }
    header = strict_json.canonical(body)
    lead = MAGIC + hashlib.sha256(header).digest() + len(header).to_bytes(8, "big")
    return b"".join((lead, header, *blobs))


def proof_from_bytes(data: bytes) -> Proof:
    """The inverse of `proof_to_bytes`.

    **Raises:** `AttackSuspected("bad-proof")` for a file that was cut short, lengthened or changed; the message names
    the step.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise _bad("it does not begin as a proof does")
    length = int.from_bytes(data[_HEAD - 8 : _HEAD], "big")
    header = data[_HEAD : _HEAD + length]
    if length > _MOST_HEADER or len(header) < length:
        raise _bad("it was cut short in its header")
    if hashlib.sha256(header).digest() != data[len(MAGIC) : len(MAGIC) + 32]:
        raise _bad("its header (recipe, ids, stages) was changed")
    try:
        body = strict_json.loads(header, _MOST_HEADER)
        recipe = replace(Recipe.from_json(body["recipe"]), seed=int(body["seed"]))
        blobs = _Blobs(data, _HEAD + length)
        tracks = tuple(blobs.track(each) for each in body["tracks"])
        proof = Proof(recipe, tuple(body["ids"]), tracks, body["platform"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _bad(f"its header has another form than a proof's ({type(error).__name__})") from None
    blobs.end()
    return proof


def bytes_per_step(proof: Proof) -> float:
    """Size of the file over the number of optimiser steps."""
    return len(proof_to_bytes(proof)) / proof.steps


class _Blobs:
    """Reads the blobs one after the other."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def track(self, plain: Mapping[str, Any]) -> Track:
        """The next track: its snapshots, and its rows where they were handed over."""
        stage = Stage(plain["name"], tuple(plain["rows"]), plain["epochs"])
        snapshots, rows = [], []
        for entry in plain["blobs"]:
            where = f"stage {stage.name[:60]}, step {entry['step']}"
            data = self._next(entry, where)
            if entry["kind"] == "rows":
                rows.append(_read(data, where)[0]["rows"])
            else:
                snapshots.append(_snapshot(data, where))
        return Track(stage, int(plain["seed"]), tuple(snapshots), torch.cat(rows).long() if rows else None)

    def end(self) -> None:
        """Refuse bytes after the last blob."""
        if self._place != len(self._data):
            raise _bad("bytes follow where it should end")

    def _next(self, entry: Mapping[str, Any], where: str) -> bytes:
        data = self._data[self._place : self._place + entry["size"]]
        if len(data) < entry["size"]:
            raise _bad(f"it was cut short: {where}")
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise _bad(f"a byte was changed: {where}")
        self._place += len(data)
        return data


def _track(track: Track, blobs: list[bytes]) -> dict[str, Any]:
    entries = []
    for kind, step, data in _parts(track):
        blobs.append(data)
        entries.append({"kind": kind, "step": step, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    stage = track.stage
    return {
        "name": stage.name,
        "rows": list(stage.rows),
        "epochs": stage.epochs,
        "seed": str(track.seed),
        "blobs": entries,
    }


def _parts(track: Track) -> Iterator[tuple[str, int, bytes]]:
    """Each snapshot, followed by the rows of the segment that it opens."""
    for number, snapshot in enumerate(track.snapshots):
        yield "snapshot", snapshot.step, snapshot_bytes(snapshot)
        if track.batches is not None and number < track.segments:
            rows = track.batches[snapshot.step : track.snapshots[number + 1].step]
            yield "rows", snapshot.step, save({"rows": rows.int().contiguous()})


def _snapshot(data: bytes, where: str) -> Snapshot:
    tensors, metadata = _read(data, where)
    return Snapshot(int(metadata["step"]), _under(tensors, "state/"), _under(tensors, "optimiser/"))


def _read(data: bytes, where: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    try:
        metadata = check(data).metadata
    except ExpungeError as error:
        raise _bad(f"no safetensors ({error.code}): {where}") from None
    return dict(load(data)), metadata


def _under(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _bad(why: str) -> AttackSuspected:
    return AttackSuspected("bad-proof", f"the proof cannot be read: {why}")
