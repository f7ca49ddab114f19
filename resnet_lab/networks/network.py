"""The whole network: stem, stages, head (R Table 1 and section 4.2).

Children are named so that a parameter's name reads as a coordinate: ``stem.conv``,
``stage2.block1.conv1``, ``stage2.block1.shortcut.conv``, ``head.classifier``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from resnet_lab.networks.blocks import Block, build_block
from resnet_lab.networks.complexity import check_at_least_one
from resnet_lab.networks.initial_values import set_initial_values
from resnet_lab.networks.norms import convolution, norm_layer
from resnet_lab.networks.spec import NetworkSpec, Stage


def build_network(
    network: str | NetworkSpec, *, num_classes: int, in_channels: int = 3, seed: int = 0
) -> Network:
    """Build `network` with the initial values of `seed`, on torch's default device.

    A parameter's initial value is a function of the seed, its name and its shape alone (He
    initialisation, see `initial_values`), so twins start equal, and the global random state is
    neither used nor changed. Raises `UserError` for a name that is none, or counts below 1.
    """
    spec = NetworkSpec.parse(network) if isinstance(network, str) else network
    device = torch.get_default_device()
    with torch.device("meta"):
        built = Network(spec, num_classes=num_classes, in_channels=in_channels)
    if device.type != "meta":
        built.to_empty(device=device)
        set_initial_values(built, init=spec.init, seed=seed)
    return built


class Network(nn.Module):
    """head(stages(stem(x))): images (N, in_channels, H, W) -> logits (N, num_classes).

    Built by `build_network`; constructed directly it has torch's own initial values.
    """

    def __init__(self, spec: NetworkSpec, *, num_classes: int, in_channels: int = 3) -> None:
        check_at_least_one(num_classes=num_classes, in_channels=in_channels)
        super().__init__()
        self.spec = spec
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.stem = _build_stem(spec, in_channels)
        channels = spec.stem_channels
        self._stages = tuple(f"stage{stage.index}" for stage in spec.stages)
        for stage in spec.stages:
            self.add_module(f"stage{stage.index}", _build_stage(spec, stage, channels))
            channels = stage.out_channels
        self.head = _build_head(spec, channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, num_classes), for images of any size."""
        x = self.stem(images)
        for stage in self._stages:
            x = self.get_submodule(stage)(x)
        logits: Tensor = self.head(x)
        return logits

    def blocks(self) -> Iterator[tuple[int, int, Block]]:
        """Yield (stage, block, module) from the first to the last; both count from 1."""
        for stage in self.spec.stages:
            for block in range(1, stage.blocks + 1):
                module = self.get_submodule(f"stage{stage.index}.block{block}")
                assert isinstance(module, Block)
                yield stage.index, block, module


def _build_stem(spec: NetworkSpec, in_channels: int) -> nn.Sequential:
    """3x3 with stride 1 (R 4.2), or 7x7 with stride 2 and a max-pool (R Table 1); norm and ReLU."""
    kernel, stride = (3, 1) if spec.stem == "3x3" else (7, 2)
    channels = spec.stem_channels
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=convolution(spec, in_channels, channels, kernel=kernel, stride=stride),
        norm=norm_layer(spec, channels),
        relu=nn.ReLU(),
    )
    if spec.stem == "7x7":
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(layers)


def _build_stage(spec: NetworkSpec, stage: Stage, in_channels: int) -> nn.Sequential:
    """``block1``, ``block2``, ...: the first changes size and channels."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for k in range(1, stage.blocks + 1):
        stride = stage.stride if k == 1 else 1
        first = stage.index == 1 and k == 1
        blocks[f"block{k}"] = build_block(spec, stage, in_channels, stride, first=first)
        in_channels = stage.out_channels
    return nn.Sequential(blocks)


def _build_head(spec: NetworkSpec, channels: int, num_classes: int) -> nn.Sequential:
    """Global average pool and the classifier, behind a last activation in pre-activation nets.

    I, appendix: pre-activation nets need one more activation after the last addition; it is
    ReLU BN in full pre-activation, ReLU in ReLU-only pre-activation.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if spec.ordering == "preactivation":
        layers["norm"] = norm_layer(spec, channels)
    if spec.ordering in ("preactivation", "relu-preactivation"):
        layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels, num_classes)
    return nn.Sequential(layers)
