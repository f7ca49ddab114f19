"""Norms of every layer's weights, gradients and updates.

Pure functions on plain PyTorch objects. Each returns one float32 tensor of shape (L,) on the
network's device, in the order of `sites.weight_sites`; none synchronises with the device. Norms are
Euclidean, over all of a weight tensor's elements.

With w the weight tensor of one layer, L the loss and lr the learning rate:

    gradient_norms     |g| = ||dL/dw||           before clipping, momentum and weight decay
    weight_norms       |w| = ||w||
    relative_updates   lr |g| / |w|              a plain gradient step, relative to w
    update_norms       ||w_after - w_before||    the actual step, with momentum, decay, clipping
    update_angles      angle(w_after, w_before)  how far that step turned the weights, in radians
    update_cosines     cos(w_after - w_before, -g)  how far that step is one down the gradient

Why the third: batch normalisation makes the loss invariant to the scale of the weights before it,
L(c w) = L(w), so dL/dw at c w is 1/c of that at w. A layer whose weights have exploded shows a
vanishing gradient and, squared, a vanishing relative update (van Laarhoven 2017, arXiv 1706.05350,
"L2 regularization versus batch and weight normalization"). At initialisation the gradient of a
batch-normalised plain network grows towards the input by sqrt(pi / (pi - 1)) = 1.2112 a layer (Yang
et al. 2019, arXiv 1902.08129, "A mean field theory of batch normalization").

Why the angle: of such weights only the direction matters, so the angle of a step measures how much
a layer still learns. lr |g| / |w| does not: it ignores momentum, which keeps moving weights for
tens of steps after their gradient has collapsed (Wan et al. 2021, arXiv 2006.08419, "Spherical
motion dynamics"). The cosine says whether it is the present gradient that moves them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks.network import Network
from resnet_lab.recording.norms import euclidean_norms, wide
from resnet_lab.recording.sites import weight_sites


def gradient_norms(network: Network) -> Tensor:
    """Return ||dL/dw|| of every weighted layer, from the gradients in `.grad`.

    Shape (L,), float32. Call it after `backward()` and before clipping and the optimizer's step.

    Raises:
        UserError: a weight has no gradient, as no backward pass has reached it.
    """
    return euclidean_norms([_gradient(network, site.name) for site in weight_sites(network.spec)])


def weight_norms(network: Network) -> Tensor:
    """Return ||w|| of every weighted layer. Shape (L,), float32."""
    return euclidean_norms(_weights(network))


def relative_updates(gradient_norms: Tensor, weight_norms: Tensor, lr: float) -> Tensor:
    """Return lr |g| / |w|: the fraction of its weights that a plain gradient step would change.

    Optimizers other than SGD scale g first (`Optimizer.scaled_gradient`). Shapes (L,) and
    (L,) to (L,). A weight tensor of zeros gives infinity, or nan if its gradient is zero too.
    """
    return lr * gradient_norms / weight_norms


def snapshot(network: Network) -> list[Tensor]:
    """Copy every weighted layer's weights, for `update_norms` and `update_angles`."""
    return [weight.detach().clone() for weight in _weights(network)]


def update_norms(network: Network, before: Sequence[Tensor]) -> Tensor:
    """Return ||w - w_before|| of every weighted layer, `before` being an earlier `snapshot`.

    Shape (L,), float32. An update too small for the weights' precision is 0, as it is in training.
    """
    weights = [weight.detach() for weight in _weights(network)]
    return euclidean_norms(torch._foreach_sub(weights, list(before)))


def update_angles(network: Network, before: Sequence[Tensor]) -> Tensor:
    """Return the angle between w and w_before of every weighted layer, in radians.

    Shape (L,), float32, from 0 to pi. Computed from the sum and the difference of the unit
    vectors (Kahan), as the cosine of a small angle rounds to 1. Weights are float32, so angles
    below about 1e-7 are rounding error. A weight tensor of zeros gives nan.
    """
    pairs = zip(_weights(network), before, strict=True)
    return torch.stack([_angle(weight.detach(), old) for weight, old in pairs]).float()


def gradient_snapshot(network: Network) -> list[Tensor]:
    """Copy the gradient of every weighted layer's weights, for `update_cosines`."""
    return [_gradient(network, site.name).clone() for site in weight_sites(network.spec)]


def update_cosines(
    network: Network, before: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Tensor:
    """Return cos(w - w_before, -g) of every weighted layer, `gradients` being those of the update.

    Shape (L,), float32, from -1 to 1. It is 1 for a plain gradient step, of any size and clipped to
    any norm, and falls towards 0 where momentum or weight decay make the step instead. A layer
    without an update or a gradient gives nan.
    """
    triples = zip(_weights(network), before, gradients, strict=True)
    cosines = [_cosine(wide(w.detach()) - wide(old), -wide(g)) for w, old, g in triples]
    return torch.stack(cosines).float()


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    cosine: Tensor = (first * second).sum() / (first.norm() * second.norm())
    return cosine


def _angle(first: Tensor, second: Tensor) -> Tensor:
    a, b = _unit(first), _unit(second)
    angle: Tensor = 2 * torch.atan2((a - b).norm(), (a + b).norm())
    return angle


def _unit(weight: Tensor) -> Tensor:
    whole = wide(weight)
    unit: Tensor = whole / whole.norm()
    return unit


def _weights(network: Network) -> list[Tensor]:
    return [_weight(network, site.name) for site in weight_sites(network.spec)]


def _weight(network: Network, name: str) -> nn.Parameter:
    weight = network.get_submodule(name).weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _gradient(network: Network, name: str) -> Tensor:
    gradient = _weight(network, name).grad
    if gradient is None:
        raise UserError(f"{name}.weight has no gradient: call backward() on a loss of it first")
    return gradient
