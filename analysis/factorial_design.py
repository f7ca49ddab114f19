"""The design of a factorial study: which runs are one, and what its factors are.

A factorial is a set of plain networks of one depth and study that are alike in everything but the
seed and two or more factors. A factor is a setting of two levels: a trait of the network (its
activation, initial values ...) or a setting of the recipe (clip, optimizer ...); settings that
change together are one factor. At least one of them is a trait. Whatever else differs (data,
iterations, batch, width, precision ...) makes other factorials; a setting of three levels makes
none. `analysis.groups` never compares groups of different settings: here they are compared,
because what differs is the design's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from analysis.cache import cached_by_runs
from analysis.claims.contrast import training_images
from analysis.factorial import CELLS, TWIN, Factor, Factorial
from analysis.groups import NOT_SETTINGS, restrict, with_traits
from analysis.labels import group_labels, settings_in
from analysis.mediators import mediators
from analysis.tuning import DIVERGED, TUNABLE
from resnet_lab.networks.registry import AXES
from resnet_lab.runs.frames import Runs

TRAIT_FACTORS = tuple(axis for axis in AXES if axis != "shortcut")
RECIPE_FACTORS = (*TUNABLE, "optimizer")
"""Columns that may be factors, beside the settings in `schedule`."""
BUDGET = ("iterations", "batch_size", "precision", "compile")
"""Settings of the recipe that are no factors: the budget, and the arithmetic."""


@cached_by_runs
def split_factorials(runs: Runs) -> list[Factorial]:
    """Return the factorials among runs, the one with most members first.

    A design counts as one where more cells have runs than one factor at a time would fill; cells
    that lack runs are named in its results.
    """
    if runs.runs.empty:
        return []
    everyone = with_settings(with_traits(runs.runs))
    found = [
        made
        for part in alike_settings(everyone)
        for _, plain in part[part["family"] == "plain"].groupby("depth")
        if (made := _factorial(runs, part, plain)) is not None
    ]
    found.sort(key=lambda one: -len(one.members))
    several = len(found) > 1
    return [
        replace(one, slug=str(number) if several else "")
        for number, one in enumerate(found, start=1)
    ]


@cached_by_runs
def apart_from_factorials(runs: Runs) -> Runs:
    """Return the runs that belong to no factorial: its settings are crossed, not tuned."""
    crossed = {run for one in split_factorials(runs) for run in one.runs.runs["run"]}
    return restrict(runs, runs.runs[~runs.runs["run"].isin(crossed)]) if crossed else runs


def with_settings(members: pd.DataFrame) -> pd.DataFrame:
    """Add the settings in `schedule`, a column each."""
    if "schedule" not in members:
        return members
    said = pd.DataFrame([settings_in(text) for text in members["schedule"]], index=members.index)
    return members.join(said.drop(columns=list(members), errors="ignore"))


def varying(members: pd.DataFrame) -> list[str]:
    """Return the columns that may be factors: traits and settings of the recipe."""
    texts = members["schedule"].unique() if "schedule" in members else ()
    inside = [name for text in texts for name in settings_in(text)]
    names = [*TRAIT_FACTORS, *RECIPE_FACTORS, *inside]
    return [one for one in dict.fromkeys(names) if one in members and one not in BUDGET]


def alike_settings(members: pd.DataFrame, *, by_study: bool = True) -> list[pd.DataFrame]:
    """Split members by every setting that is no factor, and by study unless told otherwise."""
    factors = varying(members)
    fixed = [
        str(one)
        for one in members
        if one not in (*NOT_SETTINGS, "short", "schedule", *factors)
        or (by_study and one == "study")
    ]
    return [part for _, part in members.groupby(fixed, sort=False, dropna=False)]


def _factorial(runs: Runs, alike: pd.DataFrame, plain: pd.DataFrame) -> Factorial | None:
    """Return the factorial of the plain networks of one depth, or None if they are none."""
    names = varying(plain)
    texts = pd.DataFrame({name: text_of(plain[name]) for name in names}, index=plain.index)
    varied = [name for name in names if texts[name].nunique() > 1]
    if any(texts[name].nunique() > 2 for name in varied):
        return None
    factors, digits = _factors(texts[varied])
    if len(factors) < 2 or not any(name in AXES for one in factors for name in one.settings):
        return None
    cells = digits.apply("".join, axis=1)
    if cells.nunique() <= len(factors) + 1:
        return None
    residual = alike[(alike["family"] == "residual") & (alike["depth"] == plain["depth"].iloc[0])]
    twins = residual[_as_usual(residual, factors, names, texts)]
    kept = restrict(runs, pd.concat([plain, twins]))
    known = mediators(kept.layers)
    return Factorial(
        label=_label(plain, factors),
        slug="",
        factors=factors,
        members=counted(plain.assign(**{CELLS: cells}), known),
        twins=counted(_closest(twins).assign(**{CELLS: TWIN}), known),
        runs=kept,
    )


def text_of(values: pd.Series) -> pd.Series[str]:
    """Return settings as texts; what is not set is "none"."""
    return values.map(lambda one: "none" if pd.isna(one) or one == "None" else _plain(one))


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _usual(name: str, values: Iterable[str]) -> str:
    """Return the usual one of two values: a trait's default, what is not set, SGD, or the lower."""
    defaults = (AXES[name].default,) if name in AXES else ("none", "sgd")
    known = set(values)
    return next((one for one in defaults if one in known), min(known, key=_order))


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return 0.0, value


def _factors(texts: pd.DataFrame) -> tuple[tuple[Factor, ...], pd.DataFrame]:
    """Return the factors, one for settings that change together, and each one's digits."""
    merged: dict[str, dict[str, tuple[str, str]]] = {}
    digits: dict[str, pd.Series[str]] = {}
    for name in map(str, texts):
        values = texts[name]
        same = next((one for one, seen in digits.items() if _together(values, seen)), name)
        usual = values[digits[same] == "0"].iloc[0] if same in digits else _usual(name, values)
        [changed] = set(values) - {usual}
        digits.setdefault(same, values.map({usual: "0", changed: "1"}))
        merged.setdefault(same, {})[name] = (usual, changed)
    return tuple(Factor(one) for one in merged.values()), pd.DataFrame(digits, index=texts.index)


def _together(one: pd.Series[str], other: pd.Series[str]) -> bool:
    """Whether two columns of two values each split their rows alike."""
    return len(set(zip(one, other, strict=True))) == 2


def _as_usual(
    residual: pd.DataFrame, factors: Sequence[Factor], names: Sequence[str], texts: pd.DataFrame
) -> pd.Series[bool]:
    """Return which residual members have the reference's settings."""
    wanted = {name: str(texts[name].iloc[0]) for name in names} | {
        name: values[0] for one in factors for name, values in one.settings.items()
    }
    fits = pd.Series(True, index=residual.index)
    for name, value in wanted.items():
        fits &= text_of(residual[name]) == value
    return fits


def _closest(twins: pd.DataFrame) -> pd.DataFrame:
    """Keep the twins with one shortcut: option A where it is there, else the first."""
    order = ["A", *sorted(set(twins["shortcut"]) - {"A"})]
    kept = next((one for one in order if (twins["shortcut"] == one).any()), "A")
    return twins[twins["shortcut"] == kept]


def counted(members: pd.DataFrame, known: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """Return the columns of `Factorial.members`, and `more`: one finished run a cell and seed."""
    diverged, finished = members["status"] == "diverged", members["status"] == "finished"
    error = members["train_error"].astype(float).where(finished).mask(diverged, DIVERGED)
    table = members.assign(error=error, images=training_images(members), open=error.isna())
    table = table.sort_values([CELLS, "seed", "open", "run"], kind="stable")
    table = table.drop_duplicates([CELLS, "seed"])
    columns = ["run", "network", "seed", "status", CELLS, "error", "images", *more]
    return table[columns].merge(known, on=["run", "network"], how="left").reset_index(drop=True)


def _label(plain: pd.DataFrame, factors: Sequence[Factor]) -> str:
    """Return what the runs share, and the factors: ``2 x 2 factorial of ... (leaky0.3, ...)``."""
    usual = {name: values[0] for one in factors for name, values in one.settings.items()}
    kept: dict[str, object] = {
        name: float(value) if name == "lr" else value
        for name, value in usual.items()
        if name in (*AXES, "optimizer", "lr")
    }
    text = label_of_shared(pd.Series({**plain.iloc[0], **kept}))
    names = ", ".join(one.name for one in factors)
    levels = " x ".join("2" for _ in factors)
    return f"{levels} factorial of {plain['depth'].iloc[0]} plain layers ({names}), {text}"


def label_of_shared(member: pd.Series) -> str:
    """Return the data, budget and traits of a member in words."""
    shared = {str(name): one for name, one in member.items() if name not in NOT_SETTINGS}
    [text] = group_labels([{name: one for name, one in shared.items() if name != "short"}])
    return text
