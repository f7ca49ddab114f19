"""Diagnoses of a search, counted over its trials: one short block, not one a trial."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.claims.thresholds import CHANCE_SHARE
from analysis.doctor.facts import KNOWN
from analysis.doctor.training import FALLING, last_tenths
from analysis.search import Search, split_searches
from analysis.search_text import summary
from resnet_lab.runs.frames import Runs


@dataclass(frozen=True)
class SearchExamination:
    """One search: its summary, and each diagnosis with the number of its trials."""

    study: str
    trials: int
    counts: dict[str, int]
    summary: tuple[str, ...]
    findings: tuple[str, ...]


def examine_searches(runs: Runs) -> list[SearchExamination]:
    """Examine every search among the runs."""
    return [
        SearchExamination(
            study=one.study,
            trials=len(one.trials),
            counts=one.counts,
            summary=tuple(summary(one)),
            findings=tuple(_findings(one, runs)),
        )
        for one in split_searches(runs)
    ]


def _findings(search: Search, runs: Runs) -> list[str]:
    total = len(search.trials)
    found = []
    for status, way in WAYS.items():
        count = search.counts.get(status, 0)
        if count:
            found.append(f"{count} of {total} trials {status}: {way}")
    finished = search.members[search.members["status"] == "finished"]
    known = KNOWN.get(str(search.members["data"].iloc[0]))
    if known is not None:
        lost = finished["train_error"] >= CHANCE_SHARE * known.chance
        if lost.any():
            found.append(
                f"{int(lost.sum())} of {len(finished)} finished trials at chance level (training "
                f"error {CHANCE_SHARE * known.chance:g} % or more): narrow the ranges, or train "
                "longer"
            )
    falling = _still_falling(finished, runs.metrics)
    if falling:
        found.append(
            f"{falling} of {len(finished)} finished trials too short: training error still fell by "
            f"more than {FALLING:g} point over the last tenth; a search of short runs prefers what "
            "starts fast"
        )
    return found


WAYS = {
    "diverged": "they count as worst; where it is many, lower the upper end of the learning rate",
    "failed": "the same command tries them again; their errors are in its output",
    "interrupted": "the same command continues them",
    "running": "wait for their end, or give the command again",
    "waiting": "the same command trains them",
}
"""Status -> what to do."""


def _still_falling(members: pd.DataFrame, metrics: pd.DataFrame) -> int:
    """Count members whose training error still fell at the end, by the doctor's rule."""
    if members.empty:
        return 0
    own = metrics["run"].isin(members["run"])
    errors = metrics[own & (metrics["metric"] == "error") & (metrics["split"] == "train")]
    keys = ["run", "network"]
    curve = errors.merge(members[[*keys, "iterations"]], on=keys)
    before, last = (
        part.groupby(keys, observed=True)["value"].mean()
        for part in last_tenths(curve, curve["iterations"])
    )
    return int((before - last > FALLING).sum())
