"""What checks look at, by name, each with the digest that says whether it moved.

`train rows` and `test rows` are the records as their file has them. `train` and `test` are the same records as the
network sees them: with the preparation, which a deletion fits anew. A check that names the rows alone is not run again
where only the preparation moved, and one that names a group of people (`train rows of adult`) is not where only others
left. `architecture` is the network without its parameters, and the names of its inputs.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from expunge.assurance.architecture import Architecture
from expunge.ledger import strict_json
from expunge.records import Records
from expunge.records.raw import Texts
from expunge.training import Model


def subjects_of(model: Model, records: Records) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Model and records as subjects of checks, and their digests."""
    train, test = records.train, records.test
    rows = {"train rows": train, "test rows": test}
    rows |= {f"{name} of {each}": part for name, whole in rows.items() for each, part in _grouped(whole).items()}
    preparation = hashlib.sha256(strict_json.canonical(records.preparation)).hexdigest()
    digests = {name: rows_digest(part) for name, part in rows.items()}
    prepared = {name: _joined(digests[f"{name} rows"], preparation) for name in ("train", "test")}
    built = Architecture.of(model, records)
    subjects = {"model": model, "architecture": built, "train": train, "test": test, "preparation": records, **rows}
    known = {"model": model.digest, "architecture": built.digest, "preparation": preparation}
    return subjects, {**known, **prepared, **digests}


def _grouped(records: Records) -> dict[str, Records]:
    """Records of each group, where owners say theirs (`adult#003`)."""
    groups = [owner.partition("#")[0] if "#" in owner else "" for owner in records.owners]
    return {name: records.select([row for row, each in enumerate(groups) if each == name]) for name in {*groups} - {""}}


def rows_digest(records: Records) -> str:
    """SHA-256 over ids, owners and the columns of the file; over features and targets where there are no columns."""
    found = hashlib.sha256()
    for texts in (records.ids, records.owners):
        _add(found, Texts.of(texts))
    if records.raw is None:
        _add(found, records.features)
        _add(found, records.targets)
        return found.hexdigest()
    for name, column in (*records.raw.columns.items(), (records.raw.target_name, records.raw.target)):
        found.update(strict_json.canonical(name))
        _add(found, column)
    return found.hexdigest()


def _add(found: Any, column: Texts | Tensor) -> None:
    """Shape and kind before the bytes: no two columns share a form."""
    if isinstance(column, Texts):
        found.update(strict_json.canonical(list(column.listed())))
    else:
        found.update(strict_json.canonical([str(column.dtype), *column.shape]))
        found.update(column.contiguous().numpy().tobytes())


def _joined(*digests: str) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()
