"""Tunings: networks compared each at its own best recipe.

A tuning is a set of runs of one study, alike in everything but depth, shortcut, seed and those
settings of the recipe that the study varies: the learning rate, or several settings jointly. A
point in these settings is chosen by the mean validation error over seeds. Effects are differences
of training and test error, which choose nothing. The chosen point's validation error is a minimum
and so biased: it is never an effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from analysis.cache import cached_by_runs
from analysis.claims.contrast import Contrast, by_depth, contrast, contrasts
from analysis.groups import Group, arms, split_groups
from analysis.labels import group_labels, settings_in
from analysis.statistics import summarise
from resnet_lab.runs.frames import Runs

SPLITS = ("train", "validation", "test")
MOMENTS = ("mean", "sd")
DIVERGED = 100.0
"""Percent: the error of a network whose loss was no longer finite."""
NETWORK = ["family", "depth", "shortcut", "short"]
TUNABLE = ("lr", "batch_size", "momentum", "weight_decay", "warmup_steps", "clip")
"""Columns of `runs` that may be tuned, beside the settings in `schedule`. The number of iterations
is the cost of a recipe, not a choice."""


@dataclass(frozen=True, eq=False)
class Tuning:
    """Alike runs at several points of their recipe.

    `label` describes what they share; `slug` names their files ("" where there is one tuning).
    `members` has one row a network, seed and point, as in `Group.members`, with errors as they
    count: those of finished members, 100 % of diverged ones, NaN of all others. `settings` are the
    columns that make a point: those that vary, lr first.
    """

    label: str
    slug: str
    members: pd.DataFrame
    settings: tuple[str, ...] = ("lr",)

    @property
    def axis(self) -> str:
        """The setting along which errors are drawn: the first numeric one, "" without any."""
        numbers = (name for name in self.settings if self.members[name].dtype == float)
        return next(numbers, "")

    @cached_property
    def rates(self) -> pd.DataFrame:
        """One row a split, network and point.

        Columns: split, family, depth, shortcut, short, one a setting (lr), n, mean, sd (percent,
        over seeds), low, high (the smallest and largest seed), seeds (that the network has at any
        point), eligible (whether all of them have come to an end at this one), best (whether it has
        the lowest mean validation error of the eligible ones at which not every seed diverged; of
        equals the smaller).
        """
        return _rates(self.members, self.settings)

    @cached_property
    def choices(self) -> pd.DataFrame:
        """One row a network that has at least two eligible points, at its best one.

        Columns: family, depth, shortcut, short, one a setting (lr), edge ("lowest" or "highest"
        where no smaller or no larger rate was tried, "" inside the grid; of several settings "lr
        lowest, momentum highest"), rates (how many points were eligible), diverged (seeds), n, and
        for each split the mean and sd over seeds (percent).
        """
        return _choices(self.members, self.rates, self.settings)


@cached_by_runs
def split_tunings(runs: Runs) -> list[Tuning]:
    """Return the tunings among runs, the one with most members first.

    Runs are a tuning only if two points differ in one setting alone, and some network has two
    points at which all its seeds have ended.
    """
    groups = split_groups(runs)
    if not groups:
        return []
    kinds = _kinds(groups)
    varied = [_varied(members) for _, members in kinds]
    labels = group_labels(
        [_shared(one, names) for (one, _), names in zip(kinds, varied, strict=True)]
    )
    tunings = [
        _tuning(label, members, names)
        for label, (_, members), names in zip(labels, kinds, varied, strict=True)
        if _is_grid(members, names)
    ]
    found = [tuning for tuning in tunings if not tuning.choices.empty]
    found.sort(key=lambda tuning: -len(tuning.members))
    several = len(found) > 1
    return [
        replace(one, slug=str(number) if several else "")
        for number, one in enumerate(found, start=1)
    ]


def _kinds(groups: Sequence[Group]) -> list[tuple[dict[str, object], pd.DataFrame]]:
    """Return (first settings, members) for a study's groups that differ in the recipe alone."""
    parts = [
        (group.settings, study, members)
        for group in groups
        for study, members in group.members.groupby("study", sort=False, dropna=False)
    ]
    fixed = [
        {"study": study}
        | {name: one for name, one in settings.items() if name not in (*TUNABLE, "schedule")}
        for settings, study, _ in parts
    ]
    found: dict[str, tuple[dict[str, object], list[pd.DataFrame]]] = {}
    for (settings, _, members), alike in zip(parts, fixed, strict=True):
        found.setdefault(repr(alike), (settings, []))[1].append(members)
    return [
        (settings, pd.concat([_with_schedule(one) for one in several], ignore_index=True))
        for settings, several in found.values()
    ]


def _with_schedule(members: pd.DataFrame) -> pd.DataFrame:
    """Add the settings in `schedule`, a column each."""
    if "schedule" not in members:
        return members
    said = [settings_in(text) for text in members["schedule"]]
    added = pd.DataFrame(said, index=members.index)
    return members.join(added.drop(columns=list(members), errors="ignore"))


def _varied(members: pd.DataFrame) -> tuple[str, ...]:
    """Return the recipe's settings that differ between members."""
    written = settings_in(members["schedule"].iloc[0]) if "schedule" in members else {}
    names = [*TUNABLE, *(name for name in written if name not in TUNABLE)]
    return tuple(
        name
        for name in names
        if name in members and members[name].astype(str).nunique(dropna=False) > 1
    )


def _is_grid(members: pd.DataFrame, settings: Sequence[str]) -> bool:
    """Whether two points differ in one setting alone: else they are two recipes, not a tuning."""
    points = members[list(settings)].astype(str).drop_duplicates()
    if len(settings) < 2:
        return bool(settings)
    others = ([name for name in settings if name != one] for one in settings)
    return any(points[names].duplicated().any() for names in others)


def _shared(settings: dict[str, object], varied: Sequence[str]) -> dict[str, object]:
    """Return settings for a label: without the varied ones, but with a placeholder for lr."""
    kept = {name: one for name, one in settings.items() if name == "lr" or name not in varied}
    if "lr" in varied:
        kept["lr"] = 0.0
    if "schedule" in kept:
        pairs = settings_in(kept["schedule"]).items()
        kept["schedule"] = " ".join(f"{name}={one}" for name, one in pairs if name not in varied)
    return kept


def _tuning(label: str, members: pd.DataFrame, settings: tuple[str, ...]) -> Tuning:
    text = label
    if "lr" in settings:
        text = label.replace(", lr 0", f", lr {_span(members['lr'])}", 1)
    others = [f"{name} {_span(members[name])}" for name in settings if name != "lr"]
    return Tuning(", ".join([text, *others]), "", _counted(_plain(members, settings)), settings)


def _plain(members: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """Return members with settings as numbers where all are numbers, else as texts."""
    plain = members.copy()
    for name in settings:
        numbers = pd.to_numeric(members[name], errors="coerce")
        texts = members[name].map(lambda one: "none" if pd.isna(one) else str(one))
        plain[name] = texts if numbers.isna().any() else numbers.astype(float)
    return plain


def _span(values: pd.Series) -> str:
    """Return ``0.01 to 1``, or all values if they are not numbers."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any():
        return " or ".join(sorted({"none" if pd.isna(one) else str(one) for one in values}))
    return f"{numbers.min():g} to {numbers.max():g}"


def point_text(row: pd.Series, settings: Sequence[str]) -> str:
    """Return a point as text: ``0.1`` for a learning rate alone, else ``lr 0.1, momentum 0.9``."""
    texts = [one if isinstance(one, str) else f"{one:g}" for one in (row[n] for n in settings)]
    if tuple(settings) == ("lr",):
        return texts[0]
    return ", ".join(f"{name} {text}" for name, text in zip(settings, texts, strict=True))


def _counted(members: pd.DataFrame) -> pd.DataFrame:
    """Return members with errors as in `Tuning`; a split without finished members stays NaN."""
    finished, diverged = members["status"] == "finished", members["status"] == "diverged"
    counted = members.copy()
    for split in SPLITS:
        errors = members[f"{split}_error"].astype(float).where(finished)
        known = bool(errors.notna().any())
        counted[f"{split}_error"] = errors.mask(diverged, DIVERGED) if known else errors
    return counted


def _rates(members: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    key = ["split", *NETWORK, *settings]
    tidy = pd.concat(
        [
            members[[*NETWORK, *settings, "seed"]].assign(
                split=split, error=members[f"{split}_error"]
            )
            for split in SPLITS
        ]
    ).sort_values([*key, "seed"], kind="stable")
    table = summarise(tidy, key, "error").drop(columns=["low", "high"])
    spread = tidy.groupby(key, sort=False, dropna=False)["error"]
    table["low"], table["high"] = spread.min().to_numpy(), spread.max().to_numpy()
    seeds = members.groupby("short")["seed"].nunique()
    table["seeds"] = table["short"].map(seeds).astype(int)
    return _marked(table, _trained_points(members, settings), settings)


def _trained_points(members: pd.DataFrame, settings: Sequence[str]) -> pd.MultiIndex:
    """Return the (short, *point) at which some seed finished without diverging."""
    sound = members[members["status"] == "finished"]
    return pd.MultiIndex.from_frame(sound[["short", *settings]])


def _marked(table: pd.DataFrame, trained: pd.MultiIndex, settings: Sequence[str]) -> pd.DataFrame:
    """Add eligible and best, decided on the validation split and copied to all splits."""
    point = ["short", *settings]
    seen = table[table["split"] == "validation"]
    eligible = seen[seen["n"] == seen["seeds"]]
    sound = eligible[pd.MultiIndex.from_frame(eligible[point]).isin(trained)]
    best = sound.sort_values(["mean", *settings], kind="stable").drop_duplicates("short")
    place = pd.MultiIndex.from_frame(table[point])
    return table.assign(
        eligible=place.isin(pd.MultiIndex.from_frame(eligible[point])),
        best=place.isin(pd.MultiIndex.from_frame(best[point])),
    )


def _choices(members: pd.DataFrame, table: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    columns = [*NETWORK, *settings, "edge", "rates", "diverged", "n"]
    columns += [f"{split}_{what}" for split in SPLITS for what in MOMENTS]
    seen = table[table["split"] == "validation"]
    counts: pd.Series[int] = seen.groupby("short")["eligible"].sum()
    chosen = seen[seen["best"] & (seen["short"].map(counts) > 1)]
    rows = [
        _choice(members, table[table["short"] == row["short"]], row[list(settings)])
        for _, row in chosen.iterrows()
    ]
    return pd.DataFrame(rows, columns=columns)


def _choice(members: pd.DataFrame, network: pd.DataFrame, point: pd.Series) -> dict[str, object]:
    here = network[(network[list(point.index)] == point).all(axis=1)]
    by_split = {str(row["split"]): row for _, row in here.iterrows()}
    seen = by_split["validation"]
    of_network = members["short"] == seen["short"]
    statuses = members.loc[of_network & (members[list(point.index)] == point).all(axis=1), "status"]
    return {
        **{name: seen[name] for name in NETWORK},
        **{str(name): value for name, value in point.items()},
        "edge": _edge(network, point),
        "rates": int((network["eligible"] & (network["split"] == "validation")).sum()),
        "diverged": int((statuses == "diverged").sum()),
        "n": int(seen["n"]),
        **{f"{split}_{what}": row[what] for split, row in by_split.items() for what in MOMENTS},
    }


def _edge(network: pd.DataFrame, point: pd.Series) -> str:
    """Return at which end of the tried values a point lies, by setting that varies."""
    ends = {}
    for name, value in point.items():
        tried = network[str(name)]
        if tried.nunique() > 1 and not isinstance(value, str):
            ends[name] = (
                "lowest" if value == tried.min() else "highest" if value == tried.max() else ""
            )
    if list(point.index) == ["lr"]:
        return ends.get("lr", "lowest")
    return ", ".join(f"{name} {end}" for name, end in ends.items() if end)


def at_best(tuning: Tuning, split: str) -> pd.DataFrame:
    """Return network, seed and value: each member's error at its network's best point, percent."""
    point = ["short", *tuning.settings]
    members = tuning.members.merge(tuning.choices[point], on=point, how="inner")
    values = members[["short", "seed", f"{split}_error"]]
    return values.set_axis(["network", "seed", "value"], axis=1).dropna(subset=["value"])


def degradation(tuning: Tuning, split: str) -> list[Contrast]:
    """Return the deepest plain network minus each shallower one, each at its best point.

    Paired by seed, in percentage points; the intervals hold jointly (Bonferroni).
    """
    chosen = tuning.choices
    *shallower, deepest = by_depth(chosen[chosen["family"] == "plain"]) or [""]
    return contrasts(at_best(tuning, split), deepest, shallower)


def shortcut_effects(tuning: Tuning, split: str) -> list[Contrast]:
    """Return each residual network minus the plain one of its depth, each at its best point."""
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
    many intervals hold jointly at 95 % (Bonferroni).
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
