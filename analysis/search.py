"""A search as one object: its trials, winner, drawn parameters and their importances.

from analysis.search import load_search
search = load_search("runs/search_digits")
search.winner, search.by_network, search.trials        # pandas
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.cache import cached_by_runs
from analysis.groups import NOT_SETTINGS, with_traits
from analysis.labels import TRAITS, settings_in
from analysis.search_importance import importances
from resnet_lab.errors import UserError
from resnet_lab.files import user_path
from resnet_lab.runs.frames import Runs, load_runs
from resnet_lab.sweeps.search_record import (
    Definition,
    Range,
    StoredTrial,
    read_definition,
    read_settings,
    stored_trials,
    usual_storage,
)

CONFIRMED = "-confirm"
"""Suffix of the study name of a search's confirmation."""
TRIALS_NEEDED = 5
"""Smallest number of runs taken for a search where no study folder declares one."""
DISTINCT_SHARE = 0.5
"""A drawn parameter differs in more than this share of the runs; a grid repeats values."""
RECIPE = ("batch_size", "lr", "momentum", "weight_decay", "warmup_steps", "clip", "schedule")
"""Columns of `runs` that a search may vary, beside those in the text of `schedule`."""
STATES = {"WAITING": "waiting", "RUNNING": "running", "FAIL": "failed"}
"""Name of a trial without a run directory."""
EDGE = 0.05
"""Share of a range, at either end, in which a best value calls for a wider range."""


@dataclass(frozen=True, eq=False)
class Search:
    """A search: all trials of one study.

    Attributes:
        label: description in words.
        slug: part of its files' names ("" where there is one search).
        study: its name.
        folder: of the study; None where its runs do not lie in one.
        definition: method, metric, seed and ranges; None where no study says them.
        metric: what chooses: "validation_error" (percent), "validation_loss" ...
        parameters: what was drawn, in the file's order.
        trials: one row a trial, in the order of their slots: trial (its number, from 0), name (of
            its run directory, "" without one), network, status (finished, stopped early, diverged,
            failed, interrupted, running, waiting), step, value (the metric at the last step; of
            one stopped early its validation error there; NaN of others), best (the lowest value of
            finished trials so far), seconds, seed (of the run), and a column a parameter.
        members: the same runs as rows of `Runs.runs`.
        confirmed: rows of `Runs.runs` of retrained bests, with `trial` added: which one it repeats.
    """

    label: str
    slug: str
    study: str
    folder: Path | None
    definition: Definition | None
    metric: str
    parameters: tuple[str, ...]
    trials: pd.DataFrame
    members: pd.DataFrame
    confirmed: pd.DataFrame

    @cached_property
    def counts(self) -> dict[str, int]:
        """Status -> number of trials, the usual ones first; only statuses that occur."""
        found = self.trials["status"].value_counts()
        usual = ("finished", "stopped", "diverged")
        order = [*usual, *sorted(set(found.index) - set(usual))]
        return {status: int(found[status]) for status in order if status in found}

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Finished trials with a value, the best first; ties by trial number."""
        sound = self.trials[self.trials["status"] == "finished"].dropna(subset=["value"])
        return sound.sort_values(["value", "trial"], kind="stable")

    @property
    def winner(self) -> pd.Series | None:
        """The best trial; None where none has a number."""
        return None if self.finished.empty else self.finished.iloc[0]

    @property
    def ties(self) -> pd.DataFrame:
        """Other trials with exactly the winner's value."""
        if self.winner is None:
            return self.finished
        same = np.isclose(self.finished["value"], self.winner["value"], rtol=0, atol=1e-9)
        return self.finished[same].iloc[1:]

    @property
    def images(self) -> int:
        """Validation images that each trial was measured on; 0 where that is not known."""
        known = self.members.get("validation_images", pd.Series(0, self.members.index))
        return int(known.min()) if len(known) else 0

    @property
    def seconds(self) -> float:
        """Training time of all trials, wall clock."""
        return float(self.trials["seconds"].sum())

    @property
    def networks(self) -> list[str]:
        """The networks among the trials, in the order of their first one."""
        return [str(one) for one in self.trials["network"].unique() if one]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the trials, without those of a confirmation."""
        return sorted({int(one) for one in self.trials["seed"].dropna()})

    @cached_property
    def by_network(self) -> pd.DataFrame:
        """One row a network, the best first.

        Columns: network, trials, finished, stopped, diverged, failed, value and trial (of its best
        one; NaN and NA without), name, and the parameters of that trial.
        """
        rows = []
        for network, part in self.trials.groupby("network", sort=False):
            best = self.finished[self.finished["network"] == network].head(1)
            states = part["status"].value_counts()
            counts = {one: int(states.get(one, 0)) for one in ("finished", "stopped", "diverged")}
            row = {
                "network": network,
                "trials": len(part),
                **counts,
                "failed": int(states.get("failed", 0)),
                "value": float(best["value"].iloc[0]) if len(best) else np.nan,
                "trial": int(best["trial"].iloc[0]) if len(best) else pd.NA,
                "name": str(best["name"].iloc[0]) if len(best) else "",
            }
            others = [name for name in self.parameters if name != "network"]
            rows.append(row | {n: best[n].iloc[0] if len(best) else np.nan for n in others})
        table = pd.DataFrame(rows)
        return table.sort_values("value", kind="stable", ignore_index=True) if rows else table

    @cached_property
    def importances(self) -> pd.DataFrame:
        """Importance of each parameter for being among the best trials; see `importances`."""
        return importances(self.trials, self.parameters, self.ranges)

    @property
    def ranges(self) -> dict[str, Range]:
        """Parameter -> range that it was drawn from; empty where no study defines it."""
        return {} if self.definition is None else self.definition.ranges

    @cached_property
    def edges(self) -> list[tuple[str, str]]:
        """(parameter, "lowest" or "highest") where the winner lies at an end of its range."""
        if self.winner is None:
            return []
        found = []
        for name, drawn in self.ranges.items():
            value = self.winner.get(name)
            if drawn.low is None or drawn.high is None or not isinstance(value, int | float):
                continue
            scale = np.log if drawn.log else float
            low, high, here = (float(scale(one)) for one in (drawn.low, drawn.high, value))
            share = (here - low) / (high - low)
            if share < EDGE or share > 1 - EDGE:
                found.append((name, "lowest" if share < EDGE else "highest"))
        return found

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Confirmed trials, network by network, the best first: by mean over fresh seeds.

        Columns: network, rank (1 is chosen; NA where a seed diverged or none has finished), trial,
        n (finished seeds), seeds (trained or in training), diverged, mean and sd of the metric over
        seeds, search (the trial's own value, biased as it chose the trial), test_mean, test_sd
        (percent; of the chosen one only), and the parameters.
        """
        return _ranking(self)


def load_search(path: str | Path, storage: str | None = None) -> Search:
    """Read the search whose study's folder is `path`, such as runs/search_digits.

    Args:
        path: the study's folder.
        storage: the study's storage, if not a journal in the folder: postgresql://..., or a path to
            a .journal; default: $RESNET_LAB_STORAGE. Without one, the search is read from its runs.

    Raises:
        UserError: no runs, or runs that are not a search.
    """
    folder = user_path(path)
    found = split_searches(load_runs(folder), storage)
    if not found:
        raise UserError(
            f"{folder} holds no search: no study of one, and no {TRIALS_NEEDED} runs or more whose "
            "settings were drawn"
        )
    inside = [one for one in found if one.folder == folder] or found
    if len(inside) > 1:
        names = ", ".join(str(one.folder or one.study) for one in inside)
        raise UserError(f"{folder} holds several searches: give one of {names}")
    return inside[0]


def split_searches(runs: Runs, storage: str | None = None) -> list[Search]:
    """Return the searches among runs, the one with most trials first.

    A study's folder declares whether its runs are a search. Without a folder, as from W&B, the runs
    of one study are taken for a search if they are alike in data and length, at least
    `TRIALS_NEEDED`, and some number of the recipe differs in more than half of them. Networks with
    a single run are left out.
    """
    if storage is None:
        return list(_split(runs))
    return _split_with(runs, storage)


@cached_by_runs
def _split(runs: Runs) -> list[Search]:
    return _split_with(runs, None)


def _split_with(runs: Runs, storage: str | None) -> list[Search]:
    if runs.runs.empty:
        return []
    folders = runs.runs["path"].map(lambda one: str(Path(str(one)).parent))
    found = []
    for folder in folders.unique():
        definition = read_definition(Path(folder))
        if definition is not None:
            own = runs.runs[folders == folder]
            found.append(_of_study(runs, Path(folder), definition, own, folders, storage))
    rest = without_searches(runs, found)
    found += _alike(rest)
    found.sort(key=lambda one: -len(one.trials))
    if len(found) > 1:
        found = [replace(one, slug=str(number)) for number, one in enumerate(found, start=1)]
    return found


def _of_study(
    runs: Runs,
    folder: Path,
    definition: Definition,
    own: pd.DataFrame,
    folders: pd.Series[str],
    storage: str | None,
) -> Search:
    """Return the search in a study's folder."""
    stored = _stored(folder, storage)
    ordered = own.sort_values([one for one in ("created", "name") if one in own], kind="stable")
    places = {one.run: one.number for one in stored if one.run}
    numbers = {name: places.get(name, i) for i, name in enumerate(ordered["name"].unique())}
    rows = [
        _row(number, part, definition, runs.metrics)
        for name, number in numbers.items()
        for part in [ordered[ordered["name"] == name]]
    ]
    lost = [one for one in stored if one.run not in numbers]
    rows += [_lost(one, definition) for one in lost if one.state != "WAITING" or one.flags]
    inside = folders == str(folder / f"{folder.name}{CONFIRMED}")
    metric = definition.number
    trials = _numbered(pd.DataFrame(rows), tuple(definition.ranges))
    return Search(
        label=_label(folder.name, ordered, definition),
        slug="",
        study=folder.name,
        folder=folder,
        definition=definition,
        metric=metric,
        parameters=tuple(definition.ranges),
        trials=trials,
        members=ordered,
        confirmed=_repeats(runs.runs[inside], trials, tuple(definition.ranges)),
    )


def _stored(folder: Path, storage: str | None) -> list[StoredTrial]:
    """Return the slots in the storage: the journal in the folder, else the named storage.

    A storage that is unreachable is ignored unless the caller named it.
    """
    found = stored_trials(folder)
    if storage is not None and not found:
        return stored_trials(folder, storage)
    usual = usual_storage()
    if found or usual is None:
        return found
    try:
        return stored_trials(folder, usual)
    except UserError:
        return []


def _label(study: str, members: pd.DataFrame, definition: Definition | None) -> str:
    first = members.iloc[0]
    kind = "search" if definition is None else f"{definition.method} search"
    networks = list(members["network"].unique())
    named = str(networks[0]) if len(networks) == 1 else f"{len(networks)} networks"
    text = (
        f"{kind} of {named} on {first['data']}, protocol {first['protocol']}, "
        f"{first['iterations']:,} iterations"
    )
    return f"{text}, study {study}" if study else text


def _row(
    number: int, members: pd.DataFrame, definition: Definition, metrics: pd.DataFrame
) -> dict[str, Any]:
    """Return a trial with a run directory; for a cohort, the member that the metric names."""
    wanted, metric = definition.member, definition.number
    named = members[members["network"] == wanted] if wanted is not None else members
    chosen = (named if len(named) else members).iloc[0]
    config = read_settings(Path(str(chosen["path"])))
    return {
        "trial": number,
        "network": "+".join(members["network"]),
        **_outcome(chosen, metric, metrics),
        **{name: _setting(config, name) for name in definition.ranges if name != "network"},
    }


def _outcome(member: pd.Series, metric: str, metrics: pd.DataFrame) -> dict[str, Any]:
    status = str(member["status"])
    step, value = _last_evaluation(member, metric, metrics)
    if status == "finished":
        value, step = float(member.get(metric, np.nan)), member.get("step", step)
    return {
        "name": member["name"],
        "status": status,
        "step": step,
        "value": value if status in ("finished", "stopped") else np.nan,
        "seconds": member["wall_seconds"],
        "seed": member["seed"],
    }


def _last_evaluation(
    member: pd.Series, metric: str, metrics: pd.DataFrame
) -> tuple[int | None, float]:
    kind = metric.removeprefix("validation_")
    rows = metrics[
        (metrics["run"] == member["run"])
        & (metrics["network"] == member["network"])
        & (metrics["split"] == "validation")
        & (metrics["metric"] == kind)
    ]
    if rows.empty:
        return None, np.nan
    last = rows.loc[rows["step"].idxmax()]
    return int(last["step"]), float(last["value"])


def _setting(config: Any, name: str) -> Any:
    for part in name.replace("-", "_").split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return _cell(config)


def _cell(value: Any) -> Any:
    """Return a value as a table cell: a number, or text."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return str(value)
    return np.nan if value is None else value


def _lost(one: StoredTrial, definition: Definition) -> dict[str, Any]:
    """Return a trial whose run directory is missing."""
    values = one.values
    return {
        "trial": one.number,
        "network": str(values.get("network", "")),
        "name": "",
        "status": STATES.get(one.state, "not here"),
        "step": None,
        "value": np.nan,
        "seconds": 0.0,
        "seed": None,
        **{n: _cell(values.get(n)) for n in definition.ranges if n != "network"},
    }


def _numbered(rows: pd.DataFrame, parameters: Sequence[str]) -> pd.DataFrame:
    """Return trials in order, with the best value so far, and columns in order."""
    table = rows.sort_values("trial", kind="stable").reset_index(drop=True)
    table["step"] = table["step"].astype("Int64")
    table["seed"] = table["seed"].astype("Int64")
    table["best"] = table["value"].where(table["status"] == "finished").cummin().ffill()
    first = ["trial", "name", "network", "status", "step", "value", "best", "seconds", "seed"]
    return table[[*first, *(name for name in parameters if name != "network")]]


def _repeats(
    members: pd.DataFrame, trials: pd.DataFrame, parameters: Sequence[str]
) -> pd.DataFrame:
    """Return a confirmation's rows with the trial that each repeats: same network and values."""
    others = [name for name in parameters if name != "network"]
    known = {
        (str(row["network"]), *(str(row[name]) for name in others)): row["trial"]
        for _, row in trials.iterrows()
    }
    found = []
    for _, part in members.groupby("run", sort=False):
        config = read_settings(Path(str(part["path"].iloc[0])))
        drawn = tuple(str(_setting(config, name)) for name in others)
        trial = known.get(("+".join(part["network"]), *drawn))
        found.append(part.assign(trial=trial))
    return pd.concat(found) if found else members.assign(trial=pd.Series(dtype="Int64"))


def _ranking(search: Search) -> pd.DataFrame:
    wanted = search.definition.member if search.definition else None
    members = search.confirmed.dropna(subset=["trial"])
    if wanted is not None:
        members = members[members["network"] == wanted]
    trials = search.trials.set_index("trial")
    rows = [
        _confirmed_row(search, trials.loc[[int(str(trial))]].iloc[0], int(str(trial)), part)
        for trial, part in members.groupby("trial")
    ]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).sort_values(
        ["network", "diverged", "mean", "trial"], kind="stable", ignore_index=True
    )
    sound = (table["diverged"] == 0) & (table["n"] == table["seeds"]) & (table["n"] > 0)
    table.insert(1, "rank", table.groupby("network").cumcount().add(1).where(sound).astype("Int64"))
    chosen = table["rank"] == 1
    for name in ("test_mean", "test_sd"):
        table[name] = table[name].where(chosen.fillna(False).astype(bool))
    return table


def _confirmed_row(
    search: Search, trial: pd.Series, number: int, members: pd.DataFrame
) -> dict[str, Any]:
    finished = members[members["status"] == "finished"]
    values, tests = (finished[name].astype(float) for name in (search.metric, "test_error"))
    others = [name for name in search.parameters if name != "network"]
    return {
        "network": trial["network"],
        "trial": number,
        "n": len(finished),
        "seeds": len(members),
        "diverged": int((members["status"] == "diverged").sum()),
        "mean": values.mean(),
        "sd": values.std(ddof=1),
        "search": trial["value"],
        "test_mean": tests.mean(),
        "test_sd": tests.std(ddof=1),
        **{name: trial[name] for name in others},
    }


# Runs without a study folder, as from W&B


def _alike(runs: Runs) -> list[Search]:
    """Return the searches among runs without a study folder."""
    if runs.runs.empty or "created" not in runs.runs:
        return []
    members = with_traits(runs.runs)
    cohorts = members.groupby(["run", "path"])["network"].transform("size") > 1
    free = (*NOT_SETTINGS, *RECIPE, "short", *TRAITS, "study")
    fixed = ["study", *(str(one) for one in members if one not in free)]
    found = []
    for several, part in members.groupby(cohorts, sort=False):
        keys = [*fixed, "network"] if several else fixed
        for _, study in part.groupby(keys, sort=False, dropna=False):
            alike = study[study.groupby("network")["run"].transform("size") > 1]
            if names := drawn(alike):
                found.append(_of_runs(alike, names, runs.metrics))
    return found


def _of_runs(members: pd.DataFrame, names: Sequence[str], metrics: pd.DataFrame) -> Search:
    ordered = members.sort_values(["created", "name"], kind="stable").reset_index(drop=True)
    values = settings_of(ordered)
    rows = [
        {
            "trial": number,
            "network": row["network"],
            **_outcome(row, "validation_error", metrics),
            **{name: values.loc[number, name] for name in names},
        }
        for number, (_, row) in enumerate(ordered.iterrows())
    ]
    study = str(ordered["study"].iloc[0] or "")
    networks = ordered["network"].nunique() > 1
    parameters = (*(("network",) if networks else ()), *names)
    return Search(
        label=_label(study, ordered, None),
        slug="",
        study=study,
        folder=None,
        definition=None,
        metric="validation_error",
        parameters=parameters,
        trials=_numbered(pd.DataFrame(rows), parameters),
        members=ordered,
        confirmed=ordered.head(0).assign(trial=pd.Series(dtype="Int64")),
    )


def settings_of(members: pd.DataFrame) -> pd.DataFrame:
    """Return the numeric settings of the recipe, a column each; text and flags are left out."""
    texts = members["schedule"] if "schedule" in members else pd.Series("", members.index)
    hidden = pd.DataFrame([settings_in(text) for text in texts], index=members.index)
    known = [name for name in RECIPE if name in members and name != "schedule"]
    both = pd.concat([members[known], hidden.drop(columns=known, errors="ignore")], axis=1)
    numbers: pd.DataFrame = both.apply(pd.to_numeric, errors="coerce")
    return numbers


def drawn(members: pd.DataFrame) -> tuple[str, ...]:
    """Return the settings that look drawn: they differ in more than half of the runs."""
    if len(members) < TRIALS_NEEDED:
        return ()
    counts = settings_of(members).nunique()
    enough = (counts >= TRIALS_NEEDED) & (counts > DISTINCT_SHARE * len(members))
    varied = tuple(str(name) for name in counts[counts > 1].index)
    return varied if bool(enough.any()) else ()


def apart_from_searches(runs: Runs) -> Runs:
    """Return the runs to compare in groups: all except trials of searches and confirmations.

    Returns the same object each time, so that cached results apply.
    """
    return _apart(runs) if split_searches(runs) else runs


@cached_by_runs
def _apart(runs: Runs) -> Runs:
    return without_searches(runs, split_searches(runs))


def without_searches(runs: Runs, searches: Sequence[Search]) -> Runs:
    """Return the runs that belong to no search and no confirmation."""
    if not searches:
        return runs
    parts = [part for one in searches for part in (one.members, one.confirmed)]
    searched = pd.MultiIndex.from_frame(pd.concat([part[["run", "network"]] for part in parts]))

    def rest(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~pd.MultiIndex.from_frame(frame[["run", "network"]]).isin(searched)]

    return replace(runs, runs=rest(runs.runs), metrics=rest(runs.metrics), layers=rest(runs.layers))
