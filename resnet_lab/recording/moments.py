"""Moments of a recording step at which quantities are measured, with their shared values.

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
    """A network with its gradients, before any clipping and before the update.

    Attributes:
        network: the network.
        lr: learning rate of the coming update.
        scaled: returns the norms of the gradients that lr multiplies, momentum and decay aside.
    """

    network: Network
    lr: float
    scaled: Callable[[], Tensor]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Sites of the weighted layers, in the order of the norms."""
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
    """A network after its update.

    Attributes:
        network: the updated network.
        before: copies of its weights before the update, from `gradients.snapshot`.
        gradients: copies of their gradients before the update; empty unless a quantity needs them.
        start: copies of the initial weights; empty unless a quantity needs them.
    """

    network: Network
    before: Sequence[Tensor]
    gradients: Sequence[Tensor] = ()
    start: Sequence[Tensor] = ()
