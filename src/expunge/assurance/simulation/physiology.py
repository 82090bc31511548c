"""People with type 1 diabetes: the UVA/Padova equations, for many people at once.

Glucose in plasma and tissue, insulin in plasma and liver, delayed insulin action, two subcutaneous insulin
compartments, stomach and gut, and the fluid that a sensor sits in (Dalla Man, Rizza and Cobelli, IEEE Trans. Biomed.
Eng. 54, 2007; Kovatchev et al., J. Diabetes Sci. Technol. 3, 2009). There is no counter-regulation: glucose can fall to
values that nobody lives with. The classical fourth-order Runge-Kutta rule with a step of one minute, over which meals
and insulin are constant.
"""

# mypy: disable-error-code="no-any-return"
# NumPy's arithmetic on annotated shapes is untyped.

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from jaxtyping import Float

People = Float[np.ndarray, " people"]
State = Float[np.ndarray, "13 people"]

EATING: Final = 5.0
"""Grams of carbohydrate a minute, at most."""

TO_PMOL: Final = 6000.0
"""Picomoles in a unit of insulin."""

FRACTION: Final = 0.9
"""Share of what is eaten that appears in plasma (f)."""

EXTRACTION: Final = 0.6
"""Share of insulin that the liver takes out, in steady state (HEb)."""

BRAIN: Final = 1.0
"""Glucose use that no insulin governs, mg/kg/min (Fcns)."""

KIDNEY: Final = (0.0005, 339.0)
"""Excretion: 1/min, and the mass in plasma, mg/kg, where it begins (ke1, ke2)."""


@dataclass(frozen=True, eq=False)
class Physiology:
    """Parameters of people, one value each; names as in the literature. What follows from a fasting steady state with
    glucose `gb` and insulin `ib` is derived.

    **Arguments:** `names`; `bw` kg; `gb` mg/dL, `ib` pmol/L, `egpb` mg/kg/min: fasting glucose, insulin and production;
    `vg` dL/kg, `vi` L/kg, `cl` L/min; `km0` mg/kg; `b`, `d` shares of a meal; all others 1/min, or per unit of what
    they multiply.
    """

    names: tuple[str, ...]
    bw: People
    gb: People
    egpb: People
    ib: People
    kabs: People
    kmax: People
    kmin: People
    b: People
    d: People
    vg: People
    vi: People
    vmx: People
    km0: People
    k1: People
    k2: People
    p2u: People
    m1: People
    cl: People
    ki: People
    kp2: People
    kp3: People
    kd: People
    ksc: People
    ka1: People
    ka2: People

    def select(self, places: Sequence[int]) -> "Physiology":
        """The people at `places`."""
        values = {each.name: getattr(self, each.name)[list(places)] for each in fields(self) if each.name != "names"}
        return replace(self, names=tuple(self.names[place] for place in places), **values)

    @cached_property
    def m2(self) -> People:
        """From plasma to liver, 1/min."""
        return self.cl / (self.vi * self.bw)

    @cached_property
    def m4(self) -> People:
        """Out of plasma, 1/min."""
        return 0.4 * self.cl / (self.vi * self.bw)

    @cached_property
    def m30(self) -> People:
        """Out of the liver, 1/min."""
        return EXTRACTION * self.m1 / (1 - EXTRACTION)

    @cached_property
    def leaves(self) -> People:
        """Insulin out of plasma, 1/min."""
        return self.m2 + self.m4

    @cached_property
    def cleared(self) -> People:
        """Insulin out of the liver in all, 1/min."""
        return self.m1 + self.m30

    @cached_property
    def absorbed(self) -> People:
        """Insulin out of the depot under the skin, 1/min."""
        return self.ka1 + self.kd

    @cached_property
    def plasma(self) -> People:
        """Glucose in plasma when fasting, mg/kg."""
        return self.gb * self.vg

    @cached_property
    def tissue(self) -> People:
        """Glucose in tissue when fasting, mg/kg."""
        return (BRAIN - self.egpb + self.k1 * self.plasma) / self.k2

    @cached_property
    def vm0(self) -> People:
        """Largest use in tissue without insulin action, mg/kg/min."""
        return (self.egpb - BRAIN) * (self.km0 + self.tissue) / self.tissue

    @cached_property
    def kp1(self) -> People:
        """Production without glucose and insulin, mg/kg/min."""
        return self.egpb + self.kp2 * self.plasma + self.kp3 * self.ib

    @cached_property
    def liver(self) -> People:
        """Insulin in the liver when fasting, pmol/kg."""
        return self.ib * self.vi * self.m2 / self.cleared

    @cached_property
    def infusion(self) -> People:
        """Insulin that keeps the fasting state, pmol/kg/min."""
        return self.leaves * self.ib * self.vi - self.m1 * self.liver

    @cached_property
    def basal(self) -> People:
        """Insulin that keeps the fasting state, U/min."""
        return self.infusion * self.bw / TO_PMOL

    def fasting(self) -> State:
        """The steady state under `basal` insulin."""
        nothing, under_skin = np.zeros_like(self.bw), self.infusion / self.absorbed
        gut, action = [nothing] * 3, [nothing, self.ib, self.ib]
        insulin = [self.liver, under_skin, under_skin * self.kd / self.ka2]
        return np.stack([*gut, self.plasma, self.tissue, self.ib * self.vi, *action, *insulin, self.plasma])


class Plant(Protocol):
    """The patient of a closed loop: bodies in a simulator."""

    def minute(self, meal: People, insulin: People) -> None:
        """A minute with a meal begun (g) and insulin (U/min)."""

    @property
    def glucose(self) -> People:
        """Where the sensor sits, mg/dL."""


class Bodies:
    """People as they go through time, from the fasting state on."""

    def __init__(self, who: Physiology) -> None:
        self._who = who
        self.state: State = who.fasting()
        self._waiting = np.zeros_like(who.bw)
        self._eating = np.zeros(len(who.bw), bool)
        self._held = np.zeros_like(who.bw)
        self._eaten = np.zeros_like(who.bw)

    @property
    def glucose(self) -> People:
        """Where the sensor sits, mg/dL."""
        return self.state[12] / self._who.vg

    def minute(self, meal: People, insulin: People) -> None:
        """A minute with a meal begun (g), eaten at most `EATING` a minute, and insulin (U/min)."""
        eats = self._eat(meal)
        inputs = 1000 * eats, insulin * TO_PMOL / self._who.bw, self._held + 1000 * self._eaten

        def slope(state: State) -> State:
            return derivative(self._who, state, *inputs)

        first = slope(self.state)
        second = slope(self.state + first / 2)
        third = slope(self.state + second / 2)
        self.state = self.state + (first + 2 * second + 2 * third + slope(self.state + third)) / 6

    def _eat(self, meal: People) -> People:
        """Grams in this minute. A meal empties by the stomach's content at its first bite and what followed."""
        self._waiting = self._waiting + meal
        eats = np.minimum(self._waiting, EATING)
        self._waiting = self._waiting - eats
        begins = (eats > 0) & ~self._eating
        self._held = np.where(begins, self.state[0] + self.state[1], self._held)
        self._eating = eats > 0
        self._eaten = np.where(begins, 0.0, self._eaten) + eats
        return eats


def derivative(who: Physiology, state: State, eats: People, insulin: People, meal: People) -> State:
    """d state / dt, per minute.

    **Arguments:** `eats` mg/min; `insulin` pmol/kg/min; `meal`: what the stomach empties by, mg.
    """
    solid, liquid, gut, plasma, tissue, circulating, action, first, delayed, liver, depot, near, sensed = state
    emptying = _emptying(who, solid + liquid, meal)
    appears = FRACTION * who.kabs * gut / who.bw
    produced = np.maximum(who.kp1 - who.kp2 * plasma - who.kp3 * delayed, 0)
    excreted = KIDNEY[0] * np.maximum(plasma - KIDNEY[1], 0)
    used = (who.vm0 + who.vmx * action) * tissue / (who.km0 + tissue)
    level = circulating / who.vi
    slopes = np.empty_like(state)
    slopes[0] = eats - who.kmax * solid
    slopes[1] = who.kmax * solid - emptying * liquid
    slopes[2] = emptying * liquid - who.kabs * gut
    exchanged = who.k1 * plasma - who.k2 * tissue
    slopes[3] = produced + appears - BRAIN - excreted - exchanged
    slopes[4] = exchanged - used
    slopes[5] = who.m1 * liver + who.ka1 * depot + who.ka2 * near - who.leaves * circulating
    slopes[6] = who.p2u * (level - who.ib - action)
    slopes[7] = who.ki * (level - first)
    slopes[8] = who.ki * (first - delayed)
    slopes[9] = who.m2 * circulating - who.cleared * liver
    slopes[10] = insulin - who.absorbed * depot
    slopes[11] = who.kd * depot - who.ka2 * near
    slopes[12] = who.ksc * (plasma - sensed)
    if (state < 0).any():
        slopes[_MASSES] *= state[_MASSES] >= 0
    return slopes


_MASSES: Final = [3, 4, 5, 9, 10, 11, 12]
"""Compartments that stay where they are once they are below nothing."""


def _emptying(who: Physiology, content: People, meal: People) -> People:
    """Rate at which the stomach empties, 1/min: fast when full and when nearly empty, slow between."""
    share = content / np.maximum(meal, 1.0)
    full = np.tanh(2.5 * (share - who.b) / (1 - who.b))
    low = np.tanh(2.5 * (share / who.d - 1))
    return who.kmin + (who.kmax - who.kmin) / 2 * (full - low + 2)
