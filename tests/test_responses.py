from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.responses import Probe, probe, response_module
from resnet_lab.recording.sites import activation_sites, block_sites, response_sites

ORDERINGS = ["", "-bnafter", "-relubefore", "-relupre", "-preact"]


def random_batch(images: int = 8, size: int = 8, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, channels, size, size, generator=generator)
    return x, torch.randint(0, 10, (images,), generator=generator)


def close(measured: Tensor | None, expected: Tensor, rtol: float = 1e-4) -> None:
    assert measured is not None
    torch.testing.assert_close(measured, expected.float(), rtol=rtol, atol=0)


# By hand: a network without norms whose kernels have nothing but a centre, whose weights and
# images are positive, and whose images are constant. No ReLU ever acts and no border is ever felt,
# so all orderings are the same linear map: block b multiplies the channels by
# M_b = V_b U_b + S_b, with U_b and V_b the centres of its kernels and S_b its shortcut.


def centre(network: Network, name: str) -> Tensor:
    weight: Tensor = network.get_submodule(name).weight  # type: ignore[assignment]
    return weight.detach()[:, :, 1, 1]


def shortcut_matrix(network: Network, block: int) -> Tensor:
    """S_b: nothing in a plain net; else the identity, with zeros around it for new channels."""
    before, after = [(4, 4), (4, 8), (8, 16)][block - 1]
    if network.spec.family == "plain":
        return torch.zeros(after, before)
    rows = (after - before) // 2
    return F.pad(torch.eye(before), (0, 0, rows, rows))


def linear_network(name: str) -> tuple[Network, Tensor, Tensor]:
    network = build_network(f"{name}-x0.25-nonorm", num_classes=10, in_channels=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for site in response_sites(network.spec):
            network.get_submodule(site.name).weight.zero_()  # type: ignore[operator]
            kernel = centre(network, site.name)
            kernel.copy_(torch.rand(kernel.shape, generator=generator) + 0.1)
    values = torch.tensor([1.0, 2.0, 0.5, 3.0])
    images = values.view(4, 1, 1, 1).expand(4, 1, 8, 8).contiguous()
    return network, images, torch.tensor([0, 3, 3, 9])


def by_hand(network: Network, images: Tensor, labels: Tensor) -> Probe:
    """Every quantity from 4x4 to 16x16 matrices, (channels, images) at any one position."""
    y = centre(network, "stem.conv") @ images[:, :, 0, 0].T
    inputs, maps, responses, ratios = [y], [], [y], []
    for b in (1, 2, 3):
        first = centre(network, f"stage{b}.block1.conv1") @ y
        second = centre(network, f"stage{b}.block1.conv2") @ first
        shortcut = shortcut_matrix(network, b) @ y
        responses += [first, second]
        ratios.append(second.var(correction=0) / shortcut.var(correction=0))
        maps.append(
            centre(network, f"stage{b}.block1.conv2") @ centre(network, f"stage{b}.block1.conv1")
            + shortcut_matrix(network, b)
        )
        y = second + shortcut
        inputs.append(y)
    classifier = network.get_submodule("head.classifier").weight.detach()  # type: ignore[operator]
    error = ((classifier @ y).softmax(0) - F.one_hot(labels, 10).T) / len(labels)
    # The pool spreads the gradient over the last stage's 2x2 positions, and each stride of 2 sends
    # it back to as many positions, so its norm is always sqrt(4) times a quarter of the pooled one.
    gradients = [classifier.T @ error]
    for block_map in reversed(maps):
        gradients.append(block_map.T @ gradients[-1])
    return Probe(
        activation_gradient_norm=torch.stack([g.norm() / 2 for g in reversed(gradients)]),
        response_std=torch.stack([response.std(correction=0) for response in responses]),
        variance_ratio=torch.stack(ratios) if network.spec.family == "residual" else None,
    )


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("family", ["plain-8", "resnet-8"])
def test_a_linear_networks_measurements_are_those_derived_by_hand(
    family: str, ordering: str
) -> None:
    network, images, labels = linear_network(family + ordering)
    measured, expected = probe(network, images, labels), by_hand(network, images, labels)
    close(measured.activation_gradient_norm, expected.activation_gradient_norm)
    close(measured.response_std, expected.response_std)
    if expected.variance_ratio is None:
        assert measured.variance_ratio is None
    else:
        close(measured.variance_ratio, expected.variance_ratio)


# By a second implementation: the whole forward pass in plain functions, intermediates kept.


def normalised(network: Network, path: str, x: Tensor) -> Tensor:
    norm = network.get_submodule(path)
    assert isinstance(norm, nn.BatchNorm2d)
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    scale, shift = (p.view(1, -1, 1, 1) for p in (norm.weight, norm.bias))
    return (x - mean) / (variance + norm.eps).sqrt() * scale + shift


def convolved(network: Network, path: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = network.get_submodule(path).weight
    assert isinstance(weight, Tensor)
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def padded(network: Network, path: str, x: Tensor, stride: int) -> Tensor | None:
    if network.spec.family == "plain":
        return None
    if stride == 1:
        return x
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))


def recomputed(network: Network, x: Tensor, labels: Tensor) -> Probe:
    """The original and the full pre-activation ordering of a network of 8 layers, option A."""
    preactivated = network.spec.ordering == "preactivation"
    stem = normalised(network, "stem.norm", convolved(network, "stem.conv", x))
    outputs, responses, ratios = [stem.relu()], [stem], []
    for b, stride in ((1, 1), (2, 2), (3, 2)):
        path, y = f"stage{b}.block1", outputs[-1]
        if preactivated:
            entered = y if b == 1 else normalised(network, f"{path}.norm1", y).relu()
            first = convolved(network, f"{path}.conv1", entered, stride)
            hidden = normalised(network, f"{path}.norm2", first).relu()
            branch = convolved(network, f"{path}.conv2", hidden)
        else:
            first = convolved(network, f"{path}.conv1", y, stride)
            first = normalised(network, f"{path}.norm1", first)
            branch = convolved(network, f"{path}.conv2", first.relu())
            branch = normalised(network, f"{path}.norm2", branch)
        responses += [first, branch]
        shortcut = padded(network, path, y, stride)
        if shortcut is not None:
            ratios.append(branch.var(correction=0) / shortcut.var(correction=0))
        total = branch if shortcut is None else branch + shortcut
        outputs.append(total if preactivated else total.relu())
    last = normalised(network, "head.norm", outputs[-1]).relu() if preactivated else outputs[-1]
    classifier = network.get_submodule("head.classifier")
    loss = F.cross_entropy(classifier(last.mean((2, 3))), labels)
    gradients = torch.autograd.grad(loss, outputs)
    return Probe(
        activation_gradient_norm=torch.stack([gradient.norm() for gradient in gradients]),
        response_std=torch.stack([response.std(correction=0) for response in responses]).detach(),
        variance_ratio=torch.stack(ratios).detach() if ratios else None,
    )


@pytest.mark.parametrize("ordering", ["", "-preact"])
@pytest.mark.parametrize("family", ["plain-8", "resnet-8"])
def test_measurements_equal_a_recomputation_in_plain_functions(family: str, ordering: str) -> None:
    network = build_network(f"{family}{ordering}-x0.25", num_classes=10)
    batch = random_batch()
    measured, expected = probe(network, *batch), recomputed(network, *batch)
    close(measured.activation_gradient_norm, expected.activation_gradient_norm)
    close(measured.response_std, expected.response_std)
    if expected.variance_ratio is None:
        assert measured.variance_ratio is None
    else:
        close(measured.variance_ratio, expected.variance_ratio)


# Of every kind of network.

KINDS = [
    *(f"{family}{ordering}" for family in ("plain-8", "resnet-8-B") for ordering in ORDERINGS),
    *("resnet-11-C-preact", "plain-11-bnafter", "resnet-8-nonorm", "resnet-8-groupnorm"),
    *("resnet-18", "resnet-50-stride3x3"),
]


def small(name: str) -> Network:
    return build_network(NetworkSpec.parse(name, width=0.125), num_classes=10)


def size(network: Network) -> int:
    return 32 if network.spec.layout == "imagenet" else 8


@pytest.mark.parametrize("name", KINDS)
def test_activation_gradients_are_those_of_the_ordinary_forward_and_backward_pass(
    name: str,
) -> None:
    network = small(name)
    x, y = random_batch(images=4, size=size(network))
    outputs: list[Tensor] = []
    for module in (network.stem, *(block for _, _, block in network.blocks())):
        module.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    gradients = torch.autograd.grad(F.cross_entropy(network(x), y), outputs)
    expected = torch.stack([gradient.norm() for gradient in gradients])
    close(probe(network, x, y).activation_gradient_norm, expected)


@pytest.mark.parametrize("name", KINDS)
def test_every_site_has_its_value(name: str) -> None:
    network = small(name)
    measured = probe(network, *random_batch(images=4, size=size(network)))
    assert measured.activation_gradient_norm.shape == (len(activation_sites(network.spec)),)
    assert measured.response_std.shape == (len(response_sites(network.spec)),)
    assert (measured.response_std > 0).all()
    if network.spec.family == "plain":
        assert measured.variance_ratio is None
    else:
        assert measured.variance_ratio is not None
        assert measured.variance_ratio.shape == (len(block_sites(network.spec)),)


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("", ["norm1", "norm2", "norm3"]),
        ("-bnafter", ["norm1", "norm2", "conv3"]),
        ("-relubefore", ["norm1", "norm2", "norm3"]),
        ("-relupre", ["norm1", "norm2", "norm3"]),
        ("-preact", ["conv1", "conv2", "conv3"]),
    ],
)
def test_a_response_is_taken_behind_the_convolutions_own_norm_and_before_the_addition(
    ordering: str, expected: list[str]
) -> None:
    spec = NetworkSpec.parse(f"resnet-11{ordering}")
    modules = [response_module(spec, site) for site in response_sites(spec)]
    assert modules[0] == "stem.norm"
    assert [module.rpartition(".")[2] for module in modules[4:7]] == expected
    assert modules[4].startswith("stage2.block1.")


# Closed forms with batch norm.


def set_norm(network: Network, path: str, scale: float, shift: list[float]) -> None:
    norm = network.get_submodule(path)
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.fill_(scale)
        norm.bias.copy_(torch.tensor(shift))


def test_a_normalised_response_has_the_std_of_its_gamma_and_the_spread_of_its_beta() -> None:
    network = build_network("resnet-8-x0.25", num_classes=10)
    set_norm(network, "stage1.block1.norm1", 0.5, [0.0, 0.0, 0.0, 0.0])
    set_norm(network, "stage1.block1.norm2", -3.0, [4.0, -4.0, 4.0, -4.0])
    stds = probe(network, *random_batch()).response_std
    assert stds[:4].tolist() == pytest.approx([1.0, 0.5, 5.0, 1.0], rel=1e-3)


def test_a_branch_weighs_against_its_shortcut_by_the_square_of_its_gamma() -> None:
    network = build_network("resnet-8", num_classes=10)
    x, y = random_batch(images=16, size=16)
    before = probe(network, x, y).variance_ratio
    set_norm(network, "stage1.block1.norm2", 0.1, [0.0] * 16)
    after = probe(network, x, y).variance_ratio
    assert before is not None
    assert after is not None
    # A normal variable has variance 1 before and (1 - 1/pi) / 2 after a ReLU.
    assert before[0].item() == pytest.approx(2 / (1 - 1 / math.pi), rel=0.02)
    assert (after[0] / before[0]).item() == pytest.approx(0.01, rel=1e-4)


# What it leaves as it was, and what does not matter.


class Noisy(nn.Module):
    """Draws random numbers and counts its calls."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x.relu() + 0.01 * torch.rand_like(x)


def everything(network: Network) -> dict[str, object]:
    """All that a probe could disturb, copied."""
    return {
        "state": copy.deepcopy(network.state_dict()),
        "gradients": {n: copy.deepcopy(p.grad) for n, p in network.named_parameters()},
        "identities": [id(tensor) for tensor in (*network.parameters(), *network.buffers())],
        "requires_grad": [p.requires_grad for p in network.parameters()],
        "modes": [module.training for module in network.modules()],
        "hooks": [len(module._forward_hooks) for module in network.modules()],
        "random": torch.get_rng_state(),
        "grad_enabled": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("name", ["plain-8-x0.25", "resnet-8-B-preact-x0.25"])
def test_a_probe_leaves_everything_bit_for_bit_as_it_was(name: str) -> None:
    network = build_network(name, num_classes=10)
    network.stem.add_module("activation", Noisy())
    x, y = random_batch()
    F.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
    network.get_submodule("stage2").eval()
    network.get_submodule("stage3.block1.conv1").requires_grad_(False)
    before = everything(network)
    probe(network, x, y)
    after = everything(network)
    for aspect, value in before.items():
        torch.testing.assert_close(after[aspect], value, rtol=0, atol=0, msg=aspect)


def test_a_probe_that_fails_restores_the_modes() -> None:
    network = build_network("resnet-8-x0.25", num_classes=10).eval()
    with pytest.raises(RuntimeError):
        probe(network, torch.zeros(4, 7, 8, 8), torch.zeros(4, dtype=torch.long))
    assert not any(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())


def same(measured: Probe, expected: Probe, rtol: float = 0.0) -> None:
    for name in ("activation_gradient_norm", "response_std", "variance_ratio"):
        close(getattr(measured, name), getattr(expected, name), rtol=rtol)


def test_modes_gradients_autocast_and_frozen_parameters_do_not_matter() -> None:
    network = build_network("resnet-8-x0.25", num_classes=10)
    expected = probe(network, *random_batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same(probe(network, *random_batch()), expected)
    with torch.no_grad():
        same(probe(network.eval(), *random_batch()), expected)
    same(probe(network.requires_grad_(False), *random_batch()), expected)


def test_half_precision_weights_are_measured_in_float32() -> None:
    network = build_network("resnet-8-x0.25", num_classes=10).bfloat16()
    expected = probe(copy.deepcopy(network).float(), *random_batch())
    same(probe(network, *random_batch()), expected)


def test_memory_format_does_not_matter() -> None:
    network = build_network("resnet-8-B-x0.25", num_classes=10)
    expected = probe(network, *random_batch())
    network.to(memory_format=torch.channels_last)
    same(probe(network, *random_batch()), expected, rtol=1e-4)
