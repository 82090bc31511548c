"""At the door: requests are found again or filed, all of one asking in one transaction, and refused where no step could
carry them out."""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Connection

from expunge.errors import OperatorError, RequesterError
from expunge.journey import artifacts, config, earlier, proving, requests, subjects, transitions
from expunge.journey.requests import Request, Subject, Wish
from expunge.journey.steps import method_of
from expunge.ledger import objects
from expunge.ledger.store import Store, Transaction
from expunge.plain import encode
from expunge.records import Records
from expunge.unlearning import Method, prepare

Key = str | UUID | None
"""An idempotency key (a UUID); without one, what is open or was done for the same is found by what it asks for."""


def subject(owner: str | None, ids: Sequence[str] | None) -> Subject:
    """Whom and what is asked for."""
    return Subject(owner, tuple(sorted(set(ids or ()))))


def batch(owners: Sequence[str], key: Key = None) -> dict[Subject, Key]:
    """One asking for several people, each once; `key` gives each a key of its own by the place in their order.

    **Raises:** `OperatorError("bad-arguments")`.
    """
    name = _checked(key)
    people = sorted(set(owners))
    keys = [None if name is None else uuid5(UUID(name), str(place)) for place in range(len(people))]
    return {Subject(owner): each for owner, each in zip(people, keys, strict=True)}


def file(
    store: Store, asked: Mapping[Subject, Key], method: Method | None, by: str, batch: str | None = None
) -> tuple[Request, ...]:
    """The requests for these, filed now, together, or before.

    `batch` is the label of those that are filed now: they are checked as the one deletion that they will be.

    **Raises:** as `Desk.forget`.
    """
    wished, regime = None if method is None else encode(method), config.read(store.folder).regime
    for whom in asked:
        subjects.check(whom)
    wishes = [(_checked(key), Wish(whom, wished, regime, batch)) for whom, key in asked.items()]
    while True:  # another deletion may come between the look at the records and the filing: then look again
        with store.reading() as connection:
            before = objects.held(connection, artifacts.WORKSPACE)
        found = [_filed(store, *wish) for wish in wishes]
        fresh = [place for place, request in enumerate(found) if request is None]
        if fresh:
            stand = _checked_places(store, [wishes[place][1].subject for place in fresh], method)
            with store.transaction() as tx:
                if objects.held(tx.connection, artifacts.WORKSPACE) != before:
                    continue
                for place, where in zip(fresh, stand, strict=True):
                    found[place] = _entered(tx, *wishes[place], by, where)
        return tuple(request for request in found if request is not None)


def _entered(tx: Transaction, key: str | None, wish: Wish, by: str, places: Sequence[int]) -> Request:
    if key is None and (request := _open(tx.connection, wish)) is not None:
        return request
    request = requests.file(tx, key or uuid4(), wish, verified_by=by)
    earlier.keep_places(tx, request.id, places)
    return request


def here(records: Records, subject: Subject) -> bool:
    """Whether any record of a subject is still here."""
    return subject.owner in records.owners or any(record in records.row_of for record in subject.records)


def _filed(store: Store, key: str | None, wish: Wish) -> Request | None:
    """The request under this key; without one, one for the same that is open, or that deleted it: a kill's work.

    **Raises:** `RequesterError("already-deleted")` for another wish, or a new key, for records that are gone.
    """
    still = here(artifacts.read_records(store), wish.subject)
    found = None if key is None else _under_key(store, key, wish)
    with store.reading() as connection:
        if key is None:
            found = _open(connection, wish)
        if found is not None or still:
            return found
        over = requests.closed_for(connection, wish.subject)
    again = [each for each in over if key is None and requests.by_the_same(each, wish)]
    if over and not again:
        raise RequesterError("already-deleted", f"request {over[0].id} deleted these records before")
    return again[0] if again else None


def _under_key(store: Store, key: str, wish: Wish) -> Request | None:
    """The request under this key, unless it was for somebody else, or by another method.

    Whose subject was erased is told by the commitment that its close left; without its salt, by whose records are
    still here: they were not deleted.
    """
    with store.reading() as connection:
        found = [each for each in requests.filed_under(connection, key) if each.verified_at is not None]
    if not found:
        return None
    still = here(artifacts.read_records(store), wish.subject)
    with store.reading() as connection:
        mine = requests.concerned(connection, found[0], wish.subject)
    if mine is False or (mine is None and still) or not requests.by_the_same(found[0], wish):
        raise RequesterError("key-reused", "this idempotency key was used for another request")
    return found[0]


def _checked_places(store: Store, subjects: Sequence[Subject], method: Method | None) -> list[list[int]]:
    """Refuse what no step could carry out, all together; returns where the records of each stand in the tree."""
    records, trained = artifacts.read_records(store), artifacts.load_trained(store)
    named = [records.owned_by(each.owner) if each.owner is not None else each.records for each in subjects]
    deletion = prepare(trained, records, tuple(dict.fromkeys(record for some in named for record in some)))
    proving.settled(store, method or method_of(store, None), deletion).plan(deletion)
    live = artifacts.read_tree(store).live
    return [sorted(live[row] for row in records.rows(some)) for some in named]


def _open(connection: Connection, wish: Wish) -> Request | None:
    """An open, verified request for the same by the same method."""
    still = requests.list_all(connection, transitions.OPEN)
    return next((each for each in still if each.verified_at is not None and requests.same(each, wish)), None)


def _checked(key: Key) -> str | None:
    try:
        return None if key is None else str(UUID(str(key)))
    except ValueError:
        raise OperatorError("bad-arguments", "an idempotency key is a UUID") from None
