"""Eight processes file and work requests on one workspace: none lost, none doubled, none refused for a lock."""

import multiprocessing
from collections import Counter
from pathlib import Path

import pytest

import toy_workspace as toy
from expunge.errors import ExpungeError
from expunge.journey import history, requests
from expunge.journey.checks import fsck
from expunge.journey.transitions import State
from expunge.ledger import log

PROCESSES = 8


def busy(folder: Path, process: int, count: int) -> list[str]:
    """Files requests, every one under a key that the next process uses as well, and works on what there is."""
    trouble = []
    with toy.open_store(folder) as store:
        for number in range(count):
            for who in (process, (process + 1) % PROCESSES):
                place = who * count + number
                try:
                    toy.file(store, place, f"owner-{place:04d}", "desk")
                except ExpungeError as error:
                    trouble.append(f"filing: {error.code} {error}")
            if number % 5 == process % 5 or number == count - 1:
                try:
                    outcome = toy.carry(store, wait=600)
                    trouble += [f"working: {error.code} {error}" for error in outcome.errors.values()]
                except ExpungeError as error:
                    trouble.append(f"working: {error.code} {error}")
    return trouble


def _task(arguments: tuple[Path, int, int]) -> list[str]:
    return busy(*arguments)


def all_at_once(folder: Path, count: int) -> None:
    people = PROCESSES * count
    toy.create(folder, toy.people(people + 3)).close()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["toy_workspace"])
    with context.Pool(PROCESSES) as pool:
        trouble = pool.map(_task, [(folder, process, count) for process in range(PROCESSES)], chunksize=1)
    assert [line for lines in trouble for line in lines] == []
    with toy.open_store(folder) as store:
        assert sorted(toy.rows_now(store)) == [f"owner-{number:04d}" for number in range(people, people + 3)]
        with store.reading() as connection:
            found = requests.list_all(connection)
            assert sorted(request.key for request in found) == sorted(str(toy.key(place)) for place in range(people))
            assert {request.state for request in found} == {State.CLOSED}
            moves = Counter(event.move for event in history.read(connection))
            assert log.size(connection) == people
    steps = ("file", "verify", "screen", "plan", "unlearn", "audit", "receipt", "close")
    assert moves == dict.fromkeys(steps, people)
    assert len(list((folder / "receipts").iterdir())) == people
    assert fsck(folder).problems == ()


def test_eight_processes(tmp_path: Path):
    all_at_once(tmp_path / "ws", 2)


@pytest.mark.slow
def test_eight_processes_with_fifty_requests_each(tmp_path: Path):
    all_at_once(tmp_path / "ws", 50)
