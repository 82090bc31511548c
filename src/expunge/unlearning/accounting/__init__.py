"""From distances and noise to epsilon and delta, and back; budgets over a sequence of deletions."""

from expunge.unlearning.accounting.budget import LEAST, Budget, Privacy
from expunge.unlearning.accounting.gaussian import (
    classical_sigma,
    compose,
    delta_of,
    epsilon_of,
    mu_of,
    sigma_for,
)
from expunge.unlearning.accounting.renyi import epsilon_of_renyi, renyi_of_gaussian
from expunge.unlearning.accounting.shift_reduction import NoisyDescent
from expunge.unlearning.accounting.theorem import (
    HONEST,
    Constants,
    TheoremBound,
    paper_setting,
    setting_line,
    theorem_bound,
)

__all__ = [
    "HONEST",
    "LEAST",
    "Budget",
    "Constants",
    "NoisyDescent",
    "Privacy",
    "TheoremBound",
    "classical_sigma",
    "compose",
    "delta_of",
    "epsilon_of",
    "epsilon_of_renyi",
    "mu_of",
    "paper_setting",
    "renyi_of_gaussian",
    "setting_line",
    "sigma_for",
    "theorem_bound",
]
