"""Shattering: the correlation of the input gradients of neighbouring images.

Balduzzi et al. 2017 (arXiv 1702.08591), "The shattered gradients problem": with depth the gradient
of a plain network with respect to its input becomes white noise, correlations of neighbouring
inputs fall like 2^-L, those of residual networks with batch norm like 1 / sqrt(L).

In a wide plain network without border each layer multiplies the correlation by C'(c), c being the
cosine of the two representations before it (see `resnet_lab.networks.cosine_map`). Batch norm
drives neighbours apart until c = 0; from there on ReLU's factor is 1/2 a layer.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, cast

from resnet_lab.recording.quantity import Quantity, register

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_lab.recording.measured import MeasuredNetwork
    from resnet_lab.recording.responses import Probe

ANGLE = 0.01
"""Radians by which a neighbour is turned from its image towards the next one of the batch."""


def gradient_correlation(
    network: nn.Module, images: Tensor, labels: Tensor, angle: float = ANGLE
) -> Tensor:
    """Return the mean correlation of the gradients at each image and at its neighbour: shape ().

    The gradient is that of the logit of the image's label with respect to the input, the neighbour
    of x_i is cos(angle) x_i + sin(angle) x_(i + 1), which is about as long, the correlation is the
    cosine of the two gradients. Batch norms have the statistics of `images`, so the gradient at one
    image does not depend on the others. The network is left as it was.

    It costs a forward pass of the images, and a forward and a backward pass of twice as many.
    """
    import torch
    import torch.nn.functional as F
    from torch.nn.modules.batchnorm import _BatchNorm

    from resnet_lab.recording.random_state import restored_random_state

    network = deepcopy(network)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0  # running statistics become those of one batch
    with restored_random_state(images.device), torch.enable_grad():
        with torch.no_grad():
            network.train()(images)
        network.eval()
        neighbours = math.cos(angle) * images + math.sin(angle) * images.roll(-1, 0)
        inputs = torch.cat([images, neighbours]).requires_grad_()
        logits = network(inputs).gather(1, torch.cat([labels, labels]).unsqueeze(1))
        (gradients,) = torch.autograd.grad(logits.sum(), inputs)
    first, second = gradients.flatten(1).chunk(2)
    return F.normalize(first).mul(F.normalize(second)).sum(1).mean()


def _correlation(probe: Probe) -> Tensor:
    (network,) = probe.kept["network"]
    whole = cast("MeasuredNetwork", network)
    return gradient_correlation(whole.module, whole.images, whole.labels).reshape(1)


register(
    Quantity(
        name="gradient_correlation",
        at="network",
        needs="tensors",
        label="correlation of input gradients",
        formula="mean cosine of the gradients of the label's logit with respect to the input, at "
        "an image and at the same turned by 0.01 radians towards the next one (shattering)",
        measure=_correlation,
        place=130,
        logarithmic=False,
        default=False,
    )
)
