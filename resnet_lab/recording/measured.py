"""What a pass of the probe batch has kept of each place: what the user's own quantities look at.

Everything is of the probe batch (unaugmented training images, the same at every step), forth and
back, in float32 and in training mode. All tensors are copies without history: nothing that is done
to them reaches the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from resnet_lab.networks.network import Network
from resnet_lab.recording.sites import Site


@dataclass(frozen=True)
class MeasuredLayer:
    """A weighted layer: a convolution, a projection or the classifier.

    Attributes:
        site: its place: layer, name, stage, block.
        module: the layer, whose parameters have the probe's gradients in `.grad`.
        weight: its weights.
        gradient: of the mean loss with respect to them.
        response: its output, behind its own norm where that directly follows it.
    """

    site: Site
    module: nn.Module
    weight: Tensor
    gradient: Tensor
    response: Tensor


@dataclass(frozen=True)
class MeasuredBlock:
    """A block: output = after(branch + shortcut).

    Attributes:
        site: its place: layer (its last), name, stage, block.
        module: the block, whose parameters have the probe's gradients in `.grad`.
        input: x.
        branch: F(x) as it is added.
        shortcut: s(x); None in a plain network, which adds nothing.
        output: what the next block gets.
        gradient: of the mean loss with respect to `output`.
    """

    site: Site
    module: nn.Module
    input: Tensor
    branch: Tensor
    shortcut: Tensor | None
    output: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class MeasuredNetwork:
    """The network as a whole.

    Attributes:
        site: layer 0, without a name.
        module: the network, in training mode, whose parameters have the probe's gradients in
            `.grad`.
        images: the probe batch.
        labels: of the images.
        logits: of the images.
        loss: the mean cross-entropy.
        gradients: of the loss with respect to each parameter, by its name.
    """

    site: Site
    module: Network
    images: Tensor
    labels: Tensor
    logits: Tensor
    loss: Tensor
    gradients: Mapping[str, Tensor]


Measured: TypeAlias = MeasuredLayer | MeasuredBlock | MeasuredNetwork
