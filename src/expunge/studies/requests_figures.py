"""Pictures of the study `requests`."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from expunge.reports import Axis, StudyFigure, Unit
from expunge.reports.figures import heatmap

Row = dict[str, Any]


def requests_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Flips by attack, unlearner and defence; AUC by screen, attack and kind of honest owner."""
    return [*_flips(rows), *_screens(rows)]


def _flips(rows: Sequence[Row]) -> list[StudyFigure]:
    made = []
    for group in ("lowest 5 %", "5-20 %"):
        some = [row for row in rows if row["part"] == "attack" and row["group"] == group]
        open_ = list(dict.fromkeys((r["unlearner"], r["defence"]) for r in some if r["defence"] == "none"))
        mended = [("retrain", "none"), ("retrain", "repair")]
        made += _matrix(some, open_, f"Share of targets flipped, margins {group}")
        made += _matrix(some, mended, f"Retrained and repaired, margins {group}")
    return made


def _matrix(rows: Sequence[Row], servers: Sequence[tuple[str, str]], title: str) -> list[StudyFigure]:
    """The attacks that were tried against every one of the servers."""
    found = {(r["attack"], r["unlearner"], r["defence"]) for r in rows}
    attacks = [a for a in dict.fromkeys(r["attack"] for r in rows) if all((a, *server) in found for server in servers)]
    if not attacks or len(servers) < 2:
        return []
    names = [name if defence == "none" else f"{name} + {defence}" for name, defence in servers]
    values = [[_mean(rows, attack, *server) for server in servers] for attack in attacks]
    words = "Retraining is exact and flips as well: exactness is no defence. `random` is the noise floor."
    return [StudyFigure(heatmap(title, attacks, names, values, Axis("Flipped", Unit.SHARE)), words)]


def _mean(rows: Sequence[Row], attack: str, unlearner: str, defence: str) -> float:
    own = [r for r in rows if (r["attack"], r["unlearner"], r["defence"]) == (attack, unlearner, defence)]
    return float(sum(row["flips"] for row in own) / sum(row["targets"] for row in own))


def _screens(rows: Sequence[Row]) -> list[StudyFigure]:
    own = [row for row in rows if row["part"] == "screen" and row["targets_among"] == "unknown"]
    if not own:
        return []
    screens = list(dict.fromkeys(row["screen"] for row in own))
    forms = (("auc", "AUC of each screen", Unit.PLAIN), ("tpr_at_5", "Caught at 5 % false positives", Unit.SHARE))
    made = []
    for attack, (key, title, unit) in product(dict.fromkeys(row["attack"] for row in own), forms):
        honest = list(dict.fromkeys(row["honest"] for row in own if row["attack"] == attack))
        values = [[_screen(own, key, name, attack, kind) for kind in honest] for name in screens]
        drawing = heatmap(f"{title}: {attack}", screens, honest, values, Axis("Screen", unit))
        words = "Columns: kinds of honest owner. Targets are no probes; all attacks but `naive` are adaptive."
        made.append(StudyFigure(drawing, words))
    return made


def _screen(rows: Sequence[Row], key: str, name: str, attack: str, kind: str) -> float:
    return float(np.mean([r[key] for r in rows if (r["screen"], r["attack"], r["honest"]) == (name, attack, kind)]))
