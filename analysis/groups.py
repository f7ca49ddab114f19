"""Groups of runs alike in everything but depth, shortcut and seed: all that is ever compared.

A group's members share data, protocol, iterations, batch, learning rate, every other setting that
`load_runs` lists, and the traits of the network that are neither depth nor shortcut (width, norm,
block, ordering ...). Two members of different groups are never set against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from resnet_lab.runs.frames import Runs

TRAITS = ("layout", "block", "ordering", "stride_in", "stem", "width", "norm", "init")
"""What a network's name says beyond family, depth and shortcut."""

NOT_SETTINGS = frozenset(
    "run name study path network family depth shortcut seed status diverged_at parameters "
    "multiply_adds train_error train_loss validation_error validation_loss test_error test_loss "
    "wall_seconds images_per_second device torch lightning python git resnet_lab created finished "
    "resumed error warmup_ended_at".split()
)
"""Columns of `runs` that say which member it is or what came out, not how it was trained."""


@dataclass(frozen=True)
class Group:
    """Alike runs. `members` is `runs.runs` with the traits added, one row a network and seed."""

    label: str
    slug: str
    settings: dict[str, object]
    members: pd.DataFrame
    runs: Runs

    @property
    def finished(self) -> pd.DataFrame:
        """Members that trained to the end."""
        return self.members[self.members["status"] == "finished"]

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `metrics` or `layers` with seed, family, depth, shortcut added."""
        columns = ["run", "network", "seed", "family", "depth", "shortcut"]
        return frame.merge(self.members[columns], on=["run", "network"], how="inner")


@cache
def traits(network: str) -> dict[str, object]:
    """Return the traits of a network's name; a name that no longer parses is its own trait."""
    try:
        spec = NetworkSpec.parse(network)
    except UserError:
        return dict.fromkeys(TRAITS, network)
    return {trait: getattr(spec, trait) for trait in TRAITS}


def with_traits(members: pd.DataFrame) -> pd.DataFrame:
    """Return `runs.runs` with one column a trait."""
    columns = pd.DataFrame([traits(name) for name in members["network"]], index=members.index)
    return members.assign(**{name: columns[name] for name in columns})


def _one_a_seed(members: pd.DataFrame) -> pd.DataFrame:
    """Keep one member of each network and seed, a finished one where there is one."""
    order = members["status"].ne("finished")
    ordered = members.assign(unfinished=order).sort_values(["unfinished", "run"], kind="stable")
    kept = ordered.drop_duplicates(["network", "seed"]).drop(columns="unfinished")
    return kept.sort_values(["family", "depth", "shortcut", "seed"], kind="stable")


def restrict(runs: Runs, members: pd.DataFrame) -> Runs:
    """Return `runs` with these members only, in all three frames."""
    keys = members[["run", "network"]]
    return replace(
        runs,
        runs=runs.runs[runs.runs.set_index(["run", "network"]).index.isin(_index(keys))],
        metrics=runs.metrics.merge(keys, on=["run", "network"], how="inner"),
        layers=runs.layers.merge(keys, on=["run", "network"], how="inner"),
    )


def _index(keys: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(keys)


def split_groups(runs: Runs) -> list[Group]:
    """Split runs into groups of alike ones, the one with most members first."""
    if runs.runs.empty:
        return []
    members = with_traits(runs.runs)
    settings = [name for name in members if name not in NOT_SETTINGS]
    parts = [
        (dict(zip(settings, key, strict=True)), _one_a_seed(part))
        for key, part in members.groupby(settings, sort=False, dropna=False)
    ]
    parts.sort(key=lambda part: -len(part[1]))
    varying = [name for name in settings if members[name].nunique(dropna=False) > 1]
    return [
        Group(
            label=_label(shared, varying),
            slug=f"{shared.get('data', 'runs')}-{number}" if len(parts) > 1 else "",
            settings=shared,
            members=part,
            runs=restrict(runs, part),
        )
        for number, (shared, part) in enumerate(parts, start=1)
    ]


def _label(settings: dict[str, object], varying: Sequence[str]) -> str:
    """Say what a group's runs share: always the protocol, and whatever sets groups apart."""
    said = ("data", "protocol", "width", "norm", "iterations", "batch_size", "lr", "ordering")
    parts = [
        str(settings["data"]),
        f"protocol {settings['protocol']}",
        f"{settings['iterations']:,} iterations",
        f"batch {settings['batch_size']}",
        f"lr {settings['lr']:g}",
    ]
    if settings["width"] not in (1, 1.0) and not isinstance(settings["width"], str):
        parts.append(f"width x{settings['width']:g}")
    parts += [f"{settings['norm']} norm"] if settings["norm"] != "batch" else []
    parts += [str(settings["ordering"])] if settings["ordering"] != "original" else []
    parts += [f"{name} {settings[name]}" for name in varying if name not in said]
    return ", ".join(parts)


def arms(members: pd.DataFrame) -> list[str]:
    """Return the residual shortcuts among `members`, the one with most depths first, then A, B, C."""
    residual = members[members["family"] == "residual"]
    depths: pd.Series[int] = residual.groupby("shortcut")["depth"].nunique()
    return sorted(depths.index, key=lambda shortcut: (-depths[shortcut], shortcut))


def names(networks: Iterable[str]) -> str:
    """Join networks' names for a sentence: ``plain-20, plain-56``."""
    return ", ".join(dict.fromkeys(networks))
