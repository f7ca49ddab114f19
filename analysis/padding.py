"""The share of a gradient that zero padding alone removes in a network without norm.

A position at the border of a map has fewer neighbours than one inside. With independent weights of
mean 0 (He's scaling, ReLU) a 3x3 convolution hands each position of its input, on the way back, a
third of the variance of each of its neighbours along each axis: the profile a of the gradient's
variance along one axis becomes T a, where T has 1/3 on the diagonal and beside it. On an n x n map
its largest eigenvalue is (1 + 2 cos(pi / (n + 1))) / 3. A factor T a for each of two axes makes its
square the share of variance, so it is itself the share of the NORM that one layer keeps at most,
once the profile has settled: n = 32, 16, 8, 4, 2 keep .997, .989, .960, .873, .667.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_lab.data.dataset import dataset_of
from resnet_lab.networks.complexity import Layer, layer_table
from resnet_lab.networks.spec import NetworkSpec


def side_of(data: str) -> int | None:
    """Return the side of a dataset's images as networks get them, pixels; None where unknown."""
    dataset = dataset_of(data)
    shape = dataset.image_shape if dataset else None
    return shape[-1] if shape else None


def kept(side: int) -> float:
    """Return the largest share of a gradient's norm that a 3x3 convolution keeps on such maps."""
    return float((1 + 2 * np.cos(np.pi / (side + 1))) / 3)


def sides(spec: NetworkSpec, image_size: int) -> dict[int, int]:
    """Return the side of each stage's maps: stage -> pixels."""
    return {conv.stage: conv.output_size[0] for conv in _convolutions(spec, image_size)}


def padding_growth(spec: NetworkSpec, image_size: int) -> float:
    """Return the growth per layer that padding predicts for activation gradients without norm.

    From the output of the last block back to the stem's in a plain network, mean per layer; 1 is
    neither growth nor loss. It is exact for infinitely wide layers and a gradient that starts
    equal at all positions, as behind average pooling. He's fan-out scaling, which keeps each
    element's variance and not the sum over channels, is accounted for.
    """
    convs = _convolutions(spec, image_size)
    profile: NDArray[np.float64] = np.ones(convs[-1].output_size[0])
    total = np.log(profile.sum())
    for conv, size in reversed(list(zip(convs, _input_sides(convs), strict=True))):
        profile = _spread(size, conv, circular=spec.padding == "circular") @ profile
    norm = np.log(profile.sum()) - total
    if spec.init == "fan-out":
        norm += sum(np.log(conv.in_channels / conv.out_channels) for conv in convs) / 2
    return float(np.exp(norm / len(convs)))


def _convolutions(spec: NetworkSpec, image_size: int) -> list[Layer]:
    """Return the main path's convolutions inside blocks, the first one first."""
    table = layer_table(spec, num_classes=10, image_size=image_size)
    return [layer for layer in table if layer.kind == "conv" and layer.stage > 0]


def _input_sides(convs: list[Layer]) -> list[int]:
    first = convs[0].output_size[0] * convs[0].stride
    return [first, *(conv.output_size[0] for conv in convs[:-1])]


def _spread(size: int, conv: Layer, *, circular: bool) -> NDArray[np.float64]:
    """Return the shares, along one axis, in which each input position gets each output's variance.

    Shape (size, output size). Circular padding passes to the other side what zero padding loses
    at the border.
    """
    shares = np.zeros((size, conv.output_size[0]))
    for output in range(conv.output_size[0]):
        for tap in range(conv.kernel):
            position = conv.stride * output + tap - conv.kernel // 2
            if circular or 0 <= position < size:
                shares[position % size, output] += 1 / conv.kernel
    return shares
