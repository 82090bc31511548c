"""The network without its parameters: what can be said of it before and after any deletion alike."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from expunge.assurance.evidence import Finding, Verdict
from expunge.errors import ProgrammerError
from expunge.ledger import strict_json
from expunge.networks import MonotoneMLP, Network, layout
from expunge.plain import encode
from expunge.records import Records
from expunge.records.preparation import feature_names
from expunge.training import Model


@dataclass(frozen=True)
class Architecture:
    """Which network, over which inputs: names of a table's features in order, empty for anything else."""

    network: Network
    shape: tuple[int, ...]
    classes: int
    names: tuple[str, ...]
    single: bool

    @staticmethod
    def of(model: Model, records: Records) -> "Architecture":
        """The model's."""
        table = records.preparation.get("kind") == "table"
        names = tuple(feature_names(records.preparation)) if table else ()
        return Architecture(model.recipe.network, model.shape, model.classes, names, model.is_single)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the plain form, in hex; a network that is a Python callable has its name alone."""
        try:
            network = encode(self.network)
        except ProgrammerError:
            network = repr(self.network)
        plain = [network, list(self.shape), self.classes, list(self.names), self.single]
        return hashlib.sha256(strict_json.canonical(plain)).hexdigest()


@dataclass(frozen=True)
class BuiltFor:
    """The network can be verified, and is monotone by construction where the requirements say so.

    **Arguments** of the node: `most` (parameters), and perhaps `rising` and `falling`: columns that may only raise or
    only lower the prediction, whatever the parameters are.
    """

    inputs: tuple[str, ...] = ("architecture",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Build it, count, and compare signs."""
        built: Architecture = subjects["architecture"]
        size = layout(built.network.build(built.shape, built.classes)).size
        bad = [f"{size} parameters"] if size > int(arguments["most"]) else []
        bad += [] if built.single else ["several networks"]
        for way in ("rising", "falling"):
            places = getattr(built.network, way) if isinstance(built.network, MonotoneMLP) else ()
            held = {built.names[place] for place in places}
            bad += [f"{name} is not built to be {way}" for name in arguments.get(way, ()) if name not in held]
        words = f"one {type(built.network).__name__} of {size} parameters" if not bad else "; ".join(bad)
        verdict = Verdict.FAILS if bad else Verdict.HOLDS
        formula, threshold = "number of parameters; signs of the weights", f"<= {arguments['most']}; every named column"
        return Finding(verdict, words, {"parameters": float(size)}, formula, threshold)
