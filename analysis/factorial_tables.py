"""Tables of factorial studies: as files, and as texts for a page and a terminal."""

from __future__ import annotations

import textwrap

import pandas as pd

from analysis.factorial import TWIN, Factorial
from analysis.factorial_answer import against_twin, answer, roles, state, unjudged
from analysis.factorial_design import split_factorials
from analysis.mediators import MEDIATORS, Mediator
from analysis.tables import aligned, labelled, mean_text
from resnet_lab.runs.frames import Runs


def factorial_tables(runs: Runs) -> dict[str, pd.DataFrame]:
    """Return the tables of factorials by file name; empty where there is none.

    factorial_cells: one row a cell, and the twin; factorial_effects: one an effect on training
    error; factorial_mediators: one a factor and mediator; factorial_roles: one a factor, whether it
    is sufficient and necessary.
    """
    studies = split_factorials(runs)
    tables = {
        "factorial_cells": [one.summary for one in studies],
        "factorial_effects": [one.effects for one in studies],
        "factorial_mediators": [one.moved for one in studies],
        "factorial_roles": [roles_table(one) for one in studies],
    }
    return labelled(tables, [one.label for one in studies], "factorial")


def roles_table(study: Factorial) -> pd.DataFrame:
    """Return one row a factor: factor, usual, sufficient, necessary, and the reasons."""
    columns = ["sufficient", "why_sufficient", "necessary", "why_necessary"]
    rows = [
        {"factor": one.factor.name, "usual": one.factor.usual}
        | {name: getattr(one, name) for name in columns}
        for one in roles(study)
    ]
    return pd.DataFrame(rows, columns=["factor", "usual", *columns])


def cells_for_reading(study: Factorial) -> pd.DataFrame:
    """Return the cells as texts under titles: errors, the distance from the twin, mediators."""
    rows, judging = [], not unjudged(study)
    for _, row in study.summary.iterrows():
        cell = str(row["cell"])
        found = against_twin(study, cell) if cell != TWIN and len(study.twins) else None
        judged = found is not None and judging
        rows.append(
            {
                "changed": row["name"],
                "n": str(row["n"]),
                "training error %": mean_text(row["mean"], row["sd"]),
                "points above the twin": points_cell(found.mean, found.low, found.high)
                if found
                else "",
                "state": state(study, cell) if judged else "",
                **{
                    one.label: "not recorded" if pd.isna(row[one.name]) else f"{row[one.name]:.3g}"
                    for one in MEDIATORS
                },
            }
        )
    return pd.DataFrame(rows)


def points_cell(mean: float, low: float, high: float) -> str:
    """Return ``12.3 [10.1, 14.5]``, without an interval where there is none, "" without a mean."""
    if pd.isna(mean):
        return ""
    return f"{mean:.1f}" if pd.isna(low) else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def roles_for_reading(study: Factorial) -> pd.DataFrame:
    """Return one row a factor as texts: effects on training error and mediators, and judgements.

    On mediators the effect is that of the change alone, as what it does elsewhere depends on the
    others.
    """
    rows = [
        {
            "factor": f"{role.factor.name} instead of {role.factor.usual}",
            "points of training error, mean over cells": _effect(study, role.factor.name, "main"),
            "alone": _effect(study, role.factor.name, "alone"),
            **{f"alone, on {one.label}": _move(study, role.factor.name, one) for one in MEDIATORS},
            "sufficient": role.sufficient,
            "necessary": role.necessary,
        }
        for role in roles(study)
    ]
    return pd.DataFrame(rows)


def _effect(study: Factorial, factor: str, kind: str) -> str:
    if study.effects.empty:
        return "-"
    found = study.effects[(study.effects["factors"] == factor) & (study.effects["effect"] == kind)]
    row = found.iloc[0]
    return points_cell(float(row["mean"]), float(row["low"]), float(row["high"]))


def _move(study: Factorial, factor: str, one: Mediator) -> str:
    """Return a change's effect on a mediator, a ratio with x or a difference; * marks its aim."""
    moved = study.moved
    rows = moved[(moved["factor"] == factor) & (moved["mediator"] == one.name)]
    if rows.empty:
        return "not recorded"
    row = rows[rows["effect"] == "alone"].iloc[0]
    sign = "x" if one.logarithmic else ""
    text = f"{sign}{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{text} *" if row["aimed"] else text


def effects_for_reading(study: Factorial) -> pd.DataFrame:
    """Return every effect on training error as texts under titles."""
    rows = [
        {
            "effect": f"{row['factors']}{AT[row['effect']]}",
            "points": f"{row['mean']:+.1f}",
            "95 % interval": "-"
            if pd.isna(row["low"])
            else f"[{row['low']:.1f}, {row['high']:.1f}]",
            "signs": row["signs"],
            "p, signs flipped": f"{row['p']:.3g}",
            "pooled 95 % interval": ""
            if pd.isna(row["pooled_low"])
            else f"[{row['pooled_low']:.1f}, {row['pooled_high']:.1f}]",
            "seed: points": row["seeds"],
        }
        for _, row in study.effects.iterrows()
    ]
    return pd.DataFrame(rows)


AT = {
    "main": "",
    "interaction": "",
    "alone": ", the others as usual",
    "last": ", the others changed",
}


def factorial_text(runs: Runs) -> str:
    """Return each factorial's cells and answer as text for a terminal; "" where there is none."""
    return "\n\n".join(
        f"{one.label}\n{aligned(cells_for_reading(one))}\n" + textwrap.fill(answer(one), 100)
        for one in split_factorials(runs)
    )


def beside(study: Factorial) -> dict[str, pd.DataFrame]:
    """Return the further tables of a factorial by their titles."""
    tables = {
        "Which is sufficient, which necessary (*: what the factor is meant to move)": (
            roles_for_reading(study)
        ),
        "Effects on training error": effects_for_reading(study),
    }
    return {title: table for title, table in tables.items() if len(table)}
