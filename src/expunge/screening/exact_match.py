"""Record matching: a request is for records that are held here, unaltered, and the requester's own."""

from dataclasses import dataclass

from expunge.records import commitments
from expunge.screening.submission import Description, Finding, Submission, Verdict


@dataclass(frozen=True)
class ExactMatch:
    """Refuses unknown ids, altered copies and other people's records. No threshold: it never holds an honest one."""

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "exact-match",
            "Altered copies, records that were never here, and records of others: every attack by modification.",
            "Deletions of true records, however they were chosen.",
            "salted commitments; Hu et al., NDSS 2024, for the attacks",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Compare ids, owners and commitments."""
        del threshold
        count, known = len(submission.ids), submission.ground.records
        if submission.unknown:
            return _refused("unknown-record", f"{submission.unknown} of {count} records are not held here.")
        if submission.owner is not None:
            others = sum(known.owners[known.row_of[each]] != submission.owner for each in submission.ids)
            if others:
                return _refused("not-owner", f"{others} of {count} records belong to somebody else.")
        altered = _altered(submission)
        if altered:
            return _refused("altered-copy", f"{altered} of {count} records differ from what was committed to.")
        how = "match their commitments" if submission.committed else "are held here under the ids that were named"
        return Finding(
            "exact-match", Verdict.PASSED, f"All {count} records {how}; {submission.training} of them train."
        )


def _altered(submission: Submission) -> int:
    """How many records, as submitted (or as stored, where nothing was), are not what the commitment says."""
    if submission.copies is not None and set(submission.copies.ids) != set(submission.ids):
        return len(set(submission.copies.ids) ^ set(submission.ids))
    if submission.committed is None:
        return 0 if submission.copies is None else _different(submission)
    shown = submission.copies
    if shown is None:
        shown = submission.ground.records.select(submission.ground.records.rows(submission.ids))
    salts = [submission.committed.salts[each] for each in shown.ids]
    found = commitments(shown, salts)
    return sum(submission.committed.leaves[each] != own for each, own in zip(shown.ids, found, strict=True))


def _different(submission: Submission) -> int:
    """Without commitments the records themselves are compared, under one salt."""
    if submission.copies is None:
        return 0
    kept = submission.ground.records.select([submission.ground.records.row_of[each] for each in submission.copies.ids])
    salts = [bytes(32)] * len(kept)
    pairs = zip(commitments(submission.copies, salts), commitments(kept, salts), strict=True)
    return sum(one != other for one, other in pairs)


def _refused(code: str, words: str) -> Finding:
    return Finding("exact-match", Verdict.REFUSED, words, code=code)
