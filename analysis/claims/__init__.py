"""The paper's claims, each with a test on runs and a verdict."""

from analysis.claims.claim import ALPHA, Claim, Finding, Verdict
from analysis.claims.registry import CLAIMS, evaluate_claims
from analysis.claims.text import format_verdicts, verdict_line, verdicts_frame, verdicts_json

__all__ = [
    "ALPHA",
    "CLAIMS",
    "Claim",
    "Finding",
    "Verdict",
    "evaluate_claims",
    "format_verdicts",
    "verdict_line",
    "verdicts_frame",
    "verdicts_json",
]
