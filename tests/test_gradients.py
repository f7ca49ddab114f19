from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.gradients import (
    gradient_norms,
    relative_updates,
    snapshot,
    update_angles,
    update_norms,
    weight_norms,
)
from resnet_lab.recording.sites import (
    Site,
    activation_sites,
    block_sites,
    response_sites,
    weight_sites,
)

ANY_NETWORK = ["plain-8-x0.25", "resnet-8-B-x0.25", "resnet-11-C-preact-x0.25", "resnet-18-x0.125"]


def random_batch(images: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, 3, size, size, generator=generator)
    return x, torch.randint(0, 10, (images,), generator=generator)


def with_gradients(name: str, images: int = 8, size: int = 16, seed: int = 0) -> Network:
    network = build_network(name, num_classes=10, seed=seed)
    set_gradients(network, *random_batch(images, size, seed))
    return network


def set_gradients(network: Network, x: Tensor, y: Tensor) -> None:
    network.zero_grad()
    F.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]


def gradient(network: Network, name: str) -> Tensor:
    found = weight(network, name).grad
    assert found is not None
    return found


def weight(network: Network, name: str) -> nn.Parameter:
    found = network.get_submodule(name).weight
    assert isinstance(found, nn.Parameter)
    return found


# Where: the coordinates.


@pytest.mark.parametrize("name", ANY_NETWORK)
def test_weight_sites_are_the_convolutions_and_the_classifier_in_forward_order(name: str) -> None:
    network = build_network(name, num_classes=10)
    sites = weight_sites(network.spec)
    weighted = (nn.Conv2d, nn.Linear)
    assert [site.name for site in sites] == [
        path for path, module in network.named_modules() if isinstance(module, weighted)
    ]
    assert (sites[0].layer, sites[-1].layer) == (1, network.spec.depth)


def test_sites_of_the_smallest_projecting_network_are_these() -> None:
    spec = NetworkSpec.parse("resnet-8-B")
    assert weight_sites(spec)[3:6] == (
        Site(4, "stage2.block1.conv1", 2, 1),
        Site(5, "stage2.block1.conv2", 2, 1),
        Site(4, "stage2.block1.shortcut.conv", 2, 1),
    )
    assert activation_sites(spec) == (
        Site(1, "stem", 0, 0),
        Site(3, "stage1.block1", 1, 1),
        Site(5, "stage2.block1", 2, 1),
        Site(7, "stage3.block1", 3, 1),
    )
    assert block_sites(spec) == activation_sites(spec)[1:]
    assert [site.layer for site in response_sites(spec)] == [1, 2, 3, 4, 5, 6, 7]


def test_twins_have_the_same_sites() -> None:
    plain = NetworkSpec.parse("plain-20")
    assert weight_sites(plain) == weight_sites(plain.twin)
    assert activation_sites(plain) == activation_sites(plain.twin)


# What: closed forms of each quantity.


@pytest.mark.parametrize("name", ANY_NETWORK)
def test_gradient_norms_are_those_of_autograd_layer_by_layer(name: str) -> None:
    network = with_gradients(name)
    x, y = random_batch(8, 16)
    weights = [weight(network, site.name) for site in weight_sites(network.spec)]
    expected = torch.autograd.grad(F.cross_entropy(network(x), y), weights)
    measured = gradient_norms(network)
    assert measured.dtype == torch.float32
    for norm, gradient in zip(measured.tolist(), expected, strict=True):
        assert norm == pytest.approx(math.sqrt(gradient.double().pow(2).sum().item()), rel=1e-6)


def test_the_classifiers_gradient_is_the_softmax_error_times_its_input() -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    x, y = random_batch(8, 16)
    seen: list[Tensor] = []
    classifier = network.get_submodule("head.classifier")
    classifier.register_forward_hook(lambda _, inputs, output: seen.extend((*inputs, output)))
    set_gradients(network, x, y)
    features, logits = (tensor.detach() for tensor in seen)
    error = (logits.softmax(1) - F.one_hot(y, 10)) / 8
    assert gradient_norms(network)[-1] == pytest.approx((error.T @ features).norm().item(), 1e-5)


def test_a_vanished_gradient_has_its_norm_and_not_zero() -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 1e-25)
    expected = [1e-25 * math.sqrt(w.numel()) for w in snapshot(network)]
    assert gradient_norms(network).tolist() == pytest.approx(expected, rel=1e-5, abs=0)


def test_a_network_without_gradients_is_refused_by_the_layers_name() -> None:
    with pytest.raises(UserError, match=r"stem\.conv\.weight has no gradient: call backward"):
        gradient_norms(build_network("plain-8-x0.25", num_classes=10))


def test_weight_norms_of_constant_weights_are_the_constant_times_the_root_of_their_number() -> None:
    network = build_network("resnet-8-x0.25", num_classes=10)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(-0.5)
    numbers = [27 * 4, *(9 * 4 * 4,) * 2, 9 * 4 * 8, 9 * 8 * 8, 9 * 8 * 16, 9 * 16 * 16, 10 * 16]
    expected = [0.5 * math.sqrt(number) for number in numbers]
    assert weight_norms(network).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("measure", [gradient_norms, weight_norms])
def test_memory_format_does_not_matter(measure: Callable[[Network], Tensor]) -> None:
    network = with_gradients("resnet-8-B-x0.25")
    expected = measure(network)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(measure(network), expected)


def test_relative_updates_are_lr_times_gradient_over_weight() -> None:
    gradients, weights = torch.tensor([3.0, 0.0, 1e-6, 2.0]), torch.tensor([6.0, 2.0, 1e5, 0.0])
    expected = [0.05, 0.0, 1e-12, math.inf]
    assert relative_updates(gradients, weights, 0.1).tolist() == pytest.approx(expected, rel=1e-6)


def test_update_norms_are_zero_before_and_the_shift_after() -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    before = snapshot(network)
    assert update_norms(network, before).tolist() == [0.0] * 8
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.25)
    expected = [0.25 * math.sqrt(w.numel()) for w in before]
    assert update_norms(network, before).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_plain_gradient_step_applies_the_relative_update() -> None:
    network = with_gradients("resnet-8-x0.25")
    relative = relative_updates(gradient_norms(network), weight_norms(network), lr=0.1)
    before, norms = snapshot(network), weight_norms(network)
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    torch.testing.assert_close(update_norms(network, before), relative * norms, rtol=1e-5, atol=0)


def test_weight_decay_and_momentum_are_part_of_the_update() -> None:
    network = with_gradients("resnet-8-x0.25")
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5)
    names = [site.name for site in weight_sites(network.spec)]
    first = [0.5 * weight(network, n).detach() + gradient(network, n) for n in names]
    sgd.step()
    before = snapshot(network)
    second = [
        0.9 * velocity + 0.5 * w + gradient(network, name)
        for velocity, w, name in zip(first, before, names, strict=True)
    ]
    sgd.step()
    expected = torch.stack([0.1 * velocity.norm() for velocity in second])
    torch.testing.assert_close(update_norms(network, before), expected, rtol=1e-5, atol=0)


def shifted(network: Network, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The angles of an update that replaces every weight w by change(w)."""
    before = snapshot(network)
    with torch.no_grad():
        for site in weight_sites(network.spec):
            tensor = weight(network, site.name)
            tensor.copy_(change(tensor))
    return update_angles(network, before)


def quarter_turn(w: Tensor) -> Tensor:
    """Each pair of neighbouring weights turned by a right angle: orthogonal, of equal norm."""
    pairs = w.flatten().reshape(-1, 2)
    return torch.stack([-pairs[:, 1], pairs[:, 0]], dim=1).reshape(w.shape)


@pytest.mark.parametrize("angle", [1e-5, 1e-3, 0.3, math.pi / 2, 3.0])
def test_update_angles_are_those_by_which_the_weights_were_turned(angle: float) -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    turned = shifted(
        network, lambda w: math.cos(angle) * w + math.sin(angle) * quarter_turn(w)
    ).tolist()
    assert turned == pytest.approx([angle] * 8, rel=1e-2 if angle < 1e-4 else 1e-5)


@pytest.mark.parametrize(("factor", "angle"), [(0.5, 0.0), (1e4, 0.0), (-2.0, math.pi)])
def test_rescaled_weights_have_not_turned(factor: float, angle: float) -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    turned = shifted(network, lambda w: factor * w).tolist()
    assert turned == pytest.approx([angle] * 8, abs=1e-6)


def test_the_angle_of_a_step_includes_momentum_and_weight_decay() -> None:
    network = with_gradients("resnet-8-x0.25")
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5)
    names = [site.name for site in weight_sites(network.spec)]
    first = [0.5 * weight(network, n).detach() + gradient(network, n) for n in names]
    sgd.step()
    before = snapshot(network)
    expected = []
    for velocity, w, name in zip(first, before, names, strict=True):
        after = w - 0.1 * (0.9 * velocity + 0.5 * w + gradient(network, name))
        cosine = F.cosine_similarity(w.double().flatten(), after.double().flatten(), dim=0)
        expected.append(math.acos(cosine.item()))
    sgd.step()
    assert update_angles(network, before).tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 1e-3


def test_a_plain_step_before_a_batch_norm_turns_by_the_arctangent_of_the_relative_update() -> None:
    network = invariant_to_scale(with_gradients("plain-8-x0.25"))
    set_gradients(network, *random_batch(8, 16))
    relative = relative_updates(gradient_norms(network), weight_norms(network), lr=0.1)
    before = snapshot(network)
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    turned = update_angles(network, before)[:-1]  # the classifier has no norm behind it
    torch.testing.assert_close(turned, torch.atan(relative[:-1]), rtol=1e-4, atol=0)


def test_weights_of_zero_have_no_angle() -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    assert shifted(network, torch.zeros_like).isnan().all()


# Why: what batch normalisation does to gradients.


def invariant_to_scale(network: Network) -> Network:
    """A batch norm's epsilon spoils its invariance a little: take (almost) all of it away."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-30
    return network


@pytest.mark.parametrize("name", ["plain-8-x0.25", "resnet-8-x0.25", "resnet-8-B-x0.25"])
@pytest.mark.parametrize("factor", [4.0, 0.125])
def test_the_gradient_before_a_batch_norm_is_inverse_to_the_weights(
    name: str, factor: float
) -> None:
    network = invariant_to_scale(build_network(name, num_classes=10))
    x, y = random_batch(8, 16)
    set_gradients(network, x, y)
    before = gradient_norms(network)
    for scaled, site in enumerate(weight_sites(network.spec)[:-1]):
        with torch.no_grad():
            weight(network, site.name).mul_(factor)
        set_gradients(network, x, y)
        expected = before.clone()
        expected[scaled] /= factor
        torch.testing.assert_close(gradient_norms(network), expected, rtol=1e-4, atol=0)
        with torch.no_grad():
            weight(network, site.name).div_(factor)


def test_exploded_weights_freeze_their_layer_by_the_square() -> None:
    network = invariant_to_scale(with_gradients("plain-8-x0.25"))
    x, y = random_batch(8, 16)
    frozen = []
    for _ in range(2):
        set_gradients(network, x, y)
        frozen.append(relative_updates(gradient_norms(network), weight_norms(network), 0.1)[0])
        with torch.no_grad():
            weight(network, "stem.conv").mul_(128)
    assert frozen[0] / frozen[1] == pytest.approx(128**2, rel=1e-4)


def growth_towards_the_input(norms: Tensor) -> float:
    """Factor a layer of a log-linear fit."""
    layers = torch.arange(len(norms), dtype=torch.float64)
    logs = norms.double().log()
    slope = ((layers - layers.mean()) * logs).sum() / (layers - layers.mean()).square().sum()
    return math.exp(-slope.item())


def stage_one_gradients(name: str) -> Tensor:
    network = with_gradients(name, images=32)
    inside = [site.stage == 1 for site in weight_sites(network.spec)]
    return gradient_norms(network)[torch.tensor(inside)]


def test_a_plain_networks_gradient_grows_towards_the_input_as_theory_says() -> None:
    norms = stage_one_gradients("plain-56-x0.5")
    theory = math.sqrt(math.pi / (math.pi - 1))
    assert 1.15 < growth_towards_the_input(norms) < 1.28
    assert growth_towards_the_input(norms) == pytest.approx(theory, rel=0.03)
    # Exponential: the same factor in both halves of the stage.
    assert growth_towards_the_input(norms[9:]) == pytest.approx(theory, rel=0.06)


def test_its_residual_twins_gradient_grows_less_the_deeper_the_layer() -> None:
    norms = stage_one_gradients("resnet-56-x0.5")
    factors = [growth_towards_the_input(part) for part in (norms[:9], norms[9:])]
    assert growth_towards_the_input(norms) < 1.13
    assert all(later < earlier for earlier, later in pairwise(factors))
    assert factors[1] < 1.09
