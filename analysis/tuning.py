"""Networks compared each at its own best learning rate: what remains of an effect after tuning.

A tuning is a set of runs alike in everything but depth, shortcut, seed and learning rate. A rate is
chosen by the mean validation error over seeds; effects are differences of training and test error,
which choose nothing. The chosen rate's validation error is a minimum and so flatters: it is never
an effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.claims.evidence import Contrast, by_depth, contrast, contrasts
from analysis.groups import arms, split_groups
from analysis.labels import group_labels
from analysis.once import once_per_runs
from analysis.statistics import summarise
from resnet_lab.runs.frames import Runs

SPLITS = ("train", "validation", "test")
MOMENTS = ("mean", "sd")
DIVERGED = 100.0
"""Percent: the error of a network whose loss was no longer finite."""
NETWORK = ["family", "depth", "shortcut", "short"]


@dataclass(frozen=True, eq=False)
class Tuning:
    """Alike runs at several learning rates.

    `label` describes what they share; `slug` names their files ("" where there is one tuning).
    `members` has one row a network, seed and learning rate, as in `Group.members`, with errors as
    they count: those of finished members, 100 % of diverged ones, NaN of all others.
    """

    label: str
    slug: str
    members: pd.DataFrame

    @cached_property
    def rates(self) -> pd.DataFrame:
        """One row a split, network and learning rate.

        Columns: split, family, depth, shortcut, short, lr, n, mean, sd (percent, over seeds), low,
        high (the smallest and largest seed), seeds (that the network has at any rate), eligible
        (whether all of them have come to an end at this one), best (whether it has the lowest mean
        validation error of the eligible ones at which not every seed diverged; of equals the
        smaller).
        """
        return _rates(self.members)

    @cached_property
    def choices(self) -> pd.DataFrame:
        """One row a network that has at least two eligible learning rates, at its best one.

        Columns: family, depth, shortcut, short, lr, edge ("lowest" or "highest" where no smaller or
        no larger rate was tried, "" inside the grid), rates (how many were eligible), diverged
        (seeds), n, and for each split the mean and sd over seeds (percent).
        """
        return _choices(self.members, self.rates)


@once_per_runs
def split_tunings(runs: Runs) -> list[Tuning]:
    """Return the tunings among runs, the one with most members first.

    There is one only where some network has two learning rates at which each of its seeds has
    come to an end.
    """
    groups = split_groups(runs)
    if not groups:
        return []
    settings = pd.DataFrame([group.settings for group in groups])
    alike = settings.groupby([name for name in settings if name != "lr"], sort=False, dropna=False)
    numbers = alike.ngroup().to_numpy()
    kinds = [np.flatnonzero(numbers == number) for number in dict.fromkeys(numbers)]
    labels = group_labels([{**groups[kind[0]].settings, "lr": 0.0} for kind in kinds])
    tunings = [
        _tuning(label, pd.concat([groups[i].members for i in kind], ignore_index=True))
        for label, kind in zip(labels, kinds, strict=True)
    ]
    found = [tuning for tuning in tunings if not tuning.choices.empty]
    found.sort(key=lambda tuning: -len(tuning.members))
    several = len(found) > 1
    return [
        Tuning(one.label, str(number) if several else "", one.members)
        for number, one in enumerate(found, start=1)
    ]


def _tuning(label: str, members: pd.DataFrame) -> Tuning:
    low, high = float(members["lr"].min()), float(members["lr"].max())
    text = label.replace(", lr 0", f", lr {low:g} to {high:g}", 1)
    return Tuning(text, "", _counted(members))


def _counted(members: pd.DataFrame) -> pd.DataFrame:
    """Return members with errors as they count; a split that no finished member has stays NaN."""
    finished, diverged = members["status"] == "finished", members["status"] == "diverged"
    counted = members.copy()
    for split in SPLITS:
        errors = members[f"{split}_error"].astype(float).where(finished)
        known = bool(errors.notna().any())
        counted[f"{split}_error"] = errors.mask(diverged, DIVERGED) if known else errors
    return counted


def _rates(members: pd.DataFrame) -> pd.DataFrame:
    key = ["split", *NETWORK, "lr"]
    tidy = pd.concat(
        [
            members[[*NETWORK, "lr", "seed"]].assign(split=split, error=members[f"{split}_error"])
            for split in SPLITS
        ]
    ).sort_values([*key, "seed"], kind="stable")
    table = summarise(tidy, key, "error").drop(columns=["low", "high"])
    spread = tidy.groupby(key, sort=False, dropna=False)["error"]
    table["low"], table["high"] = spread.min().to_numpy(), spread.max().to_numpy()
    seeds = members.groupby("short")["seed"].nunique()
    table["seeds"] = table["short"].map(seeds).astype(int)
    return _marked(table, _trained_rates(members))


def _trained_rates(members: pd.DataFrame) -> pd.MultiIndex:
    """(short, lr) of the rates at which some seed was trained to the end without diverging."""
    sound = members[members["status"] == "finished"]
    return pd.MultiIndex.from_frame(sound[["short", "lr"]])


def _marked(table: pd.DataFrame, trained: pd.MultiIndex) -> pd.DataFrame:
    """Add eligible and best, decided on the validation split and said of all."""
    seen = table[table["split"] == "validation"]
    eligible = seen[seen["n"] == seen["seeds"]]
    sound = eligible[pd.MultiIndex.from_frame(eligible[["short", "lr"]]).isin(trained)]
    best = sound.sort_values(["mean", "lr"], kind="stable").drop_duplicates("short")
    place = pd.MultiIndex.from_frame(table[["short", "lr"]])
    return table.assign(
        eligible=place.isin(pd.MultiIndex.from_frame(eligible[["short", "lr"]])),
        best=place.isin(pd.MultiIndex.from_frame(best[["short", "lr"]])),
    )


def _choices(members: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    columns = [*NETWORK, "lr", "edge", "rates", "diverged", "n"]
    columns += [f"{split}_{what}" for split in SPLITS for what in MOMENTS]
    seen = table[table["split"] == "validation"]
    counts: pd.Series[int] = seen.groupby("short")["eligible"].sum()
    chosen = seen[seen["best"] & (seen["short"].map(counts) > 1)]
    rows = [
        _choice(members, table[table["short"] == row.short], float(str(row.lr)))
        for row in chosen.itertuples(index=False)
    ]
    return pd.DataFrame(rows, columns=columns)


def _choice(members: pd.DataFrame, network: pd.DataFrame, lr: float) -> dict[str, object]:
    by_split = {str(row["split"]): row for _, row in network[network["lr"] == lr].iterrows()}
    seen = by_split["validation"]
    of_network = members["short"] == seen["short"]
    statuses = members.loc[of_network & (members["lr"] == lr), "status"]
    tried = network["lr"]
    return {
        **{name: seen[name] for name in NETWORK},
        "lr": lr,
        "edge": "lowest" if lr == tried.min() else "highest" if lr == tried.max() else "",
        "rates": int((network["eligible"] & (network["split"] == "validation")).sum()),
        "diverged": int((statuses == "diverged").sum()),
        "n": int(seen["n"]),
        **{f"{split}_{what}": row[what] for split, row in by_split.items() for what in MOMENTS},
    }


def at_best(tuning: Tuning, split: str) -> pd.DataFrame:
    """Return network, seed and value: each member's error at its network's best rate, percent."""
    best = tuning.choices[["short", "lr"]]
    members = tuning.members.merge(best, on=["short", "lr"], how="inner")
    values = members[["short", "seed", f"{split}_error"]]
    return values.set_axis(["network", "seed", "value"], axis=1).dropna(subset=["value"])


def degradation(tuning: Tuning, split: str) -> list[Contrast]:
    """Return the deepest plain network minus each shallower one, each at its best rate.

    Paired by seed, in percentage points; the intervals hold together (Bonferroni).
    """
    chosen = tuning.choices
    *shallower, deepest = by_depth(chosen[chosen["family"] == "plain"]) or [""]
    return contrasts(at_best(tuning, split), deepest, shallower)


def shortcut_effects(tuning: Tuning, split: str) -> list[Contrast]:
    """Return each residual network minus the plain one of its depth, each at its best rate."""
    chosen = tuning.choices
    plain = chosen[chosen["family"] == "plain"].set_index("depth")["short"]
    values = at_best(tuning, split)
    found = [
        contrast(values, str(row["short"]), str(plain[row["depth"]]))
        for shortcut in arms(chosen)
        for _, row in chosen[chosen["shortcut"] == shortcut].iterrows()
        if row["depth"] in plain.index
    ]
    return [one for one in found if one is not None]


def effects(tuning: Tuning) -> pd.DataFrame:
    """Return one row a comparison and split.

    Columns: effect, comparison, split, mean, low, high (percentage points), n, and comparisons: how
    many intervals hold together at 95 % (Bonferroni).
    """
    kinds = {"degradation": degradation, "shortcut": shortcut_effects}
    rows = [
        (kind, one.name, split, one.mean, one.low, one.high, one.n, one.comparisons)
        for kind, compare in kinds.items()
        for split in ("train", "test")
        for one in compare(tuning, split)
    ]
    columns = ["effect", "comparison", "split", "mean", "low", "high", "n", "comparisons"]
    return pd.DataFrame(rows, columns=columns)
