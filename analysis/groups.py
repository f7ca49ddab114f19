"""Groups of runs alike in everything but depth, shortcut and seed: all that is ever compared.

A group's members share data, protocol, iterations, batch, learning rate, every other setting that
`load_runs` lists, and the traits of the network that are neither depth nor shortcut (width, norm,
block, ordering ...). Members of different groups are never compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import pandas as pd

from analysis.cache import cached_by_runs
from analysis.labels import TRAITS, group_labels, short_name, traits
from resnet_lab.runs.frames import Runs

T = TypeVar("T")

WHO = ("run", "name", "study", "path", "network", "family", "depth", "shortcut", "seed")
OUTCOME = (
    *("status", "error", "step", "diverged_at", "warmup_ended_at", "parameters", "multiply_adds"),
    *("train_error", "train_loss", "validation_error", "validation_loss", "test_error"),
    *("test_loss", "validation_top5_error", "test_top5_error", "wall_seconds"),
    *("images_per_second",),
)
ORIGIN = (
    *("created", "finished", "resumed", "device", "processor", "system", "python", "resnet_lab"),
    *("torch", "lightning", "git"),
)
NOT_SETTINGS = frozenset((*WHO, *OUTCOME, *ORIGIN))
"""Columns of `runs` that identify a member or hold its results, not its settings."""


@dataclass(frozen=True)
class Group:
    """Alike runs, described by `label`; `slug` names their files ("" where there is one group).

    `members` is `runs.runs` with the traits and `short` added, one row a network and seed; `short`
    is the name without what the whole group shares (plain-56 for plain-56-x0.5).
    """

    label: str
    slug: str
    settings: dict[str, object]
    members: pd.DataFrame
    runs: Runs

    def once(self, name: str, make: Callable[[Group], T]) -> T:
        """Return `make(self)`, made once: what many parts of a report need, by name.

        Callers share the result and must not change it.
        """
        if name not in self._made:
            self._made[name] = make(self)
        made: T = self._made[name]
        return made

    @cached_property
    def _made(self) -> dict[str, Any]:
        return {}

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Members that trained to the end."""
        return self.members[self.members["status"] == "finished"]

    @property
    def shown(self) -> pd.DataFrame:
        """Members that figures show: finished ones, or all of a network without finished ones."""
        finished = self.members["network"].isin(self.finished["network"])
        return self.members[(self.members["status"] == "finished") | ~finished]

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return rows keyed by run and network, joined with columns of `members`.

        These are seed, family, depth, shortcut and short.
        """
        return _joined(frame, self.members)

    def of_shown(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the result of `of` for the members of `shown` only."""
        return _joined(frame, self.shown)


def _joined(frame: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    columns = ["run", "network", "seed", "family", "depth", "shortcut", "short"]
    return frame.merge(members[columns], on=["run", "network"], how="inner")


def with_traits(members: pd.DataFrame) -> pd.DataFrame:
    """Return `runs.runs` with one column a trait, and `short`."""
    columns = {name: [traits(one)[name] for one in members["network"]] for name in TRAITS}
    columns["short"] = [short_name(one) for one in members["network"]]
    added = pd.DataFrame(columns, index=members.index)
    return pd.concat([members.drop(columns=list(columns), errors="ignore"), added], axis=1)


def _one_a_seed(members: pd.DataFrame) -> pd.DataFrame:
    """Keep one member of each network and seed, a finished one where there is one."""
    order = members["status"].ne("finished")
    ordered = members.assign(unfinished=order).sort_values(["unfinished", "run"], kind="stable")
    kept = ordered.drop_duplicates(["network", "seed"]).drop(columns="unfinished")
    return kept.sort_values(["family", "depth", "shortcut", "seed"], kind="stable")


def restrict(runs: Runs, members: pd.DataFrame) -> Runs:
    """Return `runs` restricted to these members, in all three frames."""
    keys = members[["run", "network"]]
    return replace(
        runs,
        runs=runs.runs[runs.runs.set_index(["run", "network"]).index.isin(_index(keys))],
        metrics=_rows_of(runs.metrics, keys),
        layers=_rows_of(runs.layers, keys),
    )


def _rows_of(frame: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of these members, by masks: merging strings into millions of rows is slow.

    The first mask also selects a run's other networks if another run's member has their name.
    """
    rows = frame[frame["run"].isin(keys["run"]) & frame["network"].isin(keys["network"])]
    there = rows[["run", "network"]].drop_duplicates()
    others = there[~_index(there).isin(_index(keys))]
    if len(others):
        rows = rows[~_index(rows[["run", "network"]]).isin(_index(others))]
    return rows.reset_index(drop=True)


def _index(keys: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(keys)


@cached_by_runs
def split_groups(runs: Runs) -> list[Group]:
    """Split runs into groups of alike ones, the one with most members first."""
    if runs.runs.empty:
        return []
    members = with_traits(runs.runs)
    settings = [str(name) for name in members if name not in (*NOT_SETTINGS, "short")]
    parts: list[tuple[dict[str, object], pd.DataFrame]] = [
        (dict(zip(settings, key, strict=True)), _one_a_seed(part))
        for key, part in members.groupby(settings, sort=False, dropna=False)
    ]
    parts.sort(key=lambda part: -len(part[1]))
    labels = group_labels([shared for shared, _ in parts])
    return [
        Group(
            label=labels[number - 1],
            slug=_slug(shared, number) if len(parts) > 1 else "",
            settings=shared,
            members=part,
            runs=restrict(runs, part),
        )
        for number, (shared, part) in enumerate(parts, start=1)
    ]


def _slug(settings: dict[str, object], number: int) -> str:
    """Return the part of a file name for one of several groups: its data and its number."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', str(settings['data'])).strip('-')}-{number}"


def arms(members: pd.DataFrame) -> list[str]:
    """Return the residual shortcuts among `members`, the one with most depths first."""
    residual = members[members["family"] == "residual"]
    depths: pd.Series[int] = residual.groupby("shortcut")["depth"].nunique()
    return sorted(depths.index, key=lambda shortcut: (-depths[shortcut], shortcut))
