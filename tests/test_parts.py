"""Parts of networks: what is derived from them, and that a new one touches nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from registered_parts import registered
from torch import Tensor, nn

from analysis.labels import group_labels, short_name, traits
from resnet_lab.errors import UserError
from resnet_lab.networks.architecture import BlockTable
from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.part import Activation, Branch, Ordering
from resnet_lab.networks.registry import AXES, parts_of, register
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.responses import probe


def count(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---- the registry


def test_every_axis_has_its_default_and_every_token_is_read_back() -> None:
    for axis, kind in AXES.items():
        assert kind.default in parts_of(axis)
        for part in parts_of(axis).values():
            one = part.with_number("0.25") if part.takes else part
            spec = NetworkSpec.parse("resnet-8", **{axis: one.name})
            assert NetworkSpec.parse(spec.name) == spec
            assert getattr(spec.parts, axis).name == one.name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plain-8-leaky2", "activation 'leaky2': give 0 to 1"),
        ("plain-8-leaky", "unknown option 'leaky'"),
        ("plain-8-leaky0.1-relu", "states its activation twice"),
        ("plain-8-circul", "did you mean 'circular'"),
    ],
)
def test_a_wrong_part_is_told_the_way_out(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NetworkSpec.parse(name)


def test_numbers_are_written_one_way() -> None:
    assert NetworkSpec.parse("plain-8-Leaky0.50").name == "plain-8-leaky0.5"
    assert NetworkSpec.parse("plain-8", activation="leaky1.0").activation == "leaky1"
    assert NetworkSpec.parse("plain-8-leaky0.5").parts.activation.number == 0.5


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(UserError, match=r"'relu'.* is there already"):
        register(Activation(name="relu", token="other"))
    with pytest.raises(UserError, match="is there already"):
        register(Activation(name="other", token="Preact"))
    with pytest.raises(UserError, match="can't stand in a network's name"):
        register(Activation(name="other", token="a-b"))


# ---- the user's own, in one object


class Square(nn.Module):
    """z^2 times a learnt factor a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.empty(channels, 1, 1))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x.square()


class Forgetful(Square):
    """Has no initial values."""

    reset_parameters: Any = None


@dataclass(frozen=True, kw_only=True)
class Learnt(Activation):
    kind: type[Square] = Square

    def module(self, channels: int) -> nn.Module:
        return self.kind(channels)

    def parameters(self, channels: int) -> int:
        return channels


def test_a_new_part_is_named_counted_labelled_and_matched_by_its_object_alone() -> None:
    with registered(Learnt(name="square", token="square", said="squared")):
        spec = NetworkSpec.parse("plain-14-square-x0.5")
        plain, residual = (build_network(one, num_classes=10) for one in (spec, spec.twin))
        assert (spec.name, spec.twin.name) == ("plain-14-x0.5-square", "resnet-14-x0.5-square")
        assert complexity(spec, num_classes=10).parameters == count(plain) == count(residual)
        assert traits(spec.name)["activation"] == "square"
        assert short_name(spec.name) == "plain-14"
        pairs = zip(plain.named_parameters(), residual.named_parameters(), strict=True)
        assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
        factors = [one for name, one in plain.named_parameters() if "factor" in name]
        assert len(factors) == 13
        assert len({float(one.detach().flatten()[0]) for one in factors}) == 13
        settings = {**traits(spec.name), **RECIPE}
        assert "squared" in group_labels([settings])[0]


RECIPE: dict[str, object] = {
    **{"data": "digits", "protocol": "1294/143", "iterations": 10, "batch_size": 2, "lr": 0.1}
}


def test_initial_values_of_parts_depend_on_the_seed_and_the_place_alone() -> None:
    with registered(Learnt(name="square", token="square")):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first = build_network("plain-8-square", num_classes=10, seed=1)
        assert torch.equal(torch.get_rng_state(), before)
        again = build_network("resnet-8-square", num_classes=10, seed=1)
        other = build_network("plain-8-square", num_classes=10, seed=2)
        name = "stage2.block1.activation1.factor"
        values = [one.get_parameter(name) for one in (first, again, other)]
        assert torch.equal(values[0], values[1])
        assert not torch.equal(values[0], values[2])


def test_a_parameter_without_initial_value_is_refused_by_name() -> None:
    part = Learnt(name="forgetful", token="forgetful", kind=Forgetful)
    message = r"stem.activation.factor has no initial value; give Forgetful a method reset_par"
    with registered(part), pytest.raises(UserError, match=message):
        build_network("plain-8-forgetful", num_classes=10)


@dataclass(frozen=True, kw_only=True)
class Half(Branch):
    def module(self, block: BlockTable) -> nn.Module:
        return Scaled()


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x


def test_a_new_branch_scales_what_is_added() -> None:
    with registered(Half(name="half", token="half")):
        scaled, usual = (
            build_network(name, num_classes=10) for name in ("resnet-8-half", "resnet-8")
        )
        x = torch.randn(2, 16, 8, 8)
        (branch, shortcut), (whole, same) = (
            next(network.blocks())[2].paths(x) for network in (scaled, usual)
        )
        assert torch.equal(branch, 0.5 * whole)
        assert shortcut is not None
        assert same is not None
        assert torch.equal(shortcut, same)


def test_a_new_ordering_is_one_line() -> None:
    """Norm behind the activation, which is none of I's five."""
    part = Ordering(name="norm-last", token="normlast", unit="W", between="AN", after="AN")
    with registered(part):
        network = build_network("resnet-8-normlast", num_classes=10)
        spec = network.spec
        assert complexity(spec, num_classes=10).parameters == count(network)
        block = next(network.blocks())[2]
        x = torch.randn(2, 16, 8, 8)
        inner = block.get_submodule("norm1")(block.get_submodule("conv1")(x).relu())
        total = block.get_submodule("conv2")(inner) + x
        expected = block.get_submodule("norm2")(total.relu())
        torch.testing.assert_close(block(x), expected)


# ---- the parts that come along


def grown(name: str, seed: int = 0) -> float:
    """Growth a layer of activation gradients towards the input over the first stage."""
    network = build_network(name, num_classes=10, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(64, 3, 16, 16, generator=generator)
    labels = torch.randint(10, (64,), generator=generator)
    norms = probe(network, images, labels).activation_gradient_norm.double().log()
    blocks = network.spec.stages[0].blocks
    return math.exp(float(norms[1] - norms[blocks]) / (2 * (blocks - 1)))


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.25, 0.5])
def test_leaky_relus_explode_at_the_rate_of_their_slope(slope: float) -> None:
    """sqrt((1 + a^2) / (1 + a^2 - (1 - a)^2 / pi)) with circular padding, within 2 %."""
    square = 1 + slope**2
    predicted = math.sqrt(square / (square - (1 - slope) ** 2 / math.pi))
    measured = [grown(f"plain-56-leaky{slope}-circular", seed) for seed in (0, 1)]
    assert sum(measured) / 2 == pytest.approx(predicted, rel=0.02)


def test_zero_padding_lowers_the_growth_that_circular_padding_shows() -> None:
    assert grown("plain-56-circular") - grown("plain-56") > 0.01


def test_a_leaky_relu_keeps_the_second_moment_at_its_initialisation() -> None:
    """He et al. 2015, Equation 15: var w = 2 / ((1 + a^2) fan)."""
    spec = NetworkSpec.parse("plain-8-leaky0.5")
    weights = build_network(spec, num_classes=10).get_parameter("stage3.block1.conv2.weight")
    assert float(weights.detach().var()) == pytest.approx(2 / 1.25 / (64 * 9), rel=0.02)


def test_circular_padding_moves_with_its_input() -> None:
    block = next(build_network("plain-8-circular", num_classes=10).blocks())[2].eval()
    x = torch.randn(1, 16, 8, 8)
    moved = block(x.roll((3, 2), dims=(2, 3)))
    torch.testing.assert_close(moved, block(x).roll((3, 2), dims=(2, 3)))


def trained(name: str) -> dict[str, Tensor]:
    """Weights, statistics and losses after three updates."""
    network = build_network(name, num_classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(3):
        loss = network(torch.randn(8, 3, 8, 8, generator=generator)).logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return {**network.state_dict(), "losses": torch.stack(losses)}


@pytest.mark.parametrize(("strength", "twin"), [("0", "plain-14"), ("1", "resnet-14")])
def test_shortcuts_of_strength_0_and_1_train_as_plain_and_residual_networks_do(
    strength: str, twin: str
) -> None:
    one, other = trained(f"resnet-14-lambda{strength}"), trained(twin)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_shortcut_has_its_strength_where_the_shape_stays_and_where_it_changes() -> None:
    spec = NetworkSpec.parse("resnet-14-lambda0.50")
    assert (spec.name, spec.family, spec.twin.name) == ("resnet-14-lambda0.5", "residual",
                                                        "plain-14")  # fmt: skip
    assert short_name("resnet-14-lambda0.5-circular") == "resnet-14-lambda0.5"
    half, whole = (build_network(one, num_classes=10) for one in (spec, "resnet-14"))
    for (_, _, block), (_, _, usual) in zip(half.blocks(), whole.blocks(), strict=True):
        x = torch.randn(2, block.get_submodule("conv1").in_channels, 8, 8)  # type: ignore[arg-type]
        (branch, shortcut), (same, other) = block.paths(x), usual.paths(x)
        assert torch.equal(branch, same)
        assert shortcut is not None
        assert other is not None
        assert torch.equal(shortcut, 0.5 * other)


def test_dirac_weights_make_a_stage_the_identity_and_leave_no_map_dead() -> None:
    network = build_network("plain-14-dirac-nonorm", num_classes=10)
    stage2, stage3 = (network.get_submodule(f"stage{k}") for k in (2, 3))
    x = torch.randn(2, 16, 8, 8).relu()
    assert torch.equal(network.get_submodule("stage1")(x), x)
    halved = torch.cat([x, x], 1)[:, :, ::2, ::2]
    assert torch.equal(stage2(x), halved)
    assert torch.equal(stage3(halved), torch.cat([halved, halved], 1)[:, :, ::2, ::2])
    usual = build_network("plain-14-nonorm", num_classes=10)
    for name in ("stem.conv.weight", "head.classifier.weight"):
        assert torch.equal(network.get_parameter(name), usual.get_parameter(name))


def test_a_residual_stage_with_skipinit_is_the_identity_at_first() -> None:
    network = build_network("resnet-20-skipinit-nonorm", num_classes=10).eval()
    x = torch.randn(2, 16, 8, 8).relu()
    assert torch.equal(network.get_submodule("stage1")(x), x)
    extra = count(network) - count(build_network("resnet-20-nonorm", num_classes=10))
    assert extra == 9


def test_skipinit_learns_from_its_branch() -> None:
    network = build_network("resnet-8-skipinit", num_classes=10)
    loss = network(torch.randn(4, 3, 8, 8)).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    alphas = [one for name, one in network.named_parameters() if name.endswith("branch.alpha")]
    assert len(alphas) == 3
    assert all(float(one.grad) != 0 for one in alphas)  # type: ignore[arg-type]
