"""Table of every plain network beside its residual twin: errors at the end and over training.

The verdicts on the pairs are those of `analysis.claims.pair`.
"""

from __future__ import annotations

import shlex

import pandas as pd

from analysis.claims import evaluate_pairs, verdict_line
from analysis.claims.contrast import Contrast
from analysis.claims.course import course_text
from analysis.claims.pair import Pair, all_pairs
from analysis.doctor.settings import differences_text, nearest_other
from analysis.groups import Group, split_groups
from analysis.text import listed, wrapped
from resnet_lab.runs.frames import Runs

SHOWN = 6
"""Largest number of pairs printed at the end of a sweep."""
WIDTH = 100

COLUMNS = [
    *("protocol", "depth", "plain", "residual", "measure", "plain_mean", "residual_mean"),
    *("difference", "low", "high", "sd", "n", "seeds", "share_worse", "verdict"),
]


def pairs_table(runs: Runs) -> pd.DataFrame:
    """Return one row a pair and measure: plain minus residual, paired by seed, in points.

    Columns: protocol, depth, plain, residual, measure ("training error at the end", "... over
    training", and the same of test error, or of validation error where tests were not followed),
    plain_mean and residual_mean (percent, over the paired seeds), difference, low and high (a 95 %
    t interval; NaN where n = 1), sd (of the differences), n, seeds (each seed's difference),
    share_worse (of logged points after warm-up at which plain is worse; NaN at the end) and the
    pair's verdict.
    """
    rows = [row for pair in all_pairs(runs) for row in _rows(pair)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(pair: Pair) -> list[tuple[object, ...]]:
    measures = [
        ("training error at the end", pair.end, ""),
        ("training error over training", pair.along, "train"),
        (f"{pair.split} error at the end", pair.held_out, ""),
        (f"{pair.followed} error over training", pair.held_out_along, pair.followed),
    ]
    verdict = pair.finding.outcome
    return [
        (
            *(pair.group.label, pair.depth, pair.plain, pair.residual, measure),
            *_means(found),
            *(found.mean, found.low, found.high, found.sd, found.n, _seeds(found)),
            *(pair.share_worse(curve) if curve else float("nan"), verdict),
        )
        for measure, found, curve in measures
        if found is not None
    ]


def _means(found: Contrast) -> tuple[float, float]:
    sides = pd.DataFrame(found.pairs, columns=["seed", "plain", "residual"]).mean()
    return float(sides["plain"]), float(sides["residual"])


def _seeds(found: Contrast) -> str:
    return ", ".join(f"{seed}: {plain - residual:.2f}" for seed, plain, residual in found.pairs)


def pairs_for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `pairs_table` as texts under titles, a pair's names in its first row only."""
    again = table.duplicated(["plain", "residual"])
    names = (table["plain"] + " minus " + table["residual"]).where(~again, "")
    shares = zip(table["plain"], table["share_worse"], strict=True)
    return pd.DataFrame(
        {
            "pair": names,
            "measure": table["measure"],
            "plain %": [f"{value:.2f}" for value in table["plain_mean"]],
            "residual %": [f"{value:.2f}" for value in table["residual_mean"]],
            "difference": [f"{value:+.2f}" for value in table["difference"]],
            "95 % interval": [
                "-" if pd.isna(low) else f"[{low:.2f}, {high:.2f}]"
                for low, high in zip(table["low"], table["high"], strict=True)
            ],
            "n": table["n"].astype(str),
            "seed: difference": table["seeds"],
            "after warm-up": [
                "" if pd.isna(share) else f"{name} {course_text(share)}" for name, share in shares
            ],
            "verdict": table["verdict"].where(~again, ""),
        }
    )


def pair_lines(runs: Runs, folder: str) -> list[str]:
    """Return one line a pair with its verdict, printed at the end of a sweep, wrapped.

    Twins that were not trained alike are named with what differs. Empty without either.

    Args:
        runs: the study's runs.
        folder: the directory of the runs.
    """
    pairs = all_pairs(runs)
    several = len({one.group.label for one in pairs}) > 1
    told = [verdict_line(one) for one in evaluate_pairs(runs)] if pairs else []
    if several:
        told = [f"{one.group.label}: {line}" for one, line in zip(pairs, told, strict=True)]
    shown = told[:SHOWN]
    if told[SHOWN:]:
        command = f"resnet-lab claims {shlex.quote(folder)}"
        shown.append(f"... and {len(told) - SHOWN} more pairs: {command}")
    apart = twins_apart(runs)[:SHOWN]
    return [line for text in [*shown, *apart] for line in wrapped(text, WIDTH, "", "  ")]


def twins_apart(runs: Runs) -> list[str]:
    """Return the differing settings of plain and residual networks that are not compared."""
    groups = split_groups(runs)
    texts = []
    for group in groups:
        for depth, plain in _alone(group, "plain").items():
            holders = [one for one in groups if depth in _alone(one, "residual")]
            if holders:
                other = nearest_other(group, holders)
                residual = _alone(other, "residual")[depth]
                texts.append(
                    f"{listed([plain, residual])} are not compared, as they were not trained "
                    f"alike: {differences_text(group, other)}"
                )
    return list(dict.fromkeys(texts))


def _alone(group: Group, family: str) -> dict[int, str]:
    """Return depth -> name of the networks of one family that have no twin in their group."""
    members = group.members
    own, others = (members[(members["family"] == family) == mine] for mine in (True, False))
    alone = own[~own["depth"].isin(others["depth"])].drop_duplicates("depth")
    return dict(zip(alone["depth"].astype(int), alone["network"], strict=True))
