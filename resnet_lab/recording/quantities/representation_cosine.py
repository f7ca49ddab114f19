"""C-map: the mean cosine of pairs of images' representations, by block.

Not centred and after the activation, as in Martens et al. 2021 (arXiv 2110.01765). Theory (see
`resnet_lab.networks.cosine_map`) gives its course through wide plain networks without norm: towards
1, so that the network can no longer tell its inputs apart. Batch norm removes what the images of a
batch have in common at every layer, so that c = 0 enters each activation and C(0), 1 / pi for ReLU,
leaves it, however deep (Yang et al. 2019, arXiv 1902.08129: wide plain networks, no border). For
residual networks with batch norm there is no closed form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register
from resnet_lab.recording.sites import activation_sites

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.responses import Probe


def mean_cosine(maps: Tensor) -> Tensor:
    """Return the mean cosine of all pairs of different images in `maps` (N, ...): shape ().

    With u_i of length 1 it is (|u_1 + ... + u_N|^2 - N) / (N (N - 1)). An image whose map is zero
    gives nan.
    """
    rows = maps.flatten(1)
    units = rows / rows.norm(dim=1, keepdim=True)
    n = len(units)
    mean: Tensor = (units.sum(0).square().sum() - n) / (n * (n - 1))
    return mean


def _cosines(probe: Probe) -> Tensor:
    import torch

    return torch.stack([mean_cosine(maps) for maps in probe.maps])


register(
    Quantity(
        name="representation_cosine",
        at="block",
        needs="tensors",
        label="mean cosine of representations",
        formula="mean cosine of the block's outputs for two images, over all pairs of the batch; "
        "not centred (C-map)",
        measure=_cosines,
        sites=activation_sites,
        place=100,
        logarithmic=False,
        default=False,
    )
)
