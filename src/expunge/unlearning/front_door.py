"""The front door: one call for every method."""

from collections.abc import Collection

from expunge.errors import RequesterError
from expunge.progress import Progress
from expunge.records import Records
from expunge.training import Executor, Trained
from expunge.unlearning.method import Deletion, Method, Unlearned
from expunge.unlearning.retrain import Retrain


def unlearn(
    trained: Trained,
    records: Records,
    forget: Collection[str],
    method: Method | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Unlearned:
    """Remove the records `forget` from `trained` by `method` (retraining by default); nothing given is changed.

    **Arguments:**

    - `records`: all that the model was trained and tested on.
    - `forget`: record ids; for a person, `records.owned_by(owner)`.

    **Raises:** `RequesterError("unknown-record" | "nothing-to-delete" | "delete-everything")`, and what the method
    raises.
    """
    deletion = prepare(trained, records, forget, seed=seed, threads=threads, executor=executor, progress=progress)
    return (method or Retrain()).run(deletion)


def prepare(
    trained: Trained,
    records: Records,
    forget: Collection[str],
    *,
    seed: int = 0,
    threads: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Deletion:
    """The checked `Deletion` that methods plan and run; raises as `unlearn`."""
    if isinstance(forget, str | Records) or not all(isinstance(each, str) for each in forget):
        raise RequesterError("unknown-record", "a forget set is a collection of record ids, each of them a text")
    records.rows(forget)
    if not forget:
        raise RequesterError("nothing-to-delete", "the request names no record")
    deletion = Deletion(trained, records, frozenset(forget), seed, threads, executor, progress)
    if not len(deletion.retained.train):
        raise RequesterError("delete-everything", "no training record would be left")
    return deletion
