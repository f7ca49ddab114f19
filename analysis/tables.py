"""Tables: final errors over seeds beside published ones, as frames, text and CSV."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.claims.dose import Doses, split_doses
from analysis.factorial_design import apart_from_factorials
from analysis.groups import Group, split_groups
from analysis.paper import load_paper
from analysis.search import Search, apart_from_searches, split_searches
from analysis.statistics import summarise
from analysis.tuning import Tuning, effects, split_tunings
from analysis.tuning_answer import answer
from resnet_lab.runs.frames import Runs

NUMBERS = re.compile(r"[\d.]+ ± [\d.]+|[\d.]+(, [\d.]+)*")
"""Pattern of a mean with its sd, or of several seeds' numbers."""
SHOWN_TRIALS = 10
"""Largest number of a search's trials on a page; the file has all."""
ERRORS = ("train", "validation", "test")
TITLES = {
    "network": "network",
    "n": "n",
    "train": "training error %",
    "validation": "validation error %",
    "test": "test error %",
    "published": "published %",
    "published_source": "published by",
    "note": "note",
}
TUNED_TITLES = {
    "train": "training error %",
    "test": "test error %",
    "validation": "validation error %, which chose",
}


def results_table(runs: Runs) -> pd.DataFrame:
    """Return one row a network of each group of alike runs.

    Columns: protocol (the group's description), data, network, family, depth, shortcut,
    parameters, n (finished seeds); for each of train, validation and test error ``*_mean`` and
    ``*_sd`` (percent, over finished seeds; sd is NaN where n = 1) and ``*_seeds`` (each one's, as
    text, in the order of seeds); published (the error in the
    literature as text, "" where there is none for this network and data), published_source, and
    note, which names the seeds that did not finish. Errors are those of the last epoch, never the
    best.
    """
    tables = [_group_table(group) for group in split_groups(runs)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _group_table(group: Group) -> pd.DataFrame:
    key = ["network", "family", "depth", "shortcut", "parameters"]
    table = group.members[key].drop_duplicates("network").reset_index(drop=True)
    counts: pd.Series[int] = group.finished["network"].value_counts()
    table["n"] = [int(counts.get(network, 0)) for network in table["network"]]
    for split in ERRORS:
        errors = summarise(group.finished, ["network"], f"{split}_error").set_index("network")
        table[f"{split}_mean"] = errors["mean"].reindex(table["network"]).to_numpy()
        table[f"{split}_sd"] = errors["sd"].reindex(table["network"]).to_numpy()
        table[f"{split}_seeds"] = [_seeds(group, one, split) for one in table["network"]]
    data = str(group.settings["data"])
    results = [load_paper().result(network, data) for network in table["network"]]
    table["published"] = [one.text if one else "" for one in results]
    table["published_source"] = [f"{one.source}, {one.protocol}" if one else "" for one in results]
    table["note"] = [_note(group, network) for network in table["network"]]
    table.insert(0, "protocol", group.label)
    table.insert(1, "data", data)
    return table


def _seeds(group: Group, network: str, split: str) -> str:
    """Return each finished seed's error of a network, in the order of seeds; "" without any."""
    own = group.finished[group.finished["network"] == network].sort_values("seed", kind="stable")
    return ", ".join(f"{error:.2f}" for error in own[f"{split}_error"].dropna())


def _note(group: Group, network: str) -> str:
    """Name the seeds of a network that did not finish."""
    members = group.members
    missing = members[(members["network"] == network) & (members["status"] != "finished")]
    return ", ".join(_missing_text(row) for _, row in missing.iterrows())


def _missing_text(row: pd.Series) -> str:
    at = f" at step {int(row['diverged_at'])}" if pd.notna(row["diverged_at"]) else ""
    return f"seed {row['seed']} {row['status']}{at}"


def for_reading(results: pd.DataFrame) -> pd.DataFrame:
    """Return one group's rows of `results_table` as texts under titles, empty columns dropped.

    A row with each seed's errors follows a network's means over several seeds.
    """
    rows = []
    for _, row in results.iterrows():
        means = {split: mean_text(row[f"{split}_mean"], row[f"{split}_sd"]) for split in ERRORS}
        rows.append({**row[list(TITLES.keys() - means)], **means, "n": str(row["n"])})
        seeds = {split: row[f"{split}_seeds"] for split in ERRORS}
        if row["n"] > 1:
            rows.append({"network": "each seed", **seeds})
    texts = pd.DataFrame(rows, columns=list(TITLES)).fillna("")
    empty = [name for name in texts if name not in ("network", "n") and _is_empty(texts[name])]
    return texts.drop(columns=empty).rename(columns=TITLES)


def _mean_texts(results: pd.DataFrame, split: str) -> list[str]:
    pairs = zip(results[f"{split}_mean"], results[f"{split}_sd"], strict=True)
    return [mean_text(mean, sd) for mean, sd in pairs]


def mean_text(mean: float, sd: float) -> str:
    """Return ``8.51 ± 0.22``, without an sd where there is none, "-" without a mean."""
    if np.isnan(mean):
        return "-"
    return f"{mean:.2f}" if np.isnan(sd) else f"{mean:.2f} ± {sd:.2f}"


def _is_empty(column: pd.Series[str]) -> bool:
    return bool(column.isin(["", "-"]).all())


def tuned_for_reading(tuning: Tuning) -> pd.DataFrame:
    """Return a tuning's networks at their best points as texts under titles."""
    chosen = tuning.choices
    points = {
        f"best {name}": [one if isinstance(one, str) else f"{one:g}" for one in chosen[name]]
        for name in tuning.settings
    }
    edge = np.where(chosen["edge"] != "", chosen["edge"] + " tried", "")
    diverged = [f"{seeds} diverged" if seeds else "" for seeds in chosen["diverged"]]
    notes = [", ".join(filter(None, pair)) for pair in zip(edge, diverged, strict=True)]
    texts = pd.DataFrame(
        {
            "network": chosen["short"],
            **points,
            "n": chosen["n"].astype(str),
            **{title: _mean_texts(chosen, split) for split, title in TUNED_TITLES.items()},
            "note": notes,
        }
    )
    return texts.drop(columns=[name for name in texts if _is_empty(texts[name])])


def trials_for_reading(search: Search) -> pd.DataFrame:
    """Return a search's best `SHOWN_TRIALS` finished trials as texts under titles."""
    best, metric = search.finished.head(SHOWN_TRIALS), search.metric
    unit, digits = (" %", 2) if metric.endswith("error") else ("", 4)
    return pd.DataFrame(
        {
            "trial": best["trial"].astype(str),
            metric.replace("_", " ") + unit: [f"{value:.{digits}f}" for value in best["value"]],
            **{
                name: [one if isinstance(one, str) else f"{one:.4g}" for one in best[name]]
                for name in search.parameters
            },
            "run": best["name"],
        }
    )


def search_tables(searches: Sequence[Search]) -> dict[str, pd.DataFrame]:
    """Return the tables of searches by file name; empty without searches.

    trials: every trial a row; search_networks: each network's best; search_importances;
    search_confirmed: retrained bests, ranked.
    """
    tables = {
        "trials": [one.trials for one in searches],
        "search_networks": [one.by_network for one in searches],
        "search_importances": [one.importances for one in searches],
        "search_confirmed": [one.ranking for one in searches],
    }
    found = labelled(tables, [one.label for one in searches], "search")
    return {name: table for name, table in found.items() if len(table)}


def labelled(
    tables: Mapping[str, Sequence[pd.DataFrame]], labels: Sequence[str], column: str
) -> dict[str, pd.DataFrame]:
    """Return each name's tables concatenated, with their labels in a column."""
    named = {
        name: [part.assign(**{column: one}) for part, one in zip(parts, labels, strict=True)]
        for name, parts in tables.items()
    }
    kept = {name: [one for one in parts if len(one)] or parts for name, parts in named.items()}
    return {name: pd.concat(parts, ignore_index=True) for name, parts in kept.items() if parts}


def scoreboard_for_reading(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells of `scoreboard` as texts under titles, empty columns dropped."""
    signed = [f"{value:+.2f}" if np.isfinite(value) else "-" for value in cells["difference"]]
    texts = pd.DataFrame(
        {
            "network": cells["network"],
            "data": cells["data"],
            "error %": cells["metric"],
            "published": cells["paper"],
            "ours": [mean_text(*pair) for pair in zip(cells["ours"], cells["sd"], strict=True)],
            "n": [str(n) if n else "" for n in cells["n"]],
            "difference": signed,
            "verdict": cells["verdict"],
            "published in": cells["table"],
            "note": cells["note"],
        }
    )
    return texts.drop(columns=[name for name in texts if len(texts) and _is_empty(texts[name])])


def dose_tables(runs: Runs) -> dict[str, pd.DataFrame]:
    """Return the members of every dose-response as one table; no table where there is none."""
    found = [one.table.assign(protocol=one.label) for one in split_doses(runs)]
    return {"doses": pd.concat(found, ignore_index=True)} if found else {}


def doses_for_reading(doses: Doses) -> pd.DataFrame:
    """Return one row a dose: growth predicted and measured, errors of plain and residual."""
    rows = []
    for growth, part in doses.table.groupby("predicted", sort=True):
        plain, residual = (part[part["family"] == one] for one in ("plain", "residual"))
        rows.append(
            {
                "activation": str(part["activation"].iloc[0]),
                "growth predicted": f"{growth:.4f}",
                "growth measured": f"{plain['measured'].mean():.4f}",
                "plain, training error %": _mean_sd(plain["error"]),
                "residual, training error %": _mean_sd(residual["error"]),
                "n": str(plain["seed"].nunique()),
            }
        )
    return pd.DataFrame(rows)


def _mean_sd(errors: pd.Series[float]) -> str:
    return mean_text(float(errors.mean()), float(errors.std()))


def tuning_tables(runs: Runs) -> dict[str, pd.DataFrame]:
    """Return the tables of tunings by file name; empty where no learning rate was tuned.

    tuning: one row a network, at its best rate; tuning_effects: one a comparison at best rates;
    tuning_rates: one a network and rate.
    """
    tunings = split_tunings(apart_from_factorials(runs))
    tables = {
        "tuning": [one.choices for one in tunings],
        "tuning_effects": [effects(one) for one in tunings],
        "tuning_rates": [one.rates for one in tunings],
    }
    return labelled(tables, [one.label for one in tunings], "protocol")


def tuning_text(runs: Runs) -> str:
    """Return each tuning's table and answer as text for a terminal; "" where there is none."""
    return "\n\n".join(
        f"{one.label}, each network at its best rate\n{aligned(tuned_for_reading(one))}\n"
        + textwrap.fill(answer(one), 100)
        for one in split_tunings(apart_from_factorials(runs))
    )


def results_text(runs: Runs) -> str:
    """Return the results as aligned text for a terminal: tunings, then alike runs, group by group.

    There is one table a group. `analysis.search_text` shows trials of searches.
    """
    searches = split_searches(runs)
    runs = apart_from_searches(runs)
    results = results_table(runs)
    if results.empty:
        return "" if searches else "no runs"
    blocks = [
        f"{protocol}\n{aligned(for_reading(rows))}"
        for protocol, rows in results.groupby("protocol", sort=False)
    ]
    tuned = tuning_text(runs)
    shown = [tuned, *blocks] if tuned else blocks
    return "\n\n".join(shown) + "\n(mean ± sd over n seeds, at the end of training)"


def aligned(texts: pd.DataFrame) -> str:
    """Return a frame of texts as aligned columns: the first to the left, numbers to the right."""
    columns = [[str(name), *texts[name].astype(str)] for name in texts]
    widths = [max(len(text) for text in column) for column in columns]
    left = [column is columns[0] or is_wordy(column[1:]) for column in columns]
    lines = [
        "  ".join(
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def is_wordy(column: Iterable[str]) -> bool:
    """Whether a column of texts holds sentences rather than numbers."""
    return any(" " in text and not NUMBERS.fullmatch(text) for text in column)
