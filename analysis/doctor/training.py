"""Checks for runs that cannot be compared: unfinished, at chance, at zero, or too short."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.learning import nothing_learnt
from analysis.claims.thresholds import CHANCE_SHARE
from analysis.doctor.diagnosis import (
    EXPLAINS,
    MATTERS,
    Case,
    Diagnosis,
    again,
    continued,
    counted,
    depths_of,
    plain_of,
)
from analysis.doctor.facts import longer_training
from analysis.text import listed

ZERO = 0.5
"""Percent of training error below which a network counts as having learnt everything."""
FALLING = 1.0
"""Percentage points over the last tenth of training by which an error counts as still falling."""
WAYS_ON = {
    "running": "wait for its end; if its process is gone, continue it: {command}",
    "interrupted": "the same command continues it: {command}",
    "failed": "see `error` in its run.json; the same command continues it: {command}",
    "diverged": "its loss, outputs or weights were no longer finite: a longer "
    "--recipe.warmup_steps or a lower --recipe.lr, for every network alike",
    "stopped": "a search ended it early: repeat it with {command}",
}
"""Status -> what to do; `command` resumes the first such run."""


def unfinished(case: Case) -> Sequence[Diagnosis]:
    """Report unfinished members, which are never compared: one diagnosis a status."""
    members = case.group.members
    missing = members[members["status"] != "finished"]
    decisive = not case.shown and _takes_a_depth_away(case)
    return [
        Diagnosis(
            id=f"not finished: {status}",
            severity=EXPLAINS if decisive else MATTERS,
            found=f"{counted(members, part)} {_state(str(status), len(part))}: "
            + listed(_member_texts(part)),
            why="only networks that came to their end are compared, as errors before it are not "
            "those of the recipe",
            remedy=WAYS_ON.get(str(status), "train it again").format(command=continued(part))
            + ("  # and the other runs alike" if part["path"].nunique() > 1 else ""),
        )
        for status, part in missing.groupby("status", sort=False)
    ]


def _state(status: str, count: int) -> str:
    one, several = ("has", "have") if status == "failed" else ("is", "are")
    return f"{one if count == 1 else several} {status}"


def _member_texts(members: pd.DataFrame, most: int = 4) -> list[str]:
    texts = [f"{row.short} seed {row.seed}{_where(row)}" for row in members.itertuples(index=False)]
    return texts if len(texts) <= most else [*texts[: most - 1], f"{len(texts) - most + 1} more"]


def _where(row: object) -> str:
    at = getattr(row, "diverged_at", None)
    step = getattr(row, "step", None)
    if at is not None and not pd.isna(at):
        return f" (at step {int(at)})"
    return f" (step {int(step)})" if step is not None and not pd.isna(step) else ""


def _takes_a_depth_away(case: Case) -> bool:
    """Whether fewer than two plain depths are left, or the deepest one is gone."""
    planned = depths_of(plain_of(case.group.members))
    return len(planned) > 1 and (len(case.depths) < 2 or case.depths[-1] != planned[-1])


def chance(case: Case) -> Sequence[Diagnosis]:
    """Report that the shallowest plain network, or both of a pair, learnt next to nothing."""
    if case.shown or case.known is None or not case.depths:
        return []
    if case.of_one_depth and any(
        nothing_learnt(one.group, one.members) == "" for one in case.pairs
    ):
        return []
    shallow = case.at(case.depths[0])
    error = float(shallow["train_error"].mean())
    if not error >= CHANCE_SHARE * case.known.chance:
        return []
    return [
        Diagnosis(
            id="at chance level",
            severity=EXPLAINS,
            found=f"even {shallow['short'].iloc[0]} ends at {error:.1f} % training error, where "
            f"guessing gives {case.known.chance:g} %",
            why="networks that have not begun to learn are equally bad at any depth; at lr 0.1 "
            "without warm-up even ResNet-56 stays at loss 2.30 for a hundred iterations and more "
            "on CIFAR-10 (experiments/cifar10_quick.yaml)",
            remedy=again(shallow, f"--recipe.iterations {_longer(case)} --recipe.drops '[]'"),
        )
    ]


def _longer(case: Case) -> int:
    return 10 * int(str(case.group.settings["iterations"]))


def too_easy(case: Case) -> Sequence[Diagnosis]:
    """Report that every plain network fits the training images."""
    if case.shown or len(case.depths) < (1 if case.of_one_depth else 2):
        return []
    means = {depth: float(case.at(depth)["train_error"].mean()) for depth in case.depths}
    if not max(means.values()) < ZERO:
        return []
    texts = [f"{depth} layers {error:.2f} %" for depth, error in means.items()]
    deep = case.known.fact if case.known is not None else "R Figure 6 goes to 110 layers"
    return [
        Diagnosis(
            id="too easy",
            severity=EXPLAINS,
            found=f"training error ends near 0 at every depth: {', '.join(texts)}",
            why=f"nothing is left to differ in; {deep}",
            remedy="go deeper, or take harder data: resnet-lab train --config "
            "experiments/cifar10_quick.yaml --network plain-20,resnet-20",
        )
    ]


def too_few_steps(case: Case) -> Sequence[Diagnosis]:
    """Report training error that was still falling when training ended.

    Degradation may then be limited to the start, so this is reported whatever the verdict.
    """
    if len(case.depths) < (1 if case.of_one_depth else 2):
        return []
    falls = {depth: _last_fall(case, depth) for depth in (case.depths[0], case.depths[-1])}
    falling = {depth: fall for depth, fall in falls.items() if fall > FALLING}
    if not falling:
        return []
    texts = [f"{depth} layers by {fall:.1f} points" for depth, fall in falling.items()]
    iterations = int(str(case.group.settings["iterations"]))
    return [
        Diagnosis(
            id="too few steps",
            severity=EXPLAINS if case.depths[0] in falling and not case.shown else MATTERS,
            found=f"training error still fell over the last tenth of {iterations:,} iterations: "
            + ", ".join(texts),
            why="before its end a training compares how fast networks start; R trained CIFAR-10 "
            f"for 64,000 iterations; {longer_training()}",
            remedy=again(
                case.at(case.depths[-1]),
                f"--recipe.iterations {2 * iterations} --recipe.drops "
                f"'[{iterations}, {iterations * 3 // 2}]'",
            )
            + f"  # and the other {'network' if case.of_one_depth else 'depths'} alike",
        )
    ]


def _last_fall(case: Case, depth: int) -> float:
    """Return the mean error of training's last tenth but one minus that of the last, points."""
    curve = case.curve(depth, "train")
    before, last = last_tenths(curve, float(str(case.group.settings["iterations"])))
    return float(before["value"].mean() - last["value"].mean())


def last_tenths(
    curve: pd.DataFrame, iterations: float | pd.Series[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of training's last tenth but one, and those of the last tenth."""
    share = curve["step"] / iterations
    return curve[(share > 0.8) & (share <= 0.9)], curve[share > 0.9]
