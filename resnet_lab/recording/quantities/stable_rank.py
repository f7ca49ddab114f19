"""Stable rank of a batch's representations, by block (Daneshmand et al. 2020, arXiv 2003.01652).

|H|_F^2 / |H|_2^2, where a row of H is an image's representation minus the mean of the batch: the
number of directions, from 1 up, in which images differ. Deep linear networks without norm tend to
1; batch norm keeps it of the order of the square root of the width. Without centring the rank of
rectified maps would be about 1 over their mean cosine, which `representation_cosine` has already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register
from resnet_lab.recording.sites import activation_sites

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.responses import Probe

SQUARINGS = 20
"""Squarings of the Gram matrix: its largest of N eigenvalues is found to N / (e 2^20)."""


def stable_rank(maps: Tensor) -> Tensor:
    """Return the stable rank of `maps` (N, ...), centred over its N images: shape ().

    The largest eigenvalue of the Gram matrix G is tr(G^(p + 1)) / tr(G^p) for a large power p. By
    squaring, this waits for no device and gives nan where a decomposition would fail. Equal images
    give nan.
    """
    from resnet_lab.recording.norms import wide

    rows = maps.flatten(1)
    rows = rows - rows.mean(0)
    gram = wide(rows @ rows.T)
    total = gram.trace()
    power = gram / total
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / power.trace()
    rank: Tensor = total / (power * gram).sum()
    return rank.float()


def _stable_ranks(probe: Probe) -> Tensor:
    import torch

    return torch.stack([stable_rank(maps) for maps in probe.maps])


register(
    Quantity(
        name="stable_rank",
        at="block",
        needs="tensors",
        label="stable rank of representations",
        formula="squared Frobenius norm over squared spectral norm of the block's outputs, an "
        "image a row, the mean of the batch removed",
        measure=_stable_ranks,
        sites=activation_sites,
        place=110,
        default=False,
    )
)
