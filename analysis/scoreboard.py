"""Scoreboard: the papers' numbers beside this project's, with a verdict on each.

A cell is one published error. It is compared only with runs of its protocol, as defined in
`paper.yaml`; runs of two protocols are never averaged. Ours are errors at the last step, never the
best. `judge` has the rules of a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal

import numpy as np
import pandas as pd

from analysis.cache import cached_by_runs
from analysis.groups import Group, split_groups
from analysis.paper import Protocol, Result, Statistic, Variant, load_paper
from analysis.statistics import median_variance, noise_floor, summarise
from resnet_lab.data.dataset import DATASETS
from resnet_lab.runs.frames import Runs

Mark = Literal["reproduced", "within 2 sigma", "not reproduced", "undecided", "not run"]

READING = 0.5
"""Percentage points: the standard error of a number read off a published curve."""

FEWEST = 3
"""Fewest seeds for "reproduced": the interval of two seeds holds almost anything."""

TOP5, TOP1 = "top-5 error", "top-1 error"


@dataclass(frozen=True)
class Cell:
    """One published error beside ours; errors, sd and differences in percent and points.

    `paper` is the published error as text; `paper_sd`, `paper_n` and `paper_statistic` (mean,
    median or best of its runs) what its source gives. `ours` is the mean over `n` seeds;
    `difference` is ours minus the paper's; `low` and `high` are the 95 % t interval of ours;
    `sigma` is the standard error of the difference; `noise_floor` the one due to the test images
    alone.
    """

    table: str
    network: str
    data: str
    metric: str
    paper_protocol: str
    paper: str
    paper_error: float
    paper_sd: float = np.nan
    paper_n: int = 1
    paper_statistic: Statistic = "mean"
    ours: float = np.nan
    sd: float = np.nan
    n: int = 0
    low: float = np.nan
    high: float = np.nan
    our_protocol: str = ""
    difference: float = np.nan
    sigma: float = np.nan
    noise_floor: float = np.nan
    verdict: Mark = "not run"
    note: str = ""


@cached_by_runs
def scoreboard(runs: Runs) -> pd.DataFrame:
    """Return one row a published error, in the order of `paper.yaml`; columns as in `Cell`."""
    paper = load_paper()
    groups = split_groups(runs)
    cells = [
        _filled(cell, result, paper.protocols[result.protocol], groups)
        for result in paper.results
        for cell in _cells(result)
    ]
    cells += [cell for variant in paper.variants for cell in _variant_cells(variant)]
    columns = [field.name for field in fields(Cell)]
    return pd.DataFrame([asdict(cell) for cell in cells], columns=columns)


def _cells(result: Result) -> Iterator[Cell]:
    """Yield a result's cells: its error, and on ImageNet the top-5 error where there is one."""
    cell = Cell(
        table=result.source,
        network=result.network,
        data=result.data,
        metric=TOP1 if result.data == "imagenet" else "test error",
        paper_protocol=result.protocol,
        paper=result.text,
        paper_error=result.error,
        paper_sd=np.nan if result.sd is None else result.sd,
        paper_n=result.n or 1,
        paper_statistic=result.statistic,
    )
    yield cell
    if result.top5_error is not None:
        text = f"{result.top5_error:.{result.decimals}f}"
        yield replace(cell, metric=TOP5, paper=text, paper_error=result.top5_error)


def _variant_cells(variant: Variant) -> Iterator[Cell]:
    """Yield a variant's cells: one if it has an outcome in a word instead of an error."""
    cell = Cell(
        table=variant.source,
        network=f"{variant.network} ({variant.variant})",
        data=variant.data,
        metric=TOP1 if variant.data == "imagenet" else "test error",
        paper_protocol="",
        paper=variant.text,
        paper_error=np.nan if variant.error is None else variant.error,
        paper_n=variant.n or 1,
        paper_statistic=variant.statistic,
        note="this project has no such network",
    )
    if variant.error is not None or variant.outcome:
        yield cell
    if variant.top5_error is not None:
        text = f"{variant.top5_error:.{variant.decimals}f}"
        yield replace(cell, metric=TOP5, paper=text, paper_error=variant.top5_error)


def _filled(cell: Cell, result: Result, protocol: Protocol, groups: Sequence[Group]) -> Cell:
    """Return the cell with our runs of its protocol, or with a note on other runs."""
    having = [one for one in groups if _has(one, cell)]
    if protocol.never:
        return replace(cell, note=protocol.never)
    alike = [one for one in having if not departures(one.settings, protocol)]
    if not alike:
        return replace(cell, note=_instead(having, protocol))
    alike.sort(key=lambda one: -len(_errors(one, cell)))
    others = f"{len(alike) - 1} more groups of runs by this protocol" if alike[1:] else ""
    notes = [_statistic(cell), _lost(alike[0], cell), others]
    beside = _beside(cell, alike[0])
    mark, note = judge(beside, result)
    return replace(beside, verdict=mark, note="; ".join(filter(None, [note, *notes])))


def _errors(group: Group, cell: Cell) -> pd.Series[float]:
    column = "test_top5_error" if cell.metric == TOP5 else "test_error"
    rows = group.finished[group.finished["network"] == cell.network]
    return rows[column].dropna() if column in rows else pd.Series(dtype=float)


def _has(group: Group, cell: Cell) -> bool:
    return group.settings["data"] == cell.data and len(_errors(group, cell)) > 0


def _beside(cell: Cell, group: Group) -> Cell:
    """Return the cell with the group's numbers."""
    errors = _errors(group, cell).to_frame("error").assign(cell=0)
    row = summarise(errors, ["cell"], "error").iloc[0]
    images = DATASETS.get(cell.data).test_images
    assert images is not None, "the paper has an error on it"
    beside = replace(
        cell,
        ours=float(row["mean"]),
        sd=float(row["sd"]),
        n=int(row["n"]),
        low=float(row["low"]),
        high=float(row["high"]),
        our_protocol=group.label,
        difference=float(row["mean"]) - cell.paper_error,
        noise_floor=float(noise_floor(row["mean"], cell.paper_error, images)),
    )
    return replace(beside, sigma=sigma(beside))


def sigma(cell: Cell) -> float:
    """Return the standard error of ours minus the paper's, NaN where neither gives a spread.

    sqrt(s^2 / n + v p^2 / m): s our sd over n seeds, p the paper's sd over its m runs. An unknown
    sd is replaced by the other one; a paper without a number of runs counts as one run. v is 1
    for a published mean, and for a median its variance over that of a mean (`median_variance`;
    1.43 for five runs).
    """
    ours = cell.paper_sd if np.isnan(cell.sd) else cell.sd
    theirs = cell.sd if np.isnan(cell.paper_sd) else cell.paper_sd
    wider = median_variance(cell.paper_n) if cell.paper_statistic == "median" else 1.0
    return float(np.sqrt(ours**2 / cell.n + wider * theirs**2 / cell.paper_n))


def _statistic(cell: Cell) -> str:
    """Return a note that our mean is compared with another statistic."""
    if cell.paper_statistic == "mean":
        return ""
    return f"ours is a mean, the paper's the {cell.paper_statistic} of {cell.paper_n}"


def judge(cell: Cell, result: Result) -> tuple[Mark, str]:
    """Return the verdict on a cell that has our numbers, and a note.

    A published number: "reproduced" if n >= `FEWEST`, it lies in the 95 % t interval of our mean
    and within 2 sigma of it; "within 2 sigma" if only the latter; else "not reproduced". Without
    any spread, so with one run and no published sd, "undecided". Read off a curve: sigma also has
    `READING`, and nothing is more than "within 2 sigma". A lower bound ("> 60"): "reproduced" if
    the interval lies above it, "not reproduced" if below, else "undecided".
    """
    if result.lower_bound:
        return _judge_bound(cell)
    if np.isnan(cell.sigma):
        return "undecided", "n = 1 and no published spread: nothing to compare the difference with"
    read = READING if result.approximate else 0.0
    if abs(cell.difference) > 2 * np.hypot(cell.sigma, read):
        return "not reproduced", _one_run(cell)
    inside = cell.low <= cell.paper_error <= cell.high
    if cell.n >= FEWEST and inside and not result.approximate:
        return "reproduced", ""
    few = f"fewer than {FEWEST} seeds reproduce nothing" if 1 < cell.n < FEWEST else ""
    return "within 2 sigma", few or _one_run(cell)


def _judge_bound(cell: Cell) -> tuple[Mark, str]:
    if cell.low > cell.paper_error:
        return "reproduced", ""
    if cell.high < cell.paper_error:
        return "not reproduced", ""
    return "undecided", "n = 1 has no interval" if cell.n < 2 else "the interval holds the bound"


def _one_run(cell: Cell) -> str:
    return "n = 1: sigma is the paper's" if cell.n < 2 else ""


def departures(settings: Mapping[str, object], protocol: Protocol) -> list[str]:
    """Return a group's departures from the protocol, e.g. ``protocol 45k/5k, not 50k``.

    A setting that the runs do not state counts as a departure.
    """
    known = {**settings, **_schedule(settings)}
    texts = []
    for name, wanted in protocol.settings.items():
        if name not in known:
            texts.append(f"{name} unknown")
        elif not any(_same(known[name], one) for one in wanted):
            texts.append(f"{name} {_text(known[name])}, not {_text(wanted[0])}")
    return texts


def _schedule(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that a column holds as text, ``key=value key=value``."""
    parts = re.split(r" (?=\w+=)", str(settings.get("schedule", "")))
    pairs = [part.partition("=") for part in parts]
    return {name: value for name, equals, value in pairs if equals}


def _same(value: object, wanted: object) -> bool:
    if wanted is None:
        return _text(value) == "none"
    try:
        return float(str(value)) == float(str(wanted))
    except ValueError:
        return str(value) == str(wanted)


def _text(value: object) -> str:
    return "none" if str(value) in ("None", "nan", "<NA>", "NaT") else str(value)


def _instead(having: Sequence[Group], protocol: Protocol) -> str:
    """Describe the network's runs whose protocol departs least."""
    if not having:
        return ""
    every = [departures(one.settings, protocol) for one in having]
    fewest = sorted(every, key=len)[0]
    return f"only by another protocol: {'; '.join(fewest)}"


def _lost(group: Group, cell: Cell) -> str:
    """Name the seeds without a final error."""
    rows = group.members[group.members["network"] == cell.network]
    lost = rows[rows["status"] != "finished"]
    return ", ".join(f"seed {row.seed} {row.status}" for row in lost.itertuples(index=False))


def scoreboard_text(cells: pd.DataFrame) -> str:
    """Return the cells with runs, one a line, then those without, table by table."""
    run = cells[cells["verdict"] != "not run"]
    lines = [_line(row) for _, row in run.iterrows()] or ["no published number has runs beside it"]
    rest = cells[cells["verdict"] == "not run"]
    lines += ["", f"not run: {len(rest)} of {len(cells)} published numbers"]
    for table, rows in rest.groupby("table", sort=False):
        lines.append(f"  {table}: {', '.join(dict.fromkeys(rows['network']))}")
        noted = rows[rows["note"].str.startswith("only by")].groupby("note", sort=False)
        lines += [f"    {', '.join(part['network'])}: {note}" for note, part in noted]
    return "\n".join(lines)


def scoreboard_json(cells: pd.DataFrame) -> str:
    """Return a JSON list with one object a cell; null where there is no number."""
    return str(cells.to_json(orient="records", indent=2, force_ascii=False, double_precision=6))


def _line(row: pd.Series) -> str:
    spread = "" if np.isnan(row["sd"]) else f" ± {row['sd']:.2f}"
    note = f"; {row['note']}" if row["note"] else ""
    return (
        f"{row['network']}, {row['data']} {row['metric']}: {row['verdict']} (paper {row['paper']}, "
        f"{row['table']}; ours {row['ours']:.2f}{spread}, n = {row['n']}, difference "
        f"{row['difference']:+.2f}, test set's noise {row['noise_floor']:.2f}{note}) "
        f"[{row['our_protocol']}]"
    )
