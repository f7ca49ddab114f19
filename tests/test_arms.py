"""Arms: parts that change one cause of degradation, each against its closed form."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loops import by
from test_parts import grown
from test_resume import EVERY_STEP
from tiny_runs import (
    ROOT,
    assert_same_result,
    assert_same_weights,
    at_step,
    info,
    interrupt,
    tiny,
    weights,
)
from torch import Tensor, nn

from resnet_lab.cli.parsing import parse_config
from resnet_lab.configuration.config import Loop
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.errors import UserError
from resnet_lab.networks.chance import Chance, mixed
from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.cosine_map import cosine_map
from resnet_lab.networks.gating import DroppedShortcut
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.parts.tat import tailored_slope
from resnet_lab.networks.registry import AXES, parts_of
from resnet_lab.networks.scaling import LearntScale, RandomlyDropped, Shift
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.training.train import train


def built(name: str, seed: int = 0) -> Network:
    return build_network(name, num_classes=10, seed=seed)


def images(count: int = 4, side: int = 8, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, channels, side, side, generator=generator)


def weight(network: Network, name: str) -> Tensor:
    return network.get_parameter(f"{name}.weight").detach()


# ---- what all of them keep to

ORDERINGS = ("bnafter", "relubefore", "relupre", "preact")
ALL = (
    *("tat", "rezero", "fixup", "deltaorthogonal", "lookslinear", "stochdepth0.5"),
    *("preact-fixup", "relubefore-rezero-stochdepth0.5", "leaky0.3-lookslinear"),
)
SHORTCUTS = ("scaling0.5", "exclusivegate6", "shortcutgate6", "dropshortcut0.5")


@pytest.mark.parametrize("arm", ALL)
@pytest.mark.parametrize("depth", [8, 11])  # basic blocks, bottlenecks
def test_twins_have_the_same_parameters_and_initial_values(arm: str, depth: int) -> None:
    plain = built(f"plain-{depth}-{arm}")
    residual = built(plain.spec.twin.name)
    assert residual.spec.twin == plain.spec
    assert residual.spec.twin_is_exact
    assert_same_weights(plain.state_dict(), residual.state_dict())
    counted = sum(one.numel() for one in plain.parameters())
    assert complexity(plain.spec, num_classes=10).parameters == counted
    assert complexity(residual.spec, num_classes=10).parameters == counted
    other = built(f"plain-{depth}-{arm}", seed=1)
    assert not torch.equal(weight(plain, "stem.conv"), weight(other, "stem.conv"))


@pytest.mark.parametrize("arm", SHORTCUTS)
@pytest.mark.parametrize("depth", [8, 11])
def test_networks_with_other_shortcuts_have_their_twins_values(arm: str, depth: int) -> None:
    network = built(f"resnet-{depth}-{arm}")
    plain = built(network.spec.twin.name)
    assert all(
        torch.equal(network.get_parameter(name), one) for name, one in plain.named_parameters()
    )
    counted = sum(one.numel() for one in network.parameters())
    assert complexity(network.spec, num_classes=10).parameters == counted
    assert network.spec.twin_is_exact == ("gate" not in arm)


@pytest.mark.parametrize("arm", ["fixup", "relubefore-rezero-stochdepth0.5", *SHORTCUTS])
def test_a_step_is_one_graph_and_draws_what_it_draws_without(arm: str) -> None:
    """Nothing in a forward pass reads a value on the host, which would break the graph."""
    torch.compiler.reset()
    eager, compiled = (built(f"resnet-8-{arm}-x0.25") for _ in range(2))
    graph = torch.compile(compiled, backend="eager", fullgraph=True)
    for _ in range(2):
        assert torch.equal(eager(images()), graph(images()))
    assert_same_weights(eager.state_dict(), compiled.state_dict())
    assert torch.equal(eager.eval()(images()), built_again(eager)(images()))


def built_again(network: Network) -> Network:
    again = built(network.spec.name, seed=3)
    again.load_state_dict(network.state_dict())
    return again.eval()


# ---- TAT


def composed(slope: float, layers: int) -> float:
    """The C-map of leaky ReLU from c = 0, by the angle between two inputs (Cho and Saul 2009)."""
    cosine = 0.0
    for _ in range(layers):
        angle = np.arccos(cosine)
        rectified = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi  # ReLU's, times 2
        cosine = ((1 - slope) ** 2 * rectified + 2 * slope * cosine) / (1 + slope**2)
    return float(cosine)


def test_the_c_map_of_relu_takes_unlike_inputs_together() -> None:
    for layers, expected in ((1, 0.318), (18, 0.940), (54, 0.989)):
        cosine = 0.0
        for _ in range(layers):
            cosine = cosine_map(cosine, 0.0)
        assert cosine == pytest.approx(expected, abs=5e-4)
        assert composed(0.0, layers) == pytest.approx(cosine, rel=1e-9)


@pytest.mark.parametrize(("layers", "slope"), [(20, 0.181), (54, 0.448), (108, 0.584)])
def test_the_tailored_slope_ends_at_a_cosine_of_nine_tenths(layers: int, slope: float) -> None:
    assert tailored_slope(layers) == pytest.approx(slope, abs=5e-4)
    assert composed(tailored_slope(layers), layers) == pytest.approx(0.9, abs=1e-9)


def test_where_relu_ends_below_it_the_slope_is_0() -> None:
    assert composed(0.0, 12) < 0.9 < composed(0.0, 13)
    assert tailored_slope(12) == 0 < tailored_slope(13)


@pytest.mark.parametrize(
    "name", ["plain-20-tat", "resnet-29-tat", "plain-20-preact-tat", "plain-20-relubefore-tat"]
)
def test_a_network_has_one_activation_a_convolution_in_its_blocks(name: str) -> None:
    network = built(name)
    depth = network.spec.depth
    slopes = [one.negative_slope for one in network.modules() if isinstance(one, nn.LeakyReLU)]
    assert slopes == [tailored_slope(depth - 2)] * (depth - 1)  # one more is the stem's
    gain = 2 / (1 + slopes[0] ** 2)
    last = weight(network, "stage3.block3.conv2")
    fan = last[0].numel()
    assert float(last.var()) == pytest.approx(gain / fan, rel=0.03)
    leaky = NetworkSpec.parse(f"plain-20-leaky{slopes[0]}").parts.activation
    assert network.spec.parts.activation.gradient_growth == leaky.gradient_growth


# ---- SkipInit, ReZero, Fixup


@pytest.mark.parametrize("arm", ["rezero", "fixup", "preact-fixup", "skipinit", "nonorm-skipinit"])
def test_a_residual_stage_begins_as_the_identity(arm: str) -> None:
    network = built(f"resnet-20-{arm}")
    x = images(channels=16).relu()
    assert torch.equal(network.get_submodule("stage1")(x), x)


def test_rezero_is_skipinit_without_norm() -> None:
    one, other = built("resnet-8-rezero"), built("resnet-8-nonorm-skipinit")
    assert_same_weights(one.state_dict(), other.state_dict())
    assert torch.equal(one(images()), other(images()))
    assert not [name for name, _ in one.named_parameters() if "norm" in name]
    assert one.get_parameter("stage1.block1.conv1.bias").shape == (16,)


@pytest.mark.parametrize("second", ["rezero", "fixup"])
def test_two_zeros_in_one_branch_are_refused(second: str) -> None:
    with pytest.raises(UserError, match=f"{second} and skipinit: .* leave out one"):
        NetworkSpec.parse(f"resnet-8-{second}-skipinit")


@pytest.mark.parametrize(
    ("depth", "scale"), [(20, 9 ** (-1 / 2)), (56, 27 ** (-1 / 2)), (29, 9 ** (-1 / 4))]
)
def test_fixup_scales_the_branches_and_begins_their_ends_at_0(depth: int, scale: float) -> None:
    """L^(-1/(2m-2)): 9 or 27 branches of two convolutions, 9 of three."""
    network, usual = built(f"resnet-{depth}-fixup"), built(f"resnet-{depth}")
    factors = {
        name: float((one * weight(usual, name)).sum() / weight(usual, name).square().sum())
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
        for one in [module.weight.detach()]
    }
    last = "conv3" if depth == 29 else "conv2"
    for name, factor in factors.items():
        if name.endswith((last, "classifier")):
            assert factor == 0
        elif name == "stem.conv" or "shortcut" in name:
            assert factor == 1
        else:
            assert factor == pytest.approx(scale, rel=1e-6)


@pytest.mark.parametrize("name", ["resnet-8-fixup", "resnet-8-preact-fixup", "plain-11-fixup"])
def test_fixup_has_a_bias_before_each_layer_and_a_multiplier_a_branch(name: str) -> None:
    """3 blocks of m convolutions and m activations, the stem's activation and the classifier."""
    network = built(name)
    layers = 2 if network.spec.block == "basic" else 3
    biases = [one for one in network.modules() if isinstance(one, Shift)]
    # a pre-activation head has one activation more, and a first block one less: the stem's
    assert len(biases) == 3 * 2 * layers + 2
    multipliers = [one for one in network.modules() if isinstance(one, LearntScale)]
    assert [float(one.alpha.detach()) for one in multipliers] == [1, 1, 1]
    assert all(float(one.bias.detach()) == 0 for one in biases)
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert all(one.bias is None for one in convolutions)


def with_values(network: Network) -> Callable[[str], Tensor]:
    """Give every parameter a random value; return a function that looks one up."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in network.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) / 4)
    return lambda name: network.get_parameter(name)


def test_a_fixup_block_is_its_formula() -> None:
    network = built("resnet-8-fixup")
    block, x = network.get_submodule("stage1.block1"), images(channels=16)
    value = with_values(network)
    b1, b2, b3, b4 = (value(f"stage1.block1.norm{k}.bias") for k in (1, 2, 3, 4))
    w1, w2 = (value(f"stage1.block1.conv{k}.weight") for k in (1, 2))
    inner = nn.functional.conv2d(x + b1, w1, padding=1)
    branch = nn.functional.conv2d((inner + b2).relu() + b3, w2, padding=1)
    total = value("stage1.block1.branch.alpha") * branch + x
    torch.testing.assert_close(block(x), (total + b4).relu())
    head = network.get_submodule("head")
    pooled = images(channels=64).mean((2, 3)) + value("head.norm.bias")
    expected = pooled @ value("head.classifier.weight").T + value("head.classifier.bias")
    torch.testing.assert_close(head(images(channels=64)), expected)


def test_a_pre_activated_fixup_block_is_its_formula() -> None:
    network = built("resnet-8-preact-fixup")
    block, x = network.get_submodule("stage2.block1"), images(channels=16)
    value = with_values(network)
    b1, b2, b3, b4 = (value(f"stage2.block1.norm{k}.bias") for k in (1, 2, 3, 4))
    w1, w2 = (value(f"stage2.block1.conv{k}.weight") for k in (1, 2))
    inner = nn.functional.conv2d((x + b1).relu() + b2, w1, stride=2, padding=1)
    branch = nn.functional.conv2d((inner + b3).relu() + b4, w2, padding=1)
    total = value("stage2.block1.branch.alpha") * branch
    total[:, 8:24] += x[:, :, ::2, ::2]
    torch.testing.assert_close(block(x), total)


def test_fixup_gets_gradients_where_it_begins_at_0() -> None:
    network = built("resnet-20-fixup")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    labels = torch.arange(4)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(network(images()), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(math.log(10))
    assert losses[-1] < losses[0] - 0.1
    assert all(weight(network, f"stage{k}.block1.conv2").any() for k in (1, 2, 3))


# ---- delta-orthogonal, looks-linear


def test_linear_layers_with_delta_orthogonal_weights_are_isometries() -> None:
    """All singular values of a stage's Jacobian are 1, with circular padding."""
    network = built("plain-8-leaky1-deltaorthogonal-circular-nonorm-x0.5")
    stage = network.get_submodule("stage1")
    x = images(1, side=4, channels=8)
    jacobian = torch.autograd.functional.jacobian(stage, x).reshape(128, 128)  # type: ignore[no-untyped-call]
    values = torch.linalg.svdvals(jacobian)
    torch.testing.assert_close(values, torch.ones(128), atol=1e-5, rtol=0)
    usual = built("plain-8-leaky1-circular-nonorm-x0.5").get_submodule("stage1")
    other = torch.autograd.functional.jacobian(usual, x).reshape(128, 128)  # type: ignore[no-untyped-call]
    assert float(torch.linalg.cond(other)) > 10


def test_delta_orthogonal_weights_have_orthonormal_columns_or_rows_times_the_gain() -> None:
    network = built("resnet-11-deltaorthogonal")
    wider, narrower = (weight(network, f"stage2.block1.conv{k}") for k in (3, 1))
    assert wider.shape[:2] == (128, 32)
    assert narrower.shape[:2] == (32, 64)
    wider, narrower = wider[:, :, 0, 0], narrower[:, :, 0, 0]
    torch.testing.assert_close(wider.T @ wider, 2 * torch.eye(32), atol=1e-5, rtol=0)
    torch.testing.assert_close(narrower @ narrower.T, 2 * torch.eye(32), atol=1e-5, rtol=0)
    inner = weight(network, "stage2.block1.conv2")
    centre = inner[:, :, 1, 1]
    torch.testing.assert_close(centre @ centre.T, 2 * torch.eye(32), atol=1e-5, rtol=0)
    assert inner.count_nonzero() == centre.count_nonzero()
    assert not torch.equal(inner, weight(built("resnet-11-deltaorthogonal", seed=1),
                                         "stage2.block1.conv2"))  # fmt: skip


def nonlinearity(network: Network) -> float:
    """How far f(x + y) - f(x) - f(y) + f(0) is from 0, beside f's own spread."""
    x, y = images(8).double().chunk(2)
    network = deepcopy(network).double()
    with torch.no_grad():
        both, one, other, none = (network(z) for z in (x + y, x, y, torch.zeros_like(x)))
    return float((both - one - other + none).abs().max() / (both - none).std())


LINEAR = ("plain-20-lookslinear-nonorm", "plain-20-leaky0.3-lookslinear-nonorm",
          "plain-20-circular-lookslinear-nonorm", "resnet-20-relubefore-lookslinear-nonorm",
          "plain-29-lookslinear-nonorm", "plain-20-preact-lookslinear-nonorm")  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_a_network_that_looks_linear_is_linear(name: str) -> None:
    network = built(name)
    assert nonlinearity(network) < 1e-5
    assert float(network(torch.zeros(1, 3, 8, 8)).detach().abs().max()) == 0
    assert nonlinearity(built(name.replace("-lookslinear", ""))) > 0.1


@pytest.mark.parametrize("name", ["plain-20-lookslinear", "resnet-20-relubefore-lookslinear"])
def test_with_batch_norm_it_is_affine_for_fixed_statistics(name: str) -> None:
    network = built(name)
    network(images(32, side=16))
    for one in network.modules():  # statistics of the batch above, as if they had converged
        if isinstance(one, nn.BatchNorm2d):
            one.momentum = 1.0
    network(images(32, side=16))
    assert nonlinearity(network.eval()) < 1e-5
    stem = network.train().get_submodule("stem.norm")(weighted(network))
    torch.testing.assert_close(stem[:, 0::2], -stem[:, 1::2])


def weighted(network: Network) -> Tensor:
    response: Tensor = network.get_submodule("stem.conv")(images(8))
    return response


def test_weights_that_look_linear_have_hes_variance_and_come_in_fours() -> None:
    """f(u) - f(-u) is 1.5 u for slope 0.5, so the weights are a third smaller."""
    for name, factor in (("plain-8-lookslinear", 1.0), ("plain-8-leaky0.5-lookslinear", 1 / 1.5)):
        kernel = weight(built(name), "stage3.block1.conv2")
        four = kernel[0::2, 0::2], -kernel[1::2, 0::2], -kernel[0::2, 1::2], kernel[1::2, 1::2]
        assert all(torch.equal(one, four[0]) for one in four)
        assert float(kernel.std()) == pytest.approx(factor * (2 / (64 * 9)) ** 0.5, rel=0.02)


def test_gradients_of_a_plain_network_that_looks_linear_do_not_explode() -> None:
    """Growth a layer is about 1, as with slope 1, where ReLU alone has 1.21."""
    for seed in (0, 1):
        assert grown("plain-56-lookslinear", seed) == pytest.approx(1, abs=0.02)


def test_it_is_not_linear_where_rectified_maps_are_added() -> None:
    assert nonlinearity(built("resnet-20-lookslinear-nonorm")) > 0.1
    assert nonlinearity(built("resnet-20-preact-lookslinear-nonorm")) > 0.1


def test_channels_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(UserError, match=r"has 1 inputs and 2 outputs, .* give a width"):
        built("plain-8-x0.0625-lookslinear")


# ---- shortcuts of I, Table 1


def test_constant_scaling_multiplies_both_terms() -> None:
    usual, scaled = built("resnet-8"), built("resnet-8-scaling0.5")
    pairs = zip(usual.blocks(), scaled.blocks(), strict=True)
    for channels, ((_, _, block), (_, _, half)) in zip((16, 16, 32), pairs, strict=True):
        x = images(channels=channels)
        (branch, shortcut), (other, half_shortcut) = block.paths(x), half.paths(x)
        assert shortcut is not None
        assert half_shortcut is not None
        assert torch.equal(other, 0.5 * branch)
        assert torch.equal(half_shortcut, 0.5 * shortcut)


@pytest.mark.parametrize(("token", "exclusive"), [("exclusivegate", True), ("shortcutgate", False)])
def test_gates_are_their_formula(token: str, exclusive: bool) -> None:
    usual, gated = built("resnet-8"), built(f"resnet-8-{token}6")
    pairs = zip(usual.blocks(), gated.blocks(), strict=True)
    for channels, ((_, _, block), (_, _, other)) in zip((16, 16, 32), pairs, strict=True):
        name, x = f"stage{other_stage(channels, other)}.block1", images(channels=channels)
        kernel = weight(gated, f"{name}.shortcut.gate")[:, :, 0, 0]
        bias = gated.get_parameter(f"{name}.shortcut.gate.bias").detach()
        assert bias.eq(-6).all()
        assert float(kernel.std()) == pytest.approx((2 / channels) ** 0.5, rel=0.15)
        stride = 1 if name == "stage1.block1" else 2
        response = torch.einsum("oc,nchw->nohw", kernel, x[:, :, ::stride, ::stride]) - 6
        gate = 1 / (1 + (-response).exp())
        (branch, shortcut), (first, second) = block.paths(x), other.paths(x)
        assert shortcut is not None
        assert second is not None
        torch.testing.assert_close(first, gate * branch if exclusive else branch)
        torch.testing.assert_close(second, (1 - gate) * shortcut)


def other_stage(channels: int, block: nn.Module) -> int:
    """The stage of a network of 8 layers that a block is in."""
    conv = block.get_submodule("conv1")
    assert isinstance(conv, nn.Conv2d)
    return {16: 1, 32: 2, 64: 3}[conv.out_channels]


def test_a_gate_is_hes_whatever_the_network_begins_as() -> None:
    first, second = (built(f"resnet-8-exclusivegate6{init}") for init in ("", "-dirac"))
    name = "stage1.block1.shortcut.gate"
    assert torch.equal(weight(first, name), weight(second, name))
    assert not torch.equal(weight(first, name), weight(built("resnet-8-exclusivegate6", 1), name))


def test_dropout_on_the_shortcut_drops_elements_and_in_evaluation_scales() -> None:
    shortcut = DroppedShortcut(nn.Identity(), 0.3)
    shortcut.chance.reset_parameters()
    x = images(16, side=16) + 10
    first, second = shortcut(x), shortcut(x)
    for one in (first, second):
        assert ((one == 0) | (one == x)).all()
        assert float((one == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    both = float(((first == 0) & (second == 0)).float().mean())
    assert both == pytest.approx(0.09, abs=0.015)
    assert torch.equal(shortcut.eval()(x), 0.7 * x)
    assert int(shortcut.chance.step) == 2


# ---- stochastic depth


def chances(network: Network) -> list[RandomlyDropped]:
    return [one for one in network.modules() if isinstance(one, RandomlyDropped)]


def test_blocks_are_dropped_with_a_chance_that_rises_to_the_number() -> None:
    """(3 L - 1) / 4 of L blocks are kept on average: 40.25 of 54."""
    network = built("resnet-110-stochdepth0.5-x0.0625")
    rates = [one.rate for one in chances(network)]
    assert rates == [k / 54 * 0.5 for k in range(1, 55)]
    assert sum(1 - rate for rate in rates) == pytest.approx(40.25)
    steps = 120
    rows = kept(network, steps)
    spread = math.sqrt(sum(rate * (1 - rate) for rate in rates) / steps)
    assert float(rows.sum(1).mean()) == pytest.approx(40.25, abs=4 * spread)
    shares = torch.tensor([1 - rate for rate in rates])
    assert float((rows.mean(0) - shares).abs().max()) < 0.2
    rows = rows - rows.mean(0)
    correlation = torch.corrcoef(rows[:, 27:].T) - torch.eye(27)
    assert float(correlation.abs().mean()) < 0.1  # 0.07 for independent draws
    assert abs(float((rows[1:] * rows[:-1]).mean())) < 0.01
    network.eval()
    assert [float(one(torch.ones(()))) for one in chances(network)] == pytest.approx(
        shares.tolist()
    )


def kept(network: Network, steps: int) -> Tensor:
    """Whether each block is kept, step by step: (steps, blocks)."""
    one = torch.ones(1)
    rows = [[block(one) for block in chances(network)] for _ in range(steps)]
    return torch.tensor(rows)


def test_what_is_dropped_is_a_function_of_seed_place_and_step() -> None:
    name = "resnet-20-stochdepth0.5-x0.25"
    first = kept(built(name), 60)
    torch.manual_seed(9)
    assert torch.equal(first, kept(built(name), 60))
    assert torch.equal(first, kept(built(f"{name}-leaky0.2"), 60))
    assert not torch.equal(first, kept(built(name, seed=1), 60))
    half = built(name)
    kept(half, 30)
    again = built(name, seed=4)
    again.load_state_dict(half.state_dict())
    assert torch.equal(first[30:], kept(again, 30))


def test_a_dropped_block_is_its_shortcut_and_gets_no_gradient() -> None:
    network = built("resnet-8-stochdepth1")  # the last block is always dropped
    block = network.get_submodule("stage3.block1")
    x = images(channels=32)
    padded = torch.zeros(4, 64, 4, 4)
    padded[:, 16:48] = x[:, :, ::2, ::2]
    y = block(x)
    assert torch.equal(y, padded.relu())
    y.sum().backward()
    gradient = network.get_parameter("stage3.block1.conv1.weight").grad
    assert gradient is not None
    assert not gradient.any()


def test_the_hash_is_a_bijection_that_spreads_neighbours() -> None:
    numbers = torch.arange(100_000)
    hashed = mixed(numbers)
    assert hashed.unique().numel() == 100_000
    assert int(hashed.min()) >= 0
    assert float(hashed.double().mean()) / 2**31 == pytest.approx(0.5, abs=0.005)
    chance = Chance()
    chance.reset_parameters()
    assert not chance.happens(0.0, 1000).any()
    assert chance.happens(1.0, 1000).all()


# ---- the documentation's tables


def arms_in_docs() -> list[str]:
    page = (ROOT / "docs" / "networks.md").read_text().split("## Arms")[1]
    return re.findall(r"^\| `([^\s`]+)` \|", page, flags=re.M)


def test_the_table_of_arms_names_every_part_that_is_no_default_and_each_is_built() -> None:
    tokens = arms_in_docs()
    listed = {re.sub(r"[\d.]+$", "", token) for token in tokens}
    known = {
        one.token
        for axis, kind in AXES.items()
        for one in parts_of(axis).values()
        if one.token and one.name != kind.default
    }
    assert listed | {"B", "C", "groupnorm", "fanout", *ORDERINGS} == known
    for token in tokens:
        name = f"resnet-8-{token}"
        assert NetworkSpec.parse(name).name == name


def test_flags_of_the_recipes_arms_are_read() -> None:
    page = (ROOT / "docs" / "networks.md").read_text().split("**Arms of the recipe**")[1]
    flags = re.findall(r"`(--recipe\.[^`]+)`", page)
    assert len(flags) == 6
    for one in flags:
        words = one.split()
        recipe = parse_config(["--network=plain-8", *words]).recipe
        for name, value in zip(words[::2], words[1::2], strict=True):
            read = getattr(recipe, name.removeprefix("--recipe."))
            assert read == value or read == float(value)
        assert recipe != RecipeConfig()


# ---- whole runs

RANDOM = ("resnet-8-x0.25-stochdepth0.5", "resnet-8-dropshortcut0.5-x0.25")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("whole"), network=",".join(RANDOM)))


def test_random_arms_resume_to_the_same_bits(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(network=",".join(RANDOM), trainer=EVERY_STEP)
    for stop in (2, 5, 9):
        at_step(monkeypatch, stop - 1, interrupt)
        train(config)
    run = train(config)
    assert [one["step"] for one in info(run)["provenance"]["resumed"]] == [2, 5, 9]
    assert all(one["bit_exact"] for one in info(run)["provenance"]["resumed"])
    assert_same_result(run, whole, *RANDOM)


@pytest.mark.parametrize(("first", "second"), [("plain", "graph"), ("graph", "plain")])
def test_random_arms_go_on_by_another_loop(
    first: Loop, second: Loop, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"network": ",".join(RANDOM), "trainer": EVERY_STEP}
    with monkeypatch.context() as patched:
        at_step(patched, 6, interrupt)
        run = by(first, "runs", patched, **settings)
    assert info(run)["step"] < 12
    assert by(second, "runs", monkeypatch, **settings) == run
    assert_same_result(run, whole, *RANDOM)


def test_recording_and_company_change_nothing_in_random_arms(whole: Path) -> None:
    for name in RANDOM:
        alone = train(tiny(network=name, recording={"enabled": False}))
        assert_same_weights(weights(alone, name), weights(whole, name))
    steps = {int(value) for name, value in weights(whole, RANDOM[0]).items()
             if name.endswith("chance.step")}  # fmt: skip
    assert steps == {12}
