"""Remedies: what has been proposed for deep networks, beside the plain and the residual one.

All runs of a comparison have the same data, iterations, batch, width, depth and precision: an equal
budget of images. Remedies differ from the reference in a trait of the network (activation, padding,
branch, initial values, norm, ordering, shortcut), in the recipe (optimizer, clip, learning rate ...
together), or in several of these, which the table says. A comparison needs three remedies that
change at least two of these kinds one at a time: what varies one kind alone is a tuning, a dose or
a table of shortcuts, and `analysis.factorial` has what is a factorial. Studies may be several, as a
sweep has one recipe.

The reference is the plain network whose traits are all at their defaults, in the recipe of most
runs, and the residual one is the same with option A.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.cache import cached_by_runs
from analysis.claims.contrast import Contrast, contrast
from analysis.factorial import error_columns, mediator_columns, word
from analysis.factorial_answer import CURED, state_of
from analysis.factorial_design import (
    alike_settings,
    apart_from_factorials,
    counted,
    label_of_shared,
    text_of,
    varying,
    with_settings,
)
from analysis.factorial_tables import points_cell
from analysis.groups import restrict, with_traits
from analysis.mediators import MEDIATORS, mediators
from analysis.tables import aligned, mean_text
from resnet_lab.networks.registry import AXES
from resnet_lab.runs.frames import Runs

PLAIN, RESIDUAL = "plain", "residual"
RECIPE, SEVERAL = "recipe", "several"
FEWEST = 3
"""Fewest remedies of a comparison."""


@dataclass(frozen=True, eq=False)
class Remedies:
    """Remedies of one depth at equal budget.

    `members` has one row a run of a network: run, network, seed, status, arm ("plain", "residual"
    or the remedy in words), kind (what it changes: a trait, "recipe" or "several"; "" of the
    references),
    error (percent of training images at the end; 100 where the loss was no longer finite), images,
    seconds (training time of the run, shared equally by its networks), multiply_adds (forward, an
    image) and the mediators.
    """

    label: str
    slug: str
    depth: int
    members: pd.DataFrame

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row an arm, the references first, then by mean training error.

        Columns: depth, arm, kind, network, n, mean, sd, lowest, highest (percent of training
        error), diverged, above, low, high (points above the residual reference, paired by seed,
        with a 95 % interval of its own), state ("cured", "not cured" or "open", as in
        `analysis.factorial_answer`), the means of the mediators, seconds, multiply_adds.
        """
        rows = [self._row(str(arm), part) for arm, part in self.members.groupby("arm", sort=False)]
        table = pd.DataFrame(rows)
        first = table["arm"].map({PLAIN: 0, RESIDUAL: 1}).fillna(2)
        order = table.assign(first=first).sort_values(["first", "mean"], kind="stable")
        return order.drop(columns="first").reset_index(drop=True)

    def above(self, arm: str) -> Contrast | None:
        """Return an arm's training error minus the residual reference's; None for that itself."""
        if arm == RESIDUAL:
            return None
        values = self.members[["arm", "seed", "error", "images"]].dropna(subset=["error"])
        values = values.set_axis(["network", "seed", "value", "images"], axis=1)
        return contrast(values, arm, RESIDUAL)

    def _row(self, arm: str, part: pd.DataFrame) -> dict[str, Any]:
        found = self.above(arm)
        beside = (np.nan,) * 3 if found is None else (found.mean, found.low, found.high)
        return {
            "depth": self.depth,
            "arm": arm,
            "kind": str(part["kind"].iloc[0]),
            "network": str(part["network"].iloc[0]),
            **error_columns(part),
            **dict(zip(("above", "low", "high"), beside, strict=True)),
            "state": "" if found is None else state_of(found),
            **mediator_columns(part),
            "seconds": float(part["seconds"].mean()),
            "multiply_adds": float(part["multiply_adds"].astype(float).mean()),
        }


@cached_by_runs
def split_remedies(runs: Runs) -> list[Remedies]:
    """Return the comparisons of remedies among runs, the shallowest first."""
    if runs.runs.empty:
        return []
    everyone = with_settings(with_traits(runs.runs))
    found = [
        made
        for part in alike_settings(everyone, by_study=False)
        for _, members in part.groupby("depth")
        if (made := _remedies(runs, members)) is not None
    ]
    several = len(found) > 1
    return [
        replace(one, slug=str(number) if several else "")
        for number, one in enumerate(found, start=1)
    ]


def _remedies(runs: Runs, members: pd.DataFrame) -> Remedies | None:
    """Return the comparison of one depth's members, or None if they are none."""
    names = varying(members)
    traits = [one for one in names if one in AXES]
    texts = pd.DataFrame({one: text_of(members[one]) for one in names}, index=members.index)
    recipes = texts.drop(columns=traits).agg(" ".join, axis=1)
    usual = texts.loc[recipes == recipes.mode().iloc[0]].iloc[0] if len(texts) else texts
    wanted = {one: AXES[one].default if one in traits else str(usual[one]) for one in names}
    pairs = zip(members.iterrows(), texts.iterrows(), strict=True)
    arms = [_arm(row, said, wanted) for (_, row), (_, said) in pairs]
    placed = members.assign(arm=[one[0] for one in arms], kind=[one[1] for one in arms])
    kinds = set(placed["kind"]) - {"", SEVERAL}
    remedies = set(placed["arm"]) - {PLAIN, RESIDUAL}
    if len(kinds) < 2 or len(remedies) < FEWEST or not {PLAIN, RESIDUAL} <= set(placed["arm"]):
        return None
    if not placed["run"].isin(apart_from_factorials(runs).runs["run"]).any():
        return None
    kept = restrict(runs, placed)
    sizes = runs.runs.groupby("run")["network"].nunique()
    shared = placed["wall_seconds"].astype(float) / placed["run"].map(sizes)
    table = counted(
        placed.assign(cell=placed["arm"], seconds=shared),
        mediators(kept.layers),
        ("arm", "kind", "seconds", "multiply_adds"),
    )
    depth = int(placed["depth"].iloc[0])
    reference = placed[placed["arm"] == PLAIN].iloc[0]
    label = f"remedies at {depth} layers, {label_of_shared(reference)}"
    return Remedies(label, "", depth, table)


def _arm(row: pd.Series, texts: pd.Series, wanted: dict[str, str]) -> tuple[str, str]:
    """Return a member's arm and kind."""
    changed = [name for name, value in wanted.items() if texts[name] != value]
    kinds = {name if name in AXES else RECIPE for name in changed}
    shortcut = "" if row["family"] == PLAIN or row["shortcut"] == "A" else str(row["shortcut"])
    kinds |= {"shortcut"} if shortcut else set()
    if not kinds:
        return (PLAIN if row["family"] == PLAIN else RESIDUAL), ""
    said = [word(name, texts[name]) for name in changed]
    family = "" if shortcut else f"{row['family']}, "
    return family + ", ".join(filter(None, [shortcut, *said])), kinds.pop() if len(
        kinds
    ) == 1 else SEVERAL


def remedies_table(runs: Runs) -> dict[str, pd.DataFrame]:
    """Return the table of all comparisons by its file name; empty where there is none."""
    found = split_remedies(runs)
    tables = [one.table.assign(comparison=one.label) for one in found]
    return {"remedies": pd.concat(tables, ignore_index=True)} if found else {}


def remedies_text(runs: Runs) -> str:
    """Return each comparison's arms and answer as text for a terminal; "" where there is none."""
    return "\n\n".join(
        f"{one.label}\n{aligned(remedies_for_reading(one))}\n"
        + textwrap.fill(remedies_answer(one), 100)
        for one in split_remedies(runs)
    )


def remedies_for_reading(study: Remedies) -> pd.DataFrame:
    """Return a comparison's arms as texts under titles.

    A mediator is "-" where it was not recorded, or is not defined: the growth of gradients that are
    zero at step 0, as inside branches that begin as zero.
    """
    rows = [
        {
            "network": row["arm"],
            "n": str(row["n"]),
            "training error %": mean_text(row["mean"], row["sd"]),
            "points above residual": points_cell(row["above"], row["low"], row["high"]),
            "state": row["state"],
            **{
                one.label: "-" if pd.isna(row[one.name]) else f"{row[one.name]:.3g}"
                for one in MEDIATORS
            },
            "seconds": f"{row['seconds']:.0f}",
            "multiply-adds": f"{row['multiply_adds']:.3g}",
            "note": f"{row['diverged']} diverged" if row["diverged"] else "",
        }
        for _, row in study.table.iterrows()
    ]
    return pd.DataFrame(rows)


def remedies_answer(study: Remedies) -> str:
    """Return in words which remedies cure, and how those compare that do not."""
    table = study.table.set_index("arm")
    rest = table.drop(index=[PLAIN, RESIDUAL])
    base = study.above(PLAIN)
    gap = "" if base is None else f", {base.mean:.1f} points less"
    means = dict(zip(study.table["arm"], study.table["mean"], strict=True))
    head = (
        f"Plain ends at {means[PLAIN]:.1f} % training error, residual at "
        f"{means[RESIDUAL]:.1f} %{gap}."
    )
    said = {
        name: ", ".join(f"{arm!s} ({row['mean']:.1f} %)" for arm, row in part.iterrows())
        for name, part in rest.groupby("state")
    }
    told = [
        f"{title}: {said[name]}."
        for name, title in (
            ("cured", f"Within {CURED:g} points of residual"),
            ("open", "Not decided by these seeds"),
            ("not cured", f"More than {CURED:g} points above"),
        )
        if name in said
    ]
    low, high = int(table["n"].min()), int(table["n"].max())
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    return " ".join([head, *told, f"{n} seeds; intervals are not corrected for their number."])
