"""Constituents in a file: what a killed valuation goes on from, and what an update after a deletion starts from.

Only constituents are kept, for they cost the training; utilities follow from them. They are known by owners' names and
test records' ids, so that they outlive a deletion: those that saw a leaver are struck out, and so are test records.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors.numpy import load, save

from expunge.errors import OperatorError
from expunge.ledger import strict_json
from expunge.ledger.safetensors_check import check
from expunge.valuation.constituents import Owners, ShardedGame
from expunge.valuation.estimator import Status
from expunge.valuation.partition import Partition, rows
from expunge.valuation.values import Values

Known = dict[tuple[str, ...], Float32[np.ndarray, "records classes"]]
"""Posteriors over test records of each constituent, by the names of the owners that it saw."""


def to_bytes(game: ShardedGame, names: Sequence[str], tests: Sequence[str]) -> bytes:
    """The constituents that `game` knows, as safetensors. The same constituents give the same bytes.

    **Arguments:** `names`: the owner of each column; `tests`: ids of the test records in the order of the posteriors.
    """
    known = game.contents()
    seen = np.packbits(rows(list(known), len(names)), axis=1)
    held = np.stack(list(known.values())) if known else np.zeros((0, len(tests), 1), np.float32)
    # One entry: several would be written in any order, and the bytes would differ from run to run.
    text = json.dumps({"names": list(names), "tests": list(tests)}, sort_keys=True)
    return save({"posteriors": held, "seen": seen}, {"constituents": text})


def names_in(data: bytes) -> tuple[list[str], list[str]]:
    """Names of the columns and ids of the test records in a file that `to_bytes` wrote.

    **Raises:** `AttackSuspected("not-a-model" | "malformed-model")`; `OperatorError("bad-data")` for other tensors.
    """
    text = check(data).metadata.get("constituents")
    if text is None:
        raise OperatorError("bad-data", "the safetensors file holds tensors, but not constituents")
    found = strict_json.loads(text.encode())
    return found["names"], found["tests"]


def from_bytes(data: bytes, tests: Sequence[str], gone: Collection[str] = ()) -> Known:
    """The constituents in a file that `to_bytes` wrote, on the test records `tests`.

    **Arguments:** `gone`: owners who left: constituents that saw one are not returned.

    **Raises:** `AttackSuspected("not-a-model" | "malformed-model")`; `OperatorError("bad-data")` where a test record is
    not in the file.
    """
    names, stored = names_in(data)
    place = {record: row for row, record in enumerate(stored)}
    if not place.keys() >= set(tests):
        raise OperatorError("bad-data", "the stored posteriors lack a test record")
    arrays, left = load(data), frozenset(gone)
    columns = [place[record] for record in tests]
    found: Known = {}
    for bits, posteriors in zip(arrays["seen"], arrays["posteriors"], strict=True):
        saw = tuple(names[column] for column in np.flatnonzero(np.unpackbits(bits, count=len(names))))
        if left.isdisjoint(saw):
            found[saw] = posteriors[columns]
    return found


def restore(game: ShardedGame, known: Known, names: Sequence[str]) -> int:
    """Hand constituents to a game whose columns are `names`; returns how many fit its owners and shards."""
    column = {name: number for number, name in enumerate(names)}
    shard_of: Mapping[int, int] = game.partition.shard_of
    fitting: dict[Owners, Float32[np.ndarray, "records classes"]] = {}
    for saw, posteriors in known.items():
        owners = tuple(sorted(column[name] for name in saw if name in column))
        if len(owners) == len(saw) and len({shard_of.get(owner, -1) for owner in owners}) == 1:
            fitting[owners] = posteriors
    game.restore(fitting)
    return len(fitting)


def values_to_json(values: Values) -> dict[str, Any]:
    """Plain form of values, for `values_from_json`: what is infinite is None.

    A run that could go on is not kept, nor are the seconds: the same values are the same bytes, whoever computed them.
    """
    lists = {name: [_plain(item) for item in getattr(values, name).tolist()] for name in _FLOATS}
    lists |= {name: np.minimum(getattr(values, name), _MOST).tolist() for name in _COUNTS}
    return {
        "shards": [list(shard) for shard in values.partition.shards],
        **lists,
        "status": [status.name for status in values.status],
        "evaluations": values.evaluations,
        "lookups": values.lookups,
    }


def values_from_json(plain: Mapping[str, Any]) -> Values:
    """The inverse of `values_to_json`."""
    floats = {name: np.array([np.inf if x is None else x for x in plain[name]], np.float64) for name in _FLOATS}
    counts = {name: np.array(plain[name], np.int64) for name in _COUNTS}
    return Values(
        partition=Partition(tuple(tuple(shard) for shard in plain["shards"])),
        value=floats["value"],
        variance=floats["variance"],
        freedom=floats["freedom"],
        bias=floats["bias"],
        count=counts["count"],
        fewest=counts["fewest"],
        status=tuple(Status[name] for name in plain["status"]),
        evaluations=plain["evaluations"],
        lookups=plain["lookups"],
    )


_FLOATS = ("value", "variance", "freedom", "bias")
_COUNTS = ("count", "fewest")
_MOST = 2**53 - 1


def _plain(number: float) -> float | None:
    return number if abs(number) < float("inf") else None
