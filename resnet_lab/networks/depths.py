"""Valid network depths: R Table 1, and the 6n+2 and 9n+2 rules of CIFAR's networks."""

from __future__ import annotations

from typing import Literal

from resnet_lab.errors import UserError

Layout = Literal["cifar", "imagenet"]
BlockKind = Literal["basic", "bottleneck"]

# R Table 1: blocks in the four ImageNet stages.
IMAGENET_BLOCKS: dict[tuple[int, BlockKind], tuple[int, ...]] = {
    (18, "basic"): (2, 2, 2, 2),
    (34, "basic"): (3, 4, 6, 3),
    (50, "bottleneck"): (3, 4, 6, 3),
    (101, "bottleneck"): (3, 4, 23, 3),
    (152, "bottleneck"): (3, 8, 36, 3),
}
IMAGENET_DEPTHS: tuple[int, ...] = tuple(depth for depth, _ in IMAGENET_BLOCKS)

DEEPEST = 10_000
"""Largest depth in layers: eight times the deepest network of the papers."""


def default_layout(depth: int) -> Layout:
    """Return "imagenet" for the depths of R Table 1, "cifar" for all others."""
    return "imagenet" if depth in IMAGENET_DEPTHS else "cifar"


def default_block(depth: int, layout: Layout) -> BlockKind:
    """Return "bottleneck" if the papers use it at this depth or only it fits; else "basic"."""
    if layout == "imagenet":
        return min(IMAGENET_BLOCKS, key=lambda known: abs(known[0] - depth))[1]
    only_bottlenecks = (depth - 2) % 6 != 0 and (depth - 2) % 9 == 0
    return "bottleneck" if depth == 164 or only_bottlenecks else "basic"


def blocks_per_stage(depth: int, layout: Layout, block: BlockKind) -> tuple[int, ...]:
    """Return the number of blocks in each stage.

    Raises `UserError`, naming the rule and the nearest depths, if there is no such network.
    """
    if layout == "imagenet":
        return _imagenet_blocks(depth, block)
    if depth > DEEPEST:
        raise UserError(f"depth {depth}: networks here have {DEEPEST:,} layers at most")
    layers = _layers_per_n(block)
    n, rest = divmod(depth - 2, layers)
    if n < 1 or rest:
        near = sorted({layers * max(1, k) + 2 for k in (n, n + 1)})
        bottlenecks = " with bottleneck blocks" if block == "bottleneck" else ""
        raise UserError(
            f"depth {depth}: CIFAR networks have {layers}n+2 layers{bottlenecks}; nearest: "
            f"{_listed(near)} (ImageNet networks: {_listed(IMAGENET_DEPTHS)})"
        )
    return (n, n, n)


def check_depth(depth: int) -> None:
    """Raise `UserError`, naming the rule, unless ``plain-<depth>`` is a network."""
    layout = default_layout(depth)
    blocks_per_stage(depth, layout, default_block(depth, layout))


def is_depth(depth: int) -> bool:
    """Whether ``plain-<depth>`` and ``resnet-<depth>`` are networks."""
    try:
        check_depth(depth)
    except UserError:
        return False
    return True


def _imagenet_blocks(depth: int, block: BlockKind) -> tuple[int, ...]:
    if (depth, block) not in IMAGENET_BLOCKS:
        depths = [known for known, kind in IMAGENET_BLOCKS if kind == block]
        near = min(depths, key=lambda known: abs(known - depth))
        raise UserError(
            f"depth {depth}: ImageNet networks with {block} blocks have {_listed(depths)} layers "
            f"(R Table 1); nearest: {near}"
        )
    return IMAGENET_BLOCKS[depth, block]


def _layers_per_n(block: BlockKind) -> int:
    """Layers per n: three stages of n blocks, of two or three layers each (R 4.2; I, appendix)."""
    return 6 if block == "basic" else 9


def _listed(depths: list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, depths))
