"""Moments of a recording step at which quantities are measured, with what they share.

The third, a pass of the probe batch, is `responses.Probe`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from resnet_lab.networks.network import Network
from resnet_lab.recording.gradients import gradient_norms, weight_norms
from resnet_lab.recording.sites import Site, weight_sites


@dataclass(frozen=True)
class BeforeUpdate:
    """A network whose gradients are there, before any clipping and before the update.

    Attributes:
        network: as it is.
        lr: learning rate of the update that follows.
        scaled: gives the norms of what that rate multiplies, momentum and decay aside.
    """

    network: Network
    lr: float
    scaled: Callable[[], Tensor]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Of the weighted layers, in the order of the norms."""
        return weight_sites(self.network.spec)

    @cached_property
    def gradient_norms(self) -> Tensor:
        """See `gradients`."""
        return gradient_norms(self.network)

    @cached_property
    def weight_norms(self) -> Tensor:
        """See `gradients`."""
        return weight_norms(self.network)


@dataclass(frozen=True)
class AfterUpdate:
    """A network whose update was made.

    Attributes:
        network: as it is now.
        before: copies of its weights before, by `gradients.snapshot`.
    """

    network: Network
    before: Sequence[Tensor]
