"""Tables: final errors over seeds beside published ones, as frames, text and CSV."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.groups import Group, split_groups
from analysis.paper import load_paper
from analysis.statistics import summarise
from resnet_lab.runs.frames import Runs

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


def results_table(runs: Runs) -> pd.DataFrame:
    """Return one row a network of each group of alike runs.

    Columns: protocol (the group's description), data, network, family, depth, shortcut,
    parameters, n (finished seeds); for each of train, validation and test error ``*_mean`` and
    ``*_sd`` (percent, over finished seeds; sd is NaN where n = 1); published (the error in the
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
    data = str(group.settings["data"])
    results = [load_paper().result(network, data) for network in table["network"]]
    table["published"] = [one.text if one else "" for one in results]
    table["published_source"] = [f"{one.source}, {one.protocol}" if one else "" for one in results]
    table["note"] = [_note(group, network) for network in table["network"]]
    table.insert(0, "protocol", group.label)
    table.insert(1, "data", data)
    return table


def _note(group: Group, network: str) -> str:
    """Name the seeds of a network that did not finish."""
    members = group.members
    missing = members[(members["network"] == network) & (members["status"] != "finished")]
    return ", ".join(_missing_text(row) for _, row in missing.iterrows())


def _missing_text(row: pd.Series) -> str:
    at = f" at step {int(row['diverged_at'])}" if pd.notna(row["diverged_at"]) else ""
    return f"seed {row['seed']} {row['status']}{at}"


def for_reading(results: pd.DataFrame) -> pd.DataFrame:
    """Return one group's rows of `results_table` as texts under titles, empty columns dropped."""
    texts = pd.DataFrame(
        {
            "network": results["network"],
            "n": results["n"].astype(str),
            **{split: _mean_texts(results, split) for split in ERRORS},
            "published": results["published"],
            "published_source": results["published_source"],
            "note": results["note"],
        }
    )
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


def results_text(runs: Runs) -> str:
    """Return the results as aligned text for a terminal, one table a group of alike runs."""
    results = results_table(runs)
    if results.empty:
        return "no runs"
    blocks = [
        f"{protocol}\n{aligned(for_reading(rows))}"
        for protocol, rows in results.groupby("protocol", sort=False)
    ]
    return "\n\n".join(blocks) + "\n(mean ± sd over n seeds, at the end of training)"


def aligned(texts: pd.DataFrame) -> str:
    """Return a frame of texts as aligned columns, the first to the left, numbers to the right."""
    columns = [[str(name), *texts[name].astype(str)] for name in texts]
    widths = [max(len(text) for text in column) for column in columns]
    left = [column is columns[0] or _wordy(column) for column in columns]
    lines = [
        "  ".join(
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _wordy(column: list[str]) -> bool:
    """Whether a column holds sentences rather than numbers."""
    return any(" " in text and "±" not in text for text in column[1:])
