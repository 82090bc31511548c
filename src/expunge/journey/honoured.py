"""Checks of the pattern *deletion honoured*: what the steps of a request recorded, held against what has to be true."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import expunge_verify
from expunge.assurance import Check, Finding, Verdict


def _held(holds: bool) -> Verdict:
    return Verdict.HOLDS if holds else Verdict.FAILS


@dataclass(frozen=True)
class Screened:
    """The request passed its screening, or a person released it from a hold."""

    inputs: tuple[str, ...] = ("screen",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Read the verdict."""
        del arguments
        found = subjects["screen"]
        holds = found["verdict"] in ("passed", "released")
        return Finding(
            _held(holds),
            "; ".join(found["reasons"]) or str(found["verdict"]),
            {},
            "",
            "passed, or released by a person",
        )


@dataclass(frozen=True)
class Gone:
    """None of the request's commitments stands in the tree over the data that are kept."""

    inputs: tuple[str, ...] = ("unlearn", "tree")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Look for each commitment, and compare the roots."""
        del arguments
        done, tree = subjects["unlearn"], subjects["tree"]
        asked = {leaf for leaves in done["commitments"].values() for leaf in leaves}
        left = asked & {leaf.hex() for leaf in tree.leaves}
        holds = not left and tree.root.hex() == done["retained_root"]
        words = f"{len(asked)} commitments, {len(left)} of them still in the tree"
        mark = "= 0, and the root is the kept one"
        return Finding(_held(holds), words, {"left": float(len(left))}, "|asked ∩ tree|", mark)


@dataclass(frozen=True)
class Removed:
    """The method's own claim: exact and certified stand on what they state, empirical on the audit alone."""

    inputs: tuple[str, ...] = ("unlearn",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Compare the claim with the one that is argued."""
        claim = subjects["unlearn"]["claim"]
        words = f"{claim['kind']}: {'; '.join(claim['assumptions']) or 'no assumptions'}"
        return Finding(_held(claim["kind"] == arguments["claim"]), words, {}, "", "the claim that is argued")


@dataclass(frozen=True)
class Audited:
    """No figure of the audit tells the new model from a retrained one."""

    inputs: tuple[str, ...] = ("audit",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count the findings."""
        del arguments
        found = subjects["audit"]
        figures = {each["name"]: each["after"]["value"] for each in found["readings"]}
        left = [each["name"] for each in found["readings"] if "on the side of the model before" in each["note"]]
        mark = "no figure outside the noise floor on the side of the model before; one test or more with power"
        if not left and not any(each["has_power"] for each in found["readings"]):
            return Finding(Verdict.UNDECIDED, f"no test had power: {found['summary']}", figures, "", mark)
        return Finding(_held(not left), found["summary"], figures, "after against retrained", mark)


@dataclass(frozen=True)
class Verifies:
    """The receipt verifies offline, as anyone else would do it. There is none before it is signed."""

    inputs: tuple[str, ...] = ("receipt",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Run the independent verifier on the bundle."""
        del arguments
        report = expunge_verify.verify(subjects["receipt"])
        failed = [check.name for check in report.checks if check.holds is False]
        words = "every check of the verifier holds" if not failed else f"failed: {', '.join(failed)}"
        return Finding(_held(not failed), words, {}, "", "docs/verify.md")


@dataclass(frozen=True)
class Serves:
    """Accuracy on test records lies within what retraining gives, or is better."""

    inputs: tuple[str, ...] = ("audit",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Compare the test accuracy with the noise floor of retraining."""
        del arguments
        readings = {each["name"]: each for each in subjects["audit"]["readings"]}
        reading = readings.get("TA")
        if reading is None or reading["floor"] is None:
            return Finding(Verdict.UNDECIDED, "the audit measured no accuracy on test records")
        value, (low, high) = reading["after"]["value"], reading["floor"]
        words = f"test accuracy {value:.4g} points; retrained models {low:.4g} to {high:.4g}"
        return Finding(_held(value >= low), words, {"TA": value}, "TA", ">= the noise floor's lower end")


CHECKS: Final[Mapping[str, Check]] = {
    "request-screened": Screened(),
    "records-gone": Gone(),
    "influence-removed": Removed(),
    "audit-finds-nothing": Audited(),
    "receipt-verifies": Verifies(),
    "service-preserved": Serves(),
}
