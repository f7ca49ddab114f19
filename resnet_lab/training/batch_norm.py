"""Two variants of batch normalisation from the paper: ghost batches and precise statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.configuration.config import Config
from resnet_lab.data.loader import Data
from resnet_lab.errors import UserError
from resnet_lab.networks.complexity import layer_table
from resnet_lab.networks.spec import NetworkSpec


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that normalises each group of `ghost` images separately in training.

    R 4.2 trained batches of 128 on two GPUs, so each norm saw 64 images. Running statistics are
    updated with the mean over the groups. Parameters and buffers are those of the replaced norm.

    Args:
        norm: the batch norm to replace.
        ghost: images per group; it must divide the batch size.
    """

    def __init__(self, norm: nn.BatchNorm2d, ghost: int) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.ghost = ghost
        self.load_state_dict(norm.state_dict())

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over each group of images and all positions."""
        images = len(input)
        if not self.training or images == self.ghost:
            return super().forward(input)
        assert images % self.ghost == 0, "the ghost batch must divide the batch"
        assert self.running_mean is not None
        assert self.running_var is not None
        step_size = self._step_size()
        # Splitting by image keeps each group contiguous in either memory format.
        groups = torch.split(input, self.ghost)
        means = self.running_mean.repeat(len(groups), 1)
        variances = self.running_var.repeat(len(groups), 1)
        outputs = [
            F.batch_norm(
                group,
                mean,
                variance,
                self.weight,
                self.bias,
                training=True,
                momentum=step_size,
                eps=self.eps,
            )
            for group, mean, variance in zip(groups, means, variances, strict=True)
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        return torch.cat(outputs)

    def _step_size(self) -> float:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum


def check_batch_norms(config: Config, data: Data) -> None:
    """Check that each batch norm sees more than one value per channel, as one has no variance.

    The last feature maps are the smallest; small images shrink to 1 x 1 there.

    Raises:
        UserError: a norm would see a single image with a 1 x 1 feature map.
    """
    processes = config.trainer.processes
    images = config.ghost_batch or config.recipe.batch_size
    for spec in config.specs():
        if spec.norm == "batch" and images * _last_map(spec, data) == 1:
            share = f" over {processes} processes" if processes > 1 else ""
            raise UserError(
                f"recipe.batch_size is {config.recipe.batch_size}{share}, and {spec.name} shrinks "
                f"images of {data.name} to 1 x 1: its batch norms would see one value a channel. "
                f"Give {2 * processes} or more, or {replace(spec, norm='group').name}"
            )


def _last_map(spec: NetworkSpec, data: Data) -> int:
    """Number of spatial positions in the last convolution's output."""
    channels, *sides = data.image_shape
    positions = 1
    for side in sides:
        layers = layer_table(
            spec, num_classes=data.num_classes, in_channels=channels, image_size=side
        )
        positions *= layers[-2].output_size[0]  # the last layer is the classifier
    return positions


def use_ghost_batches(network: nn.Module, ghost: int) -> None:
    """Replace every batch norm of `network` by one that normalises groups of `ghost` images."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, GhostBatchNorm2d(child, ghost))


@torch.no_grad()
def estimate_precisely(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by plain averages over many images ("precise BN").

    The authors' released models were finished this way. Weights and training mode are unchanged.
    In distributed training the averages are averaged over processes.

    Args:
        network: the network whose batch norms are re-estimated.
        batches: images (N, C, H, W) on the network's device, in batches of the training size.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    mode, momenta = network.training, [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for images in batches:
        network(images.contiguous(memory_format=torch.channels_last))
    network.train(mode)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        _average_over_processes(norm)


def _average_over_processes(norm: nn.BatchNorm2d) -> None:
    if dist.is_available() and dist.is_initialized():
        for statistic in (norm.running_mean, norm.running_var):
            assert statistic is not None
            dist.all_reduce(statistic)
            statistic /= dist.get_world_size()
