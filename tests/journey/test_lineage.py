"""Derived models: known, followed through replacements, and in the way of fulfilment until they are touched."""

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toy_workspace as toy
from expunge.errors import ExpungeError
from expunge.journey import decisions, lineage, requests
from expunge.journey.checks import fsck
from expunge.journey.transitions import Actor, State
from expunge.ledger.store import Store


def model(name: str) -> str:
    return sha256(name.encode()).hexdigest()


@pytest.fixture
def store(tmp_path: Path):
    with toy.create(tmp_path / "ws", toy.people(8)) as made:
        yield made


def present(store: Store) -> str:
    return next(
        each.digest for each in models(store) if each.retired_at is None and each.kind in ("trained", "unlearned")
    )


def models(store: Store) -> tuple[lineage.Model, ...]:
    with store.reading() as connection:
        return lineage.list_all(connection)


def derive(store: Store, parent: str, name: str, kind: str = "distilled") -> str:
    with store.transaction() as tx:
        lineage.derive(tx, [parent], model(name), kind)
    return model(name)


def retire(store: Store, digest: str, replaced_by: str | None = None) -> None:
    with store.transaction() as tx:
        lineage.retire(tx, digest, replaced_by=replaced_by)


def waiting(store: Store, request: str) -> set[str]:
    with store.reading() as connection:
        return {each.digest for each in lineage.untouched(connection, request)}


def code_of(call, *arguments, **options) -> str:
    with pytest.raises(ExpungeError) as caught:
        call(*arguments, **options)
    return caught.value.code


def test_a_request_waits_for_every_derived_model(store: Store):
    child = derive(store, present(store), "child")
    grandchild = derive(store, child, "grandchild")
    request = toy.file(store, 1, "owner-0001")
    outcome = toy.carry(store)
    assert outcome.requests[0].state is State.RECEIPTED
    assert outcome.waiting == {request.id: "2 derived models"}
    assert waiting(store, request.id) == {child, grandchild}
    with store.transaction() as tx:
        assert code_of(requests.move, tx, request.id, "close", Actor.WORKER) == "derived-untouched"
    retire(store, child)
    assert toy.carry(store).requests[0].state is State.RECEIPTED
    retire(store, grandchild)
    assert toy.carry(store).requests[0].state is State.CLOSED
    assert fsck(store.folder).clean


def test_a_model_that_is_derived_while_the_deletion_runs_counts(store: Store):
    old = present(store)
    request = toy.file(store, 1, "owner-0001")

    class Slow(toy.ToySteps):
        def receipt(self, request: requests.Request):
            derive(store, old, "late")
            return super().receipt(request)

    assert toy.carry(store, steps=Slow(store)).waiting == {request.id: "1 derived models"}


def test_a_later_deletion_reaches_what_came_from_earlier_models(store: Store):
    """What was distilled from the first model has seen the second person's records too."""
    child = derive(store, present(store), "child")
    first = toy.file(store, 1, "owner-0001")
    toy.carry(store)
    with store.transaction() as tx:
        decisions.exempt(tx, first.id, child, by="Jane", reason="trained on other people only")
    assert toy.carry(store, [first.id]).requests[0].state is State.CLOSED
    second = toy.file(store, 2, "owner-0002")
    assert toy.carry(store).waiting == {second.id: "1 derived models"}
    with store.reading() as connection:
        assert [each.digest for each in lineage.derived_from(connection, present(store))] == [child]


def test_a_derived_model_that_was_made_anew_stands_in_the_old_one_s_place(store: Store):
    child = derive(store, present(store), "child")
    first = toy.file(store, 1, "owner-0001")
    toy.carry(store)
    new = next(each.digest for each in models(store) if each.kind == "unlearned")
    again = derive(store, new, "child again")
    retire(store, child, replaced_by=again)
    assert waiting(store, first.id) == set()
    assert toy.carry(store).requests[0].state is State.CLOSED
    second = toy.file(store, 2, "owner-0002")
    toy.carry(store)
    assert waiting(store, second.id) == {again}


def test_models_without_descent_are_in_nobody_s_way(store: Store):
    with store.transaction() as tx:
        lineage.register(tx, model("stranger"), "trained")
    derive(store, model("stranger"), "child of the stranger")
    request = toy.file(store, 1, "owner-0001")
    toy.carry(store)
    assert waiting(store, request.id) == set()
    with store.reading() as connection:
        assert requests.get(connection, request.id).state is State.CLOSED
        assert len(lineage.affected(connection, request.id)) == 1


def test_a_model_that_was_retired_too_soon_is_still_the_forerunner_of_the_next(store: Store):
    """Retired by hand, then replaced: what was derived from it before stays known to the next deletion."""
    first = present(store)
    child = derive(store, first, "child")
    retire(store, first)
    retired = next(each for each in models(store) if each.digest == first).retired_at
    request = toy.file(store, 1, "owner-0001")
    toy.carry(store)
    assert waiting(store, request.id) == {child}
    after = next(each for each in models(store) if each.digest == first)
    assert (after.retired_at, after.replaced_by) == (retired, present(store))


def test_what_is_refused(store: Store):
    child = derive(store, present(store), "child")
    grandchild = derive(store, child, "grandchild")
    assert code_of(derive, store, model("unknown"), "x") == "unknown-model"
    assert code_of(derive, store, "../x", "x") == "unsafe-path"
    assert code_of(derive, store, child, "child") == "bad-arguments"
    with store.transaction() as tx:
        assert code_of(lineage.derive, tx, [grandchild], child, "distilled") == "bad-arguments"
        assert code_of(lineage.derive, tx, [], model("x"), "distilled") == "bad-arguments"
        assert code_of(lineage.retire, tx, model("unknown")) == "unknown-model"
        assert code_of(lineage.retire, tx, child, replaced_by=model("unknown")) == "unknown-model"
        assert code_of(lineage.exempt, tx, "r", model("unknown")) == "unknown-model"
        assert code_of(lineage.exempt, tx, "r", present(store)) == "illegal-move"
    request = toy.file(store, 1, "owner-0001")
    for words, code in (
        ({"by": "Jane", "reason": " "}, "reason-missing"),
        ({"by": "Jane", "reason": "not owner-0001"}, "names-a-person"),
    ):
        assert code_of(exempt, store, request.id, child, **words) == code
    exempt(store, request.id, child, by="Jane", reason="of other people")
    toy.carry(store)
    assert waiting(store, request.id) == {grandchild}


def exempt(store: Store, request: str, digest: str, **words: str) -> None:
    with store.transaction() as tx:
        decisions.exempt(tx, request, digest, **words)


def test_saying_it_twice_is_no_mistake(store: Store):
    for _ in range(2):
        child = derive(store, present(store), "child")
        assert len(models(store)) == 2
    for _ in range(2):
        retire(store, child)
    assert fsck(store.folder).clean


@given(edges=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14), start=st.integers(0, 6))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_descent_is_what_naive_walking_finds(tmp_path_factory, edges: list[tuple[int, int]], start: int):
    def reach(node: int, seen: frozenset[int] = frozenset()) -> set[int]:
        steps = {child for parent, child in taken if parent == node} - seen
        return steps | {far for step in steps for far in reach(step, seen | {step})}

    taken: list[tuple[int, int]] = []
    with Store.create(tmp_path_factory.mktemp("x") / "ws", steps=toy.tables.MIGRATIONS) as store:
        with store.transaction() as tx:
            for number in range(7):
                lineage.register(tx, model(str(number)), "x")
            for parent, child in edges:
                if parent == child or parent in reach(child):
                    assert code_of(lineage.derive, tx, [model(str(parent))], model(str(child)), "x") == "bad-arguments"
                else:
                    lineage.derive(tx, [model(str(parent))], model(str(child)), "x")
                    taken.append((parent, child))
        with store.reading() as connection:
            found = {each.digest for each in lineage.derived_from(connection, model(str(start)))}
    assert found == {model(str(number)) for number in reach(start)}


def test_a_model_is_of_one_kind(store: Store) -> None:
    with store.transaction() as tx:
        lineage.register(tx, model("parent"), "trained")
    derive(store, model("parent"), "child")
    derive(store, model("parent"), "child")
    assert code_of(derive, store, model("parent"), "child", "quantised") == "bad-arguments"
    assert {each.digest: each.kind for each in models(store)}[model("child")] == "distilled"


@pytest.mark.parametrize("kind", ["owner-007", "\x1b[2J", "", " distilled", "x" * 41, "digit 0002", "a\nb"])
def test_a_kind_can_name_nobody(store: Store, kind: str) -> None:
    with store.transaction() as tx:
        lineage.register(tx, model("parent"), "trained")
    with pytest.raises(ExpungeError) as caught, store.transaction() as tx:
        lineage.derive(tx, [model("parent")], model("child"), kind)
    assert caught.value.code == "bad-arguments"
