"""Batch norm (R 3.4), group norm, and none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.networks.part import Norm
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    from torch import nn

MOST_GROUPS = 32  # Wu & He 2018, "Group Normalization"


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Norm):
    """Batch norm: statistics over the images and positions of a channel."""

    def module(self, channels: int) -> nn.Module:
        """Return torch's module."""
        from torch import nn

        return nn.BatchNorm2d(channels)

    def parameters(self, channels: int) -> int:
        """Gamma and beta."""
        return 2 * channels


@dataclass(frozen=True, kw_only=True)
class GroupNorm(Norm):
    """Group norm: statistics over a group of channels of one image."""

    def module(self, channels: int) -> nn.Module:
        """Return torch's module, with `group_count` groups."""
        from torch import nn

        return nn.GroupNorm(group_count(channels), channels)

    def parameters(self, channels: int) -> int:
        """Gamma and beta."""
        return 2 * channels


@dataclass(frozen=True, kw_only=True)
class NoNorm(Norm):
    """No normalisation; convolutions then have a bias."""

    def module(self, channels: int) -> nn.Module:
        """Return an identity module."""
        from torch import nn

        return nn.Identity()


def group_count(channels: int) -> int:
    """The largest divisor of `channels` that is at most 32 and leaves two channels a group.

    So 64 and more channels have Wu and He's 32 groups, 32 have 16, 16 have 8; one channel has one.
    """
    most = max(1, min(MOST_GROUPS, channels // 2))
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)


register(
    BatchNorm(name="batch", token="batchnorm"),
    GroupNorm(name="group", token="groupnorm"),
    NoNorm(name="none", token="nonorm", bias=True),
)
