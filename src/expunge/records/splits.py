"""Which records are held out for testing when the data do not say."""

from collections.abc import Sequence
from typing import Final

from expunge.errors import OperatorError
from expunge.randomness import SEED_LIMIT, derive

TRAIN: Final = "train"
TEST: Final = "test"


def draw_split(ids: Sequence[str], *, test_share: float = 0.2, seed: int = 0) -> tuple[str, ...]:
    """`"test"` with probability `test_share` for each record, by a keyed hash of its id.

    No record's part depends on any other record, so that deleting one moves none of the others.

    **Raises:** `OperatorError("bad-arguments")` unless `0 <= test_share < 1`.
    """
    if not 0 <= test_share < 1:
        raise OperatorError("bad-arguments", f"the share of test records must be in [0, 1), not {test_share}")
    limit = test_share * SEED_LIMIT
    return tuple(TEST if derive(seed, f"split/{record}") < limit else TRAIN for record in ids)
