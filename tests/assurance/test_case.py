"""Cases: form, source, live evidence, status, defeaters, exports."""

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import jsonschema
import pytest
from cases import KEY, AtLeast, checks, scene, small
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.assurance import (
    Case,
    ComponentSafety,
    Defeater,
    DeletionHonoured,
    Kind,
    Node,
    Scene,
    Status,
    cyclonedx,
    evaluate,
    markdown,
    problems,
    read,
    restored,
    standings,
    why,
    write,
)
from expunge.assurance.layout import places, svg
from expunge.errors import OperatorError

LETTERS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | LETTERS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(LETTERS, part, max_size=3),
    max_leaves=5,
)
NODES = st.builds(
    Node,
    id=LETTERS,
    kind=st.sampled_from(Kind),
    text=LETTERS,
    supported_by=st.lists(LETTERS, max_size=2).map(tuple),
    in_context_of=st.lists(LETTERS, max_size=2).map(tuple),
    undeveloped=st.booleans(),
    check=LETTERS,
    arguments=st.dictionaries(LETTERS, VALUES, max_size=3),
    module=LETTERS,
)
DEFEATERS = st.builds(Defeater, LETTERS, LETTERS, LETTERS, LETTERS, LETTERS, LETTERS, LETTERS)
CASES = st.builds(
    Case,
    st.text("abc:#-'\" 12", min_size=1).filter(str.strip),
    st.lists(NODES, min_size=1, max_size=4, unique_by=lambda node: node.id).map(tuple),
    st.lists(DEFEATERS, max_size=2, unique_by=lambda each: each.id).map(tuple),
)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_the_source_goes_there_and_back(case: Case) -> None:
    text = write(case)
    assert read(text) == case
    assert write(read(text)) == text


def _with(name: str, **changes: Any) -> Case:
    case = small()
    return replace(case, nodes=tuple(replace(n, **changes) if n.id == name else n for n in case.nodes))


def _plus(*nodes: Node, name: str = "S1", link: str = "supported_by") -> Case:
    case = _with(name, **{link: (*getattr(small().by_id[name], link), *(node.id for node in nodes))})
    return replace(case, nodes=(*case.nodes, *nodes))


GOAL, ASSUMED = Node("X", Kind.GOAL, "x", undeveloped=True), Node("X", Kind.ASSUMPTION, "x")
SOLUTION = Node("X", Kind.SOLUTION, "x", check="c")
MALFORMED = [
    (_with("G1", text=" "), "G1"),
    (_with("Sn1", text=""), "Sn1"),
    (_with("G2", supported_by=("nowhere",)), "G2"),
    (_with("G2", in_context_of=("nowhere",)), "G2"),
    (_with("G2", supported_by=("Sn1", "Sn1")), "G2"),
    (_with("G1", in_context_of=("C1", "C1")), "G1"),
    (_with("G2", supported_by=()), "G2"),
    (_with("S1", supported_by=()), "S1"),
    (_with("G2", undeveloped=True), "G2"),
    (_with("Sn1", supported_by=("G3",)), "Sn1"),
    (_with("Sn1", supported_by=("Sn2",)), "Sn1"),
    (_with("Sn1", in_context_of=("C1",)), "Sn1"),
    (_with("Sn1", check=""), "Sn1"),
    (_with("Sn1", undeveloped=True), "Sn1"),
    (_with("Sn1", module="m"), "Sn1"),
    (_with("C1", check="c"), "C1"),
    (_with("C1", supported_by=("G3",)), "C1"),
    (_with("C1", undeveloped=True), "C1"),
    (_with("C1", in_context_of=("C1",)), "C1"),
    (_with("G2", check="c"), "G2"),
    (_with("G2", arguments={"a": 1}), "G2"),
    (_with("G2", module="m"), "G2"),
    (_with("G2", in_context_of=("G3",)), "G2"),
    (_with("G2", supported_by=("C1",)), "G2"),
    (_with("G3", supported_by=("G1",)), "G1"),
    (_with("G3", supported_by=("G3",)), "G3"),
    (_with("G1", kind=Kind.STRATEGY), "G1"),
    (_plus(SOLUTION), "S1"),
    (_plus(ASSUMED), "S1"),
    (_plus(GOAL, name="G1", link="in_context_of"), "G1"),
    (_plus(replace(GOAL, id="a b")), "a b"),
    (_plus(replace(GOAL, kind=Kind.AWAY_GOAL, undeveloped=False)), "X"),
    (replace(small(), nodes=(*small().nodes, GOAL)), "X"),
    (replace(small(), nodes=(*small().nodes, small().nodes[3])), "G2"),
    (
        small().doubted("G2", "d", "me", "now").__class__("s", small().nodes, (Defeater("D9", "no", "d", "m", "n"),)),
        "D9",
    ),
]


@pytest.mark.parametrize(("case", "node"), MALFORMED, ids=range(len(MALFORMED)))
def test_every_malformed_case_gets_a_line_that_names_the_node(case: Case, node: str) -> None:
    assert node in {problem.node for problem in problems(case)}
    with pytest.raises(OperatorError, match=r"\S+: "):
        evaluate(case, checks(), scene())


SOURCES = ["", "[]", "case: x", "case: x\nnodes: {}", "a: &a [1]\nb: *a", "case: x\ncase: y\nnodes: {G: {}}", "{" * 999]


@pytest.mark.parametrize("text", [*SOURCES, "case: x\nnodes: {G1: {kind: gaol, text: x}}", "\x00", "x" * 1_000_001])
def test_a_bad_source_is_one_line(text: str) -> None:
    with pytest.raises(OperatorError) as caught:
        read(text)
    assert caught.value.code == "bad-case"


def test_status_climbs_and_only_what_moved_is_measured_again() -> None:
    known = checks()
    first = evaluate(small(), known, scene())
    assert first.verdict is Status.SUPPORTED
    assert first.ran == ("Sn1", "Sn2")
    same = evaluate(small(), known, scene(), first.book)
    assert (same.ran, same.digest) == ((), first.digest)
    stale = standings(small(), known, scene(model=0.8), first.book)
    assert [stale[n].status for n in ("Sn1", "G2", "G1")] == [Status.STALE] * 3
    assert stale["G3"].status is Status.SUPPORTED
    fell = evaluate(small(), known, scene(model=0.8), first.book)
    assert fell.ran == ("Sn1",)
    assert fell.fallen == ("G2",)
    assert known["data-good"].runs == [12]
    assert why(fell, "G1")["chain"][-1]["node"] == "Sn1"
    green = evaluate(small(), known, scene(model=0.99), fell.book)
    assert green.verdict is Status.SUPPORTED
    assert restored(json.loads(json.dumps(green.to_json())), known, scene(model=0.99)).digest == green.digest


def test_changed_arguments_and_unknown_checks_show() -> None:
    known = checks()
    book = evaluate(small(), known, scene()).book
    assert standings(_with("Sn1", arguments={"least": 0.5}), known, scene(), book)["Sn1"].status is Status.STALE
    assert standings(_with("Sn1", check="other"), known, scene(), book)["G1"].status is Status.UNDEVELOPED


def test_every_flipped_byte_of_evidence_undermines_and_is_named() -> None:
    known = checks()
    done = evaluate(small(), known, scene())
    whole = done.book["Sn1"]
    for place in range(0, len(whole), 7):
        bad = {**done.book, "Sn1": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]}
        found = standings(small(), known, scene(), bad)
        assert found["G1"].status is Status.UNDERMINED
        assert "tampered" in found["Sn1"].why
        assert evaluate(small(), known, scene(), bad).verdict is Status.UNDERMINED
    swapped = {**done.book, "Sn1": done.book["Sn2"]}
    assert "tampered" in standings(small(), known, scene(), swapped)["Sn1"].why
    assert evaluate(small(), known, scene(), swapped, again=["Sn1"]).verdict is Status.SUPPORTED


def test_defeaters_are_raised_answered_and_kept() -> None:
    known = checks()
    doubted = small().doubted("C1", "is it the road?", "reviewer", "2026-01-01")
    assert evaluate(doubted, known, scene()).verdict is Status.UNDERMINED
    answered = doubted.answered("D1", "yes: section 3", "2026-01-02")
    assert evaluate(answered, known, scene()).verdict is Status.SUPPORTED
    assert read(write(answered)).defeaters == answered.defeaters
    for bad in ("D1", "D7"):
        with pytest.raises(OperatorError):
            answered.answered(bad, "again", "2026-01-03")


def test_patterns_are_well_formed_and_show_what_is_missing() -> None:
    safety = ComponentSafety("c", "The reader", "A bank", "cheques", ["wrong amount"]).case()
    honoured = DeletionHonoured("r-1", "empirical", "fine-tune", safety_case="case", not_covered=["backups"]).case()
    for case in (safety, honoured):
        assert problems(case) == []
        assert read(write(case)) == case
        assert evaluate(case, {}, scene()).verdict is Status.UNDEVELOPED
    supported = evaluate(honoured, {}, scene(others={"case": Status.UNDERMINED}))
    assert supported.standings["G-within"].status is Status.UNDERMINED


def test_the_picture_draws_every_node_apart() -> None:
    case = ComponentSafety("c", "The <reader>", "A & B", "cheques", ["wrong amount"]).case()
    at = places(case)
    assert len(set(at.values())) == len(case.nodes)
    assert all(at[node.id][1] < at[below][1] for node in case.nodes for below in node.supported_by)
    done = evaluate(case, {}, scene())
    drawn = svg(case, done.standings)
    assert all(f'href="#{node.id}"' in drawn for node in case.nodes)
    assert "<reader>" not in drawn
    assert all(f"**{node.id}**" in markdown(done) for node in case.nodes)


def test_cyclonedx_declarations_keep_to_the_published_schema() -> None:
    folder = resources.files(pytest.importorskip("cyclonedx.schema")) / "_res"
    plain = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text("utf-8"))
    others = {
        name: json.loads((folder / name).read_text("utf-8"))
        for name in ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    }
    from referencing import Registry, Resource

    registry: Registry[Any] = Registry().with_resources(
        [(f"http://cyclonedx.org/schema/{name}", Resource.from_contents(body)) for name, body in others.items()]
    )
    validator = jsonschema.Draft7Validator(plain, registry=registry)
    document = cyclonedx(evaluate(small(), checks(), scene()), "2026-01-01T00:00:00Z")
    assert list(validator.iter_errors(document)) == []
    references = {each["bom-ref"] for name in ("claims", "evidence") for each in document["declarations"][name]}
    assert {"G1", "Sn2"} <= references
    document["declarations"]["claims"][0]["predicate"] = 7
    assert list(validator.iter_errors(document))


def test_rows_of_a_group_are_bound_to_that_group_alone() -> None:
    known = {"rows-good": AtLeast("train rows")}
    nodes = [
        Node("G1", Kind.GOAL, "Safe", ("Sn1", "Sn2")),
        *(
            Node(f"Sn{number}", Kind.SOLUTION, name, check="rows-good", arguments={"least": 3, "group": name})
            for number, name in enumerate(("adult", "child"), 1)
        ),
    ]
    case = Case("groups", tuple(nodes))

    def people(adult: float, **more: float) -> Scene:
        subjects = {"train rows": 9.0, "train rows of adult": adult, **more}
        return Scene(subjects, {name: str(value) for name, value in subjects.items()}, KEY, [KEY.public], "now")

    first = evaluate(case, known, people(4, **{"train rows of child": 5}))
    assert (first.verdict, known["rows-good"].runs) == (Status.SUPPORTED, [4, 5])
    evidence = first.standings["Sn1"].evidence
    assert evidence is not None
    assert dict(evidence.inputs) == {"train rows of adult": "4"}
    after = evaluate(case, known, people(2, **{"train rows of child": 5}), first.book)
    assert after.ran == ("Sn1",)
    assert after.standings["Sn1"].status is Status.UNDERMINED
    gone = standings(case, known, people(4), first.book)
    assert gone["Sn2"].status is Status.STALE
    assert "train rows of child" in evaluate(case, known, people(4)).standings["Sn2"].why
