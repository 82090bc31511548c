"""Recipes, the one deterministic trainer, sharded training, training logs, executors."""

from expunge.training.checkpoints import Checkpoints, MemoryCheckpoints, Snapshot
from expunge.training.courses import Batches, BatchStream, Course, Stage, courses, evaluations
from expunge.training.executors import Executor, Processes, Serial
from expunge.training.log import Cost, TrainingLog, training_log
from expunge.training.model import Model, model_header, state_digest
from expunge.training.platform import deterministic, fingerprint
from expunge.training.pruning import SNIP, GraSP, Iterative, Magnitude, Pruning, RandomPruning, SynFlow
from expunge.training.ray_cluster import Ray
from expunge.training.recipe import (
    L1,
    SGD,
    Adam,
    Constant,
    Cosine,
    CrossEntropy,
    HeadSolver,
    LeastSquares,
    Recipe,
    SquaredError,
    Steps,
)
from expunge.training.sharding import Sharding, aggregate
from expunge.training.stopped import Retraining, accuracy_on_test, retraining_until
from expunge.training.trainer import CourseResults, Trained, run_courses, train

__all__ = [
    "L1",
    "SGD",
    "SNIP",
    "Adam",
    "BatchStream",
    "Batches",
    "Checkpoints",
    "Constant",
    "Cosine",
    "Cost",
    "Course",
    "CourseResults",
    "CrossEntropy",
    "Executor",
    "GraSP",
    "HeadSolver",
    "Iterative",
    "LeastSquares",
    "Magnitude",
    "MemoryCheckpoints",
    "Model",
    "Processes",
    "Pruning",
    "RandomPruning",
    "Ray",
    "Recipe",
    "Retraining",
    "Serial",
    "Sharding",
    "Snapshot",
    "SquaredError",
    "Stage",
    "Steps",
    "SynFlow",
    "Trained",
    "TrainingLog",
    "accuracy_on_test",
    "aggregate",
    "courses",
    "deterministic",
    "evaluations",
    "fingerprint",
    "model_header",
    "retraining_until",
    "run_courses",
    "state_digest",
    "train",
    "training_log",
]
