"""The layer explorer's data, as JSON small enough to embed in the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.style import ARM_MARKER, FAMILY_STYLE, colour
from analysis.groups import Group, split_groups
from analysis.layer_dynamics import main_path
from resnet_lab.recording.quantity import QUANTITIES, in_menus, label_of
from resnet_lab.runs.frames import Runs

MOST_NUMBERS = 600_000
"""Largest number of values in the page; at four digits about five megabytes."""
MOST_MEMBERS = 60
DIGITS = 4
MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down"}
DASHES = {"--": "dash", "-": "solid"}


@dataclass(frozen=True)
class Explorer:
    """`data` is the JSON, safe inside a script element; `note` says what was left out, or ""."""

    data: str
    note: str


def explorer(runs: Runs) -> Explorer | None:
    """Return the explorer of all recorded members; None where no layer was recorded.

    Beyond `MOST_NUMBERS` numbers or `MOST_MEMBERS` members only the first seed of each network is
    kept, then the first `MOST_MEMBERS`; then recorded steps are thinned evenly, the first and the
    last one kept.
    """
    groups = [group for group in split_groups(runs) if not group.runs.layers.empty]
    if not groups:
        return None
    tables = [_table(group, number) for number, group in enumerate(groups)]
    recorded = pd.concat(tables, ignore_index=True)
    members = _members(recorded)
    kept, chosen = _fewer(recorded, members)
    kept, stride = _thinned(kept)
    content = {
        "groups": [group.label for group in groups],
        "quantities": [_quantity(kept, name) for name in _order(kept["quantity"])],
        "members": [_member(row, kept[kept["member"] == row["member"]]) for row in chosen],
    }
    return Explorer(script_json(content), _note(len(members), len(chosen), stride))


def script_json(content: object) -> str:
    """Return JSON in which nothing can end a script element or begin a comment in it."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _table(group: Group, number: int) -> pd.DataFrame:
    """Return one group's rows of the main path, with their members' columns."""
    rows = group.of(main_path(group.runs.layers))
    return rows.assign(group=number, member=f"{number}/" + rows["run"] + "/" + rows["network"])


def _members(recorded: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the recorded members: plain first, by depth, shortcut and seed."""
    who = ["member", "group", "family", "depth", "shortcut", "short", "seed"]
    order = ["group", "family", "depth", "shortcut", "seed", "member"]
    table = recorded[who].drop_duplicates("member").sort_values(order)
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _fewer(
    recorded: pd.DataFrame, members: list[dict[str, Any]]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    if len(recorded) <= MOST_NUMBERS and len(members) <= MOST_MEMBERS:
        return recorded, members
    first = {(one["group"], one["short"]): one for one in reversed(members)}
    names = {one["member"] for one in first.values()}
    chosen = [one for one in members if one["member"] in names][:MOST_MEMBERS]
    return recorded[recorded["member"].isin([one["member"] for one in chosen])], chosen


def _thinned(recorded: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Keep every stride-th recorded step, the first and the last."""
    steps = np.sort(recorded["step"].unique())
    stride = max(1, int(np.ceil(len(recorded) / MOST_NUMBERS)))
    kept = np.union1d(steps[::stride], steps[-1:])
    return recorded[recorded["step"].isin(kept)], stride


def _member(row: dict[str, Any], recorded: pd.DataFrame) -> dict[str, Any]:
    red, green, blue = (round(255 * part) for part in colour(row["shortcut"], int(row["depth"])))
    return {
        "label": f"{row['short']}, seed {row['seed']}",
        "group": row["group"],
        "depth": int(row["depth"]),
        "family": row["family"],
        "colour": f"rgb({red},{green},{blue})",
        "dash": DASHES[FAMILY_STYLE[row["family"]]],
        "marker": MARKERS[ARM_MARKER[row["shortcut"]]],
        "values": {str(name): _matrix(part) for name, part in recorded.groupby("quantity")},
    }


def _matrix(rows: pd.DataFrame) -> dict[str, Any]:
    """Return one quantity: steps, layers with their names, a row of values a step."""
    table = rows.pivot(index="step", columns="layer", values="value")
    names = rows.drop_duplicates("layer").set_index("layer")["name"]
    return {
        "steps": [int(step) for step in table.index],
        "layers": [int(layer) for layer in table.columns],
        "names": [str(names[layer]) for layer in table.columns],
        "rows": [[rounded(value) for value in row] for row in table.to_numpy(dtype=float)],
    }


def rounded(value: float) -> float | None:
    """Return a value to `DIGITS` significant digits; None for NaN and infinities."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _quantity(recorded: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return a quantity's menu entry; a quantity of the whole network has layer 0 alone."""
    known = QUANTITIES.find(name)
    return {
        "id": name,
        "label": label_of(name),
        "whole": not recorded.loc[recorded["quantity"] == name, "layer"].any(),
        "log": known is None or known.logarithmic,
    }


def _order(quantities: pd.Series[str]) -> list[str]:
    found = set(quantities.astype(str))
    known = [one.name for one in in_menus() if one.name in found]
    return known + sorted(found - set(known))


def _note(recorded: int, shown: int, stride: int) -> str:
    parts = []
    if shown < recorded:
        parts.append(f"{shown} of {recorded} members: the first seed of each network")
    if stride > 1:
        parts.append(f"one recorded step of {stride}")
    return f"To keep the page small it holds {' and '.join(parts)}." if parts else ""
