"""Parameters and multiply-adds by arithmetic on the depth table; no module is ever built here.

Rule of counting: a convolution or the classifier uses each of its weights, and each of its biases,
once at every position of its output. Norms, ReLU, pooling and additions are not counted as
multiply-adds (R Table 1 does not), but the norms' gamma and beta are parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec, Stage

MOST = 1_000_000
"""Classes, channels or pixels a side beyond which nothing is built or counted."""

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
    layers = [_stem_layer(spec, in_channels, image_size)]
    channels, size = spec.stem_channels, layers[0].output_size[0]
    if spec.stem == "7x7":
        size = _halved(size, 2)  # the max-pool
    for stage in spec.stages:
        index = max(layer.index for layer in layers)
        layers.extend(_stage_layers(spec, stage, channels, size, index))
        channels, size = stage.out_channels, _halved(size, stage.stride)
    layers.append(_classifier_layer(spec, num_classes))
    return tuple(layers)


def check_at_least_one(**counts: int) -> None:
    """Raise `UserError` naming the first of `counts` that is no whole number from 1 to `MOST`."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise UserError(f"{name} {count}: it must be a whole number of at least 1")
        if count > MOST:
            raise UserError(f"{name} {count}: it must be {MOST:,} at most")


class _Shape(NamedTuple):
    """A square convolution; `size` is the side of its output."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    size: int


def _halved(size: int, stride: int) -> int:
    """The side of a map behind a stride: every padding here keeps ceil(size / stride) pixels."""
    return -(-size // stride)


def _stem_layer(spec: NetworkSpec, in_channels: int, image_size: int) -> Layer:
    kernel, stride = (3, 1) if spec.stem == "3x3" else (7, 2)
    size = _halved(image_size, stride)
    shape = _Shape(in_channels, spec.stem_channels, kernel, stride, size)
    return _convolution(spec, "stem.conv", shape, index=1)


def _stage_layers(
    spec: NetworkSpec, stage: Stage, channels: int, size: int, index: int
) -> Iterator[Layer]:
    """Yield a stage's layers; channels, size and index are those of what comes before it."""
    for block in range(1, stage.blocks + 1):
        path = f"stage{stage.index}.block{block}"
        stride = stage.stride if block == 1 else 1
        shapes = _block_shapes(spec, stage, channels, stride, size)
        for k, shape in enumerate(shapes, start=1):
            yield _convolution(spec, f"{path}.conv{k}", shape, index + k, stage.index, block)
        if _projects(spec, changes=stride != 1 or channels != stage.out_channels):
            shape = _Shape(channels, stage.out_channels, 1, stride, shapes[-1].size)
            yield _convolution(spec, f"{path}.shortcut.conv", shape, index + 1, stage.index, block)
        channels, size, index = stage.out_channels, shapes[-1].size, index + len(shapes)


def _block_shapes(
    spec: NetworkSpec, stage: Stage, channels: int, stride: int, size: int
) -> list[_Shape]:
    """Two 3x3, or 1x1, 3x3, 1x1 (R Figure 5), from `channels` maps of side `size`."""
    inner, outer, behind = stage.channels, stage.out_channels, _halved(size, stride)
    if spec.block == "basic":
        return [_Shape(channels, inner, 3, stride, behind), _Shape(inner, outer, 3, 1, behind)]
    last = _Shape(inner, outer, 1, 1, behind)
    if spec.stride_in == "1x1":
        return [
            _Shape(channels, inner, 1, stride, behind),
            _Shape(inner, inner, 3, 1, behind),
            last,
        ]
    return [_Shape(channels, inner, 1, 1, size), _Shape(inner, inner, 3, stride, behind), last]


def _projects(spec: NetworkSpec, *, changes: bool) -> bool:
    """Whether a block's shortcut is a projection (R 3.3): B where the shape changes, C always."""
    return spec.shortcut == "C" or (spec.shortcut == "B" and changes)


def _convolution(
    spec: NetworkSpec, name: str, shape: _Shape, index: int, stage: int = 0, block: int = 0
) -> Layer:
    """One convolution; it has a bias only in a network without norms."""
    bias = shape.outputs if spec.norm == "none" else 0
    parameters = shape.inputs * shape.outputs * shape.kernel**2 + bias
    return Layer(
        index=index,
        name=name,
        kind="shortcut" if name.endswith("shortcut.conv") else "conv",
        stage=stage,
        block=block,
        in_channels=shape.inputs,
        out_channels=shape.outputs,
        kernel=shape.kernel,
        stride=shape.stride,
        output_size=(shape.size, shape.size),
        parameters=parameters,
        multiply_adds=parameters * shape.size**2,
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
