"""Reports: self-contained HTML pages, and figures that carry their own tables."""

from expunge.reports.drawing import Drawing, Table, Tone
from expunge.reports.forms import Axis, Bar, Group, Sample, Series
from expunge.reports.numbers import Measured, Range, Unit
from expunge.reports.study import StudyFigure, study_report

__all__ = [
    "Axis",
    "Bar",
    "Drawing",
    "Group",
    "Measured",
    "Range",
    "Sample",
    "Series",
    "StudyFigure",
    "Table",
    "Tone",
    "Unit",
    "study_report",
]
