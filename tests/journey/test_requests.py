"""Requests: one however often they are asked for, moved by the table alone, with nobody's name in what stays."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import toy_workspace as toy
from expunge.errors import ExpungeError
from expunge.journey import decisions, history, requests
from expunge.journey.checks import fsck
from expunge.journey.requests import Subject, Wish
from expunge.journey.transitions import DENIALS, State
from expunge.ledger import absence
from expunge.ledger.store import Store

WISH = Wish(Subject("owner-0001"))
OTHER = Wish(Subject("owner-0002"))


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 15, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with toy.create(tmp_path / "ws", toy.people(8), clock=clock) as made:
        yield made


def file(store: Store, number: int, wish: Wish = WISH, by: str | None = None) -> requests.Request:
    with store.transaction() as tx:
        return requests.file(tx, toy.key(number), wish, verified_by=by)


def get(store: Store, request: str) -> requests.Request:
    with store.reading() as connection:
        return requests.get(connection, request)


def events(store: Store, request: str | None = None) -> tuple[history.Event, ...]:
    with store.reading() as connection:
        return history.read(connection, request)


def decide(store: Store, decision: Callable[..., Any], request: str, *arguments: str, **words: str) -> Any:
    with store.transaction() as tx:
        return decision(tx, request, *arguments, **words)


def code_of(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    with pytest.raises(ExpungeError) as caught:
        call(*arguments, **options)
    return caught.value.code


def everything(store: Store) -> list[requests.Request]:
    with store.reading() as connection:
        return list(requests.list_all(connection))


def test_asking_twice_is_one_request(store: Store):
    first = file(store, 1)
    assert file(store, 1) == first
    with store.transaction() as tx:
        assert requests.file(tx, str(toy.key(1)).upper(), Wish(Subject("owner-0001"))) == first
    assert everything(store) == [first]
    assert [event.move for event in events(store)] == ["file"]


def test_the_order_of_record_ids_is_no_difference(store: Store):
    first = file(store, 1, Wish(Subject(None, ("b", "a", "a"))))
    assert file(store, 1, Wish(Subject(None, ("a", "b")))) == first
    assert first.subject == Subject(None, ("a", "b"))


@pytest.mark.parametrize(
    "other",
    [
        OTHER,
        Wish(Subject("owner-0001", ("a",))),
        Wish(Subject(None, ("owner-0001",))),
        Wish(Subject("owner-0001"), {"kind": "Retrain"}),
        Wish(Subject("owner-0001"), regime="ccpa"),
    ],
)
def test_a_key_stands_for_one_wish(store: Store, other: Wish):
    file(store, 1)
    assert code_of(file, store, 1, other) == "key-reused"
    assert len(everything(store)) == 1


def test_other_keys_are_other_requests(store: Store):
    assert len({file(store, number).id for number in range(5)}) == 5


def test_a_verified_asking_verifies_the_one_that_waits(store: Store):
    first = file(store, 1)
    again = file(store, 1, by="desk")
    assert again.id == first.id
    assert again.state is State.VERIFIED
    assert file(store, 1, by="desk") == again == file(store, 1)
    assert [event.move for event in events(store)] == ["file", "verify"]


def test_an_unverified_request_never_shadows_a_verified_one(store: Store):
    """Whoever guesses or steals a key and asks for something else first gains nothing by it."""
    theirs = file(store, 1, OTHER)
    ours = file(store, 1, WISH, by="desk")
    assert ours.id != theirs.id
    assert (ours.state, get(store, theirs.id).state) == (State.VERIFIED, State.RECEIVED)
    assert file(store, 1, WISH, by="desk") == ours
    assert file(store, 1, WISH) == ours
    assert code_of(file, store, 1, Wish(Subject("owner-0003")), by="desk") == "key-reused"
    with store.reading() as connection:
        assert set(requests.filed_under(connection, toy.key(1))) == {theirs, ours}
        assert requests.filed_under(connection, toy.key(2)) == ()


@pytest.mark.parametrize("end", ["deny", "cancel"])
def test_nor_does_one_that_was_turned_away(store: Store, end: str):
    theirs = file(store, 1)
    if end == "deny":
        decide(store, decisions.deny, theirs.id, "insuf_verification", by="Jane", reason="no papers")
    else:
        decide(store, decisions.cancel, theirs.id)
    ours = file(store, 1, by="desk")
    assert ours.id != theirs.id
    assert ours.state is State.VERIFIED
    assert file(store, 1, by="desk") == ours


def test_after_the_subject_is_gone_the_key_alone_decides(store: Store):
    first = file(store, 1, by="desk")
    toy.carry(store)
    again = file(store, 1, by="desk")
    assert (again.id, again.state, again.subject) == (first.id, State.CLOSED, None)


def test_what_cannot_be_filed(store: Store):
    assert code_of(file, store, 1, Wish(Subject())) == "nothing-to-delete"
    assert code_of(file, store, 1, Wish(Subject("x" * 257))) == "bad-arguments"
    assert code_of(file, store, 1, Wish(Subject(""))) == "bad-arguments"
    assert code_of(file, store, 1, Wish(Subject("\ud800"))) == "bad-arguments"
    assert code_of(file, store, 1, Wish(Subject("x"), regime="moon")) == "unknown-regime"
    assert code_of(file, store, 1, Wish(Subject("x"), method=object())) == "not-json"
    assert code_of(file, store, 1, WISH, by=" ") == "reason-missing"
    assert code_of(file, store, 1, Wish(Subject("x"), batch="two words")) == "bad-arguments"
    assert code_of(file, store, 1, Wish(Subject("Jane"), batch="for.Jane")) == "names-a-person"
    with store.transaction() as tx:
        assert code_of(requests.file, tx, "not a key", WISH) == "bad-arguments"
        assert code_of(requests.get, tx.connection, "r0") == "unknown-request"
    assert everything(store) == []


def test_many_are_found_among_many(store: Store):
    made = [file(store, number) for number in range(30)]
    with store.reading() as connection:
        ids = [request.id for request in made[5:20]]
        assert set(requests.among(connection, [*ids, *ids, "r0"], State)) == set(made[5:20])
        assert requests.among(connection, ids, [State.CLOSED]) == ()
        assert requests.among(connection, [], State) == ()


def test_requests_stand_in_the_order_of_their_filing_whatever_the_clock_says(store: Store, clock: Clock):
    first = file(store, 1)
    clock.now -= timedelta(days=400)
    second = file(store, 2, OTHER)
    assert [each.id for each in everything(store)] == [first.id, second.id]
    with store.reading() as connection:
        assert requests.ids(connection, [State.RECEIVED]) == (first.id, second.id)
        assert [each.id for each in requests.among(connection, [second.id, first.id], State)] == [first.id, second.id]


def test_verifying_twice_is_no_mistake(store: Store):
    request = file(store, 1)
    for _ in range(2):
        assert decide(store, decisions.verify, request.id, by="desk") is State.VERIFIED
    assert [event.move for event in events(store)] == ["file", "verify"]


def test_a_hold_waits_for_a_person_s_reasoned_decision(store: Store):
    request = file(store, 1, Wish(Subject("owner-0002")), by="desk")
    outcome = toy.carry(store, steps=toy.ToySteps(store, suspicious=2))
    assert outcome.waiting == {request.id: "a person's release"}
    assert toy.carry(store, steps=toy.ToySteps(store, suspicious=2)).requests[0].state is State.HELD
    for words in ({"by": "", "reason": "fine"}, {"by": "Jane", "reason": " "}):
        assert code_of(decide, store, decisions.release, request.id, **words) == "reason-missing"
    decide(store, decisions.release, request.id, by="Jane", reason="I know them")
    assert toy.carry(store, steps=toy.ToySteps(store, suspicious=2)).requests[0].state is State.CLOSED
    released = next(event for event in events(store) if event.move == "release")
    assert (released.by, released.reason) == ("Jane", "I know them")


def test_a_person_may_hold_a_screened_request(store: Store):
    request = file(store, 1, by="desk")
    assert code_of(decide, store, decisions.hold, request.id, by="Jane", reason="odd") == "illegal-move"
    with store.transaction() as tx:
        requests.move(tx, request.id, "screen", requests.Actor.WORKER)
    assert decide(store, decisions.hold, request.id, by="Jane", reason="odd") is State.HELD


@pytest.mark.parametrize("denial", DENIALS)
def test_denials_have_the_protocols_reasons(store: Store, denial: str):
    request = file(store, 1)
    decide(store, decisions.deny, request.id, denial, by="Jane", reason="see the letter")
    with store.reading() as connection:
        assert decisions.denial(connection, request.id) == denial
    assert get(store, request.id).state is State.DENIED
    assert get(store, request.id).subject == WISH.subject


def test_a_denial_without_reason_or_for_another(store: Store):
    request = file(store, 1)
    assert code_of(decide, store, decisions.deny, request.id, "dislike", by="J", reason="r") == "unknown-reason"
    assert code_of(decide, store, decisions.deny, request.id, "other", by="J", reason="") == "reason-missing"
    assert get(store, request.id) == request
    with store.reading() as connection:
        assert decisions.denial(connection, request.id) is None


def test_a_failed_request_can_be_denied_and_cancelled(store: Store):
    denied, cancelled = file(store, 1, Wish(Subject("nobody")), "desk"), file(store, 2, Wish(Subject("nobody")), "desk")
    toy.carry(store)
    assert {each.state for each in everything(store)} == {State.FAILED}
    decide(store, decisions.deny, denied.id, "no_match", by="Jane", reason="not in our books")
    decide(store, decisions.cancel, cancelled.id)
    assert [event.move for event in events(store, denied.id)][-2:] == ["retry", "deny"]
    assert [event.move for event in events(store, cancelled.id)][-2:] == ["retry", "cancel"]
    assert fsck(store.folder).clean


def test_what_is_done_cannot_be_undone(store: Store):
    request = file(store, 1, by="desk")
    toy.carry(store)
    for decision, words in ((decisions.cancel, {}), (decisions.hold, {"by": "J", "reason": "r"})):
        assert code_of(decide, store, decision, request.id, **words) == "illegal-move"
    assert code_of(decide, store, decisions.deny, request.id, "other", by="J", reason="r") == "illegal-move"


def test_the_same_decision_again_is_the_same_decision(store: Store):
    """Whoever does not know whether a command came through runs it again."""
    request = file(store, 1)
    words = {"by": "Jane", "reason": "because"}
    for decision, arguments in (
        (decisions.extend, ()),
        (decisions.stop_clock, ()),
        (decisions.deny, ("other",)),
    ):
        once = decide(store, decision, request.id, *arguments, **words)
        assert decide(store, decision, request.id, *arguments, **words) == once
    assert [event.move for event in events(store)] == ["file", "extend", "stop-clock", "deny"]
    assert code_of(decide, store, decisions.deny, request.id, "no_match", **words) == "illegal-move"
    assert code_of(decide, store, decisions.deny, request.id, "other", by="Jim", reason="because") == "illegal-move"


def test_deadlines_are_extended_once_with_a_reason_and_in_time(store: Store, clock: Clock):
    request = file(store, 1)
    with store.reading() as connection:
        assert requests.deadline(connection, request, clock()).due == date(2026, 4, 15)
    assert code_of(decide, store, decisions.extend, request.id, by="Jane", reason="") == "reason-missing"
    assert decide(store, decisions.extend, request.id, by="Jane", reason="many requests").due == date(2026, 6, 15)
    assert code_of(decide, store, decisions.extend, request.id, by="Jane", reason="more") == "already-extended"
    late = file(store, 2)
    clock.now += timedelta(days=32)
    assert code_of(decide, store, decisions.extend, late.id, by="Jane", reason="late") == "deadline-passed"
    assert code_of(decide, store, decisions.stop_clock, late.id, by="Jane", reason="late") == "deadline-passed"
    assert get(store, request.id).state is State.RECEIVED


def test_clocks_stop_and_start_where_the_law_lets_them(store: Store, clock: Clock):
    request = file(store, 1)
    assert code_of(decide, store, decisions.start_clock, request.id, by="Jane") == "illegal-move"
    assert decide(store, decisions.stop_clock, request.id, by="Jane", reason="papers").stopped
    assert code_of(decide, store, decisions.stop_clock, request.id, by="Jane", reason="again") == "illegal-move"
    clock.now += timedelta(days=5)
    started = decide(store, decisions.start_clock, request.id, by="Jane")
    assert (started.stopped, started.due) == (False, date(2026, 4, 20))
    other = file(store, 2, Wish(Subject("x"), regime="ccpa"))
    assert code_of(decide, store, decisions.stop_clock, other.id, by="Jane", reason="papers") == "clock-runs"
    assert fsck(store.folder).clean


def test_words_that_name_the_owner_are_refused(store: Store):
    request = file(store, 1, by="desk")
    for words in ({"by": "owner-0001", "reason": "r"}, {"by": "Jane", "reason": "it is owner-0001, of course"}):
        assert code_of(decide, store, decisions.deny, request.id, "other", **words) == "names-a-person"
    decide(store, decisions.deny, request.id, "other", by="Jane", reason="another one: owner-00012")


@pytest.mark.parametrize(
    "words", ["it is jos\u00e9-1", "it is jose\u0301-1", "it is JOS\u00c9-1", "\uff4aos\u00e9-1 asked"]
)
def test_other_spellings_of_a_name_are_names(store: Store, words: str):
    request = file(store, 1, Wish(Subject("Jos\u00e9-1")), by="desk")
    assert code_of(decide, store, decisions.deny, request.id, "other", by="Jane", reason=words) == "names-a-person"


@pytest.mark.parametrize("words", ["x" * 2001, "red \x1b[31m", "right to left \u202e", "half \ud800", "nul \0"])
def test_words_are_short_and_printable(store: Store, words: str):
    request = file(store, 1, by="desk")
    assert code_of(decide, store, decisions.deny, request.id, "other", by="Jane", reason=words) == "bad-arguments"
    decide(store, decisions.deny, request.id, "other", by="Jane", reason="zwei Zeilen,\nweiß €")


@pytest.mark.parametrize("owner", ["screening", "screening-2", "the screening's record says why", "method", "worker"])
def test_no_choice_of_an_owner_id_stands_in_the_way(store: Store, owner: str):
    """Ids that are also words of ours: a request must not be stopped by what its owner is called."""
    toy.carry(store)
    request = file(store, 1, Wish(Subject(owner), {"kind": "method"}, batch="monday"), by="desk")

    class Blind(toy.ToySteps):
        def screen(self, request: requests.Request) -> dict[str, object]:
            return {"verdict": "held", "reasons": ["odd"]}

    assert toy.carry(store, steps=Blind(store)).waiting == {request.id: "a person's release"}


def test_methods_are_compared_as_they_are_stored(store: Store):
    first = file(store, 1, Wish(Subject("x"), {"widths": (1, 2), "rate": 1.0}))
    assert file(store, 1, Wish(Subject("x"), {"rate": 1, "widths": [1, 2]})) == first


def test_canaries_are_in_nothing_that_is_shown(store: Store):
    """Owner ids, record ids: not in rows that stay, events, JSON, representations, or errors."""
    canary, record = "CANARY-OWNER-83219", "CANARY-RECORD-5521"
    request = file(store, 1, Wish(Subject(canary, (record,))))
    decide(store, decisions.verify, request.id, by="desk")
    errors = [code_of(file, store, 1, OTHER)]
    outcome = toy.carry(store)
    errors += [str(error) + error.hint for error in outcome.errors.values()]
    assert errors[1:]
    decide(store, decisions.cancel, request.id)
    shown = [repr(each) + json.dumps(each.to_json()) for each in everything(store)]
    shown += [repr(each) + json.dumps(each.to_json()) for each in events(store)]
    assert "CANARY" not in "".join([*errors, *shown, repr(outcome)])
    assert absence.search(store, canary.encode()) != ()
    toy.carry(store)
    assert absence.search(store, canary.encode()) == ()
    assert absence.search(store, record.encode()) == ()


def test_subjects_of_open_and_denied_requests_stay_until_they_are_erased(store: Store):
    denied, opened = file(store, 1), file(store, 2)
    decide(store, decisions.deny, denied.id, "other", by="Jane", reason="r")
    toy.carry(store)
    assert get(store, denied.id).subject == get(store, opened.id).subject == WISH.subject
    with store.transaction() as tx:
        assert requests.erase_subjects(tx, [denied.id]) == 1
        assert requests.erase_subjects(tx, [denied.id]) == 0
        assert code_of(requests.erase_subjects, tx, [opened.id]) == "illegal-move"
    assert get(store, denied.id).subject is None
    assert get(store, opened.id).subject == WISH.subject


def test_events_come_back_as_they_were(store: Store, clock: Clock):
    request = file(store, 1)
    decide(store, decisions.deny, request.id, "other", by="Jane", reason="because")
    last = events(store)[-1]
    assert last.to_json() == {
        "number": 2,
        "request": request.id,
        "at": clock().isoformat(),
        "move": "deny",
        "source": "received",
        "target": "denied",
        "actor": "person",
        "by": "Jane",
        "reason": "because",
        "detail": {"denial": "other"},
    }
    assert history.replayed(events(store)) == {request.id: State.DENIED}
