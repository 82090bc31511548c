"""Records, the people they belong to, and the loaders that read them."""

from expunge.records.digits import digits
from expunge.records.records import TEST, TRAIN, Records

__all__ = ["TEST", "TRAIN", "Records", "digits"]
