"""Data sufficiency of tables: relevance, completeness, balance, accuracy, independence, enough data.

Each check has a formula and a threshold, both in its finding. A person's group is what stands before `#` in the owner's
id (`adult#003`); figures name groups, never persons.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from expunge.assurance.evidence import Finding, Verdict
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

    inputs: tuple[str, ...] = ("train",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count the occupied cells of every choice of `ways` columns."""
        edges = {name: np.asarray(cut, float) for name, cut in arguments["columns"].items()}
        bins = {name: np.digitize(column(subjects["train"], name), cut) for name, cut in edges.items()}
        need, held, wanted = int(arguments.get("records_each", 1)), 0, 0
        for names in combinations(edges, int(arguments["ways"])):
            sizes = [len(edges[name]) + 1 for name in names]
            cells = np.bincount(np.ravel_multi_index([bins[name] for name in names], sizes), minlength=np.prod(sizes))
            held, wanted = held + int((cells >= need).sum()), wanted + len(cells)
        share, least = held / wanted, float(arguments["least"])
        words = f"{held} of {wanted} combinations of {arguments['ways']} ranges are held by {need} records or more"
        formula = "occupied cells / cells, over every choice of k columns"
        return Finding(_held(share >= least), words, {"coverage": share}, formula, f">= {least:g}")


@dataclass(frozen=True)
class Complete:
    """Completeness: every group is there, and so is every hazardous range. `groups`, `column`, `ranges`, `least`."""

    inputs: tuple[str, ...] = ("train",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count records of each group in each range."""
        train: Records = subjects["train"]
        groups = np.array([group(owner) for owner in train.owners])
        values, least = column(train, arguments["column"]), int(arguments["least"])
        counts = {
            f"{name} {low:g}-{high:g}": float(((groups == name) & (values >= low) & (values < high)).sum())
            for name in arguments["groups"]
            for low, high in arguments["ranges"]
        }
        lacking = [name for name, count in counts.items() if count < least]
        words = "every group is there in every range" if not lacking else f"too few records: {', '.join(lacking)}"
        return Finding(_held(not lacking), words, counts, "records of each group in each range", f">= {least} each")


@dataclass(frozen=True)
class Balanced:
    """Balance: each group's share, and how many people each hazard's records really come from (Kish, 1965).

    **Arguments** of the node: `groups`, `least_share`, `column`, `ranges`, `least_people`.
    """

    inputs: tuple[str, ...] = ("train",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Shares, and (sum n)^2 / sum n^2 over the people of each hazard."""
        train: Records = subjects["train"]
        counts = Counter(group(owner) for owner in train.owners)
        shares = {f"share of {name}": counts[name] / len(train) for name in arguments["groups"]}
        values = column(train, arguments["column"])
        people = {
            f"effective people {low:g}-{high:g}": effective(train.owners, (values >= low) & (values < high))
            for low, high in arguments["ranges"]
        }
        share, least = float(arguments["least_share"]), float(arguments["least_people"])
        bad = [name for name, value in shares.items() if value < share]
        bad += [name for name, value in people.items() if value < least]
        words = "groups and hazards are balanced" if not bad else f"too small: {', '.join(bad)}"
        formula = "n_g / n; (sum_i n_i)^2 / sum_i n_i^2 over people i of a hazard"
        return Finding(_held(not bad), words, {**shares, **people}, formula, f">= {share:g}; >= {least:g} people")


def effective(owners: Sequence[str], rows: np.ndarray) -> float:
    """Effective number of people behind the marked rows: Kish's (sum n)^2 / sum n^2; 0 for none."""
    counts = np.array(list(Counter(who for who, marked in zip(owners, rows, strict=True) if marked).values()), float)
    return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0


@dataclass(frozen=True)
class Plausible:
    """Accuracy: values outside what is physically possible. `columns` {name: [low, high]}, `most` (share)."""

    inputs: tuple[str, ...] = ("train",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """The share of records outside, for each column."""
        most = float(arguments["most"])
        shares = {}
        for name, (low, high) in arguments["columns"].items():
            values = column(subjects["train"], name)
            shares[f"{name} outside {low:g}-{high:g}"] = float(((values < low) | (values > high)).mean())
        bad = [name for name, share in shares.items() if share > most]
        words = "no more implausible values than allowed" if not bad else f"implausible: {', '.join(bad)}"
        return Finding(_held(not bad), words, shares, "records outside / records", f"<= {most:g} each")


@dataclass(frozen=True)
class Independent:
    """Independence: nobody is in both training and test data."""

    inputs: tuple[str, ...] = ("train", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count the people in both."""
        del arguments
        shared = len(set(subjects["train"].owners) & set(subjects["test"].owners))
        words = f"{shared} people are in both training and test data"
        return Finding(_held(not shared), words, {"people in both": float(shared)}, "|train ∩ test|", "= 0")


@dataclass(frozen=True)
class Enough:
    """Enough data: how far a linear model's held-out error still is from the limit of its learning curve.

    error(n) = limit + slope / n over n people, least squares; the band is the spread over draws of people. The linear
    model stands for the network because the curve takes dozens of fits. `sizes` (people), `draws`, `most` (share).
    """

    inputs: tuple[str, ...] = ("train", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Fit the curve."""
        gaps = [self._gap(subjects, arguments, draw) for draw in range(int(arguments["draws"]))]
        gap, spread = float(np.mean(gaps)), float(np.std(gaps, ddof=1) / len(gaps) ** 0.5)
        most = float(arguments["most"])
        figures = {"gap to the limit": gap, "low": gap - 1.96 * spread, "high": gap + 1.96 * spread}
        words = f"more people would lower the error by about {100 * gap:.1f} % (linear model)"
        return Finding(_held(gap + 1.96 * spread <= most), words, figures, "error(N) / limit - 1", f"<= {most:g}")

    def _gap(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any], draw: int) -> float:
        from expunge.randomness import numpy_generator

        train, test = subjects["train"], subjects["test"]
        names = np.array(train.owners)
        people = numpy_generator(draw, "assurance/enough").permutation(np.unique(names))
        sizes = [min(size, len(people)) for size in arguments["sizes"]] + [len(people)]
        errors = [_linear_error(train, test, np.isin(names, people[:size])) for size in sizes]
        limit, slope = np.linalg.lstsq(np.stack([np.ones(len(sizes)), 1 / np.array(sizes)], 1), errors, rcond=None)[0]
        # A curve that heads below zero is far from any limit: more people would still take the whole error away.
        return float(slope / len(people) / limit) if limit > 0 else 1.0


def _linear_error(train: Records, test: Records, rows: np.ndarray) -> float:
    x = np.column_stack([train.features.numpy()[rows], np.ones(rows.sum())])
    weights = np.linalg.lstsq(x, train.targets.numpy()[rows], rcond=None)[0]
    error = np.column_stack([test.features.numpy(), np.ones(len(test))]) @ weights - test.targets.numpy()
    return float(np.sqrt((error**2).mean()))
