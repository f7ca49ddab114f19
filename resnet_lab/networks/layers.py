"""Layers of the shape table as torch's modules."""

from __future__ import annotations

from torch import Tensor, nn

from resnet_lab.networks.architecture import Element
from resnet_lab.networks.part import Padding
from resnet_lab.networks.spec import NetworkSpec


def build_layer(spec: NetworkSpec, element: Element) -> nn.Module:
    """Return the module of one layer, as the parts of `spec` define it.

    A convolution is padded to keep the size (up to its stride), and has a bias only if the norm
    needs one.
    """
    if element.kind == "conv":
        return _convolution(spec, element)
    if element.kind == "norm":
        return spec.parts.norm.module(element.out_channels)
    return spec.parts.activation.module(element.out_channels)


def _convolution(spec: NetworkSpec, element: Element) -> nn.Conv2d:
    padding, margin = spec.parts.padding, element.kernel // 2
    by_torch = padding.mode is not None or not margin
    conv = (nn.Conv2d if by_torch else PaddedConv2d)(
        element.in_channels,
        element.out_channels,
        element.kernel,
        element.stride,
        padding=margin if by_torch else 0,
        padding_mode=padding.mode or "zeros" if margin else "zeros",
        bias=spec.parts.norm.bias,
    )
    if isinstance(conv, PaddedConv2d):
        conv.part = padding
    return conv


class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding is done by a part."""

    part: Padding

    def forward(self, input: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        return super().forward(self.part.pad(input, self.kernel_size[0] // 2))
