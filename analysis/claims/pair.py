"""Verdicts on pairs: a plain network against its residual twin of one depth, trained alike.

Most studies ask this question, so each pair of a study has its own verdict, shown before the
claims. A pair is not a claim: a claim has one verdict on a group of runs, but the effect of a
shortcut depends on the depth (nothing at 18 layers, 3.5 points at 34 in R Table 2), so one group
can have several answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from analysis.cache import cached_by_runs
from analysis.claims.claim import Claim, Finding, Outcome, without_numbers
from analysis.claims.contrast import (
    TOO_FEW,
    Contrast,
    contrast,
    final_training_error,
    floor_text,
    held_out_error,
    points_text,
    seeds_text,
    training_images,
    unsettled,
)
from analysis.claims.course import course_text, share_worse
from analysis.claims.findings import points_finding
from analysis.claims.learning import (
    Lost,
    guarded,
    lost_seeds,
    more_lost,
    nothing_learnt,
    rates_finding,
    trained_seeds,
)
from analysis.claims.published import published
from analysis.claims.thresholds import PAIR_MARGIN
from analysis.convergence import time_averages
from analysis.groups import Group, split_groups
from analysis.search import apart_from_searches
from resnet_lab.runs.frames import Runs

MARGIN = PAIR_MARGIN
ENDED = ("finished", "diverged")


@dataclass(frozen=True, eq=False)
class Pair:
    """A plain network and its residual twin in one group of alike runs, by their short names.

    Every contrast is plain minus residual, paired by seed, over the seeds that trained; None where
    the runs lack its values.
    """

    group: Group
    plain: str
    residual: str
    depth: int

    @property
    def name(self) -> str:
        """The two networks in words."""
        return f"{self.plain} and {self.residual}"

    @cached_property
    def members(self) -> pd.DataFrame:
        """The members of both networks, whatever their status."""
        members = self.group.members
        return members[members["short"].isin([self.plain, self.residual])]

    @cached_property
    def trained(self) -> pd.DataFrame:
        """The finished members that did not collapse."""
        return trained_seeds(self.group, self.members)

    @cached_property
    def end(self) -> Contrast | None:
        """Training error at the end."""
        return self._contrast(final_training_error(self.trained))

    @cached_property
    def along(self) -> Contrast | None:
        """Training error averaged over all of training."""
        return self._contrast(self._averages("train"))

    @cached_property
    def held_out(self) -> Contrast | None:
        """Test error at the last step; validation error where there are no test images."""
        return self._contrast(held_out_error(self.trained)[0])

    @cached_property
    def followed(self) -> str:
        """The split evaluated during training: "test", else "validation"."""
        return self.split if len(self._averages(self.split)) else "validation"

    @cached_property
    def held_out_along(self) -> Contrast | None:
        """The error of `followed` averaged over training."""
        return self._contrast(self._averages(self.followed))

    @cached_property
    def logged(self) -> pd.DataFrame:
        """Logged errors of the runs that trained, including other members of these runs."""
        metrics = self.group.runs.metrics
        return metrics[(metrics["metric"] == "error") & metrics["run"].isin(self.trained["run"])]

    def _averages(self, split: str) -> pd.DataFrame:
        """Return network, seed, value and images: each member's error averaged over training."""
        means = time_averages(self.logged, split).dropna(subset=["value"])
        rows = self.trained.merge(means, on=["run", "network"])
        columns = {"network": rows["short"], "seed": rows["seed"], "value": rows["value"]}
        return pd.DataFrame({**columns, "images": training_images(rows) if split == "train" else 0})

    @property
    def split(self) -> str:
        """ "test", or "validation" where there are no test images."""
        return held_out_error(self.trained)[1].removesuffix(" error")

    def ends(self, comparisons: int = 1) -> list[Contrast]:
        """Contrasts of training and held-out error at the end, as far as available."""
        values = [final_training_error(self.trained), held_out_error(self.trained)[0]]
        found = [self._contrast(one, comparisons) for one in values]
        return [one for one in found if one is not None]

    def share_worse(self, split: str) -> float:
        """Share of logged points after warm-up at which plain is worse, mean over seeds; or NaN."""
        if split not in self._shares:
            end = float(str(self.group.settings["iterations"]))
            names = (self.plain, self.residual)
            self._shares[split] = share_worse(self.logged, self.trained, names, end, split)
        return self._shares[split]

    @cached_property
    def _shares(self) -> dict[str, float]:
        return {}

    @cached_property
    def finding(self) -> Finding:
        """The pair's finding; "not tested" where its runs cannot be compared."""
        return pair_finding(self)

    def _contrast(self, values: pd.DataFrame, comparisons: int = 1) -> Contrast | None:
        return contrast(values, self.plain, self.residual, comparisons)


@cached_by_runs
def all_pairs(runs: Runs) -> list[Pair]:
    """Return every pair of every group of alike runs: in a group by depth, then by shortcut.

    Trials of a search are not alike; `analysis.search` handles them.
    """
    groups = split_groups(apart_from_searches(runs))
    return [pair for group in groups for pair in pairs_of(group)]


def pairs_of(group: Group) -> list[Pair]:
    """Return the pairs among a group's members, finished or not, by depth, then by shortcut.

    The same objects each time, as verdict, table, figure and caption all ask for them.
    """
    return group.once("pairs", _pairs)


def _pairs(group: Group) -> list[Pair]:
    members = group.members
    plain = members[members["family"] == "plain"].drop_duplicates("depth").set_index("depth")
    residual = members[members["family"] == "residual"]
    twins = residual.drop_duplicates(["depth", "shortcut"]).sort_values(["depth", "shortcut"])
    return [
        Pair(group, str(plain.loc[depth, "short"]), str(short), int(depth))
        for depth, short in twins[["depth", "short"]].itertuples(index=False)
        if depth in plain.index
    ]


def pair_finding(pair: Pair) -> Finding:
    """Judge a pair by its errors at the end and along training, and by its lost seeds."""
    why = incomparable(pair)
    if why:
        return without_numbers("not tested", f"{pair.name}: {why}", f"{why}.")
    lost = lost_seeds(pair.group, pair.members)
    nothing = nothing_learnt(pair.group, pair.members)
    if pair.end is None:
        return _only_rates(pair, lost, nothing)
    ends = pair.ends()
    outcome, shown = judge(ends, pair.ends(len(ends)), pair.along)
    outcome, told = judge_losses(pair, outcome, shown, lost, nothing)
    values, _ = held_out_error(pair.trained)
    floor = floor_text(pair.group, values, pair.held_out) if pair.held_out else ""
    size = published(pair.group, shown)
    size = size and replace(size, sd=None)  # its spread is one of test errors
    finding = points_finding(
        outcome,
        pair.end,
        "training error",
        f"{told}{_said(outcome, pair, shown)}; {_courses(pair)}.{floor}{_without_partner(pair)}",
        replace(pair.group, members=pair.members),
        comparison=_comparison(outcome, pair),
        published=size,
    )
    return replace(finding, evidence=evidence_text(pair))


def incomparable(pair: Pair) -> str:
    """Return why a pair's runs cannot be compared (yet); "" where they can."""
    ended = pair.members[pair.members["status"].isin(ENDED)]
    seeds = {name: set(part["seed"]) for name, part in ended.groupby("short")}
    for name in (pair.plain, pair.residual):
        if name not in seeds:
            states = pair.members.loc[pair.members["short"] == name, "status"].value_counts()
            counts = ", ".join(f"{count} {status}" for status, count in states.items())
            return f"no run of {name} has come to its end ({counts})"
    if not seeds[pair.plain] & seeds[pair.residual]:
        told = [
            f"{name} has {', '.join(str(seed) for seed in sorted(seeds[name]))}"
            for name in (pair.plain, pair.residual)
        ]
        return (
            f"they share no seed ({'; '.join(told)}), and only runs of one seed saw the same "
            "batches"
        )
    return ""


def judge(
    ends: Sequence[Contrast], joint: Sequence[Contrast], along: Contrast | None = None
) -> tuple[Outcome, Contrast]:
    """Return the outcome of plain minus residual, and the contrast that shows it.

    Args:
        ends: training error at the end, and held-out error where there is one.
        joint: the same with intervals that hold jointly, as either may decide.
        along: training error averaged over training; None where no curves were recorded.
    """
    if all(within(one) for one in ends):
        return "equivalent", ends[0]
    course = [joint[0].above(0) and (along is None or along.above(0))]
    better = [*course, *(one.above(0) for one in joint[1:])]
    worse = [one.below(0) for one in joint]
    if any(better) and all(one.above(-MARGIN) for one in ends):
        return "supported", ends[better.index(True)]
    if any(worse) and all(one.below(MARGIN) for one in ends):
        return "refuted", ends[worse.index(True)]
    return "undecided", ends[0]


def within(one: Contrast) -> bool:
    """Whether the two networks tie."""
    return one.above(-MARGIN) and one.below(MARGIN)


def judge_losses(
    pair: Pair, outcome: Outcome, shown: Contrast | None, lost: Mapping[str, Lost], nothing: str
) -> tuple[Outcome, str]:
    """Return the outcome of errors and lost seeds together, and text on the lost seeds.

    Args:
        pair: the pair to judge.
        outcome: outcome of the errors of seeds that trained.
        shown: the contrast that shows it; None where there is none.
        lost: lost seeds of both networks.
        nothing: why no verdict is possible, or "".
    """
    if nothing:
        return "not under this recipe", f"{nothing}. "
    plain, residual = (lost[name] for name in (pair.plain, pair.residual))
    if not plain.count and not residual.count:
        return outcome, ""
    told = f"Seeds lost: {plain.text}, {residual.text}"
    for one, other, found in ((plain, residual, "supported"), (residual, plain, "refuted")):
        if more_lost(one, other):
            decided: Outcome = "supported" if found == "supported" else "refuted"
            return decided, f"{told}; {one.network} loses more (Fisher's exact test). "
    if shown is None:
        return outcome, f"{told}. "
    left, _ = guarded(outcome, shown, lost)
    if outcome == "equivalent" and plain.rate != residual.rate:
        left = "undecided"
    open_ = "" if left == outcome else "; leaving lost seeds out decides nothing"
    return left, f"{told}{open_}. "


def _only_rates(pair: Pair, lost: Mapping[str, Lost], nothing: str) -> Finding:
    """Return the finding on rates of lost seeds, where too few trained to compare errors."""
    outcome, why = judge_losses(pair, "undecided", None, lost, nothing)
    both = [lost[name] for name in (pair.plain, pair.residual)]
    why += "The two have no seed in common in which both trained."
    return rates_finding(outcome, both, why, min(one.n for one in both))


def evidence_text(pair: Pair) -> str:
    """Return both errors at the end in one line, with interval and n."""
    assert pair.end is not None
    first = points_text(pair.end, "training error")
    if pair.held_out is None:
        return first
    second = points_text(pair.held_out, f"{pair.split} error")
    return f"{first}; {second.removeprefix(f'{pair.held_out.name} ')}"


def _said(outcome: Outcome, pair: Pair, shown: Contrast) -> str:
    at = f"At {pair.depth} layers"
    return {
        "supported": f"{at} the residual network {_better(pair, 1)}",
        "refuted": f"{at} the plain network {_better(pair, -1)}",
        "equivalent": f"{at} the two tie at the end: within {MARGIN:g} point of each other in "
        "every error",
        "not under this recipe": "Networks that learn nothing are alike with and without shortcuts",
        "undecided": unsettled(shown.n, _open(pair)),
    }[outcome]


def _better(pair: Pair, sign: int) -> str:
    """Return which errors are better with shortcuts (`sign` 1) or without (-1)."""
    names = zip(("training", pair.split), pair.ends(), strict=False)
    found = [name for name, one in names if (one.above(0) if sign > 0 else one.below(0))]
    if not found:
        return "loses fewer seeds"
    return f"has the lower {' and '.join(found)} error, and is worse in neither"


def _open(pair: Pair) -> str:
    """Return why several seeds do not decide."""
    ends = pair.ends()
    signs = {one.mean > 0 for one in ends if one.excluded()}
    if len(signs) > 1:
        return "Training and held-out error favour different networks"
    joint = pair.ends(len(ends))
    if signs and not any(one.above(0) or one.below(0) for one in joint):
        return TOO_FEW
    return "The intervals neither exclude 0 in an error and a loss in the other, nor show a tie"


def _courses(pair: Pair) -> str:
    """Return every seed's values and a comparison of the curves, as text."""
    parts = []
    for what, end, along, split, followed in (
        ("training error", pair.end, pair.along, "train", "training"),
        (f"{pair.split} error", pair.held_out, pair.held_out_along, pair.followed, pair.followed),
    ):
        if end is None:
            continue
        parts.append(f"{what} at the end: {seeds_text(end, 2)}")
        if along is not None:
            share = pair.share_worse(split)
            worse = "" if pd.isna(share) else f", {pair.plain} {course_text(share)}"
            text = points_text(along, f"{followed} error")
            parts.append(f"averaged over training: {text}{worse}")
        elif split == "train":
            parts.append("no training curves were recorded, so only the end was tested")
    return "; ".join(parts)


def _without_partner(pair: Pair) -> str:
    """Name the seeds that only one network has, which are not compared."""
    seeds = {
        name: set(pair.trained.loc[pair.trained["short"] == name, "seed"])
        for name in (pair.plain, pair.residual)
    }
    common = seeds[pair.plain] & seeds[pair.residual]
    texts = [
        f"{name} {', '.join(str(seed) for seed in sorted(own - common))}"
        for name, own in seeds.items()
        if own - common
    ]
    return f" Seeds without a partner: {'; '.join(texts)}." if texts else ""


def _comparison(outcome: Outcome, pair: Pair) -> str:
    """Return what "equivalent" leaves out: depth, margin, and the curves' difference."""
    if outcome != "equivalent":
        return ""
    assert pair.end is not None
    text = f"a tie at {pair.depth} layers: within {MARGIN:g} point"
    along = pair.along
    if along is not None and (along.above(MARGIN) or along.below(-MARGIN)):
        slower = pair.plain if along.mean > 0 else pair.residual
        text += f"; over training {slower} is {abs(along.mean):.1f} points worse on average"
    return text


PAIR = Claim(
    id="pair",
    title="shortcuts help at equal depth",
    source="R Figure 4, Table 2",
    statement="Of two networks of this depth, trained alike, the residual one has the lower error, "
    "in training or on test images, and the higher one in neither.",
    needs="a plain network and its residual twin of the same depth, with equal seeds, trained "
    "alike",
    rule="Of plain minus residual at the last step: equivalent (a tie) if the paired t intervals "
    f"of training and of test error lie within +-{MARGIN:g} percentage point; else supported if "
    "that of one of them lies above 0 (the two hold together, Bonferroni; that of training error "
    "averaged over training must lie above 0 too, where training error is the one) and that of the "
    f"other above -{MARGIN:g} point, or if plain loses more seeds (Fisher's exact test, two-sided "
    "5 %); refuted if it is so for residual minus plain. Not under this recipe if neither's "
    "training error is below 90 % of that of guessing. Without test images validation error takes "
    "its place. At least two seeds; an interval decides if it does so at 99 % (2 or 3 seeds) or "
    "99.8 % (more). The verdict is about this depth alone.",
    test=lambda group: next((one.finding for one in pairs_of(group)), None),
    sweep="sweeps/plain34_vs_resnet34_cifar.yaml",
    smallest=f"any difference beyond a tie; a tie within {MARGIN:g} point",
    overturned={
        "supported": "On more seeds, or trained longer, the two end within 1 point of each other, "
        "or plain is the better one in an error.",
        "equivalent": "At greater depth, or on harder data, one is seen to err by more than 1 "
        "point more.",
        "refuted": "On more seeds, or trained longer, the residual network is no worse in both "
        "errors.",
    },
)


def titled(pair: Pair) -> Claim:
    """Return the statement on one pair."""
    return replace(PAIR, title=f"shortcuts help at {pair.depth} layers")
