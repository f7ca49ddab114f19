"""Evaluation of networks on a split; every image counts exactly once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Score:
    """Result of an evaluation.

    Attributes:
        images: number of images, over all processes.
        loss: mean cross-entropy of the (averaged) prediction, nats; infinite if any output of the
            network is not finite.
        error: top-1 error, percent; an image whose logits are not all finite counts as wrong.
        top5_error: top-5 error, percent, counted in the same way.
    """

    images: int
    loss: float
    error: float
    top5_error: float


@torch.no_grad()
def evaluate(
    networks: Sequence[nn.Module],
    batches: Iterable[tuple[Sequence[Tensor], Tensor]],
    device: torch.device,
) -> list[Score]:
    """Score networks in evaluation mode and float32, on the same pass over the images.

    With several views of an image the softmax scores are averaged (R 3.4). In distributed training
    each rank evaluates its own batches and the counts are summed.

    Args:
        networks: map (N, C, H, W) to (N, classes) logits; their modes are restored.
        batches: (views, labels), where each view is (N, C, H, W) and labels (N,).
        device: device of the networks.
    """
    modes = [network.training for network in networks]
    exact = torch.float64 if device.type != "mps" else torch.float32  # MPS has no float64
    totals = torch.zeros(len(networks), 4, dtype=exact, device=device)
    try:
        for network in networks:
            network.eval()
        with torch.autocast(device.type, enabled=False):
            for views, labels in batches:
                labels = labels.to(device)
                for i, network in enumerate(networks):
                    totals[i] += _counts(network, views, labels, device)
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(totals)
    return [_score(row) for row in totals.tolist()]


def _counts(
    network: nn.Module, views: Sequence[Tensor], labels: Tensor, device: torch.device
) -> Tensor:
    logits: list[Tensor] = [
        network(view.to(device).contiguous(memory_format=torch.channels_last)) for view in views
    ]
    says = torch.stack([are_finite(one) for one in logits]).all(0)
    scores = _log_scores(logits)
    top = scores.topk(min(5, scores.shape[1]), dim=1).indices
    right = (top == labels[:, None]) & says[:, None]
    loss = F.nll_loss(scores, labels, reduction="sum")
    loss = torch.where(says.all() & loss.isfinite(), loss, math.inf)
    counts = [labels.new_tensor(len(labels)), loss, ~right[:, 0], ~right.any(1)]
    return torch.stack([count.float().sum() for count in counts])


def are_finite(logits: Tensor) -> Tensor:
    """Whether all logits (N, classes) of each image are finite; argmax of NaN would be a class.

    Returns:
        bool (N,).
    """
    return logits.isfinite().all(1)


def _log_scores(logits: Sequence[Tensor]) -> Tensor:
    logs = [one.log_softmax(1) for one in logits]
    if len(logs) == 1:
        return logs[0]
    return torch.stack(logs).logsumexp(0) - math.log(len(logs))


def _score(row: list[float]) -> Score:
    images, loss, errors, top5 = row
    if not images:
        return Score(0, float("nan"), float("nan"), float("nan"))
    return Score(int(images), loss / images, 100 * errors / images, 100 * top5 / images)
