"""Why a pair may show no degradation: what in the runs stands in the way, and what to do."""

from analysis.doctor.diagnosis import Case, Diagnosis
from analysis.doctor.examine import Examination, examine
from analysis.doctor.text import examination_json, examination_text

__all__ = [
    "Case",
    "Diagnosis",
    "Examination",
    "examination_json",
    "examination_text",
    "examine",
]
