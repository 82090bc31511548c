"""Is this machine fit: does the arithmetic keep the promise that results do not depend on how work was grouped?"""

from expunge.networks import MLP
from expunge.records import digits
from expunge.training import Course, Recipe, Stage, run_courses


def stacks_are_exact() -> bool:
    """Train five small networks in one stack, and each alone; whether all bytes agree."""
    records = digits().train
    recipe = Recipe(MLP((32,)), epochs=1)
    plan = [Course("network", (Stage("train", tuple(range(seed, 200 + seed)), 1.0),), seed) for seed in range(5)]
    together = run_courses(recipe, records, plan).states
    alone = [run_courses(recipe, records, [course], threads=1, stack=False).states[0] for course in plan]
    pairs = zip(together, alone, strict=True)
    return all(left is not None and all(left[n].equal(right[n]) for n in left) for left, right in pairs if right)
