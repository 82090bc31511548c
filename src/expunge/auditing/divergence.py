"""Loss, and divergence from the retrained references."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.auditing.audit import Description, Findings, Part, Subject
from expunge.auditing.intervals import mean
from expunge.auditing.reading import Reading, reading

PARTS: dict[str, Part] = {"D_f": "forgotten", "test": "test"}


@dataclass(frozen=True)
class Divergence:
    """Mean loss, and mean KL divergence from the retrained references, on forgotten and on test records, in nats.

    A reference's own KL is from the *other* references, so that the floor is that of retraining twice.
    """

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "Divergence",
            "How far are loss and posteriors of the model after from those of retrained models?",
            "KL(retrained || model), as Golatkar et al., CVPR 2020, compare outputs",
            "Single records: a mean hides the few that are remembered.",
        )

    def run(self, subject: Subject) -> Findings:
        """Two readings of the loss, and two of the divergence where there are classes; Student's t intervals."""
        unit = "nats" if subject.retained.classes else "squared error"
        losses = [
            reading(f"loss on {name}", unit, [mean(each.loss) for each in subject.outputs(part)])
            for name, part in PARTS.items()
        ]
        if not subject.retained.classes:
            return Findings(tuple(losses), degraded=("divergence: no KL, for it needs classes",))
        return Findings((*losses, *(_divergence(subject, name, part) for name, part in PARTS.items())))


def _divergence(subject: Subject, name: str, part: Part) -> Reading:
    logs = [each.logs for each in subject.outputs(part)]
    estimates = []
    for number, model in enumerate(logs):
        references = [reference for place, reference in enumerate(logs[2:], 2) if place != number]
        estimates.append(mean(np.mean([divergence(reference, model) for reference in references], axis=0)))
    return reading(f"KL from retrained on {name}", "nats", estimates, _few(len(logs) - 2), coupled=True)


def _few(references: int) -> str:
    return "two references are only one distance apart: the floor knows no spread of seeds" if references == 2 else ""


def divergence(
    p: Float[np.ndarray, "records classes"], q: Float[np.ndarray, "records classes"]
) -> Float[np.ndarray, " records"]:
    """KL(P || Q) of each record in nats, from logarithms of both posteriors."""
    return np.asarray(np.sum(np.exp(p) * (p - q), axis=1))
