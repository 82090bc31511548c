"""The one table from names on the command line to objects of the library."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from expunge.errors import OperatorError

if TYPE_CHECKING:
    from expunge.networks import Network
    from expunge.studies.frame import Study
    from expunge.unlearning import Method


def methods() -> "dict[str, Method]":
    """Every unlearning method with its default hyper-parameters, by the name it describes itself with."""
    from expunge.unlearning import FineTune, Retrain, Sharded

    return {method.describe().name: method for method in (Retrain(), Sharded(), FineTune())}


def method(name: str) -> "Method":
    """The method called `name`; raises `OperatorError("unknown-method")`."""
    found = methods().get(name)
    if found is None:
        raise OperatorError("unknown-method", f"no method is called {name[:40]!r}; there are {', '.join(methods())}")
    return found


def network(name: str) -> "Network":
    """`mlp`, `cnn`, `resnet`, or a factory as `module:name`."""
    from expunge.networks import CNN, MLP, Imported, ResNet

    known: dict[str, Callable[[], Network]] = {"mlp": MLP, "cnn": CNN, "resnet": ResNet}
    return known[name]() if name in known else Imported(name)


def studies() -> "dict[str, Study]":
    """Every study by name."""
    from expunge.studies.assurance import AssuranceStudy
    from expunge.studies.sharding import ShardingStudy

    return {study.name: study for study in (AssuranceStudy(), ShardingStudy())}


def study(name: str) -> "Study":
    """The study called `name`; raises `OperatorError("unknown-study")`."""
    found = studies().get(name)
    if found is None:
        raise OperatorError("unknown-study", f"no study is called {name[:40]!r}; there are {', '.join(studies())}")
    return found
