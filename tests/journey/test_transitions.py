"""The table, walked exhaustively; and tables with a mistake, which the explorer must name."""

import itertools
from dataclasses import replace

import pytest

from expunge.errors import OperatorError
from expunge.journey.transitions import (
    DENIALS,
    MILESTONES,
    OPEN,
    START,
    TABLE,
    TERMINAL,
    UNTOUCHED,
    Actor,
    Move,
    State,
    Target,
    check,
    find,
    target,
)

S = State

# Written down by hand from the specification, not computed from the table: what may follow what.
FOLLOWS = {
    S.RECEIVED: {S.VERIFIED, S.DENIED, S.CANCELLED},
    S.VERIFIED: {S.SCREENED, S.DENIED, S.CANCELLED, S.FAILED},
    S.SCREENED: {S.HELD, S.PLANNED, S.DENIED, S.CANCELLED, S.FAILED},
    S.HELD: {S.SCREENED, S.DENIED, S.CANCELLED},
    S.PLANNED: {S.UNLEARNED, S.DENIED, S.CANCELLED, S.FAILED},
    S.UNLEARNED: {S.AUDITED, S.FAILED},
    S.AUDITED: {S.RECEIPTED, S.FAILED},
    S.RECEIPTED: {S.CLOSED, S.FAILED},
    S.CLOSED: set(),
    S.DENIED: set(),
    S.CANCELLED: set(),
}


def test_the_table_is_sound():
    assert check(TABLE) == ()


@pytest.mark.parametrize("state", [state for state in State if state is not S.FAILED])
def test_every_pair_of_a_move_and_a_state(state: State):
    led = set()
    for move, actor in itertools.product(TABLE, Actor):
        if state not in move.sources or actor not in move.actors:
            with pytest.raises(OperatorError) as caught:
                target(move.name, state, None, actor)
            assert caught.value.code == "illegal-move"
        elif (goal := target(move.name, state, None, actor)) and move.target is not Target.SAME:
            led.add(goal)
    assert led == FOLLOWS[state]


def test_what_failed_goes_back_to_where_it_failed_and_nowhere_else():
    for step in find("fail").sources:
        assert target("retry", S.FAILED, step, Actor.WORKER) is step
        for move in TABLE:
            if move.name != "retry" and S.FAILED in move.sources:
                assert target(move.name, S.FAILED, step, next(iter(move.actors))) is S.FAILED
    with pytest.raises(OperatorError):
        target("retry", S.FAILED, None, Actor.WORKER)


def test_nothing_leads_on_from_an_end():
    assert not any(move.sources & TERMINAL for move in TABLE)
    assert set(State) == OPEN | TERMINAL


def test_only_people_decide_against_a_request_and_for_a_held_one():
    for name in ("deny", "release", "extend", "stop-clock"):
        assert find(name).actors == {Actor.PERSON}
        assert find(name).reasoned
    assert Actor.WORKER not in find("cancel").actors


def test_what_was_changed_can_no_longer_be_withdrawn():
    assert find("deny").sources == find("cancel").sources == UNTOUCHED
    assert not UNTOUCHED & {S.UNLEARNED, S.AUDITED, S.RECEIPTED}


def test_denials_are_the_protocols():
    assert len(set(DENIALS)) == 7
    assert {"suspected_fraud", "insuf_verification", "no_match", "outside_jurisdiction"} < set(DENIALS)


def test_an_unknown_move_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        find("teleport")


def without(name: str) -> tuple[Move, ...]:
    return tuple(move for move in TABLE if move.name != name)


def changed(name: str, **fields: object) -> tuple[Move, ...]:
    return tuple(replace(move, **fields) if move.name == name else move for move in TABLE)  # type: ignore[arg-type]


def added(name: str, source: State, goal: State | Target, actor: Actor = Actor.WORKER) -> tuple[Move, ...]:
    return (*TABLE, Move(name, frozenset({source}), goal, frozenset({actor}), reasoned=True))


BUGGY = {
    "a shortcut": (added("skip", S.SCREENED, S.UNLEARNED), "closed without having been planned"),
    "no audit": (added("skip", S.UNLEARNED, S.AUDITED) + added("x", S.UNLEARNED, S.RECEIPTED)[-1:], "been audited"),
    "straight to the end": (added("skip", S.RECEIVED, S.CLOSED), "closed without having been verified"),
    "receipt first": (added("early", S.PLANNED, S.AUDITED), "audited before it was unlearned"),
    "retry leaps ahead": (changed("retry", target=S.RECEIPTED), "closed without having been screened"),
    "retry starts unverified work": (
        changed("retry", target=S.SCREENED),
        "retry leads from failed in verified to screened",
    ),
    "no way back from a failure": (without("retry"), "failed in verified leads nowhere"),
    "nobody screens": (without("screen"), "screened cannot be reached"),
    "held for ever": (without("release"), None),
    "a dead end": (
        tuple(replace(m, sources=m.sources - {S.HELD}) for m in without("release")),
        "held leads nowhere",
    ),
    "an audit that ends all": (without("receipt"), "audited leads nowhere"),
    "a way out of an end": (added("reopen", S.DENIED, S.VERIFIED), "denied is an end, but reopen leads on"),
    "closed is not the end": (added("reopen", S.CLOSED, S.PLANNED), "closed is an end"),
    "the worker releases": (changed("release", actors=frozenset({Actor.WORKER})), "without a person's"),
    "a release without a reason": (changed("release", reasoned=False), "without a person's"),
    "a hold that goes on by itself": (added("slip", S.HELD, S.PLANNED), "slip leads out of a hold"),
    "a withdrawal too late": (changed("cancel", sources=UNTOUCHED | {S.AUDITED}), "cancelled after a model"),
    "a denial through a failure": (added("give-up", S.FAILED, S.DENIED), "denied after a model was changed"),
    "a name twice": ((*TABLE, TABLE[3]), "release stands in the table twice"),
    "an empty table": ((), "received leads nowhere"),
}


@pytest.mark.parametrize("name", BUGGY)
def test_a_buggy_table_is_caught(name: str):
    table, line = BUGGY[name]
    found = check(table)
    if line is None:  # ends other than fulfilment are ends all the same
        assert found == ()
    else:
        assert any(line in each for each in found), found


def test_every_single_wrong_target_towards_fulfilment_is_caught():
    """Each move of the pipeline in turn leads one milestone too far: none may pass."""
    order = (START, *MILESTONES, S.CLOSED)
    for move in TABLE:
        if move.target in order[1:-1] and move.name != "release":
            further = order[order.index(move.target) + 1]
            assert check(changed(move.name, target=further)), move.name
