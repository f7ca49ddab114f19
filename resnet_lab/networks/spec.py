"""`NetworkSpec`: an architecture as one frozen value, validated by the rules of the papers.

R = He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385;
I = the same authors, "Identity Mappings in Deep Residual Networks", arXiv 1603.05027.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from numbers import Integral
from typing import Any, Literal

from resnet_lab.errors import UserError, suggest
from resnet_lab.field_types import Expected, check_fields
from resnet_lab.networks.depths import (
    BlockKind,
    Layout,
    blocks_per_stage,
    default_block,
    default_layout,
)
from resnet_lab.networks.names import read_name, write_name
from resnet_lab.networks.part import (
    Activation,
    Branch,
    Initialisation,
    Norm,
    Ordering,
    Padding,
    Shortcut,
)
from resnet_lab.networks.registry import AXES, P, find, parts_changes, parts_of

StrideIn = Literal["1x1", "3x3"]
Stem = Literal["3x3", "7x7"]

BOTTLENECK_EXPANSION = 4  # R Figure 5: a bottleneck's last 1x1 has four times the inner width
SMALLEST_WIDTH, LARGEST_WIDTH = 0.0625, 16.0  # one channel, or 256, in CIFAR's first stage


@dataclass(frozen=True)
class Stage:
    """Blocks that share one feature-map size; the first block has the stride."""

    index: int  # from 1
    blocks: int
    channels: int  # inner width: filters of the 3x3 convolutions
    out_channels: int  # of every block: `channels`, or four times as many for bottlenecks
    stride: int


@dataclass(frozen=True)
class Parts:
    """The parts of one network, by axis."""

    shortcut: Shortcut
    ordering: Ordering
    norm: Norm
    init: Initialisation
    activation: Activation
    padding: Padding
    branch: Branch


@dataclass(frozen=True)
class NetworkSpec:
    """One architecture.

    depth: weighted layers of the main path: the stem, two or three per block, the classifier.
    shortcut: "none" makes the network plain; A, B, C are the options of R 3.3; others are A scaled,
        gated or dropped out (I Table 1), such as "lambda0.5", A times a number.
    layout: "cifar" (R 4.2: three stages of 16, 32, 64 filters; 6n+2 layers, or 9n+2 with
        bottlenecks, I Appendix) or "imagenet" (R Table 1: four stages of 64 to 512 filters).
    block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 with four times the filters).
    ordering: order of norm and ReLU around the addition, I Figure 4.
    stride_in: the convolution of a bottleneck that carries the stride; R has it in the first 1x1.
    stem: "3x3" with stride 1, or "7x7" with stride 2 and a 3x3 max-pool with stride 2.
    width: multiplies the filters of the first stage; each later stage doubles them.
    norm: "batch", "group", "none" (then convolutions have a bias, initially zero), or "rezero" or
        "fixup", which do without a norm.
    init: initialisation of the convolutions: "fan-in", "fan-out" (He et al. 2015), "dirac",
        "deltaorthogonal" or "lookslinear".
    activation: "relu", "leaky" followed by its slope, as in "leaky0.25", or "tat", leaky by depth.
    padding: of convolutions' inputs: "zeros" or "circular".
    branch: "unscaled", "skipinit" (F(x) times a learnt scalar that begins at 0), or "stochdepth"
        followed by the last block's chance of being dropped.

    shortcut, ordering, norm, init, activation, padding and branch name parts (see `part`).

    Raises `UserError` for a combination that the papers' rules do not allow.
    """

    depth: int
    shortcut: str
    layout: Layout = "cifar"
    block: BlockKind = "basic"
    ordering: str = Ordering.default
    stride_in: StrideIn = "1x1"
    stem: Stem = "3x3"
    width: float = 1.0
    norm: str = Norm.default
    init: str = Initialisation.default
    activation: str = Activation.default
    padding: str = Padding.default
    branch: str = Branch.default

    def __post_init__(self) -> None:
        check_fields(self, _refusal)
        for axis, kind in AXES.items():
            object.__setattr__(self, axis, _part(kind, getattr(self, axis)).name)
        if not SMALLEST_WIDTH <= self.width <= LARGEST_WIDTH:
            raise UserError(
                f"width x{self.width}: it must lie in {SMALLEST_WIDTH} to {LARGEST_WIDTH:g}"
            )
        blocks_per_stage(self.depth, self.layout, self.block)
        self._check_zeros()
        if self.stride_in != "1x1" and self.block != "bottleneck":
            raise UserError(
                f"depth {self.depth}: stride3x3 moves the stride inside a bottleneck, and basic "
                "blocks have it in their first 3x3 anyway; leave the option out"
            )

    def _check_zeros(self) -> None:
        """Refuse two factors 0 in one branch: neither would ever get a gradient."""
        norm, branch = _part(Norm, self.norm), _part(Branch, self.branch)
        if norm.zero and branch.zero:
            raise UserError(
                f"{norm.token} and {branch.token}: F(x) would be 0 for two reasons, so that "
                f"neither gets a gradient; leave out one, such as {branch.token}"
            )

    @classmethod
    def parse(cls, name: str, **overrides: Any) -> NetworkSpec:
        """Read a name such as ``resnet-56-B``; `overrides` are fields that replace the name's.

        Fields that neither states follow from the depth: 18, 34, 50, 101, 152 have ImageNet's
        layout, all others CIFAR's; 164 and depths that only 9n+2 gives have bottlenecks; a residual
        net has shortcut A, or B with bottlenecks (R 4.1, 4.2). Raises `UserError`.
        """
        if not isinstance(name, str):
            raise UserError(f"network {name!r} is not a name, such as 'resnet-56-B'")
        if not overrides:
            return _parse(name, parts_changes())
        known = {field.name for field in fields(cls)}
        for key in overrides:
            if key not in known:
                raise UserError(f"unknown network option '{key}'{suggest(key, known)}")
        return cls(**_completed({**read_name(name), **overrides}))

    @property
    def name(self) -> str:
        """The canonical name, with only the options that differ from their defaults."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}
        default = _defaults(stated)
        options = {field: stated[field] for field in default if stated[field] != default[field]}
        plain = options.get("shortcut") == "none"
        if plain:
            del options["shortcut"]
        return write_name(self.depth, plain=plain, options=options)

    @cached_property
    def parts(self) -> Parts:
        """The parts that this network names."""
        return Parts(
            shortcut=_part(Shortcut, self.shortcut),
            ordering=_part(Ordering, self.ordering),
            norm=_part(Norm, self.norm),
            init=_part(Initialisation, self.init),
            activation=_part(Activation, self.activation).at_depth(self.depth),
            padding=_part(Padding, self.padding),
            branch=_part(Branch, self.branch),
        )

    @property
    def family(self) -> Literal["plain", "residual"]:
        """Plain if the shortcuts contribute nothing, else residual."""
        return "plain" if self.shortcut == "none" else "residual"

    @property
    def twin(self) -> NetworkSpec:
        """The network that differs only in its shortcuts: option A for a plain net, else plain."""
        return replace(self, shortcut="A" if self.shortcut == "none" else "none")

    @property
    def twin_is_exact(self) -> bool:
        """Whether the twin has the same parameters; options B and C add projections."""
        return not self.parts.shortcut.has_parameters

    @property
    def stem_channels(self) -> int:
        """Filters of the first convolution, as many as the first stage's inner width."""
        return int((16 if self.layout == "cifar" else 64) * self.width + 0.5)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; each after the first halves the map and doubles the filters."""
        expansion = BOTTLENECK_EXPANSION if self.block == "bottleneck" else 1
        return tuple(
            Stage(
                index=k + 1,
                blocks=blocks,
                channels=self.stem_channels * 2**k,
                out_channels=self.stem_channels * 2**k * expansion,
                stride=1 if k == 0 else 2,
            )
            for k, blocks in enumerate(blocks_per_stage(self.depth, self.layout, self.block))
        )


@lru_cache
def _parse(name: str, changes: int) -> NetworkSpec:
    """Read a name; cached until the parts change."""
    return NetworkSpec(**_completed(read_name(name)))


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """Return `given` with defaults for the fields that it does not state."""
    return {**_defaults(given), **given}


def _defaults(stated: dict[str, Any]) -> dict[str, Any]:
    """Return the default of each field except the depth, given the other fields stated."""
    depth = stated["depth"]
    _check_depth(depth)
    layout = default_layout(depth)
    block = default_block(depth, stated.get("layout", layout))
    return {
        "layout": layout,
        "block": block,
        "shortcut": "A" if stated.get("block", block) == "basic" else "B",
        "stride_in": "1x1",
        "stem": "3x3" if stated.get("layout", layout) == "cifar" else "7x7",
        "width": 1.0,
        **{axis: kind.default for axis, kind in AXES.items() if axis != "shortcut"},
    }


def _refusal(name: str, value: Any, expected: Expected) -> UserError:
    """Error for a field of a network, which has no configuration section."""
    if name in AXES:
        return _no_part(name, str(value))
    if not expected.only_choices:
        return UserError(f"{name} {value!r} is not {expected.words}")
    return _unknown(name, value, expected.choices)


def _part(kind: type[P], value: str) -> P:
    """Return the part that a field names; raise `UserError` for a value that names none."""
    found = find(kind, value)
    if found is None:
        raise _no_part(kind.axis, value)
    return found


def _no_part(axis: str, value: str) -> UserError:
    default = AXES[axis].default
    known = sorted(
        parts_of(axis).values(), key=lambda one: (one.name != default, one.takes is not None)
    )
    said = {one.token.lower(): one.name for one in known}.get(value.lower())
    return _unknown(axis, value, [one.name + ("N" if one.takes else "") for one in known], said)


def _unknown(name: str, value: Any, known: Sequence[str], said: str | None = None) -> UserError:
    hint = f", did you mean '{said}'?" if said else suggest(str(value), known) or "."
    return UserError(f"unknown {name} '{value}'{hint} Known: {', '.join(known)}")


def _check_depth(depth: int) -> None:
    if isinstance(depth, bool) or not isinstance(depth, Integral):
        raise UserError(f"depth {depth!r} is not a whole number")
