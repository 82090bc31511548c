"""The control variate of the adjusted estimator: a linear model of utility whose S-Shapley value is known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RIDGE = 1e-3
"""Penalty, as a share of the mean squared feature."""

COLUMNS = 1000
"""Most coefficients of one model; a block with more units and contexts than this is left unadjusted."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one block.

    **Arguments:**

    - `chosen`, `beside`: memberships of units and contexts, as 0 and 1.
    - `b`, `c`: how many contexts and units; `group`: stratum, 0..groups-1; `fold`: of the stratum.
    - `utility`; `weight`: of the sample in the variance of the estimator.
    """

    chosen: Float[np.ndarray, "samples units"]
    beside: Float[np.ndarray, "samples contexts"]
    b: Int[np.ndarray, " samples"]
    c: Int[np.ndarray, " samples"]
    group: Int[np.ndarray, " samples"]
    fold: Int[np.ndarray, " samples"]
    utility: Float[np.ndarray, " samples"]
    weight: Float[np.ndarray, " samples"]


def basis(
    b: Float[np.ndarray, " samples"], c: Float[np.ndarray, " samples"], count: int
) -> Float[np.ndarray, "samples {count}"]:
    """How an owner's effect fades with those already there: the first of five products of 1/(b+1) and 1/c."""
    shard, unit = 1 / (b + 1), 1 / c
    return np.stack([np.ones_like(shard), shard, shard * unit, shard**2, shard**2 * unit], axis=1)[:, :count]


def basis_count(units: int, contexts: int) -> int:
    """Basis functions that keep the model within `COLUMNS` coefficients; 0 leaves the block unadjusted."""
    return min(5, COLUMNS // (units + contexts))


def residuals(
    samples: Samples, folds: int
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, "folds units bases"]]:
    """Utilities minus the model, and each fold's effects of the units. Samples stand sorted by stratum.

    The model is sum over units of theta_i (x_i - c/k) h(b, c), plus the same over contexts, without intercept: means
    of strata cancel in the estimator. A sample is judged by the model fitted on the strata of the *other* folds, which
    were drawn independently of its own: this keeps the estimator unbiased. Weighted ridge regression within strata.
    No model where it would have more coefficients than there are degrees of freedom to learn them from: it adds more
    noise than it takes away (two to four times as much in the first rounds of an update).
    """
    units, contexts = samples.chosen.shape[1], samples.beside.shape[1]
    count = basis_count(units, contexts)
    effects = np.zeros((folds, units, count))
    if not count or not len(samples.utility) or _spare(samples, folds) < (units + contexts) * count:
        return samples.utility, effects
    features = _features(samples, count)
    left = samples.utility.copy()
    both = np.concatenate([features, samples.utility[:, None]], axis=1)
    design = np.sqrt(samples.weight)[:, None] * _centred(both, samples.group)
    parts = [np.flatnonzero(samples.fold == fold) for fold in range(folds)]
    products = np.stack([(part := design[rows])[:, :-1].T @ part for rows in parts])
    grams, answers = products[:, :, :-1], products[:, :, -1:]
    fitted = _solved(grams.sum(0) - grams, answers.sum(0) - answers)
    for fold, (part, theta) in enumerate(zip(parts, fitted, strict=True)):
        left[part] -= features[part] @ theta
        effects[fold] = theta.reshape(units + contexts, count)[:units]
    return left, effects


def _spare(samples: Samples, folds: int) -> int:
    """Degrees of freedom that the fold with the fewest has to learn from, after a mean for each stratum."""
    first = np.flatnonzero(np.diff(samples.group, prepend=-1))
    freedom = np.bincount(samples.fold, minlength=folds) - np.bincount(samples.fold[first], minlength=folds)
    return int(freedom.sum() - freedom.max())


def _features(samples: Samples, count: int) -> Float[np.ndarray, "samples columns"]:
    """Memberships less their mean, times each basis function."""
    units, contexts = samples.chosen.shape[1], samples.beside.shape[1]
    h = basis(samples.b.astype(np.float64), samples.c.astype(np.float64), count)
    inner = samples.chosen - (samples.c / units)[:, None]
    outer = samples.beside - (samples.b / max(contexts, 1))[:, None]
    both = np.concatenate([inner, outer], axis=1)[:, :, None] * h[:, None, :]
    return np.asarray(both.reshape(len(h), (units + contexts) * count))


def _solved(
    grams: Float[np.ndarray, "folds columns columns"], answers: Float[np.ndarray, "folds columns 1"]
) -> Float[np.ndarray, "folds columns"]:
    """Ridge coefficients of each fold; zero where there is nothing to learn from."""
    count = grams.shape[1]
    scale = np.maximum(np.trace(grams, axis1=1, axis2=2) / count, 0.0)
    penalty = np.where(scale > 0, RIDGE * scale, 1.0)[:, None, None] * np.eye(count)
    return np.asarray(np.where(scale[:, None] > 0, np.linalg.solve(grams + penalty, answers)[:, :, 0], 0.0))


def _centred(
    values: Float[np.ndarray, "samples columns"], group: Int[np.ndarray, " samples"]
) -> Float[np.ndarray, "samples columns"]:
    """Less the mean of the group; groups stand together."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    sizes = np.diff(starts, append=len(group))
    means = np.add.reduceat(values, starts, axis=0) / sizes[:, None]
    return np.asarray(values - np.repeat(means, sizes, axis=0))
