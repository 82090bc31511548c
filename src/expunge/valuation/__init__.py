"""What each owner's data is worth under sharded training, before and after deletions."""

from expunge.valuation.adjusted import Adjusted
from expunge.valuation.bounds import permutation_bound, permutations_for, utility_bound
from expunge.valuation.complementary import Complementary
from expunge.valuation.constituents import Constituents, Plan, ShardedGame, Trainer, accuracy, true_class
from expunge.valuation.estimator import Ask, Estimate, Estimator, State, Status
from expunge.valuation.exact import Exact
from expunge.valuation.front_door import resume, value
from expunge.valuation.game import Cached, Game, Metered, Stepped, WithEmpty
from expunge.valuation.multilinear import Multilinear
from expunge.valuation.neighbours import NeighbourGame
from expunge.valuation.partition import Partition
from expunge.valuation.permutation import Permutation
from expunge.valuation.pricing import Line, Settlement, settle, statement
from expunge.valuation.stopping import Evaluations, HalfWidth, Rounds, Seconds, Stop
from expunge.valuation.touched import Touched
from expunge.valuation.training import CoalitionTrainer, owners_of, partition_of, training_game
from expunge.valuation.truncated import Truncated
from expunge.valuation.update import Differential, join, update
from expunge.valuation.utility_sampling import UtilitySampling
from expunge.valuation.values import Run, Values

__all__ = [
    "Adjusted",
    "Ask",
    "Cached",
    "CoalitionTrainer",
    "Complementary",
    "Constituents",
    "Differential",
    "Estimate",
    "Estimator",
    "Evaluations",
    "Exact",
    "Game",
    "HalfWidth",
    "Line",
    "Metered",
    "Multilinear",
    "NeighbourGame",
    "Partition",
    "Permutation",
    "Plan",
    "Rounds",
    "Run",
    "Seconds",
    "Settlement",
    "ShardedGame",
    "State",
    "Status",
    "Stepped",
    "Stop",
    "Touched",
    "Trainer",
    "Truncated",
    "UtilitySampling",
    "Values",
    "WithEmpty",
    "accuracy",
    "join",
    "owners_of",
    "partition_of",
    "permutation_bound",
    "permutations_for",
    "resume",
    "settle",
    "statement",
    "training_game",
    "true_class",
    "update",
    "utility_bound",
    "value",
]
