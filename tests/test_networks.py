from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks.blocks import Block
from resnet_lab.networks.initial_values import tensor_seed
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.parts.norms import group_count
from resnet_lab.networks.shortcuts import (
    Identity,
    NoShortcut,
    PaddedIdentity,
    Projection,
)
from resnet_lab.networks.spec import NetworkSpec

ORDERINGS = ("postact", "bnafter", "relubefore", "relupre", "preact")


def randomised(network: Network, seed: int = 0) -> Network:
    """Give norms and biases values that would show a mix-up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                noise = torch.rand(parameter.shape, generator=generator)
                parameter.copy_(noise + (0.5 if name.endswith("weight") else -0.5))
    return network


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- twins


@pytest.mark.parametrize(
    "name",
    [
        "plain-20",
        "plain-8-stem7x7-groupnorm",
        "plain-14-nonorm-fanout",
        *(f"plain-20-bottleneck-{ordering}-x0.25" for ordering in ORDERINGS),
        "plain-20-bottleneck-stride3x3-x0.25",
        "plain-18-x0.125",
        "plain-50-x0.125",
    ],
)
def test_twins_start_as_equals(name):
    spec = NetworkSpec.parse(name)
    plain = build_network(spec, num_classes=10, seed=3).state_dict()
    residual = build_network(spec.twin, num_classes=10, seed=3).state_dict()
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


@pytest.mark.parametrize("name", ["plain-110", "plain-1001-preact", "plain-34", "plain-152"])
def test_large_twins_have_the_same_parameters(name):
    spec = NetworkSpec.parse(name)
    with torch.device("meta"):
        plain, residual = (
            {key: p.shape for key, p in build_network(s, num_classes=10).named_parameters()}
            for s in (spec, spec.twin)
        )
    assert plain == residual


@pytest.mark.parametrize("name", ["plain-20", "plain-20-bottleneck"])
def test_one_switch_takes_the_shortcut_away(name):
    spec = NetworkSpec.parse(name, width=0.25)
    plain, residual = (randomised(build_network(s, num_classes=10)) for s in (spec, spec.twin))
    x = plain.stem(images(4, 3, 12, 12))
    for (*_, without), (*_, block) in zip(plain.blocks(), residual.blocks(), strict=True):
        branch, shortcut = block.paths(x)
        assert without.paths(x)[1] is None
        assert torch.equal(without(x), F.relu(branch))
        assert torch.equal(block(x), F.relu(branch + shortcut))
        x = without(x)


# ---- shortcuts


def shortcut_kinds(name: str) -> list[type[nn.Module]]:
    with torch.device("meta"):
        network = build_network(name, num_classes=10)
    return [type(block.shortcut) for _, _, block in network.blocks()]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("plain-14", [NoShortcut] * 6),
        ("resnet-14", [Identity, Identity, PaddedIdentity, Identity, PaddedIdentity, Identity]),
        ("resnet-14-B", [Identity, Identity, Projection, Identity, Projection, Identity]),
        ("resnet-14-C", [Projection] * 6),
        ("resnet-20-bottleneck-A", [PaddedIdentity, Identity] * 3),
        ("resnet-20-bottleneck", [Projection, Identity] * 3),
    ],
)
def test_the_option_decides_each_blocks_shortcut(name, kinds):
    assert shortcut_kinds(name) == kinds


def test_option_a_subsamples_and_pads_with_zeros_on_both_sides():
    x = images(2, 3, 5, 7)
    shortcut = PaddedIdentity(3, 6, stride=2)
    y = shortcut(x)
    assert y.shape == (2, 6, 3, 4)
    assert torch.equal(y[:, 1:4], x[:, :, ::2, ::2])
    assert torch.count_nonzero(y[:, [0, 4, 5]]) == 0
    assert list(shortcut.parameters()) == []


def test_option_a_widens_without_a_stride():
    x = images(1, 4, 3, 3)
    assert torch.equal(PaddedIdentity(4, 16, stride=1)(x)[:, 6:10], x)


@pytest.mark.parametrize("option", ["B", "C"])
def test_a_projection_is_a_strided_1x1_convolution_and_a_norm(option):
    network = build_network(f"resnet-8-{option}-x0.25", num_classes=2)
    shortcut = network.get_submodule("stage2.block1.shortcut").eval()
    assert isinstance(shortcut, Projection)
    x = images(2, 4, 5, 5)
    expected = torch.einsum("oc,nchw->nohw", shortcut.conv.weight[:, :, 0, 0], x[:, :, ::2, ::2])
    torch.testing.assert_close(shortcut(x), expected / math.sqrt(1 + 1e-5))


def test_a_preactivated_projection_has_no_norm_of_its_own():
    names = {key for key, _ in build_network("resnet-8-C-preact", num_classes=2).named_parameters()}
    assert "stage1.block1.shortcut.conv.weight" in names
    assert not any("shortcut.norm" in name for name in names)


# ---- orderings: every formula of I Figure 4 written out for the whole network


class Functional:
    """Convolutions and batch norms (with the batch's statistics) by name, without any module."""

    def __init__(self, network: Network) -> None:
        self.state = dict(network.named_parameters())
        self.spec = network.spec

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(self, name: str, x: Tensor) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = x.var((0, 2, 3), correction=0, keepdim=True)
        gamma, beta = (self.state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("weight", "bias"))
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    def shortcut(self, path: str, x: Tensor, activated: Tensor, stride: int) -> Tensor | float:
        if self.spec.shortcut == "none":
            return 0.0
        if f"{path}.shortcut.conv.weight" in self.state:
            projected = self.conv(f"{path}.shortcut.conv", activated, stride)
            normed = f"{path}.shortcut.norm.weight" in self.state
            return self.bn(f"{path}.shortcut.norm", projected) if normed else projected
        if stride == 1:
            return x
        channels = x.shape[1] // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, channels, channels))

    def logits(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn("stem.norm", self.conv("stem.conv", x)))
        for stage in self.spec.stages:
            for k in range(1, stage.blocks + 1):
                stride = stage.stride if k == 1 else 1
                first = stage.index == 1 and k == 1
                block = getattr(self, self.spec.ordering.replace("-", "_"))
                x = block(f"stage{stage.index}.block{k}", x, stride, first)
        if self.spec.ordering == "preactivation":
            x = F.relu(self.bn("head.norm", x))
        if self.spec.ordering == "relu-preactivation":
            x = F.relu(x)
        classifier = "head.classifier"
        weight, bias = (self.state[f"{classifier}.{key}"] for key in ("weight", "bias"))
        return x.mean((2, 3)) @ weight.T + bias

    def original(self, path: str, x: Tensor, stride: int, first: bool) -> Tensor:
        y = F.relu(self.bn(f"{path}.norm1", self.conv(f"{path}.conv1", x, stride)))
        y = self.bn(f"{path}.norm2", self.conv(f"{path}.conv2", y))
        if self.spec.block == "bottleneck":
            y = self.bn(f"{path}.norm3", self.conv(f"{path}.conv3", F.relu(y)))
        return F.relu(self.shortcut(path, x, x, stride) + y)

    def bn_after_addition(self, path: str, x: Tensor, stride: int, first: bool) -> Tensor:
        y = F.relu(self.bn(f"{path}.norm1", self.conv(f"{path}.conv1", x, stride)))
        y = self.conv(f"{path}.conv2", y)
        last = "norm2"
        if self.spec.block == "bottleneck":
            y = self.conv(f"{path}.conv3", F.relu(self.bn(f"{path}.norm2", y)))
            last = "norm3"
        return F.relu(self.bn(f"{path}.{last}", self.shortcut(path, x, x, stride) + y))

    def relu_before_addition(self, path: str, x: Tensor, stride: int, first: bool) -> Tensor:
        y = F.relu(self.bn(f"{path}.norm1", self.conv(f"{path}.conv1", x, stride)))
        y = F.relu(self.bn(f"{path}.norm2", self.conv(f"{path}.conv2", y)))
        if self.spec.block == "bottleneck":
            y = F.relu(self.bn(f"{path}.norm3", self.conv(f"{path}.conv3", y)))
        return self.shortcut(path, x, x, stride) + y

    def relu_preactivation(self, path: str, x: Tensor, stride: int, first: bool) -> Tensor:
        activated = x if first else F.relu(x)
        y = self.bn(f"{path}.norm1", self.conv(f"{path}.conv1", activated, stride))
        y = self.bn(f"{path}.norm2", self.conv(f"{path}.conv2", F.relu(y)))
        if self.spec.block == "bottleneck":
            y = self.bn(f"{path}.norm3", self.conv(f"{path}.conv3", F.relu(y)))
        return self.shortcut(path, x, activated, stride) + y

    def preactivation(self, path: str, x: Tensor, stride: int, first: bool) -> Tensor:
        activated = x if first else F.relu(self.bn(f"{path}.norm1", x))
        y = self.conv(f"{path}.conv1", activated, stride)
        y = self.conv(f"{path}.conv2", F.relu(self.bn(f"{path}.norm2", y)))
        if self.spec.block == "bottleneck":
            y = self.conv(f"{path}.conv3", F.relu(self.bn(f"{path}.norm3", y)))
        return self.shortcut(path, x, activated, stride) + y


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize(
    "name",
    [
        "plain-14",
        "resnet-14",
        "resnet-14-B",
        "resnet-8-C",
        "plain-20-bottleneck",
        "resnet-20-B-bottleneck",
    ],
)
def test_each_ordering_computes_its_formula(name, ordering):
    network = build_network(f"{name}-{ordering}-x0.25", num_classes=5, seed=1).double()
    network = randomised(network)
    x = images(3, 3, 9, 9).double()
    expected = Functional(network).logits(x)
    torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 1e-2


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("norm", ["batchnorm", "groupnorm", "nonorm"])
@pytest.mark.parametrize("family", ["plain", "resnet"])
def test_every_parameter_learns(family, ordering, norm):
    network = build_network(f"{family}-14-{ordering}-{norm}-x0.5", num_classes=4)
    F.cross_entropy(network(images(4, 3, 8, 8)), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_the_branch_and_the_shortcut_add_up_to_the_block(ordering):
    network = randomised(build_network(f"resnet-14-B-{ordering}-x0.25", num_classes=4)).eval()
    x = network.stem(images(2, 3, 8, 8))
    for _, _, block in network.blocks():
        branch, shortcut = block.paths(x)
        assert shortcut is not None
        assert torch.equal(block.after(branch + shortcut), block(x))
        x = block(x)


# ---- geometry


@pytest.mark.parametrize(
    ("name", "strides"),
    [("resnet-20-bottleneck", [2, 1, 1]), ("resnet-20-bottleneck-stride3x3", [1, 2, 1])],
)
def test_the_stride_is_where_the_option_says(name, strides):
    with torch.device("meta"):
        network = build_network(name, num_classes=10)
    block = network.get_submodule("stage2.block1")
    assert [block.get_submodule(f"conv{k}").stride[0] for k in (1, 2, 3)] == strides
    assert block.shortcut.conv.stride == (2, 2)


@pytest.mark.parametrize(
    ("name", "size", "sizes"),
    [
        ("plain-34-stem3x3-x0.0625", 32, [32, 32, 16, 8, 4]),
        ("plain-34-x0.0625", 64, [16, 16, 8, 4, 2]),
        ("resnet-14-x0.25", 32, [32, 32, 16, 8]),
        ("resnet-14-stem7x7-x0.25", 32, [8, 8, 4, 2]),
        ("resnet-14-x0.25", 9, [9, 9, 5, 3]),
    ],
)
def test_stem_and_stages_put_out_maps_of_the_expected_size(name, size, sizes):
    network = build_network(name, num_classes=3).eval()
    found: list[int] = []
    x = images(1, 3, size, size)
    for child in list(network.children())[:-1]:
        x = child(x)
        found.append(x.shape[-1])
    assert found == sizes
    assert network.head(x).shape == (1, 3)


def test_images_of_any_size_and_channels_give_logits():
    network = build_network("resnet-8-x0.5", num_classes=7, in_channels=1)
    assert network(images(2, 1, 8, 8)).shape == (2, 7)
    assert network(images(2, 1, 20, 13)).shape == (2, 7)


def test_blocks_come_in_order_under_their_coordinates():
    network = build_network("resnet-20", num_classes=10)
    found = [(stage, block) for stage, block, _ in network.blocks()]
    assert found == [(s, b) for s in (1, 2, 3) for b in (1, 2, 3)]
    for stage, block, module in network.blocks():
        assert isinstance(module, Block)
        assert network.get_submodule(f"stage{stage}.block{block}") is module


def test_no_module_works_in_place_and_norms_make_biases_needless():
    for name in ("resnet-14-B", "plain-20-bottleneck-preact", "resnet-18-x0.125"):
        for module in build_network(name, num_classes=2).modules():
            assert not getattr(module, "inplace", False)
            if isinstance(module, nn.Conv2d):
                assert module.bias is None


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (2, 1), (4, 2), (8, 4), (16, 8), (32, 16), (64, 32), (256, 32), (7, 1), (96, 32)],
)
def test_group_norm_has_the_stated_number_of_groups(channels, groups):
    assert group_count(channels) == groups


def test_the_named_norm_is_built():
    norm = build_network("resnet-8-groupnorm", num_classes=2).get_submodule("stage2.block1.norm1")
    assert isinstance(norm, nn.GroupNorm)
    assert (norm.num_groups, norm.num_channels) == (16, 32)
    network = build_network("resnet-8-B-nonorm", num_classes=2)
    assert not any(isinstance(m, (nn.GroupNorm, nn.BatchNorm2d)) for m in network.modules())
    biases = [m.bias for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(bias is not None and torch.count_nonzero(bias) == 0 for bias in biases)


# ---- initial values


@pytest.mark.parametrize(("init", "outward"), [("fanin", False), ("fanout", True)])
def test_convolutions_start_he_normal_with_the_fan_of_the_option(init, outward):
    network = build_network(f"resnet-56-B-{init}", num_classes=10)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            out_channels, in_channels, kernel, _ = module.weight.shape
            fan = (out_channels if outward else in_channels) * kernel**2
            normal = module.weight.detach().flatten() / math.sqrt(2 / fan)
            error = 5 / math.sqrt(normal.numel())
            assert normal.mean().abs() < error, name
            assert (normal.std() - 1).abs() < error, name


def test_the_classifier_starts_he_normal_by_fan_in_and_norms_as_identities():
    network = build_network("plain-8-fanout", num_classes=1000)
    classifier = network.get_submodule("head.classifier")
    assert classifier.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.02)
    assert torch.count_nonzero(classifier.bias) == 0
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            ones, zeros = torch.ones(module.num_features), torch.zeros(module.num_features)
            assert torch.equal(module.weight, ones)
            assert torch.equal(module.running_var, ones)
            assert torch.equal(module.bias, zeros)
            assert torch.equal(module.running_mean, zeros)
            assert module.num_batches_tracked == 0


def test_initial_values_depend_on_the_seed_the_name_and_the_shape_alone():
    one = build_network("plain-8", num_classes=10, seed=1).state_dict()
    deep = build_network("resnet-20-B-preact", num_classes=10, seed=1).state_dict()
    other = build_network("plain-8", num_classes=10, seed=2).state_dict()
    shared = [key for key in one if key.endswith(("conv.weight", "conv2.weight"))]
    assert "stage3.block1.conv2.weight" in shared
    for key in shared:
        assert torch.equal(one[key], deep[key])
        assert not torch.equal(one[key], other[key])


def test_the_seed_of_a_tensor_never_changes():
    assert tensor_seed(0, "stem.conv.weight") == 4135608691202918073
    assert tensor_seed(7, "stage3.block1.conv2.weight") == 1607290161475450467


def test_building_neither_uses_nor_changes_the_global_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = build_network("resnet-8", num_classes=10).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    other = build_network("resnet-8", num_classes=10).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_on_the_meta_device_only_shapes_are_built():
    with torch.device("meta"):
        network = build_network("resnet-152", num_classes=1000)
    assert {p.device.type for p in network.parameters()} == {"meta"}


# ---- bad input


@pytest.mark.parametrize("counts", [{"num_classes": 0}, {"num_classes": 10, "in_channels": 0}])
def test_counts_below_one_are_refused(counts):
    with pytest.raises(UserError, match="0: it must be a whole number of at least 1"):
        build_network("plain-8", **counts)


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="did you mean 'resnet-20'"):
        build_network("resnet20", num_classes=10)


def test_a_network_knows_what_it_is():
    network = build_network("ResNet-8-b", num_classes=4, in_channels=1)
    assert network.spec == NetworkSpec.parse("resnet-8-B")
    assert (network.num_classes, network.in_channels) == (4, 1)
