"""Looks-linear initialisation (Balduzzi et al. 2017): a ReLU network that begins as a linear one.

Channels come in pairs (u, -u) before every activation, and f(u) - f(-u) = (1 + a) u for leaky ReLU
of slope a (0 for ReLU). A layer that reads only these differences, with weights (v, -v) / (1 + a),
sees v u; its own outputs are mirrored again. v is normal and keeps the variance, so each weight has
the variance that He's has and only the pairs are new. (Balduzzi et al. have orthogonal matrices; in
the kernel's centre alone these keep the rank of three colours, which batch norm answers with
exploding gradients.) The pairs are neighbouring channels, which option A's zeros leave together if
half the missing channels are an even number.

Exact, at initialisation: a plain network without norm is a linear function of its input. With batch
norm each channel of a pair gets the statistics of the other, mirrored, so for fixed statistics
(evaluation, or a batch whose statistics count as constants) the network is affine. Group norm
divides each image by its own spread, so it is not. Of residual networks those are exact whose
activations lie in the branch (``relubefore``): elsewhere an activation sees the sum of a mirrored
and a rectified map. Parameters are free once training starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.errors import UserError
from resnet_lab.networks.part import Initialisation, WeightPlace
from resnet_lab.networks.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LooksLinear(Initialisation):
    """Mirrored weights; neither the images that the stem reads nor the logits come in pairs."""

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return the weights of a convolution or of the classifier.

        Raises:
            UserError: a layer has an odd number of channels, which cannot be paired.
        """
        import torch

        first, last = place.name == "stem.conv", place.name == "head.classifier"
        outputs, inputs = place.shape[:2]
        if (outputs % 2 and not last) or (inputs % 2 and not first):
            raise UserError(
                f"init '{self.name}': {place.name} has {inputs} inputs and {outputs} outputs, and "
                "channels come in pairs; give a width that makes them even"
            )
        shape = (outputs // (1 if last else 2), inputs // (1 if first else 2), *place.shape[2:])
        values = torch.randn(shape, generator=generator, device="cpu")
        values /= math.sqrt(math.prod(shape[1:]))
        if not first:
            values = mirrored(values, dim=1) / (1 + math.sqrt(max(0.0, 2 / place.gain - 1)))
        return values if last else mirrored(values, dim=0)


def mirrored(values: Tensor, *, dim: int) -> Tensor:
    """Return each entry along `dim` followed by its negative."""
    import torch

    return torch.stack([values, -values], dim + 1).flatten(dim, dim + 1)


register(LooksLinear(name="lookslinear", token="lookslinear", classifier=True))
