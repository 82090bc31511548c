"""Several requests for one person, and the same command again after the close: each ends with a receipt."""

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event

import expunge_verify
import real_workspace
from expunge.cli.main import main
from expunge.errors import ExpungeError
from expunge.journey import (
    artifacts,
    decisions,
    filing,
    lineage,
    lookups,
    pages,
    requests,
    salting,
    sharing,
    transitions,
    worker,
)
from expunge.journey.checks import fsck
from expunge.journey.desk import Desk
from expunge.journey.requests import Request, Subject, Wish
from expunge.journey.steps import ModelSteps
from expunge.journey.tables import MIGRATIONS
from expunge.journey.transitions import Actor
from expunge.journey.workspace import Workspace
from expunge.ledger import objects
from expunge.ledger.store import Store
from expunge.unlearning import FineTune


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return real_workspace.create(tmp_path_factory.mktemp("earlier") / "ws")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    real_workspace.hurry(monkeypatch)


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with workspace.store() as opened:
        yield opened


def filed(store: Store, owner: str | None = None, ids: tuple[str, ...] = (), **more: object) -> Request:
    words = {"method": None, "key": None, **more}
    asked = {filing.subject(owner, ids): words["key"]}
    (request,) = filing.file(store, asked, words["method"], "desk")  # type: ignore[arg-type]
    return request


def verified(outcome: dict[str, object]) -> dict[str, str]:
    report = expunge_verify.verify(Path(str(outcome["bundle"])).read_bytes(), model=Path(str(outcome["model_file"])))
    assert report.holds, report
    return {check.name: check.message for check in report.checks}


def next_owner(store: Store) -> str:
    """One of those who still have training records."""
    return sorted(set(artifacts.read_records(store).train.owners))[0]


def test_requests_that_overlap_all_end_in_receipts_that_verify(workspace: Workspace, store: Store):
    desk, owner = Desk(workspace), next_owner(store)
    held = artifacts.read_records(store).owned_by(owner)
    first, again = filed(store, owner), filed(store, owner)
    assert first.id == again.id, "without a key the same that is open is one request"
    second = filed(store, owner, key="6f0e3f0a-1111-4111-8111-000000000011")
    some = filed(store, ids=held[:1])
    other = filed(store, owner, method=FineTune())
    assert len({first.id, second.id, some.id, other.id}) == 4
    desk._work(store, [first.id], None)
    assert owner not in artifacts.read_records(store).owners
    desk.resume()
    for request, count in ((first, len(held)), (second, len(held)), (some, 1), (other, len(held))):
        outcome = desk.outcome(store, request.id)
        assert (outcome["state"], outcome["forgotten"]) == ("closed", count)
        assert outcome["claim"] == "exact"
        assert f"the {count} of this receipt became tombstones" in verified(outcome)["deletion"]
        assert (sharing.WORDS in str(outcome["degraded"])) == (request != first)
        assert Path(outcome["report"]).is_file()
    assert fsck(workspace.folder).problems == ()


def test_what_is_left_is_deleted_and_the_rest_is_said(workspace: Workspace, store: Store):
    desk, owner = Desk(workspace), next_owner(store)
    held = artifacts.read_records(store).owned_by(owner)
    part, whole = filed(store, ids=held[:2]), filed(store, owner)
    third = filed(store, ids=held)
    desk._work(store, [part.id], None)
    desk._work(store, [whole.id], None)
    desk._work(store, [third.id], None)
    rest, all_of_it = (desk.outcome(store, each.id) for each in (whole, third))
    assert rest["forgotten"] == len(held) - 2
    assert any(part.id in line for line in rest["degraded"])
    verified(rest)
    assert all_of_it["forgotten"] == len(held)
    assert "proof" in verified(all_of_it)["deletion"], "two runs: no single proof joins the roots"
    assert part.id in str(all_of_it["degraded"])
    assert whole.id in str(all_of_it["degraded"])


def test_a_batch_is_one_run_with_a_receipt_each(workspace: Workspace, store: Store):
    desk, key = Desk(workspace), "6f0e3f0a-1111-4111-8111-0000000000b1"
    people = sorted(set(artifacts.read_records(store).train.owners))
    with pytest.raises(ExpungeError) as refused:
        desk.forget_batch([people[0], "nobody-9"])
    assert refused.value.code == "unknown-owner"
    with pytest.raises(ExpungeError) as refused:
        desk.forget_batch(people)
    assert refused.value.code == "delete-everything"
    with store.reading() as connection:
        assert not requests.list_all(connection, transitions.OPEN), "all or none is filed"
    done = desk.forget_batch([people[1], people[0], people[1]], key=key)
    first, second = done["requests"]
    assert done["batch"].startswith("b")
    assert first["model"] == second["model"], "one run"
    for outcome in (first, second):
        assert "became tombstones" in verified(outcome)["deletion"]
    assert not {people[0], people[1]} & set(artifacts.read_records(store).owners)
    again = desk.forget_batch([people[0], people[1]], key=key)
    notices = [outcome.pop("notice") for outcome in again["requests"]]
    assert [notice["code"] for notice in notices] == ["already-deleted"] * 2
    assert [first.pop("notice"), second.pop("notice")] == [None, None]
    assert again == done, "in whatever order, one asking"
    assert [each["request"] for each in desk.forget_batch(people[:2])["requests"]] == [
        first["request"],
        second["request"],
    ]
    with pytest.raises(ExpungeError) as refused:
        desk.forget_batch([people[0], people[2]], key=key)
    assert refused.value.code == "key-reused"
    assert fsck(workspace.folder).problems == ()


def closed_before(store: Store, like: str, count: int) -> None:
    """More closed requests with pages, as if they had gone the way that the request `like` went."""
    with store.transaction() as tx:
        steps = objects.held(tx.connection, worker.holder(like))
        page = objects.held(tx.connection, f"receipt/{like}")["page"]
        for number in range(count):
            made = requests.file(tx, uuid4(), Wish(Subject(f"another-{number}")), verified_by="desk").id
            for step in ("screen", "plan", "unlearn", "audit", "receipt"):
                objects.point(tx, worker.holder(made), step, steps[step])
                requests.move(tx, made, step, Actor.WORKER)
            objects.point(tx, f"receipt/{made}", "page", page)
            for folder in ("reports", "cases"):
                objects.export(tx, page, f"{folder}/{made}.html")
            requests.close(tx, made)


def test_a_deletion_is_no_dearer_for_the_ones_before_it(workspace: Workspace, store: Store):
    """Counted in statements: a thousand closed requests once made the next one nine times as dear."""
    desk, counted = Desk(workspace), []

    def statements() -> tuple[str, int]:
        count, owner = [0], next_owner(store)
        listen = ("before_cursor_execute", lambda *arguments: count.append(1))
        event.listen(Engine, *listen)
        try:
            return desk.forget(owner=owner)["request"], len(count)
        finally:
            event.remove(Engine, *listen)

    for more in (40, 0):
        request, number = statements()
        counted.append(number)
        closed_before(store, request, more)
        desk.resume()
    assert counted[1] - counted[0] < 40, "not one statement for each that is closed"


def test_a_deletion_between_the_look_and_the_filing_is_seen(
    workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """The records go while a second process checks its request at the door: it must not be filed for nothing."""
    desk, owner = Desk(workspace), next_owner(store)
    check, done = filing._checked_places, []

    def slow(*arguments: object) -> list[list[int]]:
        places = check(*arguments)  # type: ignore[arg-type]
        if not done:
            done.append(True)
            done.append(Desk(workspace).forget(owner=owner))
        return places

    monkeypatch.setattr(filing, "_checked_places", slow)
    assert desk.forget(owner=owner)["request"] == done[1]["request"]
    with store.reading() as connection:
        assert not requests.list_all(connection, ["verified", "failed"])  # type: ignore[list-item]


def test_the_same_again_after_the_close_is_the_same_until_the_salts_go(workspace: Workspace, store: Store):
    desk, owner = Desk(workspace), next_owner(store)
    outcome = desk.forget(owner=owner)
    again = desk.forget(owner=owner)
    assert (outcome.pop("notice"), again.pop("notice")["code"]) == (None, "already-deleted")
    assert again == outcome
    everything = b"".join(path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file())
    assert owner.encode() not in everything
    with pytest.raises(ExpungeError, match="name an owner"):
        salting.forget_owner(store, owner, f"asked for by {owner}")
    gone = {"requests": [outcome["request"]], "destroyed": outcome["forgotten"]}
    assert salting.forget_owner(store, owner, "asked for") == gone
    assert salting.forget(store, outcome["request"], "asked for") == gone
    with pytest.raises(ExpungeError, match="no closed request"):
        salting.forget_owner(store, owner, "asked for")
    with pytest.raises(ExpungeError, match="no record belongs") as refused:
        desk.forget(owner=owner)
    assert refused.value.code == "unknown-owner"


def run(*words: str) -> tuple[int, dict[str, object]]:
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        status = main([*words, "--json"])
    return status, json.loads(caught.getvalue() or "{}")


def test_a_challenge_killed_past_its_close_is_caught_up(
    workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Killed between the close and the publishing: the page and the log come with the same command."""
    folder, owner = workspace.folder, next_owner(store)
    command = ("-w", str(folder), "forget", "--owner", owner, "--provable")
    request = str(run(*command)[1]["request"])
    same = ("-w", str(folder), "challenge", request, "--nonce", "n-1")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(requests, "erase_subjects", killed)
        assert run(*same)[0] == 130
    with monkeypatch.context() as patch:
        patch.setattr(pages, "write", killed)
        assert run(*same)[0] == 130
    size = (folder / "log" / "checkpoint").read_text().splitlines()[1]
    status, outcome = run(*same)
    assert (status, outcome["state"]) == (0, "closed")
    assert Path(str(outcome["report"])).is_file()
    with store.reading() as connection:
        assert requests.get(connection, request).subject is None
    assert int((folder / "log" / "checkpoint").read_text().splitlines()[1]) > int(size)
    (folder / "log" / "checkpoint").unlink()
    status, again = run(*command)
    assert (status, again["request"], again["state"]) == (0, request, "closed")
    assert (folder / "log" / "checkpoint").is_file()


def test_a_challenge_killed_before_the_erasure_forgets_whom_with_the_same_command(
    workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
):
    folder, owner = str(workspace.folder), next_owner(store)
    request = str(run("-w", folder, "forget", "--owner", owner, "--provable")[1]["request"])
    same = ("-w", folder, "challenge", request, "--nonce", "n-3")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker._Worker, "_erase", killed)
        assert run(*same)[0] == 130
    with store.reading() as connection:
        assert requests.get(connection, request).subject is not None
    assert run(*same)[1]["state"] == "closed"
    with store.reading() as connection:
        assert requests.get(connection, request).subject is None


def test_a_provable_request_whose_records_are_gone_ends_too(workspace: Workspace, store: Store):
    folder, owner = str(workspace.folder), next_owner(store)
    request = str(run("-w", folder, "forget", "--owner", owner, "--provable")[1]["request"])
    again = str(run("-w", folder, "forget", "--owner", owner, "--provable", "--every", "1")[1]["request"])
    assert run("-w", folder, "forget", "--owner", owner)[1]["state"] == "closed"
    status, filed_again = run("-w", folder, "forget", "--owner", owner, "--provable", "--every", "1")
    assert (status, filed_again["request"], filed_again["state"]) == (0, again, "closed")
    status, outcome = run("-w", folder, "challenge", request, "--nonce", "n-2")
    assert (status, outcome["state"], outcome["method"]) == (0, "closed", "retrain")
    assert outcome["proof"] is None, "another run deleted them: there is nothing of its own to replay"
    verified(outcome)
    assert run("-w", folder, "challenge", request, "--nonce", "n-2") == (status, outcome)
    assert main(["-w", folder, "forget", "--owner", owner, "--provable"]) == 0, "in words, too"


def test_copies_and_keys_used_again_after_the_close_find_their_request_and_no_other(workspace: Workspace, store: Store):
    desk, records, key = Desk(workspace), artifacts.read_records(store), "6f0e3f0a-1111-4111-8111-000000000012"
    owner = next_owner(store)
    copies = records.select([row for row, each in enumerate(records.owners) if each == owner])
    done = desk.forget(copies=copies, key=key)
    for asked in ({"copies": copies, "key": key}, {"copies": copies}, {"ids": copies.ids, "key": key}):
        assert desk.forget(**asked)["request"] == done["request"]  # type: ignore[arg-type]
    others = ({"owner": "nobody-9"}, {"ids": ["never-here"]}, {"ids": copies.ids, "method": FineTune()})
    strangers = replace(copies, ids=tuple(f"x-{each}" for each in copies.ids))
    for asked, code in (
        ({"copies": copies, "key": key[:-1] + "9"}, "already-deleted"),
        ({"copies": copies, "method": FineTune()}, "already-deleted"),
        *(({**each, "key": key}, "key-reused") for each in others),
        ({"copies": strangers}, "unknown-record"),
    ):
        with pytest.raises(ExpungeError) as refused:
            desk.forget(**asked)  # type: ignore[arg-type]
        assert refused.value.code == code


def test_derived_models_are_in_the_way_of_both_as_far_as_they_saw_the_records(workspace: Workspace, store: Store):
    """A student of the old model holds up both requests; one of the new model never saw the records: neither."""
    desk, owner = Desk(workspace), next_owner(store)
    old, student, fresh = artifacts.digest_of(store, artifacts.WORKSPACE, "model") or "", "5" * 64, "6" * 64
    first, second = filed(store, owner), filed(store, owner, method=FineTune())
    with store.transaction() as tx:
        lineage.derive(tx, [old], student, "distilled")
    desk._work(store, [first.id], None)
    with store.transaction() as tx:
        lineage.derive(tx, [artifacts.digest_of(store, artifacts.WORKSPACE, "model") or ""], fresh, "distilled")
    desk._work(store, [second.id], None)
    for request in (first, second):
        waits = [model["digest"] for model in lookups.shown(store, request.id)["derived_untouched"]]
        assert (lookups.shown(store, request.id)["state"], waits) == ("receipted", [student])
    bundle = json.loads((workspace.folder / "receipts" / f"{second.id}.bundle.json").read_bytes())
    assert [each["model"] for each in predicate(bundle)["lineage"]] == [student]
    with store.transaction() as tx:
        lineage.retire_derived(tx, student)
        lineage.retire_derived(tx, fresh)
    assert {each["state"] for each in desk.resume()["requests"]} == {"closed"}


def predicate(bundle: dict[str, dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads(base64.b64decode(bundle["envelope"]["payload"]))["predicate"]
    return found


def test_where_the_records_of_a_cancelled_request_stand_is_forgotten(workspace: Workspace, store: Store):
    """While the records are here, their places in the tree say whose they are."""
    owner = next_owner(store)
    request, other = filed(store, owner), filed(store, owner, method=FineTune())
    digest = artifacts.digest_of(store, worker.holder(request.id), worker.PLACES)
    for each in (request, other):
        assert artifacts.digest_of(store, worker.holder(each.id), worker.PLACES) == digest
        with store.transaction() as tx:
            decisions.cancel(tx, each.id)
        worker.work(store, ModelSteps(store, None), [each.id])  # type: ignore[arg-type]
        assert artifacts.digest_of(store, worker.holder(each.id), worker.PLACES) is None
        with store.reading() as connection:
            found = objects.describe(connection, digest or "")
        assert found is not None
        assert (found.erased_at is not None) == (each is other), "shared with the other one until that goes as well"
    assert fsck(workspace.folder).problems == ()


def test_what_was_never_here_is_still_refused(workspace: Workspace, store: Store):
    """A request filed by a version that kept no places fails as before, by its code."""
    owner = next_owner(store)
    request = filed(store, owner)
    steps = ModelSteps(store, None)  # type: ignore[arg-type]
    stranger = replace(request, id="r" + "0" * 16, subject=requests.Subject("nobody-9"))
    with pytest.raises(ExpungeError) as refused:
        steps.plan([stranger])
    assert refused.value.code == "unknown-owner"


def test_a_clock_that_was_set_back_since_the_filing_keeps_no_receipt_away(workspace: Workspace, store: Store):
    owner = next_owner(store)
    with Store.open(workspace.folder, steps=MIGRATIONS, clock=lambda: datetime.now(UTC) + timedelta(hours=1)) as ahead:
        request = filed(ahead, owner)
    Desk(workspace).resume()
    outcome = Desk(workspace).outcome(store, request.id)
    assert outcome["state"] == "closed"
    verified(outcome)


@pytest.mark.parametrize("owner", ["\udcff", "", "x" * 257])
def test_a_name_that_no_text_holds_is_refused_at_the_door(store: Store, owner: str):
    with pytest.raises(ExpungeError) as caught:
        filed(store, owner)
    assert caught.value.code == "bad-arguments"
