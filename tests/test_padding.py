"""What zero padding alone takes from a gradient, against closed forms and real networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from analysis.padding import kept, padding_growth, sides
from resnet_lab.networks.network import build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.responses import probe
from resnet_lab.recording.sites import activation_sites


@pytest.mark.parametrize(
    ("side", "share"), [(32, 0.997), (16, 0.989), (8, 0.960), (4, 0.873), (2, 2 / 3), (1, 1 / 3)]
)
def test_a_settled_profile_keeps_the_largest_eigenvalue(side: int, share: float) -> None:
    near = np.abs(np.subtract.outer(np.arange(side), np.arange(side))) <= 1
    assert kept(side) == pytest.approx(np.linalg.eigvalsh(near / 3).max())
    assert kept(side) == pytest.approx(share, abs=5e-4)


def test_maps_shrink_stage_by_stage() -> None:
    spec = NetworkSpec.parse("plain-56")
    assert sides(spec, 8) == {1: 8, 2: 4, 3: 2}
    assert sides(spec, 32) == {1: 32, 2: 16, 3: 8}
    assert sides(NetworkSpec.parse("plain-34"), 224) == {1: 56, 2: 28, 3: 14, 4: 7}


def test_a_deep_network_loses_what_its_stages_settled_profiles_lose() -> None:
    settled = math.prod(kept(side) for side in (8, 4, 2)) ** (1 / 3)
    assert padding_growth(NetworkSpec.parse("plain-56-nonorm"), 8) == pytest.approx(settled, 0.01)
    assert padding_growth(NetworkSpec.parse("plain-1202-nonorm"), 8) == pytest.approx(settled, 1e-3)


def test_one_by_one_convolutions_lose_nothing() -> None:
    thin, basic = (
        padding_growth(NetworkSpec.parse(name), 224) for name in ("plain-50", "plain-34")
    )
    assert basic < thin < 1


def measured(name: str, side: int, padding: str, seed: int) -> float:
    """Growth per layer of activation gradients, last block to stem, on random images."""
    name = name if padding == "zeros" else f"{name}-{padding}"
    network = build_network(name, num_classes=10, in_channels=3, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(16, 3, side, side, generator=generator)
    labels = torch.randint(0, 10, (16,), generator=generator)
    norms = probe(network, images, labels).activation_gradient_norm.tolist()
    first, *_, last = activation_sites(network.spec)
    return math.exp(math.log(norms[0] / norms[-1]) / (last.layer - first.layer))


@pytest.mark.parametrize("name", ["plain-56-nonorm", "plain-56-nonorm-fanout"])
def test_without_norm_gradients_lose_what_padding_predicts_and_nothing_without_a_border(
    name: str,
) -> None:
    predicted = padding_growth(NetworkSpec.parse(name), 8)
    growths = [measured(name, 8, "zeros", seed) for seed in range(3)]
    assert np.mean(growths) == pytest.approx(predicted, rel=0.01)
    circular = padding_growth(NetworkSpec.parse(f"{name}-circular"), 8)
    unbounded = [measured(name, 8, "circular", seed) for seed in range(3)]
    scale = 0.5 ** (2 / 2 / 54) if "fanout" in name else 1.0  # two stages that double channels
    assert circular == pytest.approx(scale, rel=1e-9)
    assert np.mean(unbounded) == pytest.approx(scale, rel=0.02)
