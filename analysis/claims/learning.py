"""Checks that networks learnt at all, and counts of seeds that diverged or collapsed.

A seed collapses if it ends near the error of guessing although other seeds of its network trained.
Such seeds are counted, not averaged, as their errors do not scatter around the network's mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.claims.claim import ALPHA, Finding, Outcome, without_numbers
from analysis.claims.contrast import Contrast
from analysis.claims.thresholds import CHANCE_SHARE
from analysis.groups import Group
from analysis.statistics import rate_interval, rates_p
from resnet_lab.data.dataset import dataset_of


def chance_error(settings: Mapping[str, object]) -> float:
    """Return the error of guessing, percent; NaN where the number of classes is unknown."""
    dataset = dataset_of(str(settings["data"]))
    classes = settings.get("num_classes") or (dataset and dataset.num_classes)
    return 100 * (1 - 1 / int(str(classes))) if classes else float("nan")


def learnt(group: Group, members: pd.DataFrame) -> pd.Series[bool]:
    """Return for each member whether its final training error is clearly below guessing.

    That is, below `CHANCE_SHARE` of it. True where the error of guessing is unknown.
    """
    return ~(members["train_error"] >= CHANCE_SHARE * chance_error(group.settings))


def nothing_learnt(group: Group, members: pd.DataFrame) -> str:
    """Return a sentence that no network among `members` learnt; "" where one did.

    A network learnt if half of its finished seeds did.
    """
    finished = members[members["status"] == "finished"]
    ended = members[members["status"].isin(["finished", "diverged"])]
    if finished.empty:
        return "Every seed diverged" if len(ended) else ""
    shares = learnt(group, finished).groupby(finished["short"]).mean()
    if (shares >= 0.5).any():
        return ""
    errors = finished.groupby("short")["train_error"].mean()
    best = str(errors.idxmin())
    chance = chance_error(group.settings)
    return (
        f"Nothing was learnt: the best of these networks, {best}, ends at {errors[best]:.1f} % "
        f"training error, and guessing gives {chance:g} % (learnt: below "
        f"{CHANCE_SHARE * chance:g} %)"
    )


@dataclass(frozen=True)
class Lost:
    """Diverged and collapsed seeds among a network's `n` seeds that ended."""

    network: str
    diverged: int
    collapsed: int
    n: int

    @property
    def count(self) -> int:
        """Number of lost seeds, diverged or collapsed."""
        return self.diverged + self.collapsed

    @property
    def rate(self) -> float:
        """Share of seeds lost."""
        return self.count / self.n if self.n else 0.0

    @property
    def text(self) -> str:
        """The rate in words with its exact interval."""
        low, high = rate_interval(self.count, self.n, 1 - ALPHA)
        return (
            f"{self.network} {self.count} of {self.n} ({self.diverged} diverged, {self.collapsed} "
            f"collapsed; exact 95 % interval [{100 * low:.0f}, {100 * high:.0f}] %)"
        )


def lost_seeds(group: Group, members: pd.DataFrame) -> dict[str, Lost]:
    """Return the lost seeds of each network among `members`."""
    apart = collapsed(group, members)
    ended = members[members["status"].isin(["finished", "diverged"])]
    return {
        str(short): Lost(
            str(short),
            int((part["status"] == "diverged").sum()),
            int(apart[part.index].sum()),
            len(part),
        )
        for short, part in ended.groupby("short", sort=False)
    }


def collapsed(group: Group, members: pd.DataFrame) -> pd.Series[bool]:
    """Return for each member whether it collapsed: near chance, while its network can train."""
    finished = members["status"] == "finished"
    trained = finished & learnt(group, members)
    can = members["short"].isin(members.loc[trained, "short"])
    return finished & ~trained & can


def trained_seeds(group: Group, members: pd.DataFrame) -> pd.DataFrame:
    """Return the finished members that did not collapse."""
    kept = (members["status"] == "finished") & ~collapsed(group, members)
    return members[kept]


def rates_finding(outcome: Outcome, rates: Sequence[Lost], reason: str, n: int) -> Finding:
    """Return the finding on rates of lost seeds, where too few trained to compare errors."""
    counts = ", ".join(f"{one.network} {one.count} of {one.n}" for one in rates)
    evidence = f"seeds that diverged or collapsed: {counts}"
    return without_numbers(outcome, evidence, reason, n)


def more_lost(first: Lost, second: Lost, comparisons: int = 1) -> bool:
    """Whether `first` lost more seeds than `second`, by Fisher's exact test."""
    p = rates_p((first.count, first.n), (second.count, second.n))
    return first.rate > second.rate and p <= ALPHA / comparisons


def guarded(outcome: Outcome, shown: Contrast, lost: Mapping[str, Lost]) -> tuple[Outcome, str]:
    """Return the outcome of a comparison of trained seeds, given the lost ones, and why.

    Leaving seeds out must decide nothing: where the network with the lower error lost the larger
    share of its seeds, the comparison is undecided.
    """
    pair = [lost.get(name) for name in (shown.first, shown.second)]
    if any(one is None for one in pair) or not any(one.count for one in pair if one):
        return outcome, ""
    first, second = (one for one in pair if one is not None)
    better, worse = (first, second) if shown.mean < 0 else (second, first)
    told = f"seeds lost: {first.text}, {second.text}"
    if outcome in ("supported", "refuted", "equivalent") and better.rate > worse.rate:
        return "undecided", (
            f"{told}; so the error of the others alone, lower for {better.network}, decides nothing"
        )
    return outcome, told


def settled(outcome: Outcome, compared: Sequence[Contrast], group: Group) -> tuple[Outcome, str]:
    """Return the outcome, made undecided where networks learnt nothing or lost seeds, and why.

    `compared` are the contrasts of errors that the outcome rests on.
    """
    names = {name for one in compared for name in (one.first, one.second)}
    members = group.members[group.members["short"].isin(names)]
    nothing = nothing_learnt(group, members)
    if nothing:
        return "not under this recipe", f"{nothing}. "
    lost = lost_seeds(group, members)
    for one in compared:
        left, why = guarded(outcome, one, lost)
        if left != outcome:
            return left, f"{why[:1].upper()}{why[1:]}. "
    told = ", ".join(one.text for one in lost.values() if one.count)
    return outcome, f"Seeds lost: {told}. " if told else ""
