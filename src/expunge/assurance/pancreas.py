"""The case of the artificial pancreas: the pattern of component safety, filled in for a glucose predictor.

Operating domain of the proofs: readings of 60 to 300 mg/dL that move by at most 20 mg/dL in ten minutes, at most 4 U
of insulin and 50 g of carbohydrate in each half hour, at most 6 U and 50 g on board.
"""

from itertools import pairwise
from typing import Any, Final

from expunge.assurance.case import Case
from expunge.assurance.glucose import READINGS
from expunge.assurance.patterns import Claimed, ComponentSafety, Support

GROUPS: Final = ("adolescent", "adult", "child")
HAZARDS: Final = ((0, 54), (54, 70), (180, 250), (250, 601))
UNIT: Final = "mg/dL"
INSULIN: Final = {"insulin_60": (0, 4), "insulin_30": (0, 4), "iob": (0, 6)}
CARBS: Final = {"carbs_60": (0, 50), "carbs_30": (0, 50), "cob": (0, 50)}


def _region(low: float, high: float, steps: tuple[float, float], **changed: tuple[float, float]) -> dict[str, Any]:
    box = dict.fromkeys(READINGS, (low, high)) | INSULIN | CARBS | changed
    units = {name: UNIT if name in READINGS else "U" if name in INSULIN else "g" for name in box}
    path = {"columns": list(READINGS), "step": list(steps)}
    return {"region": {name: [*ends, units[name]] for name, ends in box.items()}, "path": path, "unit": UNIT}


def pancreas_case() -> Case:
    """The case, to be edited in the workspace."""
    return ComponentSafety(
        "pancreas",
        "The learned glucose predictor",
        "Continuous glucose monitor, controller with a learned predictor, insulin pump; the patient is the plant",
        "Sensor readings of 60 to 300 mg/dL; children, adolescents and adults with type 1 diabetes; meals announced",
        (
            "hypoglycaemia (below 70 mg/dL; severe below 54): too much insulin while low or falling",
            "hyperglycaemia (above 180, above 250 mg/dL): too little insulin while high and rising",
        ),
        requirements=_requirements(),
        data=_data(),
        learning=_learning(),
        verification=_verification(),
        deployment=_deployment(),
    ).case()


def _requirements() -> tuple[Claimed, ...]:
    built = {"most": 10_000, "rising": list(CARBS), "falling": list(INSULIN)}
    return (
        Claimed("Hazards became properties of the predictor; a clinician has to confirm them"),
        Claimed(
            "The network is of a kind that can meet them: small, and monotone in insulin and carbohydrate",
            [("Architecture", "architecture", built)],
        ),
    )


def _data() -> tuple[Claimed, ...]:
    bins: dict[str, Any] = {"cgm_0": [54, 70, 180, 250], "cgm_30": [54, 70, 180, 250], "iob": [1, 4], "cob": [5, 30]}
    ranges = [list(each) for each in HAZARDS]
    hazard = {"groups": list(GROUPS), "column": "cgm_0", "ranges": ranges}
    coverage = {"columns": bins, "ways": 2, "least": 0.9}
    enough = {"sizes": [3, 6, 12], "draws": 8, "most": 0.1}
    balanced = {**hazard, "least_share": 0.2, "least_people": 4}
    held_out = [("Groups by hazard, held out", "held-out-complete", {**hazard, "least": 1})]
    return (
        Claimed("Relevant: the operating domain is covered", [("Two-way coverage", "coverage", coverage)]),
        Claimed("Complete: all groups in all hazards", [("Groups by hazard", "complete", {**hazard, "least": 5})]),
        Claimed("Balanced: no group or hazard rests on few people", [("Effective numbers", "balanced", balanced)]),
        Claimed("Accurate: in each group readings are physically possible, and none jumps out", _accurate("")),
        Claimed("Without gaps: in each group every patient is followed for five days", _followed("")),
        Claimed("Independent: test patients are others", [("Split by patient", "independent", {})]),
        Claimed("Enough: more patients would change little", [("Learning curve", "enough", enough)]),
        Claimed(
            "The held-out data can judge: all groups and hazards, plausible, without gaps",
            [*held_out, *_accurate("held-out-"), *_followed("held-out-")],
        ),
    )


def _accurate(part: str) -> list[Support]:
    possible = {"columns": {"cgm_0": [40, 599]}, "most": 0.01}
    jumps = {"columns": [list(pair) for pair in pairwise(reversed(READINGS))], "beyond": 6, "most": 0.01}
    kinds = (("Sensor at its limits", "plausible", possible), ("Jumps in ten minutes", "outliers", jumps))
    return [support for kind in kinds for support in _each_group(part, *kind)]


def _followed(part: str) -> list[Support]:
    gaps = {"every": 15, "longest": 720, "most": 0.05, "span": 7000, "unit": "min"}
    return _each_group(part, "Gaps", "gaps", gaps)


def _each_group(part: str, text: str, check: str, arguments: dict[str, Any]) -> list[Support]:
    """One solution a group, so that a patient's leaving touches the evidence of that group alone."""
    where = ", held out" if part else ""
    return [(f"{text}{where}: {name}", part + check, {**arguments, "group": name}) for name in GROUPS]


def _learning() -> tuple[Claimed, ...]:
    alarms = {"low": 70, "alarm": 80, "least": 0.75, "most": 6, "minutes": 15}
    checks: list[Support] = [
        ("RMSE on held-out patients", "predicts", {"last": "cgm_0"}),
        ("Clarke's error grid", "error-grid", {"least": 0.95}),
        ("Low-glucose alarms", "alarms", alarms),
    ]
    return (Claimed("The predictor is better than simple ones, and its errors are harmless", checks),)


def _deployment() -> tuple[Claimed, ...]:
    loop = {"people": 4, "days": 2, "seed": 1, "least": 0.6, "most": 0.02}
    never = ["always", ["implies", ["<", "future", 70], ["<", "predicted", 100]]]
    return (
        Claimed(
            "The closed loop with the predictor keeps simulated patients in range",
            [("Simulated days", "closed-loop", loop)],
        ),
        Claimed(
            "Along a patient's days no low comes while the prediction is high",
            [("Robustness of the traces", "specification", {"formula": never, "every": 15, "least": 0.8})],
        ),
        Claimed("The loop is safe for people: a clinical study has to show it"),
    )


def _verification() -> tuple[Claimed, ...]:
    domain = _region(60, 300, (-20, 20))
    bounded = {"kind": "bounded", **domain, "lowest": 20, "highest": 600}
    robust = {"kind": "robust", **domain, "radius": dict.fromkeys(READINGS, 5), "change": 40}
    insulin = {"kind": "monotone", **domain, "step": dict.fromkeys(INSULIN, 1), "increasing": False, "tolerance": 0.1}
    carbs = {"kind": "monotone", **domain, "step": dict.fromkeys(CARBS, 10), "increasing": True, "tolerance": 0.1}
    low = _region(60, 75, (-15, -3), carbs_60=(0, 0), carbs_30=(0, 0), cob=(0, 5), iob=(2, 6))
    high = _region(200, 300, (3, 20), insulin_60=(0, 0.5), insulin_30=(0, 0.5), iob=(0, 0.5))
    shifted = [[new, old] for new, old in pairwise(READINGS)]
    moves = {"cgm_0": [-20, 20], "iob": [-2, 2], "cob": [-20, 20]}
    rate = {"kind": "rate", **domain, "shifted": shifted, "moves": moves, "jump": 120}
    return (
        Claimed("Bounded: predictions stay in range", [("Bounds", "property", bounded)]),
        Claimed("Robust: sensor error moves the prediction little", [("Perturbations", "property", robust)]),
        Claimed("More insulin, given or on board, never raises it", [("Insulin", "property", insulin)]),
        Claimed("More carbohydrate, eaten or on board, never lowers it", [("Carbohydrate", "property", carbs)]),
        Claimed(
            "Low and falling with insulin on board: the alarm is not missed",
            [("Low", "property", {"kind": "hazard", **low, "alarm": 80, "below": True})],
        ),
        Claimed(
            "High and rising without insulin: never predicted low",
            [("High", "property", {"kind": "hazard", **high, "alarm": 100, "below": False})],
        ),
        Claimed("Steady: the prediction does not jump", [("Rate", "property", rate)]),
    )
