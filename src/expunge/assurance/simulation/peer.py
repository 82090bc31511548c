"""simglucose as the body in the loop, and as the oracle of our own equations (extra `glucose`)."""

import warnings
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from expunge.assurance.simulation.physiology import BRAIN, FRACTION, KIDNEY, People, Physiology
from expunge.errors import OperatorError

THEIRS: Final = {"bw": "BW", "ib": "Ib", "vg": "Vg", "vi": "Vi", "vmx": "Vmx", "km0": "Km0", "vm0": "Vm0"}
"""Parameters that simglucose writes in another way."""

SAME: Final = tuple("kabs kmax kmin b d k1 k2 p2u m1 m2 m4 m30 ki kp1 kp2 kp3 kd ksc ka1 ka2".split())  # noqa: SIM905


class Simglucose:
    """One person in simglucose: a plant of the loop, seconds for each simulated day.

    **Raises:** `OperatorError("no-simglucose")` without the extra.
    """

    def __init__(self, who: Physiology) -> None:
        patient, self._action = _library()
        values = {THEIRS.get(name, name): float(getattr(who, name)[0]) for name in (*THEIRS, *SAME)}
        more = {"f": FRACTION, "Fsnc": BRAIN, "ke1": KIDNEY[0], "ke2": KIDNEY[1], "u2ss": float(who.infusion[0])}
        parameters = SimpleNamespace(Name=who.names[0], **values, **more)
        self._body = patient(parameters, init_state=who.fasting()[:, 0])

    @property
    def glucose(self) -> People:
        """Where the sensor sits, mg/dL."""
        return np.array([float(self._body.observation.Gsub)])

    def minute(self, meal: People, insulin: People) -> None:
        """A minute with a meal begun (g) and insulin (U/min)."""
        self._body.step(self._action(CHO=float(meal[0]), insulin=float(insulin[0])))


def _library() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # simglucose looks for its files in a way that setuptools is giving up
            from simglucose.patient.t1dpatient import Action, T1DPatient
    except ImportError:
        raise OperatorError("no-simglucose", "simglucose is not installed, or setuptools is 82 or newer") from None
    return T1DPatient, Action
