"""What each column of a table is for, and how messages speak of columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.errors import OperatorError


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are for; those not named here are features.

    **Arguments:**

    - `target`: what the model predicts: classes, or numbers with `regression`.
    - `owner`: the person each row belongs to; without it each row is its own owner.
    - `record`: a stable id for each row; without it rows are called `row-0000001` and so on.
    - `split`: `train` or `test` for each row; without it the part is drawn by a keyed hash of the id.
    - `categories`: columns of numbers that are names of something (postcodes), encoded like texts.
    - `ignore`: columns that are left out.
    """

    target: str
    owner: str | None = None
    record: str | None = None
    split: str | None = None
    regression: bool = False
    categories: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def roles(self) -> dict[str, str]:
        """Column of each role that has one."""
        named = {"target": self.target, "owner": self.owner, "record": self.record, "split": self.split}
        return {role: column for role, column in named.items() if column is not None}

    def features(self, names: Sequence[str]) -> list[str]:
        """The feature columns of a table with columns `names`.

        **Raises:** `OperatorError("bad-data")` for a column that is missing, unnamed, named twice or used twice.
        """
        check_names(names)
        uses = [*self.roles().items(), *(("ignored", column) for column in self.ignore)]
        for use, column in (*uses, *(("category", column) for column in self.categories)):
            if column not in names:
                raise bad(f"there is no {use} column {shown(column)}; there are {listed(names)}")
        used = [column for _, column in uses]
        check_distinct(used)
        left = [name for name in names if name not in set(used)]
        if not left:
            raise bad("no column is left for features")
        return left


def bad(message: str, hint: str | None = None) -> OperatorError:
    """The error of this room: `OperatorError("bad-data")`."""
    return OperatorError("bad-data", message, hint)


def shown(name: str) -> str:
    """A column's name for a message: quoted, cut at 40 characters."""
    return repr(name if len(name) <= 40 else name[:39] + "…")


def listed(names: Sequence[str]) -> str:
    """The first ten names, for a message."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name) for name in names[:10]) + more


def check_names(names: Sequence[str]) -> None:
    """Refuse a column without a name, or with the name of another.

    **Raises:** `OperatorError("bad-data")`.
    """
    check_distinct(names)
    for number, name in enumerate(names, 1):
        if not name.strip() or name.startswith("__index_level_"):
            raise bad(f"column {number} has no name", "Often a row number that was saved along: name it or drop it.")


def check_distinct(names: Sequence[str]) -> None:
    """Refuse a column that is named twice.

    **Raises:** `OperatorError("bad-data")`.
    """
    place = first_repeated(names)
    if place is not None:
        raise bad(
            f"column {shown(names[place - 1])} is named twice",
            "Each column has a name of its own, and one role: target, owner, record, split, category or ignored.",
        )


def first_repeated(values: Sequence[str]) -> int | None:
    """Place, counted from 1, of the first value that stood earlier already; `None` where all differ."""
    if len(set(values)) == len(values):
        return None
    seen: set[str] = set()
    for place, value in enumerate(values, 1):
        if value in seen:
            return place
        seen.add(value)
    return None
