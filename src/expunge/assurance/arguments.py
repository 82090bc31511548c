"""What each check takes: a case whose solutions name other arguments, or of another kind, is refused before it runs.

An argument that nobody reads would make a check say less than its node does (`lable: 9` asks all classes).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from expunge.assurance.case import Case
from expunge.assurance.checks import CHECKS
from expunge.errors import OperatorError


@dataclass(frozen=True)
class _Form:
    """What a value has to be, in words, and whether it is."""

    words: str
    fits: Callable[[Any], bool]


def _count(least: int) -> _Form:
    return _Form(f"a whole number of {least} or more", lambda value: type(value) is int and value >= least)


def _all(form: _Form, words: str, size: int | None = None) -> _Form:
    """A list of that form; of that size, or of any but none."""

    def fits(value: Any) -> bool:
        right = isinstance(value, list | tuple) and (len(value) == size if size else bool(value))
        return right and all(map(form.fits, value))

    return _Form(words, fits)


def _named(form: _Form, words: str) -> _Form:
    return _Form(
        words, lambda value: isinstance(value, Mapping) and bool(value) and all(map(form.fits, value.values()))
    )


def _either(*forms: _Form) -> _Form:
    return _Form(" or ".join(form.words for form in forms), lambda value: any(form.fits(value) for form in forms))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_range(value: Any) -> bool:
    """[low, high], perhaps with a unit."""
    return isinstance(value, list | tuple) and _PAIR.fits(value[:2]) and all(map(_TEXT.fits, value[2:]))


_ANY = _Form("anything", lambda value: True)
_NUMBER = _Form("a number", _is_number)
_TEXT = _Form("a text", lambda value: isinstance(value, str))
_FLAG = _Form("true or false", lambda value: isinstance(value, bool))
_TEXTS = _all(_TEXT, "a list of names")
_TWO = _all(_TEXT, "two names", 2)
_PAIR = _all(_NUMBER, "[low, high]", 2)
_EDGES = _Form("rising numbers", lambda value: _all(_NUMBER, "").fits(value) and sorted(set(value)) == list(value))
_MOVES = _named(_NUMBER, "{column: number}")

Forms = Mapping[str, _Form]

_HAZARDS: Final = {
    "groups": _TEXTS,
    "column": _TEXT,
    "ranges": _all(_PAIR, "a list of [low, high]"),
}
_SHARES: Final = {"least": _NUMBER, "most": _NUMBER}
_NEEDED: Final[Mapping[str, Forms]] = {
    "accuracy": {"least": _NUMBER},
    "alarms": {"low": _NUMBER, "alarm": _NUMBER, "minutes": _NUMBER, **_SHARES},
    "architecture": {"most": _count(1)},
    "balanced": {**_HAZARDS, "least_share": _NUMBER, "least_people": _NUMBER},
    "closed-loop": {"people": _count(1), "days": _count(1), "seed": _count(0), **_SHARES},
    "complete": {**_HAZARDS, "least": _count(0)},
    "coverage": {"columns": _named(_EDGES, "{column: rising numbers}"), "ways": _count(1), "least": _NUMBER},
    "enough": {"sizes": _all(_count(1), "a list of numbers of people"), "draws": _count(2), "most": _NUMBER},
    "error-grid": {"least": _NUMBER},
    "gaps": {"every": _NUMBER, "longest": _NUMBER, "most": _NUMBER},
    "independent": {},
    "outliers": {"columns": _all(_either(_TEXT, _TWO), "a list of columns"), "beyond": _NUMBER, "most": _NUMBER},
    "plausible": {"columns": _named(_PAIR, "{column: [low, high]}"), "most": _NUMBER},
    "predicts": {"last": _TEXT},
    "property": {"kind": _TEXT, "region": _named(_Form("a range", _is_range), "{column: [low, high, unit]}")},
    "sensor": {"reading": _TEXT, "reference": _TEXT, **_SHARES},
    "specification": {"formula": _ANY, "every": _NUMBER, "least": _NUMBER},
}
_OPTIONAL: Final[Mapping[str, Forms]] = {
    "accuracy": {"label": _count(0)},
    "architecture": {"rising": _TEXTS, "falling": _TEXTS},
    "coverage": {"records_each": _count(1)},
    "error-grid": {"grid": _TEXT},
    "gaps": {"unit": _TEXT, "span": _NUMBER},
    "property": {
        "path": _Form("{columns, step: [low, high]}", lambda value: _fits(value, {"columns": _TEXTS, "step": _PAIR})),
        "unit": _TEXT,
        "budget": _named(_count(1), "{boxes, nodes}"),
    },
    "sensor": {"grid": _TEXT},
}
_KINDS: Final[Mapping[str, Forms]] = {
    "bounded": {"lowest": _NUMBER, "highest": _NUMBER},
    "hazard": {"alarm": _NUMBER, "below": _FLAG},
    "robust": {"radius": _MOVES, "change": _NUMBER},
    "monotone": {"step": _MOVES, "increasing": _FLAG, "tolerance": _NUMBER},
    "rate": {
        "shifted": _all(_TWO, "a list of [new, old]"),
        "moves": _named(_PAIR, "{column: [low, high]}"),
        "jump": _NUMBER,
    },
}
"""What each kind of property needs besides."""


def check_arguments(case: Case) -> None:
    """Refuse a case with a solution whose check is known and cannot read its arguments.

    **Raises:** `OperatorError("bad-case")` that names the node.
    """
    for node in case.solutions:
        wrong = next(_wrong(node.check, node.arguments), None) if node.check in CHECKS else None
        if wrong is not None:
            raise OperatorError("bad-case", f"{node.id}: {node.check} {wrong}")


def _wrong(check: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    name = check.removeprefix("held-out-")
    needed, known = dict(_NEEDED[name]), dict(_OPTIONAL.get(name, {}))
    if any(each.endswith(" rows") for each in CHECKS[check].inputs):
        known["group"] = _TEXT
    if name == "property" and "kind" in arguments:
        if arguments["kind"] not in _KINDS:
            yield f"is of kind {', '.join(_KINDS)}"
            return
        needed |= _KINDS[arguments["kind"]]
    yield from (f"needs `{each}`: {form.words}" for each, form in needed.items() if each not in arguments)
    for each, value in arguments.items():
        form = (needed | known).get(each)
        if form is None:
            yield f"takes no `{each[:40]}`"
        elif not form.fits(value):
            yield f"takes `{each}` as {form.words}, not {str(value)[:40]}"


def _fits(value: Any, forms: Forms) -> bool:
    return (
        isinstance(value, Mapping) and value.keys() == forms.keys() and all(forms[k].fits(v) for k, v in value.items())
    )
