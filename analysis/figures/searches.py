"""Searches among runs: many trials of one network whose recipes were drawn, not chosen by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from analysis.groups import NOT_SETTINGS, with_traits
from resnet_lab.runs.frames import Runs

TRIALS_NEEDED = 5
"""Fewest runs of one network that can be a search."""
DISTINCT_SHARE = 0.5
"""A drawn parameter has another value in more than this share of the runs; a grid repeats its."""
RECIPE = ("batch_size", "lr", "momentum", "weight_decay", "warmup_steps", "clip", "schedule")
"""Columns of `runs` that a search may vary; `schedule` holds the rest of the recipe as text."""
DIVERGED = 100.0
"""Percent: the error of a trial whose loss was no longer finite."""
CORRELATED_NEEDS = 5
"""Fewest finished trials that a correlation is said of."""


@dataclass(frozen=True, eq=False)
class Search:
    """The trials of one network in one study, in the order in which they began.

    `parameters` are the drawn ones. `trials` has one row a trial: number (from 1), name, status,
    step (the last one with a validation error), error (percent: validation error there; 100 where
    it diverged; NaN before the first), best (the lowest error of finished trials so far), and one
    column a parameter.
    """

    label: str
    slug: str
    parameters: tuple[str, ...]
    trials: pd.DataFrame
    members: pd.DataFrame

    @property
    def finished(self) -> pd.DataFrame:
        """Trials that came to an end: trained in full, or diverged."""
        return self.trials[self.trials["status"].isin(["finished", "diverged"])]


def split_searches(runs: Runs) -> list[Search]:
    """Return the searches among runs, the one with most trials first.

    A search is at least `TRIALS_NEEDED` runs of one network in one study, alike in data and
    length, with at least one numeric setting of the recipe that differs in more than half of them.
    """
    if runs.runs.empty or "created" not in runs.runs:
        return []
    members = with_traits(runs.runs)
    fixed = ["study", "network"]
    fixed += [str(one) for one in members if one not in (*NOT_SETTINGS, *RECIPE, "short", *fixed)]
    parts = [part for _, part in members.groupby(fixed, sort=False, dropna=False)]
    parts = [part for part in parts if drawn(part)]
    parts.sort(key=lambda part: -len(part))
    return [
        _search(part, runs.metrics, str(number) if len(parts) > 1 else "")
        for number, part in enumerate(parts, start=1)
    ]


def settings_of(members: pd.DataFrame) -> pd.DataFrame:
    """Return the numeric settings of the recipe, a column each; text and switches are left out."""
    texts = members["schedule"] if "schedule" in members else pd.Series("", members.index)
    hidden = pd.DataFrame(
        [dict(re.findall(r"(\w+)=(\S+)", str(text))) for text in texts], index=members.index
    )
    known = [name for name in RECIPE if name in members and name != "schedule"]
    both = pd.concat([members[known], hidden.drop(columns=known, errors="ignore")], axis=1)
    numbers: pd.DataFrame = both.apply(pd.to_numeric, errors="coerce")
    return numbers


def drawn(members: pd.DataFrame) -> tuple[str, ...]:
    """Return the settings that look drawn: another value in more than half of the runs."""
    if len(members) < TRIALS_NEEDED:
        return ()
    counts = settings_of(members).nunique()
    enough = (counts >= TRIALS_NEEDED) & (counts > DISTINCT_SHARE * len(members))
    return (*varied(members),) if bool(enough.any()) else ()


def varied(members: pd.DataFrame) -> list[str]:
    """Return the numeric settings that are not the same in all runs."""
    counts = settings_of(members).nunique()
    return [str(name) for name in counts[counts > 1].index]


def _search(members: pd.DataFrame, metrics: pd.DataFrame, slug: str) -> Search:
    ordered = members.sort_values(["created", "name"], kind="stable").reset_index(drop=True)
    first = ordered.iloc[0]
    label = (
        f"search of {first['network']} on {first['data']}, protocol {first['protocol']}, "
        f"{first['iterations']:,} iterations"
    )
    label += f", study {first['study']}" if first["study"] else ""
    return Search(label, slug, drawn(ordered), _trials(ordered, metrics), ordered)


def _trials(members: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    seen = metrics[(metrics["split"] == "validation") & (metrics["metric"] == "error")]
    last = seen.sort_values("step").drop_duplicates(["run", "network"], keep="last")
    joined = members[["run", "network"]].merge(last, on=["run", "network"], how="left")
    error = joined["value"].astype(float).mask(members["status"] == "diverged", DIVERGED)
    table = pd.DataFrame(
        {
            "number": np.arange(1, len(members) + 1),
            "name": members["name"],
            "status": members["status"],
            "step": joined["step"].astype("Int64"),
            "error": error,
        }
    )
    complete = table["error"].where(table["status"] == "finished")
    table["best"] = complete.cummin().ffill()
    return pd.concat([table, settings_of(members)[varied(members)]], axis=1)


def importance(search: Search) -> pd.DataFrame:
    """Return how strongly the final error goes with each parameter, the strongest first.

    Columns: parameter, n (finished trials with a value), rho (Spearman's rank correlation with the
    final validation error), low, high (an approximate 95 % interval, by Fisher's transformation).
    Empty with fewer than `CORRELATED_NEEDS` finished trials.
    """
    rows = []
    for name in search.parameters:
        pairs = search.finished[[name, "error"]].dropna()
        if len(pairs) >= CORRELATED_NEEDS and (pairs.nunique() > 1).all():
            rho = float(stats.spearmanr(pairs[name], pairs["error"]).statistic)
            rows.append((name, len(pairs), rho, *_interval(rho, len(pairs))))
    table = pd.DataFrame(rows, columns=["parameter", "n", "rho", "low", "high"])
    order = table["rho"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _interval(rho: float, n: int) -> tuple[float, float]:
    """Fisher's interval with Bonett and Wright's variance for ranks."""
    if abs(rho) >= 1:
        return rho, rho
    half = 1.959964 * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))


def answer(search: Search) -> str:
    """Say in words how many trials there were, which was best, and what that means."""
    counts = search.trials["status"].value_counts()
    words = {"finished": "finished", "stopped": "stopped early", "diverged": "diverged"}
    said = [f"{counts[key]} {word}" for key, word in words.items() if key in counts]
    others = [f"{n} {key}" for key, n in counts.items() if key not in words]
    text = f"{len(search.trials)} trials: {', '.join([*said, *others])}."
    complete = search.trials[search.trials["status"] == "finished"].dropna(subset=["error"])
    if complete.empty:
        return text + " None finished, so there is no best one."
    best = complete.sort_values(["error", "number"], kind="stable").iloc[0]
    recipe = ", ".join(f"{name} {best[name]:.4g}" for name in search.parameters)
    return (
        f"{text} Lowest validation error {best['error']:.2f} % in trial {best['number']}: "
        f"{recipe}. It is the smallest of several, so it flatters."
    )


def without_searches(runs: Runs, searches: Sequence[Search]) -> Runs:
    """Return the runs that belong to no search."""
    if not searches:
        return runs
    keys = pd.concat([one.members[["run", "network"]] for one in searches])
    searched = pd.MultiIndex.from_frame(keys)

    def rest(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~pd.MultiIndex.from_frame(frame[["run", "network"]]).isin(searched)]

    return replace(runs, runs=rest(runs.runs), metrics=rest(runs.metrics), layers=rest(runs.layers))
