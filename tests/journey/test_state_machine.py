"""Random lives of requests against a model of a few lines: what is legal happens, what is not changes nothing."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import toy_workspace as toy
from expunge.errors import ExpungeError, OperatorError
from expunge.journey import decisions, history, requests
from expunge.journey.checks import fsck
from expunge.journey.requests import Subject, Wish
from expunge.journey.transitions import DENIALS, TABLE, Actor, State, Target
from expunge.ledger import log

S = State
EARLY = {S.RECEIVED, S.VERIFIED, S.SCREENED, S.HELD, S.PLANNED}
ENDS = {S.CLOSED, S.DENIED, S.CANCELLED}
BEFORE = (("screen", S.VERIFIED, S.SCREENED), ("plan", S.SCREENED, S.PLANNED))
RUN = (
    ("unlearn", S.PLANNED, S.UNLEARNED),
    ("audit", S.UNLEARNED, S.AUDITED),
    ("receipt", S.AUDITED, S.RECEIPTED),
    ("close", S.RECEIPTED, S.CLOSED),
)
OWNERS, MOST = 9, 8
TROUBLE = ("work screen", "work plan", "work unlearn", "work audit", "work receipt")
PEOPLE = ("verify", "release", "release", "hold", "retry", "deny", "cancel")
LIFE = ("file", "file", "work", *TROUBLE, *PEOPLE, "move")
WORDS = {"by": "Jane", "reason": "because"}


class Trouble(toy.ToySteps):
    """Holds every second owner, and fails in one step."""

    def __init__(self, store: toy.Store, step: str) -> None:
        super().__init__(store, suspicious=2)
        if step:
            setattr(self, step, self._refuse)

    def _refuse(self, argument: object) -> Any:
        raise OperatorError("bad-data", "not today")


class Journey(RuleBasedStateMachine):
    """The model: where each request stands, where it failed, whose it is; which rows are left; how many receipts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = toy.create(self.folder / "ws", toy.people(OWNERS))
        self.state: dict[str, State] = {}
        self.failed_in: dict[str, State | None] = {}
        self.owner: dict[str, int] = {}
        self.keys: set[int] = set()
        self.rows = set(range(OWNERS))
        self.receipts = 0

    def teardown(self) -> None:
        self.store.close()
        assert fsck(self.folder / "ws").problems == ()
        shutil.rmtree(self.folder)

    def refused(self, change: Callable[[toy.Transaction], object]) -> str | None:
        """The code of the error that a change raised, or None."""
        try:
            with self.store.transaction() as tx:
                change(tx)
        except ExpungeError as error:
            return error.code
        return None

    @rule(data=st.data(), what=st.sampled_from(LIFE))
    def live(self, data: st.DataObject, what: str) -> None:
        """One rule for all, so that no run goes without some of them."""
        if not self.state or (what == "file" and len(self.state) < MOST):
            draw = data.draw(st.tuples(st.integers(0, MOST), st.integers(0, OWNERS - 1), st.booleans()))
            self.file(*draw)
        elif what.startswith("work"):
            self.work(what.partition(" ")[2])
        else:
            alive = [request for request, state in self.state.items() if state not in ENDS]
            some = list(self.state) if what == "move" or not alive else alive
            request = some[data.draw(st.integers(0, MOST)) % len(some)]
            if what == "move":
                self.a_move_is_made(request, *data.draw(st.tuples(st.sampled_from(TABLE), st.sampled_from(Actor))))
            elif what != "file":
                getattr(self, f"_{what}")(request)

    def file(self, key: int, owner: int, verified: bool) -> None:
        wish, by, found = Wish(Subject(f"owner-{owner:04d}")), "desk" if verified else None, []
        code = self.refused(lambda tx: found.append(requests.file(tx, toy.key(key), wish, verified_by=by)))
        assert code is None or (code == "key-reused" and key in self.keys)
        self.keys.add(key)
        if code is not None:
            return
        request = found[0].id
        if request in self.state:
            assert found[0].subject is None or self.owner[request] == owner
            if verified and self.state[request] is S.RECEIVED:
                self.state[request] = S.VERIFIED
            return
        self.state[request] = S.VERIFIED if verified else S.RECEIVED
        self.failed_in[request], self.owner[request] = None, owner

    def decide(self, request: str, sources: set[State], target: State, decision: Callable[..., object]) -> None:
        """A decision is taken from its sources and from nowhere else; again right after, it is the same decision."""
        before, stands = self.state[request], self.failed_in[request] or self.state[request]
        with self.store.reading() as connection:
            last = history.last(connection, request)
        if stands in sources:
            assert self.refused(decision) is None
            self.state[request], self.failed_in[request] = target, None
        elif last is None or last.target is not target or before is not target:
            assert self.refused(decision) == "illegal-move"

    def _verify(self, request: str) -> None:
        with self.store.reading() as connection:
            verified = requests.get(connection, request).verified_at
        if verified is None:
            self.decide(request, {S.RECEIVED}, S.VERIFIED, lambda tx: decisions.verify(tx, request, by="desk"))

    def _release(self, request: str) -> None:
        self.decide(request, {S.HELD}, S.SCREENED, lambda tx: decisions.release(tx, request, **WORDS))

    def _hold(self, request: str) -> None:
        if self.failed_in[request] is None:
            self.decide(request, {S.SCREENED}, S.HELD, lambda tx: decisions.hold(tx, request, **WORDS))

    def _retry(self, request: str) -> None:
        back = self.failed_in[request]
        if back is not None:
            self.decide(request, {back}, back, lambda tx: decisions.retry(tx, request))

    def _deny(self, request: str) -> None:
        self.decide(request, EARLY, S.DENIED, lambda tx: decisions.deny(tx, request, DENIALS[0], **WORDS))

    def _cancel(self, request: str) -> None:
        self.decide(request, EARLY, S.CANCELLED, lambda tx: decisions.cancel(tx, request))

    def a_move_is_made(self, request: str, move: Any, actor: Actor) -> None:
        """What is not in the table, or stays where it is: the others are people's and the worker's."""
        code = "illegal-move"
        if self.state[request] in move.sources and actor in move.actors:
            if move.target is not Target.SAME:
                return
            code = None
        assert self.refused(lambda tx: requests.move(tx, request, move.name, actor, **WORDS)) == code

    def work(self, trouble: str) -> None:
        outcome = toy.carry(self.store, steps=Trouble(self.store, trouble))
        for request, back in self.failed_in.items():
            self.state[request], self.failed_in[request] = back or self.state[request], None
        self._carried(list(self.state), BEFORE, trouble)
        under_way = [request for request, state in self.state.items() if state in (S.UNLEARNED, S.AUDITED)]
        self._carried(under_way, RUN, trouble)
        for request in [request for request, state in self.state.items() if state is S.PLANNED]:
            if not any(back in (S.UNLEARNED, S.AUDITED) for back in self.failed_in.values()):
                self._carried([request], RUN, trouble)
        assert {each.id: each.state for each in outcome.requests}.items() <= self.state.items()
        assert set(outcome.errors) == {each.id for each in outcome.requests if each.state is S.FAILED}

    def _carried(self, some: list[str], steps: tuple[tuple[str, State, State], ...], trouble: str) -> None:
        """Part of the pipeline, in the model."""
        for request in some:
            owner = self.owner[request]
            for step, source, target in steps:
                if self.state[request] is not source:
                    continue
                if step == trouble or (step == "screen" and owner not in self.rows):
                    self.state[request], self.failed_in[request] = S.FAILED, source
                    break
                self.state[request] = S.HELD if step == "screen" and owner and owner % 2 == 0 else target
                if step == "receipt":
                    self.rows -= {owner}
                    self.receipts += 1

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        with self.store.reading() as connection:
            found = requests.list_all(connection)
            assert history.replayed(history.read(connection)) == self.state
            assert log.size(connection) == self.receipts
        assert {each.id: each.state for each in found} == self.state
        assert {each.id: each.failed_in for each in found} == self.failed_in
        assert {int(owner[-4:]) for owner in toy.rows_now(self.store)} == self.rows


Journey.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking such long stories takes minutes
    suppress_health_check=list(HealthCheck),
)
TestJourney = Journey.TestCase
