"""Loss, and divergence from the retrained reference."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.auditing.audit import Findings, Reading, Subject, reading
from expunge.auditing.intervals import mean
from expunge.auditing.outputs import loss, probabilities
from expunge.records import Records


@dataclass(frozen=True)
class Divergence:
    """Mean loss, and mean KL divergence from retrained references, on forgotten and on test records, in nats."""

    def run(self, subject: Subject) -> Findings:
        """Four readings; the references' own KL is from each other, so that the floor is that of two retrainings."""
        parts = {"D_f": subject.forgotten, "test": subject.test}
        losses = [reading(f"loss on {n}", "nats", [mean(loss(m, r)) for m in subject.models]) for n, r in parts.items()]
        return Findings((*losses, *(self._divergence(subject, name, records) for name, records in parts.items())))

    def _divergence(self, subject: Subject, name: str, records: Records) -> Reading:
        outputs = [probabilities(model, records) for model in subject.models]
        references = outputs[2:]
        estimates = []
        for number, output in enumerate(outputs):
            others = [reference for place, reference in enumerate(references, 2) if place != number]
            estimates.append(mean(np.mean([divergence(reference, output) for reference in others], axis=0)))
        return reading(f"KL from retrained on {name}", "nats", estimates)


def divergence(
    p: Float[np.ndarray, "records classes"], q: Float[np.ndarray, "records classes"]
) -> Float[np.ndarray, " records"]:
    """KL(p || q) of each record in nats; probabilities below the smallest double count as that."""
    tiny = np.finfo(np.float64).tiny
    ratio = np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny))
    return np.asarray(np.sum(p * ratio, axis=1))
