"""Sites: the places in a network where values are measured, as coordinates of recordings.

They are derived from the depth table alone, so reading recordings needs no torch, and a plain
network and its residual twin have the same coordinates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from resnet_lab.networks.complexity import Layer, layer_table
from resnet_lab.networks.spec import NetworkSpec


@dataclass(frozen=True)
class Site:
    """One place in a network.

    `layer` counts the weighted layers of the main path from 1 (the stem) to the depth (the
    classifier); a projection has the number of its block's first convolution, a block that of its
    last, the network as a whole 0. `stage` is 0 for the stem and counts up; `block` counts from 1
    within the stage, and is 0 in the stem and the head. `name` is the module's path.
    """

    layer: int
    name: str
    stage: int
    block: int


@lru_cache
def weight_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """Every weighted layer in the order of the depth table: convolutions, projections, classifier.

    The order of every function in `gradients`.
    """
    return _sites(_layers(spec))


@lru_cache
def response_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """The main path's convolutions, stem first: the layers of R, Figure 7."""
    return _sites(layer for layer in _layers(spec) if layer.kind == "conv")


@lru_cache
def activation_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """The outputs of the stem and of every block."""
    last = {_owner(layer): layer for layer in _layers(spec) if layer.kind == "conv"}
    return tuple(Site(conv.index, name, conv.stage, conv.block) for name, conv in last.items())


@lru_cache
def block_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """Every block, first to last."""
    return tuple(site for site in activation_sites(spec) if site.block)


def network_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """The network as a whole: layer 0, without a name."""
    return (Site(layer=0, name="", stage=0, block=0),)


def _layers(spec: NetworkSpec) -> tuple[Layer, ...]:
    return layer_table(spec, num_classes=1)  # the sites do not depend on the number of classes


def _sites(layers: Iterable[Layer]) -> tuple[Site, ...]:
    return tuple(Site(layer.index, layer.name, layer.stage, layer.block) for layer in layers)


def _owner(layer: Layer) -> str:
    """Name of the stem or block of a convolution: its path without the last component."""
    return layer.name.rpartition(".")[0]
