"""Checks on test images: not evaluated, or used to pick the best epoch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.doctor.diagnosis import MATTERS, Case, Diagnosis

SHRINKS, SHARE = 1.0, 0.1
"""Percentage points, and share of the gap, by which the best epochs' gap must be smaller to be
reported."""


def best_epochs(case: Case) -> Sequence[Diagnosis]:
    """Report how much smaller the gap between depths looks at each run's best epoch."""
    if len(case.depths) < 2:
        return []
    shallow, deep = case.depths[0], case.depths[-1]
    first, second = (_last_and_best(case.curve(depth, "test")) for depth in (deep, shallow))
    if first.empty or second.empty:
        return []
    gap = first.mean() - second.mean()
    if not gap["last"] - gap["best"] >= max(SHRINKS, SHARE * gap["last"]):
        return []
    gains = [
        f"{depth} layers by {one['last'].mean() - one['best'].mean():.1f}"
        for depth, one in ((deep, first), (shallow, second))
    ]
    return [
        Diagnosis(
            id="best epochs",
            severity=MATTERS,
            found="the lowest test error of a run is below that of its last step: "
            f"{', '.join(gains)} points; compared by best epochs {deep} minus {shallow} layers is "
            f"{gap['best']:.1f} points, by last ones {gap['last']:.1f}",
            why="a minimum over epochs, chosen on test images, flatters the noisier network most; "
            "this project takes the last step's, always",
            remedy="compare last steps, as resnet-lab report and resnet-lab claims do",
        )
    ]


def _last_and_best(curve: pd.DataFrame) -> pd.DataFrame:
    """Return each member's last and best test error, for members evaluated at least twice."""
    ordered = curve.dropna(subset=["value"]).sort_values("step", kind="stable")
    table = ordered.groupby(["run", "network"], observed=True)["value"].agg(
        ["last", "min", "count"]
    )
    return table[table["count"] > 1].rename(columns={"min": "best"})[["last", "best"]]


def test_unread(case: Case) -> Sequence[Diagnosis]:
    """Report runs of a search, which never evaluate test images."""
    if case.group.settings.get("test_images") != 0:
        return []
    return [
        Diagnosis(
            id="test images unread",
            severity=MATTERS,
            found="these runs never read the test images (data.test false, as searches do)",
            why="degradation is about training error, so nothing here needs them; a test error is "
            "what tells it from overfitting",
            remedy="add --data.test true to measure it",
        )
    ]
