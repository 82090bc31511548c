"""`expunge.toml`: the one commented file of settings that a person may change."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from expunge.errors import OperatorError
from expunge.journey import deadlines
from expunge.ledger import files

NAME: Final = "expunge.toml"

TEMPLATE: Final = """\
# Settings of this Expunge workspace. Records, recipe, keys and requests live in the store, not here.

# Under which law deadlines are computed: {regimes}.
regime = "gdpr"

# Shadow models of the membership tests: an even number, at least 8. More find more; each costs a training run.
# Networks that cannot be trained in stacks use at most {few}.
shadow_models = {shadows}

# Seed of the audits. The same seed gives the same report.
audit_seed = 0
"""


@dataclass(frozen=True)
class Config:
    """What `expunge.toml` says."""

    regime: str
    shadow_models: int
    audit_seed: int


def write(folder: Path, shadows: int, few: int) -> None:
    """Write the file with its defaults, where there is none."""
    path = folder / NAME
    if not path.exists():
        regimes = ", ".join(sorted({rule.regime for rule in deadlines.load()}))
        with files.judged():
            path.write_text(TEMPLATE.format(regimes=regimes, shadows=shadows, few=few), "utf-8")


def read(folder: Path) -> Config:
    """The settings of a workspace.

    **Raises:** `OperatorError("bad-config")` naming what is wrong; `OperatorError("no-such-file")`.
    """
    path = folder / NAME
    if not path.is_file():
        raise OperatorError("no-such-file", f"{NAME} is missing from the workspace")
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError("bad-config", f"{NAME}: {error}") from None
    wanted = {"regime": str, "shadow_models": int, "audit_seed": int}
    if values.keys() != wanted.keys() or any(type(values[name]) is not kind for name, kind in wanted.items()):
        raise OperatorError(
            "bad-config", f"{NAME} must hold {', '.join(f'{n} ({k.__name__})' for n, k in wanted.items())}"
        )
    if values["regime"] not in {rule.regime for rule in deadlines.load()}:
        raise OperatorError("bad-config", f"{NAME}: no deadline rule is called {values['regime'][:40]!r}")
    if values["shadow_models"] < 8 or values["shadow_models"] % 2:
        raise OperatorError("bad-config", f"{NAME}: shadow_models must be even and at least 8")
    if values["audit_seed"] < 0:
        raise OperatorError("bad-config", f"{NAME}: audit_seed must not be negative")
    return Config(**values)
