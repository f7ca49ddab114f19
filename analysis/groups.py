"""Groups of runs alike in everything but depth, shortcut and seed: all that is ever compared.

A group's members share data, protocol, iterations, batch, learning rate, every other setting that
`load_runs` lists, and the traits of the network that are neither depth nor shortcut (width, norm,
block, ordering ...). Two members of different groups are never set against each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import pandas as pd

from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.runs.frames import Runs

TRAITS = ("layout", "block", "ordering", "stride_in", "stem", "width", "norm", "init")
"""What a network's name says beyond family, depth and shortcut."""

WHO = ("run", "name", "study", "path", "network", "family", "depth", "shortcut", "seed")
OUTCOME = (
    *("status", "error", "step", "diverged_at", "warmup_ended_at", "parameters", "multiply_adds"),
    *("train_error", "train_loss", "validation_error", "validation_loss", "test_error"),
    *("test_loss", "validation_top5_error", "test_top5_error", "wall_seconds"),
    *("images_per_second",),
)
ORIGIN = (
    *("created", "finished", "resumed", "device", "processor", "system", "python", "resnet_lab"),
    *("torch", "lightning", "git"),
)
NOT_SETTINGS = frozenset((*WHO, *OUTCOME, *ORIGIN))
"""Columns of `runs` that say which member it is or what came out, not how it was trained."""

_PARTS = re.compile(r" (?=\w+=)")


@dataclass(frozen=True)
class Group:
    """Alike runs, described by `label`; `slug` names their files ("" where there is one group).

    `members` is `runs.runs` with the traits and `short` added, one row a network and seed; `short`
    is the name without what the whole group shares (plain-56 for plain-56-x0.5).
    """

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
        """Return rows keyed by run and network with seed, family, depth, shortcut, short added."""
        columns = ["run", "network", "seed", "family", "depth", "shortcut", "short"]
        return frame.merge(self.members[columns], on=["run", "network"], how="inner")


@cache
def traits(network: str) -> dict[str, object]:
    """Return the traits of a network's name; a name that no longer parses is its own trait."""
    try:
        spec = NetworkSpec.parse(network)
    except UserError:
        return dict.fromkeys(TRAITS, network)
    return {trait: getattr(spec, trait) for trait in TRAITS}


def short_name(network: str) -> str:
    """Return family, depth and shortcut of a name: unambiguous within a group.

    >>> short_name("resnet-56-B-x0.5")
    'resnet-56-B'
    """
    if network in traits(network).values():
        return network
    head, depth, *options = network.split("-")
    return "-".join([head, depth, *(option for option in options if option in ("A", "B", "C"))])


def with_traits(members: pd.DataFrame) -> pd.DataFrame:
    """Return `runs.runs` with one column a trait, and `short`."""
    columns = {name: [traits(one)[name] for one in members["network"]] for name in TRAITS}
    columns["short"] = [short_name(one) for one in members["network"]]
    added = pd.DataFrame(columns, index=members.index)
    return pd.concat([members.drop(columns=list(columns), errors="ignore"), added], axis=1)


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
    settings = [str(name) for name in members if name not in (*NOT_SETTINGS, "short")]
    parts: list[tuple[dict[str, object], pd.DataFrame]] = [
        (dict(zip(settings, key, strict=True)), _one_a_seed(part))
        for key, part in members.groupby(settings, sort=False, dropna=False)
    ]
    parts.sort(key=lambda part: -len(part[1]))
    labels = _labels([shared for shared, _ in parts])
    return [
        Group(
            label=labels[number - 1],
            slug=f"{shared.get('data', 'runs')}-{number}" if len(parts) > 1 else "",
            settings=shared,
            members=part,
            runs=restrict(runs, part),
        )
        for number, (shared, part) in enumerate(parts, start=1)
    ]


def _labels(groups: Sequence[dict[str, object]]) -> list[str]:
    """Describe each group: its recipe, and what else tells it from groups with the same recipe."""
    recipes = [_recipe_text(settings) for settings in groups]
    return [
        ", ".join([recipe, *_differences(settings, alike)])
        for recipe, settings in zip(recipes, groups, strict=True)
        for alike in [[one for one, text in zip(groups, recipes, strict=True) if text == recipe]]
    ]


def _recipe_text(settings: dict[str, object]) -> str:
    parts = [
        str(settings["data"]),
        f"protocol {settings['protocol']}",
        f"{settings['iterations']:,} iterations",
        f"batch {settings['batch_size']}",
        f"lr {settings['lr']:g}",
    ]
    return ", ".join([*parts, *_trait_texts(settings)])


def _differences(settings: dict[str, object], alike: Sequence[dict[str, object]]) -> list[str]:
    """Return the settings in which `settings` differs from some group of `alike`."""
    texts = [_texts(one) for one in alike]
    shared = set(texts[0]).intersection(*texts)
    return [text for text in _texts(settings) if text not in shared]


def _texts(settings: dict[str, object]) -> list[str]:
    """Return every setting as text; a column that holds several ``key=value`` is taken apart."""
    return [
        text
        for name, value in settings.items()
        for text in (_PARTS.split(str(value)) if "=" in str(value) else [f"{name} {value}"])
    ]


def _trait_texts(settings: dict[str, object]) -> list[str]:
    """Return the traits that a short name leaves out and a reader would not assume."""
    usual = {
        "layout": "imagenet" if settings["data"] in ("imagenet", "imagefolder") else "cifar",
        "block": "basic",
        "ordering": "original",
        "stride_in": "1x1",
        "stem": "7x7" if settings["layout"] == "imagenet" else "3x3",
        "width": 1.0,
        "norm": "batch",
        "init": "fan-in",
    }
    unusual = {name: settings[name] for name in TRAITS if settings[name] != usual[name]}
    words = {"width": "width x{}", "layout": "{} layout", "block": "{} blocks", "norm": "norm {}"}
    return [words.get(name, f"{name} {{}}").format(value) for name, value in unusual.items()]


def arms(members: pd.DataFrame) -> list[str]:
    """Return the residual shortcuts among `members`, the one with most depths first."""
    residual = members[members["family"] == "residual"]
    depths: pd.Series[int] = residual.groupby("shortcut")["depth"].nunique()
    return sorted(depths.index, key=lambda shortcut: (-depths[shortcut], shortcut))
