"""A search in words: the winner and its flags, ties, each network's best, importances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.search import Search
from analysis.search_importance import NEEDED
from analysis.statistics import noise_floor
from analysis.tables import aligned, mean_text
from resnet_lab.sweeps.search_record import as_flags

WORDS = {"stopped": "stopped early"}
"""Status of a trial -> its wording, where that differs from the status."""


def summary(search: Search) -> list[str]:
    """Return the summary's lines, the same in a terminal, in a report and elsewhere."""
    lines = [*headline(search), *_best(search), *_tied(search)]
    if len(search.networks) > 1 and not search.finished.empty:
        lines += ["best of each network:", *_indented(by_network_for_reading(search))]
    lines += [*importance_lines(search), *edge_lines(search), *confirmation_lines(search)]
    return lines


def headline(search: Search) -> list[str]:
    """Return the search's method, seed, time, counts and ranges."""
    known = search.definition
    study = f" {search.study}" if search.study else ""
    kind = f"search{study}" if known is None else f"{known.method} search{study}, seed {known.seed}"
    seconds = f"; {search.seconds:,.0f} s of training" if search.seconds else ""
    lines = [f"{kind}: {counts_text(search)}{seconds}"]
    if search.ranges:
        drawn = [f"{name} {one.text}" for name, one in search.ranges.items()]
        lines.append(f"  drawn: {'; '.join(drawn)}")
    return lines


def counts_text(search: Search) -> str:
    """Return ``16 trials: 12 finished, 4 diverged``."""
    said = [f"{count} {WORDS.get(status, status)}" for status, count in search.counts.items()]
    total = len(search.trials)
    return f"{total} trial{'' if total == 1 else 's'}: {', '.join(said)}"


def _best(search: Search) -> list[str]:
    winner = search.winner
    if winner is None:
        if search.counts.get("diverged") and set(search.counts) <= {"diverged", "stopped"}:
            return ["no run is recommended: none came to its end without diverging"]
        return ["no run has come to its end"]
    run = Path(str(winner["name"])) if search.folder is None else search.folder / winner["name"]
    return [
        f"best: {value_text(search, winner['value'])}, trial {winner['trial']}"
        + (f", {winner['network']}" if len(search.networks) > 1 else ""),
        f"  {flags(search, winner)}",
        f"  {run}",
    ]


def value_text(search: Search, value: float) -> str:
    """Return ``validation error 2.80 % (4 of 143 images)``."""
    name = search.metric.replace("_", " ")
    member = search.definition.member if search.definition else None
    name += f" of {member}" if member else ""
    if not search.metric.endswith("error"):
        return f"{name} {value:.4f}"
    wrong = f" ({round(value * search.images / 100)} of {search.images:,} images)"
    return f"{name} {value:.2f} %{wrong if search.images else ''}"


def flags(search: Search, trial: pd.Series) -> str:
    """Return a trial's drawn values, as flags of `resnet-lab train` where names are known."""
    named = search.definition is not None
    pairs = [(name, trial[name]) for name in search.parameters if _is_known(trial[name])]
    if named:
        return as_flags({name: _plain(value) for name, value in pairs})
    return ", ".join(f"{name} {cell(value)}" for name, value in pairs)


def _is_known(value: Any) -> bool:
    return isinstance(value, str) or not pd.isna(value)


def _plain(value: Any) -> Any:
    """Return a frame's value as a Python object: whole numbers as int."""
    if isinstance(value, str):
        return value
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def cell(value: Any) -> str:
    """A value in a table: numbers with four digits."""
    if not _is_known(value):
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"


def _tied(search: Search) -> list[str]:
    """Name trials with the same value, and count those too close for the validation images."""
    if search.winner is None:
        return []
    ties, lines = search.ties, []
    if len(ties):
        named = ", ".join(str(trial) for trial in ties["trial"])
        lines.append(f"  tied with trial{'s' * (len(ties) > 1)} {named}: the first one is named")
    close = close_trials(search)
    if close:
        lines.append(
            f"  {close} other trial{'s lie' if close > 1 else ' lies'} within one standard error "
            f"of a difference on {search.images:,} validation images"
        )
    return lines


def close_trials(search: Search) -> int:
    """Count the other trials that the validation images cannot tell from the winner, with ties.

    These are trials whose error is higher by at most one standard error of the difference, by
    `noise_floor`. 0 for a loss, or where the number of images is unknown.
    """
    if search.winner is None or not search.images or not search.metric.endswith("error"):
        return 0
    best = float(search.winner["value"])
    others = search.finished.iloc[1:]["value"].to_numpy(dtype=float)
    floors = noise_floor(np.full(len(others), best), others, search.images)
    return int((others - best <= floors).sum())


def by_network_for_reading(search: Search) -> pd.DataFrame:
    """Return each network's best trial and counts of its others by status, as titled texts."""
    table = search.by_network
    lost = [name for name in ("stopped", "diverged", "failed") if (table[name] > 0).any()]
    others = [name for name in search.parameters if name != "network"]
    digits = 2 if search.metric.endswith("error") else 4
    return pd.DataFrame(
        {
            "network": table["network"],
            title(search): [cell_of(value, digits) for value in table["value"]],
            "trial": _whole(table["trial"]),
            "trials": table["trials"].astype(str),
            **{WORDS.get(name, name): table[name].astype(str) for name in lost},
            **{name: [cell(value) for value in table[name]] for name in others},
        }
    )


def _whole(values: pd.Series) -> list[str]:
    """Return whole numbers as table cells, with "-" for missing ones."""
    return ["-" if pd.isna(one) else str(int(one)) for one in values]


def title(search: Search) -> str:
    """The metric as a column's title, with its unit."""
    return search.metric.replace("_", " ") + (" %" if search.metric.endswith("error") else "")


def cell_of(value: float, digits: int) -> str:
    """A metric in a table."""
    return "-" if pd.isna(value) else f"{value:.{digits}f}"


def _indented(texts: pd.DataFrame) -> list[str]:
    return [f"  {line}" for line in aligned(texts).splitlines()]


def importance_lines(search: Search) -> list[str]:
    """Return the parameters' importances in words, or why there are none."""
    ranked = search.importances
    if ranked.empty:
        ended = search.counts.get("finished", 0) + search.counts.get("diverged", 0)
        if ended < NEEDED:
            return [f"importances need {NEEDED} trials that came to their end: there are {ended}"]
        return []
    first = ranked.iloc[0]
    said = ", ".join(f"{row.parameter} {row.importance:.0%}" for row in ranked.itertuples())
    said = said.replace("%", " %")
    return [f"what separates the best {first['best']} of {first['n']} (PED-ANOVA): {said}"]


def edge_lines(search: Search) -> list[str]:
    """Name the parameters whose best value is at an end of the range."""
    if not search.edges:
        return []
    named = " and ".join(f"{name} ({end})" for name, end in search.edges)
    return [f"at the end of its range: {named}: a value beyond it may be better"]


def confirmation_lines(search: Search) -> list[str]:
    """Return the ranking of retrained best trials; empty where none was retrained."""
    if search.ranking.empty:
        return []
    seeds = sorted({int(seed) for seed in search.confirmed["seed"]})
    lines = [
        f"confirmed with fresh seeds {', '.join(map(str, seeds))}, by mean {title(search)}:",
        *_indented(ranking_for_reading(search)),
    ]
    chosen = search.ranking["rank"].eq(1).fillna(False).astype(bool)
    for _, row in search.ranking[chosen].iterrows():
        test = ""
        if not pd.isna(row["test_mean"]):
            measured = mean_text(row["test_mean"], row["test_sd"])
            test = f", test error {measured} % (n = {row['n']}; it chose nothing)"
        lines.append(f"  chosen for {row['network']}: trial {row['trial']}{test}")
    return lines


def ranking_for_reading(search: Search) -> pd.DataFrame:
    """Return the ranking of a confirmation as texts under titles."""
    table = search.ranking
    others = [name for name in search.parameters if name != "network"]
    pairs = zip(table["mean"], table["sd"], strict=True)
    texts = {
        "network": table["network"],
        "rank": _whole(table["rank"]),
        "trial": table["trial"].astype(str),
        f"{title(search)}, mean ± sd": [mean_text(*pair) for pair in pairs],
        "n": [
            str(n) if n == seeds else f"{n} of {seeds}"
            for n, seeds in zip(table["n"], table["seeds"], strict=True)
        ],
        "diverged": table["diverged"].astype(str),
        "in the search": [f"{value:.2f}" for value in table["search"]],
        **{name: [cell(value) for value in table[name]] for name in others},
    }
    frame = pd.DataFrame(texts)
    return frame if (table["diverged"] > 0).any() else frame.drop(columns="diverged")


def answer(search: Search) -> str:
    """Return the result of the search in sentences, for the report's page."""
    said = [f"{sentence(line)}" for line in headline(search)]
    winner = search.winner
    if winner is None:
        return " ".join([*said, "None finished, so there is no best one."])
    others = len(search.ties)
    tied = f", tied with {others} other{'s' * (others > 1)}" if others else ""
    of = f" ({winner['network']})" if len(search.networks) > 1 else ""
    said.append(
        f"The best is trial {winner['trial']}{of}: {value_text(search, winner['value'])}{tied}; "
        f"{flags(search, winner)}. It is the smallest of {len(search.finished)}, so it flatters."
    )
    close = close_trials(search)
    if close:
        said.append(
            f"The {search.images:,} validation images do not tell it from {close} other"
            f"{'s' * (close > 1)}, to one standard error of a difference."
        )
    said += [f"{sentence(line)}" for line in (*importance_lines(search), *edge_lines(search))]
    said += [
        f"{sentence(line.strip())}"
        for line in confirmation_lines(search)
        if line.startswith("  chosen")
    ]
    return " ".join(said)


def sentence(line: str) -> str:
    """Return a line of the summary as a sentence."""
    text = line.strip()
    return f"{text[:1].upper()}{text[1:]}."


def aside(search: Search) -> str:
    """Return one line on a search to show beside verdicts, which leave out its trials."""
    winner = search.winner
    best = "" if winner is None else f"; best {value_text(search, winner['value'])}"
    study = f" {search.study}" if search.study else ""
    return (
        f"search{study}: {counts_text(search)}{best}. Its trials differ in their settings, so no "
        "claim is tested on them: see resnet-lab report"
    )
