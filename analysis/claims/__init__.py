"""Claims, each with a test on runs and a verdict."""

from analysis.claims.claim import ALPHA, Claim, Finding, Verdict
from analysis.claims.own import own_claims
from analysis.claims.pair import PAIR
from analysis.claims.registry import CLAIMS, evaluate, evaluate_claims, evaluate_pairs
from analysis.claims.text import format_verdicts, verdict_line, verdicts_frame, verdicts_json

__all__ = [
    "ALPHA",
    "CLAIMS",
    "PAIR",
    "Claim",
    "Finding",
    "Verdict",
    "evaluate",
    "evaluate_claims",
    "evaluate_pairs",
    "format_verdicts",
    "own_claims",
    "verdict_line",
    "verdicts_frame",
    "verdicts_json",
]
