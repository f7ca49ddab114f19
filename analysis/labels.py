"""Labels of groups of runs: shared traits, recipe, and the settings that distinguish them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from functools import cache

from resnet_lab.data.dataset import dataset_of
from resnet_lab.errors import UserError
from resnet_lab.networks.registry import AXES, find, find_token
from resnet_lab.networks.spec import NetworkSpec

TRAITS = tuple(one.name for one in fields(NetworkSpec) if one.name not in ("depth", "shortcut"))
"""Traits in a network's name beyond family, depth and shortcut."""

_SETTING = re.compile(r"(\w+)=(.*?)(?= \w+=|$)")


def settings_in(text: object) -> dict[str, str]:
    """Return name -> value of a text such as `schedule`'s ``drops=[1, 2] clip=1``."""
    return dict(_SETTING.findall(str(text)))


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
    said = ((option, find_token(option)) for option in options)
    shortcuts = [option for option, part in said if part and part.axis == "shortcut"]
    return "-".join([head, depth, *shortcuts])


def group_labels(groups: Sequence[dict[str, object]]) -> list[str]:
    """Describe each group: its recipe, and what distinguishes it from others with this recipe."""
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
        *([str(settings["optimizer"])] if settings.get("optimizer", "sgd") != "sgd" else []),
    ]
    return ", ".join([*parts, *_trait_texts(settings)])


def _differences(settings: dict[str, object], alike: Sequence[dict[str, object]]) -> list[str]:
    """Return the settings in which `settings` differs from some group of `alike`."""
    texts = [_texts(one) for one in alike]
    shared = set(texts[0]).intersection(*texts)
    return [text for text in _texts(settings) if text not in shared]


def _texts(settings: dict[str, object]) -> list[str]:
    """Return every setting as text; a column of several ``key=value`` is split."""
    return [
        text
        for name, value in settings.items()
        for text in (
            [f"{key}={said}" for key, said in settings_in(value).items()]
            if "=" in str(value)
            else [f"{name} {value}"]
        )
    ]


def _trait_texts(settings: dict[str, object]) -> list[str]:
    """Return the non-default traits that a short name leaves out."""
    dataset = dataset_of(str(settings["data"]))
    usual = {
        "layout": "cifar" if dataset is None or dataset.in_memory else "imagenet",
        "block": "basic",
        "stride_in": "1x1",
        "stem": "7x7" if settings["layout"] == "imagenet" else "3x3",
        "width": 1.0,
        **{axis: kind.default for axis, kind in AXES.items()},
    }
    unusual = {name: settings[name] for name in TRAITS if settings[name] != usual[name]}
    return [_trait_text(name, value) for name, value in unusual.items()]


def _trait_text(name: str, value: object) -> str:
    part = find(AXES[name], str(value)) if name in AXES else None
    if part is not None:
        return part.label
    words = {"width": "width x{}", "layout": "{} layout", "block": "{} blocks"}
    return words.get(name, f"{name} {{}}").format(value)
