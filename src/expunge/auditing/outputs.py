"""What audits read off a model: probabilities in double precision, confidence, loss."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from expunge.records import Records
from expunge.training import Model


def probabilities(model: Model, records: Records) -> Float[np.ndarray, "records classes"]:
    """Class probabilities in float64, from logits where the model is a single network."""
    if model.is_single:
        return np.asarray(model.logits(records.features).double().softmax(1))
    return np.asarray(model.probabilities(records.features).double())


def true_class(values: Float[np.ndarray, "records classes"], records: Records) -> Float[np.ndarray, " records"]:
    """The column of each record's own class."""
    return np.asarray(values[np.arange(len(records)), targets(records)])


def targets(records: Records) -> Int[np.ndarray, " records"]:
    """Class numbers."""
    return np.asarray(records.targets)


def correct(model: Model, records: Records) -> Bool[np.ndarray, " records"] | None:
    """Which records the model classifies rightly; `None` where its outputs are not finite."""
    found = probabilities(model, records)
    return found.argmax(1) == targets(records) if np.isfinite(found).all() else None


def loss(model: Model, records: Records) -> Float[np.ndarray, " records"]:
    """Cross-entropy of each record in nats; probabilities below the smallest double count as that."""
    own = true_class(probabilities(model, records), records)
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float64).tiny)))


def logit_confidence(model: Model, records: Records) -> Float[np.ndarray, " records"]:
    """log(p / (1 - p)) of the true class: near normal over models (Carlini et al. 2022, section IV-C).

    Computed from logits where the model is a single network, so that certainty does not saturate.
    """
    if model.is_single:
        logits = model.logits(records.features).double()
        own = logits.gather(1, records.targets[:, None])[:, 0]
        others = logits.scatter(1, records.targets[:, None], -torch.inf).logsumexp(1)
        return np.asarray(own - others)
    own_probability = np.clip(true_class(probabilities(model, records), records), 1e-12, 1 - 1e-7)
    return np.asarray(np.log(own_probability) - np.log1p(-own_probability))
