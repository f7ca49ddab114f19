"""Layers of the shape table as torch's modules."""

from __future__ import annotations

from torch import nn

from resnet_lab.networks.architecture import Element
from resnet_lab.networks.spec import NetworkSpec


def build_layer(spec: NetworkSpec, element: Element) -> nn.Module:
    """Return the module of one layer, by the parts of `spec`.

    A convolution is padded to keep the size (up to its stride), and has a bias only where the norm
    asks for one.
    """
    if element.kind == "conv":
        return nn.Conv2d(
            element.in_channels,
            element.out_channels,
            element.kernel,
            element.stride,
            padding=element.kernel // 2,
            padding_mode=spec.parts.padding.mode if element.kernel > 1 else "zeros",
            bias=spec.parts.norm.bias,
        )
    if element.kind == "norm":
        return spec.parts.norm.module(element.out_channels)
    if element.kind == "activation":
        return spec.parts.activation.module(element.out_channels)
    return spec.parts.branch.module(element.out_channels) or nn.Identity()
