"""The grammar of network names: ``{plain|resnet}-{depth}``, then options, joined by hyphens.

    plain-56   resnet-56-B   resnet-164-preact   resnet-50-stride3x3   plain-34-stem3x3-x0.5

Names are case-insensitive. This module maps names to fields and values only; `spec` decides which
combinations are networks and what the defaults are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from resnet_lab.errors import UserError, suggest
from resnet_lab.networks.depths import check_depth, is_depth
from resnet_lab.networks.registry import AXES, find, find_token, parts_of

# Fields that are not parts: field -> value -> token in a name.
GEOMETRY: dict[str, dict[str, str]] = {
    "layout": {"cifar": "cifar", "imagenet": "imagenet"},
    "block": {"basic": "basic", "bottleneck": "bottleneck"},
    "stride_in": {"1x1": "stride1x1", "3x3": "stride3x3"},
    "stem": {"3x3": "stem3x3", "7x7": "stem7x7"},
}

# The fields in the order in which a canonical name shows them.
ORDER = (
    *("shortcut", "layout", "block", "ordering", "stride_in", "stem", "width", "norm", "init"),
    *("activation", "padding", "branch"),
)

_CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)
_ORDERINGS = ("bnafter", "relubefore", "relupre", "preact")

# The networks whose results R, I and A report, with their twins.
PAPER_NETWORKS: tuple[str, ...] = (
    *(f"{family}-{depth}" for depth in _CIFAR_DEPTHS for family in ("plain", "resnet")),
    *(f"resnet-{depth}-B" for depth in _CIFAR_DEPTHS if depth != 1202),
    *(f"resnet-110-{ordering}" for ordering in _ORDERINGS),
    *("resnet-164", *(f"resnet-164-{ordering}" for ordering in _ORDERINGS)),
    *("resnet-1001", "resnet-1001-preact"),
    *("plain-18", "resnet-18", "resnet-18-B", "resnet-18-C"),
    *("plain-34", "resnet-34", "resnet-34-B", "resnet-34-C"),
    *(f"{family}-{depth}" for depth in (50, 101, 152) for family in ("plain", "resnet")),
)

_NAME = re.compile(r"(?P<family>plain|resnet)-(?P<depth>\d{1,6})(?P<options>(-[^-]+)*)", re.ASCII)
_WIDTH = re.compile(r"x(?P<width>\d{1,4}(\.\d{1,20})?)", re.ASCII)
_SPOKEN = re.compile(r"(?P<family>[^\d]*?)[-_ ]*(?P<depth>\d{1,6})(?P<options>.*)", re.ASCII)
_SEPARATORS = re.compile(r"[\s,;+&|/]+")

_FAMILIES = {
    "plainnet": ("plain", ""),
    "plain net": ("plain", ""),
    "residual": ("resnet", ""),
    "resnet cifar": ("resnet", ""),
    "preresnet": ("resnet", "-preact"),
    "preactresnet": ("resnet", "-preact"),
    "preact resnet": ("resnet", "-preact"),
    "preact-resnet": ("resnet", "-preact"),
}
"""Family names of other projects -> (our family, option that goes with it)."""
_OPTIONS = {
    "preactivation": "preact",
    "pre": "preact",
    "preactivated": "preact",
    "bn": "batchnorm",
    "gn": "groupnorm",
    "nobn": "nonorm",
    "half": "x0.5",
    "double": "x2",
}
"""Option names of other projects -> ours."""
_FOREIGN = re.compile(
    r"(wide|wrn|w-?res|se-?|senet|dense|efficient|reg|le|alex|mobile|shuffle|squeeze|google|conv|"
    r"u|i|x|nf|res2|resnext|resnest|resnetv|resnet-v|resnetrs|vgg|vit).*"
)
"""Prefixes of other families (ResNeXt and the like) that must not be taken for these two."""
_NEAR_FAMILY = 0.65


def read_name(name: str) -> dict[str, Any]:
    """Return the fields that `name` states: always ``depth``; also ``shortcut`` if it is plain.

    Raises `UserError` for a name outside the grammar, naming the nearest one inside it.
    """
    match = _NAME.fullmatch(name.strip().lower())
    if match is None:
        raise UserError(
            f"unknown network '{name}'{_hint(name.strip().lower())} A name is "
            "plain-<depth> or resnet-<depth> and then options, as in resnet-56-B"
        )
    fields: dict[str, Any] = {"depth": int(match["depth"])}
    if match["family"] == "plain":
        fields["shortcut"] = "none"
    for token in match["options"].split("-")[1:]:
        _add_option(fields, token, name)
    return fields


def write_name(depth: int, *, plain: bool, options: Mapping[str, Any]) -> str:
    """Return the name for `depth`, the family and `options` (field -> value), in order."""
    tokens = [_token(field, options[field]) for field in ORDER if field in options]
    return "-".join(["plain" if plain else "resnet", str(depth), *tokens])


def _token(field: str, value: Any) -> str:
    if field == "width":
        return "x" + repr(float(value)).removesuffix(".0")
    if field in GEOMETRY:
        return GEOMETRY[field][value]
    part = find(AXES[field], value)
    assert part is not None
    return part.token


def _add_option(fields: dict[str, Any], token: str, name: str) -> None:
    """Add one option's field and value to `fields`; raise if the field is already set."""
    field, value = _read_option(token, name)
    if field == "shortcut" and fields.get("shortcut") == "none":
        raise UserError(
            f"network '{name}': a plain network has no shortcut, so no option {value}; "
            f"with it the network is 'resnet-{fields['depth']}-{value}'"
        )
    if field in fields:
        raise UserError(f"network '{name}' states its {field} twice; leave one of them out")
    fields[field] = value


def _read_option(token: str, name: str) -> tuple[str, Any]:
    """Return the field and the value that one option of a name stands for."""
    width = _WIDTH.fullmatch(token)
    if width is not None:
        return "width", float(width["width"])
    part = find_token(token)
    if part is not None:
        return part.axis, part.name
    known = {said: (field, value) for field in GEOMETRY for value, said in GEOMETRY[field].items()}
    if token in known:
        return known[token]
    meant = _OPTIONS.get(token)
    options = _options()
    near = f", did you mean '{meant}'?" if meant else suggest(token, options)
    raise UserError(
        f"network '{name}': unknown option '{token}'{near or '.'} "
        f"Known: {', '.join(options)}, and a width such as x0.5; "
        "parts of your own are loaded by --parts FILE.py"
    )


def _options() -> list[str]:
    """Every option of a name except the width; N stands for a number."""
    said = {field: list(values.values()) for field, values in GEOMETRY.items()}
    for axis in AXES:
        parts = sorted(parts_of(axis).values(), key=lambda one: one.takes is not None)
        said[axis] = [one.token + ("N" if one.takes else "") for one in parts if one.token]
    return [token for field in ORDER for token in said.get(field, [])]


def _hint(name: str) -> str:
    """Suggest the intended name if it is certain; never one of another depth or family."""
    parts = [part for part in _SEPARATORS.split(name) if part]
    if len(parts) > 1 and all(_is_name(part) for part in parts):
        return f", which are several: give one, or a cohort joined by commas, {','.join(parts)}."
    if not parts:
        return ", an empty one: is there a comma too many?"
    meant = _meant(name)
    return f", did you mean '{meant}'?" if meant else "."


def _meant(name: str) -> str | None:
    said = _SPOKEN.fullmatch(name)
    family, option = _family(said["family"]) if said else (None, "")
    if said is None or family is None:
        return None
    if not said["options"]:
        check_depth(int(said["depth"]))
    options = [one for one in re.split(r"[-_ ]+", said["options"]) if one]
    tokens = [_OPTIONS.get(one, one) for one in options]
    meant = f"{family}-{'-'.join([said['depth'], *tokens])}{option}"
    return _canonical(meant) if _is_name(meant) else None


def _family(said: str) -> tuple[str | None, str]:
    """Return the intended family and the option that goes with it."""
    said = said.strip("-_ ").replace("_", " ")
    if said in _FAMILIES:
        return _FAMILIES[said]
    if _FOREIGN.fullmatch(said):
        return None, ""
    near = difflib.get_close_matches(said, ("plain", "resnet"), n=1, cutoff=_NEAR_FAMILY)
    return (near[0] if near else None), ""


def _is_name(text: str) -> bool:
    try:
        return is_depth(read_name(text)["depth"]) if _NAME.fullmatch(text) else False
    except UserError:
        return False


def _canonical(name: str) -> str:
    """Return the name with its options in canonical spelling, such as B for b."""
    head, depth, *tokens = name.split("-")
    known = {said.lower(): said for said in _options()}
    return "-".join([head, depth, *(known.get(token, token) for token in tokens)])
