"""The shape table: every layer of a network, with its channels, kernel and stride.

Modules, counts of parameters and multiply-adds, and the layers to record all come from it. It
imports no torch and does not depend on image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from resnet_lab.networks.part import Place
from resnet_lab.networks.spec import NetworkSpec, Parts, Stage

Kind = Literal["conv", "norm", "activation"]

_KINDS: dict[str, Kind] = {"W": "conv", "N": "norm", "A": "activation"}


@dataclass(frozen=True)
class Element:
    """One layer; `name` is its path in its parent. Only convolutions have kernel and stride."""

    kind: Kind
    name: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1


@dataclass(frozen=True)
class BlockTable:
    """One block: y = after(branch(F(enter(x))) + s(x)).

    `stage` and `block` count from 1, `index` counts the blocks of the whole network, of which there
    are `blocks`. `place` is the kind of shortcut s; `projection` has its layers if it is one.
    """

    stage: int
    block: int
    index: int
    blocks: int
    in_channels: int
    out_channels: int
    stride: int
    enter: tuple[Element, ...]
    residual: tuple[Element, ...]
    after: tuple[Element, ...]
    place: Place
    projection: tuple[Element, ...]

    @property
    def name(self) -> str:
        """Its path in the network."""
        return f"stage{self.stage}.block{self.block}"

    @property
    def own(self) -> tuple[Element, ...]:
        """Its layers except those of branch and shortcut, in the order in which they are stored.

        That is conv1, norm1, activation1, conv2, ...: the order of parameters in checkpoints.
        """
        kinds = list(_KINDS.values())
        elements = [*self.enter, *self.residual, *self.after]
        return tuple(
            sorted(
                elements,
                key=lambda one: (int(one.name.removeprefix(one.kind)), kinds.index(one.kind)),
            )
        )


@dataclass(frozen=True)
class Architecture:
    """A whole network: stem (followed by a max-pool if `pooled`), blocks, head.

    `channels` is the width of the head's input; its `head` layers precede pooling and classifier.
    """

    stem: tuple[Element, ...]
    pooled: bool
    blocks: tuple[BlockTable, ...]
    head: tuple[Element, ...]
    channels: int


def architecture(spec: NetworkSpec, in_channels: int = 3) -> Architecture:
    """Return the shape table of `spec` for images with `in_channels`."""
    return _architecture(spec, spec.parts, in_channels)


@lru_cache
def _architecture(spec: NetworkSpec, parts: Parts, in_channels: int) -> Architecture:
    """Cached `architecture`; `parts` of `spec` is in the key because a parts file may change."""
    kernel, stride = (3, 1) if spec.stem == "3x3" else (7, 2)
    placed = spec.parts.norm.placed
    channels = spec.stem_channels
    stem = (
        Element("conv", "conv", in_channels, channels, kernel, stride),
        *_around(placed("NA"), channels),
    )
    blocks: list[BlockTable] = []
    for stage in spec.stages:
        for number in range(1, stage.blocks + 1):
            blocks.append(_block(spec, stage, number, channels, len(blocks) + 1))
            channels = stage.out_channels
    head = _around(placed(spec.parts.ordering.enter + "W").removesuffix("W"), channels)
    return Architecture(stem, spec.stem == "7x7", tuple(blocks), head, channels)


def _around(sequence: str, channels: int) -> tuple[Element, ...]:
    """Norms and activations outside blocks: norm, activation, norm2, ..."""
    return tuple(
        Element(_KINDS[one], _KINDS[one] + _number(sequence[:k].count(one)), channels, channels)
        for k, one in enumerate(sequence)
    )


def _number(before: int) -> str:
    return str(before + 1) if before else ""


def _block(
    spec: NetworkSpec, stage: Stage, number: int, in_channels: int, index: int
) -> BlockTable:
    """One block; the network's first block has its `enter` layers in the stem."""
    stride = stage.stride if number == 1 else 1
    shapes = _shapes(spec, stage, in_channels, stride)
    counts = {"W": 0, "N": 0, "A": 0}
    channels = in_channels
    sequences: list[tuple[Element, ...]] = []
    for sequence in spec.parts.ordering.sequence(len(shapes)):
        elements = []
        for letter in spec.parts.norm.placed(sequence):
            counts[letter] += 1
            shape = (channels, channels, 1, 1)
            if letter == "W":
                shape = shapes[counts["W"] - 1]
                channels = shape[1]
            elements.append(Element(_KINDS[letter], f"{_KINDS[letter]}{counts[letter]}", *shape))
        sequences.append(tuple(elements))
    enter, residual, after = sequences
    changes = stride != 1 or in_channels != stage.out_channels
    shortcut = spec.parts.shortcut
    place = shortcut.changed if changes else shortcut.kept
    return BlockTable(
        stage=stage.index,
        block=number,
        index=index,
        blocks=sum(one.blocks for one in spec.stages),
        in_channels=in_channels,
        out_channels=stage.out_channels,
        stride=stride,
        enter=() if index == 1 else enter,
        residual=residual,
        after=after,
        place=place,
        projection=_projection(spec, in_channels, stage.out_channels, stride)
        if place == "projection"
        else (),
    )


def _shapes(
    spec: NetworkSpec, stage: Stage, in_channels: int, stride: int
) -> list[tuple[int, int, int, int]]:
    """(in, out, kernel, stride) of each convolution: R Figure 5, left basic, right bottleneck."""
    inner, outer = stage.channels, stage.out_channels
    if spec.block == "basic":
        return [(in_channels, inner, 3, stride), (inner, outer, 3, 1)]
    stride_1x1, stride_3x3 = (stride, 1) if spec.stride_in == "1x1" else (1, stride)
    return [
        (in_channels, inner, 1, stride_1x1),
        (inner, inner, 3, stride_3x3),
        (inner, outer, 1, 1),
    ]


def _projection(
    spec: NetworkSpec, in_channels: int, out_channels: int, stride: int
) -> tuple[Element, ...]:
    """A 1x1 convolution and a norm (R Equation 2).

    The convolution has no norm if its input is already normalised (I, appendix).
    """
    conv = Element("conv", "conv", in_channels, out_channels, 1, stride)
    normalised = "N" in spec.parts.ordering.enter
    return (conv,) if normalised else (conv, *_around("N", out_channels))
