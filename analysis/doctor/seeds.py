"""Checks on seeds: the unit of replication, without which there is no interval."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.claims.claim import ALPHA
from analysis.claims.pair import Pair
from analysis.doctor.diagnosis import EXPLAINS, MATTERS, Case, Diagnosis, again
from analysis.doctor.measured import DIGITS
from analysis.statistics import POWER, mean_interval, paired, seeds_to_decide
from analysis.text import listed


def seeds(case: Case) -> Sequence[Diagnosis]:
    """Check that the deepest plain network and a shallower one share enough seeds.

    For a pair of one depth: that the two networks do.
    """
    depths = case.depths
    if case.of_one_depth:
        return [one for pair in case.pairs for one in _of_pair(case, pair)]
    if len(depths) < 2 or case.shown:
        return []
    common = _common(case)
    deepest = case.at(depths[-1])
    if common == 0:
        used = [f"{depth} layers: {_list_of_seeds(case.at(depth))}" for depth in depths]
        return [_unpaired("the depths", used, deepest, int(case.at(depths[0])["seed"].iloc[0]))]
    if common == 1:
        known = (
            "; on digits the training error of plain-56 has a standard deviation of "
            f"{DIGITS['plain-56'].sd:.1f} points over {DIGITS['plain-56'].n} seeds (README)"
        )
        both = (deepest, case.at(depths[0]))
        return [_one_seed("the depths", both, "every depth", known)]
    return _wide_interval(case)


def _of_pair(case: Case, pair: Pair) -> list[Diagnosis]:
    """Report why a pair is undecided: no common seed, one, or too few."""
    ended = pair.members[pair.members["status"].isin(["finished", "diverged"])]
    plain, residual = (ended[ended["short"] == one] for one in (pair.plain, pair.residual))
    if plain.empty or residual.empty:
        return []  # `unfinished` reports these
    common = set(plain["seed"]) & set(residual["seed"])
    if not common:
        used = [
            f"{pair.plain}: {_list_of_seeds(plain)}",
            f"{pair.residual}: {_list_of_seeds(residual)}",
        ]
        return [_unpaired(pair.name, used, residual, int(plain["seed"].min()))]
    if len(common) == 1:
        return [_one_seed(pair.name, (plain, residual), "both")]
    found = pair.end
    if pair.finding.outcome != "undecided" or found is None or not found.mean or not found.sd > 0:
        return []
    needed = seeds_to_decide(abs(found.mean), found.sd)
    free = int(pair.members["seed"].max()) + 1
    remedy = f"{again(residual, f'--seed {free}')}  # and the same of {pair.plain}"
    row = pd.Series({name: getattr(found, name) for name in ("mean", "sd", "n", "low", "high")})
    return [_more_seeds(found.name, row, needed, remedy)] if needed > found.n else []


def _common(case: Case) -> int:
    """Return the largest number of seeds that the deepest network shares with a shallower one."""
    *shallower, deepest = case.depths
    own = set(case.at(deepest)["seed"])
    return max(len(own & set(case.at(depth)["seed"])) for depth in shallower)


def _unpaired(who: str, used: Sequence[str], members: pd.DataFrame, seed: int) -> Diagnosis:
    return Diagnosis(
        id="seeds not paired",
        severity=EXPLAINS,
        found=f"{who} share no seed ({'; '.join(used)})",
        why="runs of one seed saw the same batches, and only their difference is an observation",
        remedy=again(members, f"--seed {seed}"),
    )


def _list_of_seeds(members: pd.DataFrame) -> str:
    return f"seed {listed(sorted(int(seed) for seed in members['seed'].unique()))}"


def _one_seed(who: str, sides: Sequence[pd.DataFrame], each: str, known: str = "") -> Diagnosis:
    free = max(int(one["seed"].max()) for one in sides) + 1
    commands = dict.fromkeys(again(one, f"--seed {free}") for one in sides)
    return Diagnosis(
        id="one seed",
        severity=EXPLAINS,
        found=f"{who} share one seed",
        why=f"one observation has no interval, so the verdict can only be undecided{known}",
        remedy=f"train two seeds more of {each}: {listed(list(commands))}",
    )


def _wide_interval(case: Case) -> Sequence[Diagnosis]:
    """Report an undecided interval although the deeper network is worse on average."""
    values = case.plain.rename(columns={"train_error": "value"})
    *shallower, deepest = case.depths
    level = 1 - ALPHA / len(shallower)
    found = []
    for depth in shallower:
        pairs = paired(values, "depth", deepest, depth, "value")
        if pairs.empty:
            continue
        row = mean_interval(pairs["first"] - pairs["second"], level)
        if row["mean"] > 0 < row["sd"]:
            found.append((depth, row))
    if not found:
        return []
    depth, row = min(found, key=lambda one: one[1]["sd"] / one[1]["mean"])
    needed = seeds_to_decide(float(row["mean"]), float(row["sd"]), level)
    free = int(case.plain["seed"].max()) + 1
    remedy = f"{again(case.at(deepest), f'--seed {free}')}  # and the same of {depth} layers"
    name = f"{deepest} minus {depth} layers"
    return [_more_seeds(name, row, needed, remedy)] if needed > row["n"] else []


def _more_seeds(name: str, row: pd.Series[float], needed: int, remedy: str) -> Diagnosis:
    """Report how many seeds are needed if this mean and spread are the true ones."""
    n = int(row["n"])
    few = "; with two seeds an interval is 9.0 standard deviations wide on either side"
    return Diagnosis(
        id="too few seeds",
        severity=MATTERS,
        found=f"{name}: training error {row['mean']:.1f} points with a standard deviation of "
        f"{row['sd']:.1f} over {n} seeds, interval [{row['low']:.1f}, {row['high']:.1f}]",
        why=f"were mean and spread the true ones, {needed:,} seeds would show it with a chance of "
        f"{100 * POWER:.0f} %{few if n == 2 else ''}",
        remedy=remedy,
    )
