"""Diagnoses of runs that show no degradation: likely causes and remedies."""

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
