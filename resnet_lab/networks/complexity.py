"""Parameters and multiply-adds by arithmetic on the shape table, without building modules.

Rule of counting: a convolution or the classifier uses each of its weights, and each of its biases,
once at every position of its output. Norms, ReLU, pooling and additions are not counted as
multiply-adds (R Table 1 does not count them); their parameters are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from resnet_lab.errors import UserError
from resnet_lab.networks.architecture import BlockTable, Element, architecture
from resnet_lab.networks.spec import NetworkSpec

MOST = 1_000_000
"""Largest number of classes, channels or pixels a side that is accepted."""

LayerKind = Literal["conv", "shortcut", "classifier"]


@dataclass(frozen=True)
class Layer:
    """One convolution or the classifier.

    index counts the main path's layers 1..depth; a projection has that of its block's first
    convolution. name is the module's path in the network. stage is 0 for the stem and one past
    the last for the head; block counts from 1 within its stage, 0 outside stages.
    """

    index: int
    name: str
    kind: LayerKind
    stage: int
    block: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    output_size: tuple[int, int]  # height, width
    parameters: int  # weights and biases
    multiply_adds: int  # for one image


@dataclass(frozen=True)
class Complexity:
    """Cost of one network: parameters (norms included) and multiply-adds for one image."""

    parameters: int
    multiply_adds: int
    layers: tuple[Layer, ...]


def complexity(
    spec: NetworkSpec, *, num_classes: int, in_channels: int = 3, image_size: int = 32
) -> Complexity:
    """Return the totals of `layer_table` for square images of `image_size` pixels a side."""
    layers = layer_table(
        spec, num_classes=num_classes, in_channels=in_channels, image_size=image_size
    )
    others = sum(_parameters(spec, one) for one in _elements(spec) if one.kind != "conv")
    return Complexity(
        parameters=sum(layer.parameters for layer in layers) + others + _of_blocks(spec),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        layers=layers,
    )


def layer_table(
    spec: NetworkSpec, *, num_classes: int, in_channels: int = 3, image_size: int = 32
) -> tuple[Layer, ...]:
    """Return every convolution and the classifier in the order of the forward pass.

    A block's projection comes directly behind the block's own convolutions. Raises `UserError`
    unless `num_classes`, `in_channels` and `image_size` are at least 1.
    """
    check_at_least_one(num_classes=num_classes, in_channels=in_channels, image_size=image_size)
    table = architecture(spec, in_channels)
    stem = table.stem[0]
    size = _halved(image_size, stem.stride)
    index = 1
    layers = [_layer(spec, "stem.conv", stem, size, index)]
    size = _halved(size, 2) if table.pooled else size
    for block in table.blocks:
        layers += _block_layers(spec, block, size, index)
        index += sum(one.kind == "conv" for one in block.residual)
        size = _halved(size, block.stride)
    layers.append(_classifier_layer(spec, table.channels, num_classes))
    return tuple(layers)


def check_at_least_one(**counts: int) -> None:
    """Raise `UserError` for the first of `counts` that is not a whole number from 1 to `MOST`."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise UserError(f"{name} {count}: it must be a whole number of at least 1")
        if count > MOST:
            raise UserError(f"{name} {count}: it must be {MOST:,} at most")


def _halved(size: int, stride: int) -> int:
    """Side of a map after a stride: padding always gives ceil(size / stride) pixels."""
    return -(-size // stride)


def _block_layers(spec: NetworkSpec, block: BlockTable, size: int, index: int) -> Iterator[Layer]:
    """Yield a block's layers; `size` is the side of its input, `index` that of the layer before."""
    behind = size
    convs = [one for one in block.residual if one.kind == "conv"]
    for k, conv in enumerate(convs, start=1):
        behind = _halved(behind, conv.stride)
        yield _layer(
            spec, f"{block.name}.{conv.name}", conv, behind, index + k, block.stage, block.block
        )
    for conv in block.projection[:1]:
        name = f"{block.name}.shortcut.conv"
        yield _layer(spec, name, conv, behind, index + 1, block.stage, block.block)


def _layer(
    spec: NetworkSpec,
    name: str,
    conv: Element,
    size: int,
    index: int,
    stage: int = 0,
    block: int = 0,
) -> Layer:
    """One convolution; `size` is the side of its output."""
    parameters = _parameters(spec, conv)
    return Layer(
        index=index,
        name=name,
        kind="shortcut" if name.endswith("shortcut.conv") else "conv",
        stage=stage,
        block=block,
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel=conv.kernel,
        stride=conv.stride,
        output_size=(size, size),
        parameters=parameters,
        multiply_adds=parameters * size**2,
    )


def _classifier_layer(spec: NetworkSpec, channels: int, num_classes: int) -> Layer:
    parameters = (channels + 1) * num_classes
    return Layer(
        index=spec.depth,
        name="head.classifier",
        kind="classifier",
        stage=len(spec.stages) + 1,
        block=0,
        in_channels=channels,
        out_channels=num_classes,
        kernel=1,
        stride=1,
        output_size=(1, 1),
        parameters=parameters,
        multiply_adds=parameters,
    )


def _elements(spec: NetworkSpec) -> Iterator[Element]:
    """Yield every layer of the shape table except the classifier."""
    table = architecture(spec)
    yield from table.stem
    for block in table.blocks:
        yield from (*block.own, *block.projection)
    yield from table.head


def _parameters(spec: NetworkSpec, element: Element) -> int:
    """Parameters of one layer; a convolution has a bias only if the norm needs one."""
    channels = element.out_channels
    if element.kind == "conv":
        bias = channels if spec.parts.norm.bias else 0
        return element.in_channels * channels * element.kernel**2 + bias
    part = spec.parts.norm if element.kind == "norm" else spec.parts.activation
    return part.parameters(channels)


def _of_blocks(spec: NetworkSpec) -> int:
    """Parameters of branches, with the norm's scalar, and of shortcuts without projections."""
    kinds = (spec.parts.branch, spec.parts.shortcut)
    blocks = architecture(spec).blocks
    scalars = 0 if spec.parts.norm.scale is None else len(blocks)
    return scalars + sum(one.parameters(block) for block in blocks for one in kinds)
