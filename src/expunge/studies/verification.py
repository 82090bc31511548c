"""Study `verification`: the literature's verifiers, what they let pass, and one that holds (Zhang et al., 2024)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from expunge.errors import OperatorError
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim
from expunge.studies.frame import Row, Setting
from expunge.studies.verification_cells import literature
from expunge.studies.verification_claims import verification_claims
from expunge.studies.verification_committed import (
    attacks,
    beside,
    committed,
    inconspicuous,
    methods,
    platform,
    storage,
)
from expunge.studies.verification_curve import curve, walks
from expunge.studies.verification_evasions import EVASIONS, evasion
from expunge.studies.verification_figures import verification_figures
from expunge.studies.verification_forging import forging


@dataclass(frozen=True)
class VerificationStudy:
    """Each verifier against each provider: who passes, false alarms, work, and what is left of D_f."""

    name: str = "verification"

    def cells(self, setting: Setting) -> Sequence[str]:
        """Two for each seed, one for each attack on the committed schedule, and one each for what stands once.

        **Raises:** `OperatorError("bad-data")` for regression: triggers and substitutes want classes.
        """
        if setting.records.classes < 2:
            raise OperatorError("bad-data", "the study needs classes, and these targets are numbers")
        seeds = [f"{kind}.seed-{seed}" for seed in setting.seeds for kind in ("literature", "forging")]
        against = [f"committed.{name}" for name in ("honest", *attacks(setting.scale), *inconspicuous())]
        against += [f"evasion.{name}" for name in EVASIONS]
        return [*seeds, *against, "beside", "curve", "walks", "platform", "methods", "storage"]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        kind, _, rest = cell.partition(".")
        records, first = setting.records, setting.seeds[0]
        if kind in ("literature", "forging"):
            found = literature if kind == "literature" else forging
            return found(records, setting.scale, int(rest.removeprefix("seed-")))
        if kind == "committed":
            return committed(records, setting.scale, first, rest)
        if kind == "evasion":
            return evasion(records, first, rest)
        if kind in ("beside", "platform"):
            return (beside if kind == "beside" else platform)(records, setting.scale, first)
        once: dict[str, Callable[..., list[Row]]] = {"curve": curve, "walks": walks}
        once |= {"methods": methods, "storage": storage}
        return once[kind](records, first)

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        return verification_claims(rows)

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Errors, tolerance, detection against work, exposure."""
        del setting
        return verification_figures(rows)
