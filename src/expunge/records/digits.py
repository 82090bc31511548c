"""The default data: scikit-learn's bundled 1,797 real handwritten digits (8 x 8 pixels, from UCI)."""

import torch

from expunge.randomness import torch_generator
from expunge.records.records import Records
from expunge.records.splits import TEST, TRAIN

OWNERS = 100
"""The bundled file does not say who wrote which digit, so records are dealt to this many made-up owners."""


def digits(*, test_share: float = 0.2) -> Records:
    """1,797 records `[1, 8, 8]` in [0, 1], ten classes, 100 made-up owners of about 18 records each.

    Split and owners are drawn once from fixed named streams: the same on every machine. A made-up owner is in the
    training set or in the test set with each record independently, as a real one may be.
    """
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    count = len(images)
    order = torch.randperm(count, generator=torch_generator(0, "digits/split"))
    held_out = set(order[: round(count * test_share)].tolist())
    owner = torch.randint(OWNERS, (count,), generator=torch_generator(0, "digits/owners"))
    return Records(
        features=torch.from_numpy(images).float().div_(16).reshape(count, 1, 8, 8),
        targets=torch.from_numpy(targets).long(),
        ids=tuple(f"digit-{row:04d}" for row in range(count)),
        owners=tuple(f"owner-{number:03d}" for number in owner.tolist()),
        split=tuple(TEST if row in held_out else TRAIN for row in range(count)),
        classes=10,
    )
