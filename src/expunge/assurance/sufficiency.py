"""Data sufficiency of tables: relevance, completeness, balance, accuracy, independence.

Each check has a formula, a threshold and a picture, all in its finding. It reads the rows that its `inputs` name:
`train rows`, or `test rows` where the held-out data are to be judged. A person's group is what stands before `#` in the
owner's id (`adult#003`); figures name groups, never persons.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.pictures import bars, shown
from expunge.errors import OperatorError
from expunge.records import Records


def column(records: Records, name: str) -> Float[np.ndarray, " records"]:
    """A number column in the units of its file; raises `OperatorError("bad-case")` where there is none."""
    found = None if records.raw is None else records.raw.columns.get(name)
    if found is None or not hasattr(found, "numpy"):
        raise OperatorError("bad-case", f"the records have no column of numbers called {name[:40]!r}")
    values: Float[np.ndarray, " records"] = found.numpy()
    return values


def group(owner: str) -> str:
    """Which group a person belongs to."""
    return owner.partition("#")[0]


def _held(holds: bool) -> Verdict:
    return Verdict.HOLDS if holds else Verdict.FAILS


@dataclass(frozen=True)
class Coverage:
    """Relevance: the operating domain's combinations that the training data hold (combinatorial k-way coverage, Kuhn).

    **Arguments** of the node: `columns` {name: bin edges}, `ways`, `least` (share), `records_each`.
    """

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count the occupied cells of every choice of `ways` columns."""
        edges = {name: np.asarray(cut, float) for name, cut in arguments["columns"].items()}
        bins = {name: np.digitize(column(subjects[self.inputs[0]], name), cut) for name, cut in edges.items()}
        need, held, wanted, pairs = int(arguments.get("records_each", 1)), 0, 0, {}
        for names in combinations(edges, int(arguments["ways"])):
            sizes = [len(edges[name]) + 1 for name in names]
            cells = np.bincount(np.ravel_multi_index([bins[name] for name in names], sizes), minlength=np.prod(sizes))
            occupied = int((cells >= need).sum())
            pairs[" × ".join(names)] = occupied / len(cells)
            held, wanted = held + occupied, wanted + len(cells)
        share, least = held / wanted, float(arguments["least"])
        words = f"{held} of {wanted} combinations of {arguments['ways']} ranges are held by {need} records or more"
        formula = "occupied cells / cells, over every choice of k columns"
        drawn = bars("Share of the combinations that is held", "share of combinations", pairs, least)
        return Finding(_held(share >= least), words, {"coverage": share}, formula, f">= {least:g}", shown(drawn))


@dataclass(frozen=True)
class Complete:
    """Completeness: every group is there, and so is every hazardous range. `groups`, `column`, `ranges`, `least`."""

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count records of each group in each range."""
        records: Records = subjects[self.inputs[0]]
        groups = np.array([group(owner) for owner in records.owners])
        values, least = column(records, arguments["column"]), int(arguments["least"])
        counts = {
            f"{name} {low:g}-{high:g}": float(((groups == name) & (values >= low) & (values < high)).sum())
            for name in arguments["groups"]
            for low, high in arguments["ranges"]
        }
        lacking = [name for name, count in counts.items() if count < least]
        words = "every group is there in every range" if not lacking else f"too few records: {', '.join(lacking)}"
        drawn = bars(f"Records of each group by {arguments['column']}", "records", counts, least)
        formula = "records of each group in each range"
        return Finding(_held(not lacking), words, counts, formula, f">= {least} each", shown(drawn))


@dataclass(frozen=True)
class Balanced:
    """Balance: each group's share, and how many people each hazard's records really come from (Kish, 1965).

    **Arguments** of the node: `groups`, `least_share`, `column`, `ranges`, `least_people`.
    """

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Shares, and (sum n)^2 / sum n^2 over the people of each hazard."""
        records: Records = subjects[self.inputs[0]]
        counts = Counter(group(owner) for owner in records.owners)
        shares = {f"share of {name}": counts[name] / len(records) for name in arguments["groups"]}
        values = column(records, arguments["column"])
        people = {
            f"effective people {low:g}-{high:g}": effective(records.owners, (values >= low) & (values < high))
            for low, high in arguments["ranges"]
        }
        share, least = float(arguments["least_share"]), float(arguments["least_people"])
        bad = [name for name, value in shares.items() if value < share]
        bad += [name for name, value in people.items() if value < least]
        words = "groups and hazards are balanced" if not bad else f"too small: {', '.join(bad)}"
        formula = "n_g / n; (sum_i n_i)^2 / sum_i n_i^2 over people i of a hazard"
        drawn = shown(
            bars("Share of each group", "share of records", shares, share),
            bars("People behind each hazard", "effective number of people", people, least),
        )
        return Finding(
            _held(not bad), words, {**shares, **people}, formula, f">= {share:g}; >= {least:g} people", drawn
        )


def effective(owners: Sequence[str], rows: np.ndarray) -> float:
    """Effective number of people behind the marked rows: Kish's (sum n)^2 / sum n^2; 0 for none."""
    counts = np.array(list(Counter(who for who, marked in zip(owners, rows, strict=True) if marked).values()), float)
    return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0


@dataclass(frozen=True)
class Plausible:
    """Accuracy: values outside what is physically possible. `columns` {name: [low, high]}, `most` (share)."""

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """The share of records outside, for each column."""
        most = float(arguments["most"])
        shares = {}
        for name, (low, high) in arguments["columns"].items():
            values = column(subjects[self.inputs[0]], name)
            shares[f"{name} outside {low:g}-{high:g}"] = float(((values < low) | (values > high)).mean())
        bad = [name for name, share in shares.items() if share > most]
        words = "no more implausible values than allowed" if not bad else f"implausible: {', '.join(bad)}"
        drawn = bars("Implausible values", "share of records", shares, most)
        return Finding(_held(not bad), words, shares, "records outside / records", f"<= {most:g} each", shown(drawn))


@dataclass(frozen=True)
class Independent:
    """Independence: nobody is in both training and test data."""

    inputs: tuple[str, ...] = ("train rows", "test rows")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count the people in both."""
        del arguments
        train, test = (set(subjects[name].owners) for name in self.inputs)
        shared = len(train & test)
        words = f"{shared} people are in both training and test data"
        counts = {"only in training": len(train - test), "only in test": len(test - train), "in both": shared}
        drawn = bars("People by part", "people", {name: float(count) for name, count in counts.items()})
        figures: dict[str, float | None] = {"people in both": float(shared)}
        return Finding(_held(not shared), words, figures, "|train ∩ test|", "= 0", shown(drawn))
