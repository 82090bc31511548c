"""Recipes, the one deterministic trainer, sharded training, training logs, executors."""

from expunge.training.checkpoints import Checkpoints, MemoryCheckpoints, Snapshot
from expunge.training.courses import Batches, BatchStream, Course, Stage, courses
from expunge.training.executors import Executor, Processes, Serial
from expunge.training.log import Cost, TrainingLog, training_log
from expunge.training.model import Model, state_digest
from expunge.training.platform import deterministic, fingerprint
from expunge.training.ray_cluster import Ray
from expunge.training.recipe import SGD, Adam, Constant, Cosine, CrossEntropy, HeadSolver, Recipe, SquaredError, Steps
from expunge.training.sharding import Sharding, aggregate
from expunge.training.stopped import Retraining, accuracy_on_test, retraining_until
from expunge.training.trainer import CourseResults, Trained, run_courses, train

__all__ = [
    "SGD",
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
    "HeadSolver",
    "MemoryCheckpoints",
    "Model",
    "Processes",
    "Ray",
    "Recipe",
    "Retraining",
    "Serial",
    "Sharding",
    "Snapshot",
    "SquaredError",
    "Stage",
    "Steps",
    "Trained",
    "TrainingLog",
    "accuracy_on_test",
    "aggregate",
    "courses",
    "deterministic",
    "fingerprint",
    "retraining_until",
    "run_courses",
    "state_digest",
    "train",
    "training_log",
]
