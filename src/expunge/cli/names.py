"""The one table from names on the command line to objects of the library."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from expunge.errors import OperatorError

if TYPE_CHECKING:
    from expunge.networks import Network
    from expunge.records import Records
    from expunge.studies.frame import Study
    from expunge.training import Processes, Ray
    from expunge.unlearning import Method
    from expunge.valuation import Estimator


def methods() -> "dict[str, Method]":
    """Every unlearning method with its default hyper-parameters, by the name it describes itself with."""
    from expunge.unlearning import (
        AMUN,
        SCRUB,
        SSD,
        BadTeacher,
        BoundaryShrink,
        Certified,
        CertifiedHead,
        Downdate,
        FineTune,
        FisherForgetting,
        GradientAscent,
        Influence,
        L1Sparse,
        Langevin,
        NegGradPlus,
        Newton,
        NoisyFineTuning,
        OutputPerturbation,
        RandomLabels,
        Repair,
        Retrain,
        RewindAndDescend,
        SalUn,
        Sharded,
    )

    known: tuple[Method, ...] = (
        Retrain(),
        Sharded(),
        Downdate(),
        FineTune(),
        L1Sparse(),
        SalUn(),
        SCRUB(),
        NegGradPlus(),
        RandomLabels(),
        AMUN(),
        BoundaryShrink(),
        BadTeacher(),
        SSD(),
        Influence(),
        FisherForgetting(),
        GradientAscent(),
        Certified(),
        CertifiedHead(),
        NoisyFineTuning(),
        OutputPerturbation(),
        Newton(),
        RewindAndDescend(),
        Langevin(),
        Repair(),
    )
    return {method.describe().name: method for method in known}


def method(name: str) -> "Method":
    """The method called `name`; raises `OperatorError("unknown-method")`."""
    found = methods().get(name)
    if found is None:
        raise OperatorError("unknown-method", f"no method is called {name[:40]!r}; there are {', '.join(methods())}")
    return found


def guaranteed(name: str, epsilon: float | None, delta: float | None) -> "Method":
    """The method called `name` at this epsilon and delta; raises `OperatorError("bad-arguments")`."""
    from dataclasses import replace

    from expunge.unlearning import Certified, CertifiedHead, Newton, NoisyFineTuning, OutputPerturbation

    found = method(name)
    if epsilon is None and delta is None:
        return found
    if not isinstance(found, Certified | CertifiedHead | Newton | NoisyFineTuning | OutputPerturbation):
        raise OperatorError("bad-arguments", f"{name} takes neither --epsilon nor --delta")
    # Not `or`: an epsilon of 0 is a wish that cannot be met, and no wish for the default.
    epsilon = found.epsilon if epsilon is None else epsilon
    delta = found.delta if delta is None else delta
    return replace(found, epsilon=epsilon, delta=delta)


def network(name: str) -> "Network":
    """`mlp`, `cnn`, `resnet`, `trends`, `random-features`, `oriented-filters`, or a factory as `module:name`."""
    from expunge.networks import CNN, MLP, Imported, OrientedFilters, RandomFeatures, ResNet, Trends

    known: dict[str, Callable[[], Network]] = {
        "mlp": MLP,
        "cnn": CNN,
        "resnet": ResNet,
        "trends": Trends,
        "random-features": RandomFeatures,
        "oriented-filters": OrientedFilters,
    }
    return known[name]() if name in known else Imported(name)


def monotone(name: str, records: "Records", rising: Sequence[str], falling: Sequence[str]) -> "Network":
    """The MLP that is monotone in these columns; raises `OperatorError("bad-arguments")` where it cannot be."""
    from expunge.networks import MonotoneMLP
    from expunge.records.preparation import feature_names

    if name != "mlp" or records.classes:
        raise OperatorError("bad-arguments", "--rising and --falling are for mlp and a target that is a number")
    names = feature_names(records.preparation) if records.preparation.get("kind") == "table" else []
    for column in (*rising, *falling):
        if column not in names or [*rising, *falling].count(column) > 1:
            raise OperatorError("bad-arguments", f"{column[:40]!r} is no column of numbers here, or is named twice")
    places = [tuple(names.index(column) for column in part) for part in (rising, falling)]
    return MonotoneMLP(rising=places[0], falling=places[1])


def studies() -> "dict[str, Study]":
    """Every study by name."""
    from expunge.studies.assurance import AssuranceStudy
    from expunge.studies.certified import CertifiedStudy
    from expunge.studies.requests import RequestsStudy
    from expunge.studies.sharding import ShardingStudy
    from expunge.studies.sparsity import SparsityStudy
    from expunge.studies.valuation import ValuationStudy
    from expunge.studies.verification import VerificationStudy

    studies = (
        AssuranceStudy(),
        CertifiedStudy(),
        RequestsStudy(),
        ShardingStudy(),
        SparsityStudy(),
        ValuationStudy(),
        VerificationStudy(),
    )
    return {study.name: study for study in studies}


def study(name: str) -> "Study":
    """The study called `name`; raises `OperatorError("unknown-study")`."""
    found = studies().get(name)
    if found is None:
        raise OperatorError("unknown-study", f"no study is called {name[:40]!r}; there are {', '.join(studies())}")
    return found


def estimator(name: str) -> "Estimator":
    """The estimator of values called `name`; raises `OperatorError("bad-arguments")`."""
    from expunge.valuation import (
        Adjusted,
        Complementary,
        Exact,
        Multilinear,
        Permutation,
        Truncated,
        UtilitySampling,
    )

    known: dict[str, Estimator] = {
        "adjusted": Adjusted(),
        "permutation": Permutation(),
        "antithetic": Permutation(antithetic=True),
        "utility": UtilitySampling(),
        "complementary": Complementary(),
        "multilinear": Multilinear(),
        "truncated": Truncated(),
        "exact": Exact(),
    }
    if name not in known:
        raise OperatorError("bad-arguments", f"no estimator is called {name[:40]!r}; there are {', '.join(known)}")
    return known[name]


def executor(name: str, workers: int) -> "AbstractContextManager[Processes | Ray | None]":
    """`processes` or `ray` with so many workers, closed at the end; None for `serial`.

    **Raises:** `OperatorError("bad-arguments" | "no-ray")`.
    """
    from expunge.training import Processes, Ray

    if name not in ("serial", "processes", "ray"):
        raise OperatorError("bad-arguments", f"an executor is serial, processes or ray, not {name[:40]!r}")
    return nullcontext() if name == "serial" else Processes(workers) if name == "processes" else Ray(workers)
