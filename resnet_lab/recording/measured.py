"""Tensors kept from a pass of the probe batch: the arguments of the user's own quantities.

All come from a forward and backward pass of the probe batch (unaugmented training images, the same
at every step), in float32 and training mode. All tensors are detached copies, so changing them
cannot affect training.
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
        gradient: gradient of the mean loss with respect to the weights.
        response: its output, after its own norm where that follows directly.
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
        branch: F(x), as added.
        shortcut: s(x); None in a plain network.
        output: the block's output.
        gradient: gradient of the mean loss with respect to `output`.
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
        labels: labels of the images.
        logits: logits of the images.
        loss: the mean cross-entropy.
        gradients: gradients of the loss with respect to each parameter, by name.
    """

    site: Site
    module: Network
    images: Tensor
    labels: Tensor
    logits: Tensor
    loss: Tensor
    gradients: Mapping[str, Tensor]


Measured: TypeAlias = MeasuredLayer | MeasuredBlock | MeasuredNetwork
