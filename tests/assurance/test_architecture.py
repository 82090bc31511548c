"""What is said of the network without its parameters, and that no deletion touches it."""

from dataclasses import replace

import pytest

from expunge.assurance import Verdict
from expunge.assurance.architecture import Architecture, BuiltFor
from expunge.networks import CNN, MLP, InPython, MonotoneMLP

BUILT = Architecture(MonotoneMLP((8, 1), (2,), (0, 1)), (3,), 0, ("insulin", "iob", "cob"), True)
ASKED = {"most": 100, "rising": ["cob"], "falling": ["iob", "insulin"]}


def test_what_is_built_in_holds_and_what_is_not_is_named() -> None:
    found = BuiltFor().run({"architecture": BUILT}, ASKED)
    assert (found.verdict, found.figures["parameters"]) == (Verdict.HOLDS, 3 * 8 + 8 + 8 + 1 + 1 + 1)
    for built, asked, word in [
        (replace(BUILT, network=MLP((8, 1))), ASKED, "cob is not built to be rising"),
        (BUILT, {**ASKED, "rising": ["iob"]}, "iob is not built to be rising"),
        (BUILT, {**ASKED, "most": 42}, "43 parameters"),
        (replace(BUILT, single=False), ASKED, "several networks"),
    ]:
        found = BuiltFor().run({"architecture": built}, asked)
        assert found.verdict is Verdict.FAILS
        assert word in found.words


@pytest.mark.parametrize(
    "other",
    [
        replace(BUILT, network=MonotoneMLP((8, 1), (2,), (0,))),
        replace(BUILT, network=CNN()),
        replace(BUILT, network=InPython(MLP)),
        replace(BUILT, names=("insulin", "cob", "iob")),
        replace(BUILT, single=False),
    ],
)
def test_any_other_architecture_has_another_digest(other: Architecture) -> None:
    assert other.digest != BUILT.digest
    assert replace(BUILT).digest == BUILT.digest
