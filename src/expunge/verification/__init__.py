"""Checking that a provider unlearned: backdoor tests, the literature's replay, and the committed schedule."""

from expunge.verification.backdoor import (
    BackdoorTest,
    Marked,
    Trigger,
    hits,
    majority_power,
    mark,
    pooled,
    queries_needed,
)
from expunge.verification.cheap import METHODS
from expunge.verification.committed import SpotCheck
from expunge.verification.handover import (
    retained_from_bytes,
    retained_to_bytes,
    submission_from_bytes,
    submission_to_bytes,
)
from expunge.verification.nonces import Draw, NonceBook, deleted_leaves
from expunge.verification.proof import Proof, Recorder, Track, prove_courses, snapshot_digest
from expunge.verification.proof_file import bytes_per_step, proof_from_bytes, proof_to_bytes
from expunge.verification.provable import Plan, Proven, Submission, commit, plan_of, prove
from expunge.verification.replay import BYTES, POL_DEFAULT, Replayed, Replayer, Tolerance, calibrate
from expunge.verification.reproducing import Reproducing, ReproducingVerdict
from expunge.verification.schedule import Commitment, Retained, drawn
from expunge.verification.verdict import PROVES, Check, Verdict, detection

__all__ = [
    "BYTES",
    "METHODS",
    "POL_DEFAULT",
    "PROVES",
    "BackdoorTest",
    "Check",
    "Commitment",
    "Draw",
    "Marked",
    "NonceBook",
    "Plan",
    "Proof",
    "Proven",
    "Recorder",
    "Replayed",
    "Replayer",
    "Reproducing",
    "ReproducingVerdict",
    "Retained",
    "SpotCheck",
    "Submission",
    "Tolerance",
    "Track",
    "Trigger",
    "Verdict",
    "bytes_per_step",
    "calibrate",
    "commit",
    "deleted_leaves",
    "detection",
    "drawn",
    "hits",
    "majority_power",
    "mark",
    "plan_of",
    "pooled",
    "proof_from_bytes",
    "proof_to_bytes",
    "prove",
    "prove_courses",
    "queries_needed",
    "retained_from_bytes",
    "retained_to_bytes",
    "snapshot_digest",
    "submission_from_bytes",
    "submission_to_bytes",
]
