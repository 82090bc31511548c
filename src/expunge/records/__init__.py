"""Records, the people they belong to, and the loaders that read them."""

from expunge.records.columns import Columns
from expunge.records.commitments import commitments, data_root, new_salts
from expunge.records.dataset import from_dataset
from expunge.records.digits import digits
from expunge.records.front_door import load, prepare
from expunge.records.idx import idx
from expunge.records.npz import npz
from expunge.records.preparation import Preparation, feature_names, restore_targets
from expunge.records.records import Records
from expunge.records.splits import TEST, TRAIN, draw_split
from expunge.records.storage import from_bytes, to_bytes
from expunge.records.table import table
from expunge.records.tombstones import DataTree, DeletionProof, subtree_root

__all__ = [
    "TEST",
    "TRAIN",
    "Columns",
    "DataTree",
    "DeletionProof",
    "Preparation",
    "Records",
    "commitments",
    "data_root",
    "digits",
    "draw_split",
    "feature_names",
    "from_bytes",
    "from_dataset",
    "idx",
    "load",
    "new_salts",
    "npz",
    "prepare",
    "restore_targets",
    "subtree_root",
    "table",
    "to_bytes",
]
