"""Parameters and multiply-adds by arithmetic on the depth table; no module is ever built here.

Rule of counting: a convolution or the classifier uses each of its weights, and each of its biases,
once at every position of its output. Norms, ReLU, pooling and additions are not counted as
multiply-adds (R Table 1 does not), but the norms' gamma and beta are parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec, Stage

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
    """What one network costs: parameters with the norms', multiply-adds for one image."""

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
    return Complexity(
        parameters=sum(layer.parameters for layer in layers) + _norm_parameters(spec, layers),
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
    stem, size = _stem_layer(spec, in_channels, image_size)
    layers = [stem]
    for stage in spec.stages:
        channels = spec.stem_channels if stage.index == 1 else stage.out_channels // 2
        size = -(-size // stage.stride)
        layers.extend(_stage_layers(spec, stage, channels, size, _main_path(layers)))
    layers.append(_classifier_layer(spec, num_classes))
    assert layers[-1].index == spec.depth
    return tuple(layers)


def check_at_least_one(**counts: int) -> None:
    """Raise `UserError` naming the first of `counts` that is not a whole number of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise UserError(f"{name} {count}: it must be a whole number of at least 1")


def _stem_layer(spec: NetworkSpec, in_channels: int, image_size: int) -> tuple[Layer, int]:
    """Return the first convolution and the size of the map that the stages see behind the pool."""
    kernel, stride = (3, 1) if spec.stem == "3x3" else (7, 2)
    size = -(-image_size // stride)
    layer = _convolution(
        spec, 1, "stem.conv", 0, 0, in_channels, spec.stem_channels, kernel, stride, size
    )
    return layer, (size if spec.stem == "3x3" else -(-size // 2))


def _main_path(layers: list[Layer]) -> int:
    return sum(layer.kind != "shortcut" for layer in layers)


def _stage_layers(
    spec: NetworkSpec, stage: Stage, channels: int, size: int, index: int
) -> Iterator[Layer]:
    """Yield a stage's layers: `size` is behind its stride, `index` that of the layer before."""
    for block in range(1, stage.blocks + 1):
        stride = stage.stride if block == 1 else 1
        block_layers = list(_block_layers(spec, stage, block, channels, stride, size, index))
        yield from block_layers
        index += _main_path(block_layers)
        channels = stage.out_channels


def _block_layers(
    spec: NetworkSpec, stage: Stage, block: int, channels: int, stride: int, size: int, index: int
) -> Iterator[Layer]:
    """Yield a block's two or three convolutions and its projection, if it has one (R 3.3)."""
    inner, outer = stage.channels, stage.out_channels
    path = f"stage{stage.index}.block{block}"
    # (inputs, outputs, kernel, stride, side of the output)
    if spec.block == "basic":
        shapes = [(channels, inner, 3, stride, size), (inner, outer, 3, 1, size)]
    else:
        first, second = (stride, 1) if spec.stride_in == "1x1" else (1, stride)
        shapes = [
            (channels, inner, 1, first, size * second),
            (inner, inner, 3, second, size),
            (inner, outer, 1, 1, size),
        ]
    for k, shape in enumerate(shapes, start=1):
        yield _convolution(spec, index + k, f"{path}.conv{k}", stage.index, block, *shape)
    changes = stride != 1 or channels != outer
    if spec.shortcut == "C" or (spec.shortcut == "B" and changes):
        name = f"{path}.shortcut.conv"
        shape = (channels, outer, 1, stride, size)
        yield _convolution(spec, index + 1, name, stage.index, block, *shape)


def _convolution(
    spec: NetworkSpec,
    index: int,
    name: str,
    stage: int,
    block: int,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    size: int,
) -> Layer:
    """One convolution; it has a bias only where no norm follows anywhere (norm none)."""
    parameters = inputs * outputs * kernel**2 + (outputs if spec.norm == "none" else 0)
    return Layer(
        index=index,
        name=name,
        kind="shortcut" if name.endswith("shortcut.conv") else "conv",
        stage=stage,
        block=block,
        in_channels=inputs,
        out_channels=outputs,
        kernel=kernel,
        stride=stride,
        output_size=(size, size),
        parameters=parameters,
        multiply_adds=parameters * size**2,
    )


def _classifier_layer(spec: NetworkSpec, num_classes: int) -> Layer:
    channels = spec.stages[-1].out_channels
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


def _norm_parameters(spec: NetworkSpec, layers: tuple[Layer, ...]) -> int:
    """Gamma and beta of every norm: two a channel.

    Post-activation: one norm with the outputs of each convolution, projections too. Full
    pre-activation (I Figure 4e): one with the inputs of each convolution of a block, except the
    very first, whose norm stands behind the stem, and one behind the last addition; projections,
    which see an input that is already normalised, have none.
    """
    if spec.norm == "none":
        return 0
    convolutions = [layer for layer in layers if layer.kind != "classifier"]
    if spec.ordering != "preactivation":
        return 2 * sum(layer.out_channels for layer in convolutions)
    inside = [layer for layer in convolutions if layer.kind == "conv" and layer.index > 2]
    ends = spec.stem_channels + spec.stages[-1].out_channels
    return 2 * (sum(layer.in_channels for layer in inside) + ends)
