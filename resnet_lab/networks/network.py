"""The whole network: stem, stages, head (R Table 1 and section 4.2).

Children are named so that a parameter's name reads as a coordinate: ``stem.conv``,
``stage2.block1.conv1``, ``stage2.block1.shortcut.conv``, ``head.classifier``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from resnet_lab.networks.architecture import Architecture, architecture
from resnet_lab.networks.blocks import Block
from resnet_lab.networks.complexity import check_at_least_one
from resnet_lab.networks.initial_values import set_initial_values
from resnet_lab.networks.layers import build_layer
from resnet_lab.networks.spec import NetworkSpec


def build_network(
    network: str | NetworkSpec, *, num_classes: int, in_channels: int = 3, seed: int = 0
) -> Network:
    """Build `network` with the initial values of `seed`, on torch's default device.

    A parameter's initial value is a function of the seed, its name and its shape alone (He
    initialisation, see `initial_values`), so twins start equal, and the global random state is
    neither used nor changed. Raises `UserError` for an invalid name, or counts below 1.
    """
    spec = NetworkSpec.parse(network) if isinstance(network, str) else network
    device = torch.get_default_device()
    with torch.device("meta"):
        built = Network(spec, num_classes=num_classes, in_channels=in_channels)
    if device.type != "meta":
        built.to_empty(device=device)
        set_initial_values(built, spec, seed=seed)
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
        table = architecture(spec, in_channels)
        self.stem = _build_stem(spec, table)
        self._stages = tuple(f"stage{stage.index}" for stage in spec.stages)
        for stage in spec.stages:
            blocks: OrderedDict[str, nn.Module] = OrderedDict(
                (f"block{one.block}", Block(spec, one))
                for one in table.blocks
                if one.stage == stage.index
            )
            self.add_module(f"stage{stage.index}", nn.Sequential(blocks))
        self.head = _build_head(spec, table, num_classes)

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


def _build_stem(spec: NetworkSpec, table: Architecture) -> nn.Sequential:
    """3x3 with stride 1 (R 4.2), or 7x7 with stride 2 and a max-pool (R Table 1)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        (element.name, build_layer(spec, element)) for element in table.stem
    )
    if table.pooled:
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(layers)


def _build_head(spec: NetworkSpec, table: Architecture, num_classes: int) -> nn.Sequential:
    """Final norm and activation (pre-activation orderings only), global average pool, classifier.

    I, appendix: pre-activation nets need one more activation after the last addition: BN and
    ReLU in full pre-activation, ReLU in ReLU-only pre-activation.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        (element.name, build_layer(spec, element)) for element in table.head
    )
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(table.channels, num_classes)
    return nn.Sequential(layers)
