from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import PLAIN, RESIDUAL, member, rows, tiny, weights
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks.network import build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.responses import probe
from resnet_lab.training.batch_norm import (
    GhostBatchNorm2d,
    estimate_precisely,
    use_ghost_batches,
)
from resnet_lab.training.train import train

EXACT: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}


def images(count: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(count, channels, 4, 4, generator=generator)


def norm_with_values(channels: int = 3) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, channels))
        norm.bias.copy_(torch.linspace(-1, 1, channels))
    norm.running_mean = torch.linspace(-2, 2, channels)
    norm.running_var = torch.linspace(1, 3, channels)
    return norm


def test_ghost_batches_equal_a_separate_batch_norm_on_each_half() -> None:
    norm, x = norm_with_values(), images(8)
    ghost = GhostBatchNorm2d(norm, 4)
    halves = [copy.deepcopy(norm) for _ in range(2)]
    whole = x.clone().requires_grad_()
    parts = [part.clone().requires_grad_() for part in x.chunk(2)]

    output = ghost(whole)
    expected = torch.cat([half(part) for half, part in zip(halves, parts, strict=True)])
    (output**3).sum().backward()
    (expected**3).sum().backward()

    torch.testing.assert_close(output, expected, **EXACT)
    gradients = torch.cat([part.grad for part in parts if part.grad is not None])
    assert len(gradients) == 8
    torch.testing.assert_close(whole.grad, gradients, rtol=1e-4, atol=1e-4)
    for name in ("weight", "bias"):
        total = sum(half.get_parameter(name).grad for half in halves)  # type: ignore[misc]
        torch.testing.assert_close(ghost.get_parameter(name).grad, total, rtol=1e-5, atol=1e-4)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([half.get_buffer(name) for half in halves]).mean(0)
        torch.testing.assert_close(ghost.get_buffer(name), mean, **EXACT)
    assert ghost.num_batches_tracked == 1


def test_one_ghost_batch_and_evaluation_are_ordinary_batch_norm() -> None:
    norm, x = norm_with_values(), images(8)
    ghost, ordinary = GhostBatchNorm2d(norm, 8), copy.deepcopy(norm)
    assert torch.equal(ghost(x), ordinary(x))
    ghost, ordinary = GhostBatchNorm2d(norm, 4).eval(), copy.deepcopy(norm).eval()
    assert torch.equal(ghost(x), ordinary(x))
    assert torch.equal(ghost(x[:3]), ordinary(x[:3]))


def test_every_norm_of_a_network_sees_ghost_batches_and_keeps_its_state() -> None:
    network = build_network("resnet-8-B-x0.25", num_classes=10)
    state = copy.deepcopy(network.state_dict())
    norms = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    use_ghost_batches(network, 4)
    assert [n for n, m in network.named_modules() if isinstance(m, GhostBatchNorm2d)] == norms
    assert len(norms) == 9
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())


def test_the_images_of_one_ghost_batch_do_not_touch_another() -> None:
    network = build_network("resnet-8-x0.25", num_classes=10)
    use_ghost_batches(network, 4)
    first, second, other = images(4, seed=1), images(4, seed=2), images(4, seed=3)
    logits = network(torch.cat([first, second]))
    changed = network(torch.cat([first, other]))
    torch.testing.assert_close(logits[:4], changed[:4], **EXACT)
    assert not torch.allclose(logits[4:], changed[4:])


def test_a_probe_of_ghost_batches_leaves_running_statistics_alone() -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    use_ghost_batches(network, 4)
    before = copy.deepcopy(network.state_dict())
    measured = probe(network, images(8), torch.arange(8))
    assert measured.response_std.isfinite().all()
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())


def two_norms() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
    )


@pytest.mark.parametrize("ghost", [0, 4])
def test_precise_statistics_are_the_plain_averages_over_batches(ghost: int) -> None:
    network, batches = two_norms(), [images(8, seed=seed) for seed in range(5)]
    if ghost:
        use_ghost_batches(network, ghost)
    network.get_buffer("1.running_mean").add_(7)  # what was there before has no weight
    seen: dict[str, list[Tensor]] = {"1": [], "4": []}
    for name, inputs in seen.items():
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, given, inputs=inputs: inputs.extend(given[0].split(ghost or 8))
        )

    estimate_precisely(network.eval(), batches)

    for name, inputs in seen.items():
        norm = network.get_submodule(name)
        assert len(inputs) == 5 * (8 // (ghost or 8))
        means = torch.stack([x.mean((0, 2, 3)) for x in inputs])
        variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in inputs])
        torch.testing.assert_close(norm.running_mean, means.mean(0), **EXACT)
        torch.testing.assert_close(norm.running_var, variances.mean(0), rtol=1e-5, atol=1e-6)
        assert norm.num_batches_tracked == 5


def test_precise_statistics_change_nothing_else() -> None:
    network = two_norms()
    parameters = {name: p.clone() for name, p in network.named_parameters()}
    for mode in (True, False):
        network.train(mode)
        estimate_precisely(network, [images(8)])
        assert all(module.training is mode for module in network.modules())
    assert network[1].momentum == 0.1
    assert all(torch.equal(p, parameters[name]) for name, p in network.named_parameters())
    assert all(p.grad is None for p in network.parameters())


def test_a_network_without_batch_norm_needs_no_statistics() -> None:
    network = build_network("plain-8-groupnorm-x0.25", num_classes=10)
    before = copy.deepcopy(network.state_dict())
    estimate_precisely(network, iter([images(8)]))
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_probe_larger_than_the_data_is_cut_to_whole_ghost_batches() -> None:
    run = train(tiny(iterations=1, ghost_batch=8, recording={"probe_size": 2000}))
    layers = rows(run, "layers", RESIDUAL)
    assert layers[layers["quantity"] == "response_std"]["value"].gt(0).all()


@pytest.mark.parametrize(
    ("network", "batch_size", "processes"),
    [
        ("resnet-18-x0.0625", 1, 1),
        ("plain-18-x0.0625", 2, 2),
        ("resnet-18-B-x0.0625", 1, 1),  # a projection's norm stands on the last map
        ("resnet-50-x0.0625", 1, 1),
        ("plain-8-stem7x7-x0.25", 1, 1),
        *((f"resnet-18-x0.0625-{one}", 1, 1) for one in ("preact", "bnafter", "relupre")),
    ],
)
def test_a_batch_norm_that_sees_one_value_is_refused_before_the_start(
    network: str, batch_size: int, processes: int
) -> None:
    name = NetworkSpec.parse(network).name
    built = build_network(name, num_classes=10, in_channels=1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        built(images(batch_size // processes, 1).repeat(1, 1, 2, 2))
    share = f" over {processes} processes" if processes > 1 else ""
    group = NetworkSpec.parse(name, norm="group").name
    for recording in ({"enabled": False}, {}):
        with pytest.raises(UserError) as refused:
            train(
                tiny(
                    network=f"plain-8-x0.25,{name}",
                    batch_size=batch_size,
                    trainer={"devices": processes},
                    recording=recording,
                )
            )
        assert str(refused.value) == (
            f"recipe.batch_size is {batch_size}{share}, and {name} shrinks images of digits to "
            f"1 x 1: its batch norms would see one value a channel. Give {2 * processes} or more, "
            f"or {group}"
        )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("network", "recipe"),
    [
        ("plain-8-x0.25", {"batch_size": 1}),  # its last maps are 2 x 2
        ("resnet-18-x0.0625", {"batch_size": 2, "precise_bn": 3}),
        ("resnet-18-x0.0625", {"batch_size": 4, "ghost_batch": 2}),
        ("resnet-18-x0.0625-groupnorm", {"batch_size": 1, "precise_bn": 1}),
        ("resnet-18-x0.0625-nonorm", {"batch_size": 1}),
    ],
)
def test_whatever_has_two_values_or_no_batch_norm_trains(
    network: str, recipe: dict[str, Any]
) -> None:
    name = NetworkSpec.parse(network).name
    run = train(tiny(network=name, iterations=2, lr=1e-3, recording={"probe_size": 2}, **recipe))
    assert member(run, name)["status"] == "finished"


def test_a_run_ends_with_statistics_of_as_many_images_as_asked() -> None:
    run = train(tiny(iterations=3, network=PLAIN, precise_bn=70))
    assert weights(run, PLAIN)["stem.norm.num_batches_tracked"] == 5  # 5 batches of 16 hold 70
