"""Convolutions and the norms beside them: which norm, how many groups, when a bias is needed."""

from __future__ import annotations

from torch import nn

from resnet_lab.networks.spec import NetworkSpec

MOST_GROUPS = 32  # Wu & He 2018, "Group Normalization"


def convolution(
    spec: NetworkSpec, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> nn.Conv2d:
    """A convolution padded to keep the size (up to its stride); a bias only without norms."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=kernel // 2,
        bias=spec.norm == "none",
    )


def norm_layer(spec: NetworkSpec, channels: int) -> nn.Module:
    """The norm of `spec` over `channels`: batch norm (R 3.4), group norm, or nothing."""
    if spec.norm == "batch":
        return nn.BatchNorm2d(channels)
    if spec.norm == "group":
        return nn.GroupNorm(group_count(channels), channels)
    return nn.Identity()


def group_count(channels: int) -> int:
    """The largest divisor of `channels` that is at most 32 and leaves two channels a group.

    So 64 and more channels have Wu and He's 32 groups, 32 have 16, 16 have 8; one channel has one.
    """
    most = max(1, min(MOST_GROUPS, channels // 2))
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)
