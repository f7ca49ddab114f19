from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from network_specs import specs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.errors import UserError
from resnet_lab.networks.complexity import complexity, layer_table
from resnet_lab.networks.names import PAPER_NETWORKS
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.networks.table import format_rows, network_rows

CIFAR: dict[str, Any] = {"num_classes": 10, "image_size": 32}
IMAGENET: dict[str, Any] = {"num_classes": 1000, "image_size": 224}


def data_of(spec: NetworkSpec) -> dict[str, Any]:
    return CIFAR if spec.layout == "cifar" else IMAGENET


# name: (parameters, multiply-adds or None): R Tables 1 and 6, and counted by hand
GOLDEN = {
    "20": (269_722, 40_551_050),
    "32": (464_154, 68_862_602),
    "44": (658_586, 97_174_154),
    "56": (853_018, 125_485_706),
    "110": (1_727_962, 252_887_690),
    "1202": (19_421_274, None),
    "20-B": (272_474, None),
    "32-B": (466_906, None),
    "44-B": (661_338, None),
    "56-B": (855_770, None),
    "110-B": (1_730_714, None),
    "18": (11_515_688, None),
    "18-B": (11_689_512, None),
    "18-C": (12_043_816, None),
    "34": (21_623_848, None),
    "34-B": (21_797_672, None),
    "34-C": (22_716_840, None),
    "50-B": (25_557_032, None),
    "101-B": (44_549_160, None),
    "152-B": (60_192_808, None),
}
GOLDEN_NETWORKS = [
    (f"{family}-{key}", *numbers)
    for key, numbers in GOLDEN.items()
    for family in ("plain", "resnet")
    if not (family == "plain" and key[-1] in "BC")
]


@pytest.mark.parametrize(("name", "parameters", "multiply_adds"), GOLDEN_NETWORKS)
def test_the_formula_and_the_modules_have_the_papers_counts(name, parameters, multiply_adds):
    spec = NetworkSpec.parse(name)
    cost = complexity(spec, **data_of(spec))
    assert cost.parameters == count_parameters(on_meta(spec)) == parameters
    if multiply_adds is not None:
        assert cost.multiply_adds == multiply_adds


# R Table 1 and C, in thousands of millions; R cuts off rather than rounds.
@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("plain-18", 1.8),
        ("plain-34", 3.6),
        ("resnet-34", 3.6),
        ("resnet-50", 3.858),
        ("resnet-50-stride3x3", 4.089),
        ("resnet-101", 7.6),
        ("resnet-152", 11.3),
        ("resnet-1202", 2.829),
    ],
)
def test_multiply_adds_agree_with_the_papers_rounded_ones(name, billions):
    spec = NetworkSpec.parse(name)
    digits = 3 if billions * 10 != int(billions * 10) else 1
    cost = complexity(spec, **data_of(spec)).multiply_adds / 1e9
    assert round(cost, digits) == billions


@pytest.mark.parametrize(("depth", "millions"), [(164, 1.7), (1001, 10.2)])
def test_the_preactivation_networks_have_the_second_papers_sizes(depth, millions):
    spec = NetworkSpec.parse(f"resnet-{depth}-preact")
    parameters = complexity(spec, **CIFAR).parameters
    assert (spec.block, spec.shortcut) == ("bottleneck", "B")
    assert parameters == count_parameters(on_meta(spec))
    assert parameters == {164: 1_703_258, 1001: 10_327_706}[depth]
    assert parameters / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize("name", [*PAPER_NETWORKS, "resnet-50-stride3x3", "resnet-101-A"])
def test_the_formula_equals_the_real_modules_layer_by_layer(name):
    spec = NetworkSpec.parse(name)
    assert_equal_to_modules(spec, **data_of(spec))


@settings(max_examples=20, deadline=None)
@given(specs())
def test_the_formula_equals_the_real_modules_for_any_network(spec):
    depths = {"basic": {"cifar": 14, "imagenet": 18}, "bottleneck": {"cifar": 20, "imagenet": 50}}
    shallow = replace(spec, depth=depths[spec.block][spec.layout])
    assert_equal_to_modules(shallow, num_classes=7, in_channels=2, image_size=37)


@pytest.mark.parametrize(
    "name", ["plain-20", "resnet-20-B", "resnet-110-bottleneck", "resnet-18-C"]
)
def test_torchs_own_counter_counts_the_same(name):
    spec = NetworkSpec.parse(name)
    network = on_meta(spec).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 32, 32, device="meta"))
    biases = network.num_classes  # which the counter leaves out
    cost = complexity(spec, num_classes=network.num_classes, image_size=32)
    assert cost.multiply_adds == counter.get_total_flops() // 2 + biases


@pytest.mark.parametrize("n", [1, 2, 3, 50, 200])
def test_parameters_grow_by_a_constant_with_each_n(n):
    a_block = [2 * (9 * c * c + 2 * c) for c in (16, 32, 64)]
    ends = 9 * 3 * 16 + 2 * 16 + 64 * 10 + 10
    narrower = 9 * 16 * 32 + 9 * 32 * 64  # the first convolutions of stages 2 and 3
    cost = complexity(NetworkSpec.parse(f"plain-{6 * n + 2}"), **CIFAR)
    assert cost.parameters == n * sum(a_block) + ends - narrower


@pytest.mark.parametrize(
    "name", ["plain-20", "plain-164-preact", "plain-34", "plain-50", "plain-101", "plain-152"]
)
def test_twins_cost_the_same(name):
    spec = NetworkSpec.parse(name)
    plain, residual = (complexity(s, **data_of(spec)) for s in (spec, spec.twin))
    assert plain == residual


def test_layers_are_numbered_along_the_main_path():
    table = layer_table(NetworkSpec.parse("resnet-8-B"), num_classes=10)
    assert [(layer.index, layer.name, layer.kind, layer.stage, layer.block) for layer in table] == [
        (1, "stem.conv", "conv", 0, 0),
        (2, "stage1.block1.conv1", "conv", 1, 1),
        (3, "stage1.block1.conv2", "conv", 1, 1),
        (4, "stage2.block1.conv1", "conv", 2, 1),
        (5, "stage2.block1.conv2", "conv", 2, 1),
        (4, "stage2.block1.shortcut.conv", "shortcut", 2, 1),
        (6, "stage3.block1.conv1", "conv", 3, 1),
        (7, "stage3.block1.conv2", "conv", 3, 1),
        (6, "stage3.block1.shortcut.conv", "shortcut", 3, 1),
        (8, "head.classifier", "classifier", 4, 0),
    ]


@given(specs())
def test_the_main_path_has_as_many_layers_as_the_name_says(spec):
    table = layer_table(spec, num_classes=3)
    main = [layer.index for layer in table if layer.kind != "shortcut"]
    assert main == list(range(1, spec.depth + 1))
    assert len({layer.name for layer in table}) == len(table)


@pytest.mark.parametrize("count", ["num_classes", "in_channels", "image_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_counts_below_one_are_refused(count, value):
    with pytest.raises(UserError, match=f"{count} {value}: it must be a whole number"):
        complexity(NetworkSpec.parse("plain-8"), **{"num_classes": 10, count: value})


def test_rows_name_size_cost_and_twin():
    assert network_rows(["Plain-20-x1"]) == [
        {
            "network": "plain-20",
            "layers": 20,
            "parameters": 269_722,
            "multiply_adds": 40_551_050,
            "input": "3x32x32",
            "twin": "resnet-20",
            "twin_exact": True,
        }
    ]
    (row,) = network_rows(["resnet-50"])
    assert (row["parameters"], row["input"]) == (25_557_032, "3x224x224")
    assert (row["twin"], row["twin_exact"]) == ("plain-50", False)
    (row,) = network_rows(["plain-8"], num_classes=5, in_channels=1, image_size=8)
    assert (
        row["parameters"]
        == complexity(
            NetworkSpec.parse("plain-8"), num_classes=5, in_channels=1, image_size=8
        ).parameters
    )
    assert row["input"] == "1x8x8"


def test_rows_without_names_are_the_papers():
    assert [row["network"] for row in network_rows()] == list(PAPER_NETWORKS)


def test_the_table_is_aligned():
    lines = format_rows(network_rows(["plain-1202", "resnet-20-B"])).splitlines()
    assert lines[1].split() == [
        *("plain-1202", "1202", "19,421,274", "2,829,238,922", "3x32x32", "resnet-1202")
    ]
    assert lines[2].endswith("plain-20 (without its shortcuts' weights)")
    ends = [line.index(cell) + len(cell) for line, cell in zip(lines, _parameters(), strict=True)]
    assert len(set(ends)) == 1


def _parameters() -> list[str]:
    return ["parameters", "19,421,274", "272,474"]


def on_meta(spec: NetworkSpec) -> Network:
    with torch.device("meta"):
        return build_network(spec, num_classes=data_of(spec)["num_classes"])


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def assert_equal_to_modules(
    spec: NetworkSpec, *, num_classes: int, image_size: int, in_channels: int = 3
) -> None:
    cost = complexity(spec, num_classes=num_classes, in_channels=in_channels, image_size=image_size)
    with torch.device("meta"):
        network = build_network(spec, num_classes=num_classes, in_channels=in_channels)
        images = torch.zeros(1, in_channels, image_size, image_size)
    parameters = count_parameters(network)
    leave_out_norms(network)
    seen: list[dict[str, Any]] = []
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(_observer(name, seen))
    with torch.no_grad():
        network(images)
    fields = list(seen[0])
    assert {row["name"]: row for row in seen} == {
        layer.name: {field: getattr(layer, field) for field in fields} for layer in cost.layers
    }
    assert cost.parameters == parameters
    assert cost.multiply_adds == sum(row["multiply_adds"] for row in seen)


def leave_out_norms(network: nn.Module) -> None:
    """They change no shape, and their shapes are what takes torch's meta device its time."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def _observer(name: str, seen: list[dict[str, Any]]) -> Any:
    def observe(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        convolution = isinstance(module, nn.Conv2d)
        per_output = module.weight[0].numel() + (0 if module.bias is None else 1)
        seen.append(
            {
                "name": name,
                "in_channels": inputs[0].shape[1],
                "out_channels": output.shape[1],
                "kernel": module.kernel_size[0] if convolution else 1,
                "stride": module.stride[0] if convolution else 1,
                "output_size": tuple(output.shape[2:]) if convolution else (1, 1),
                "parameters": count_parameters(module),
                "multiply_adds": per_output * output[0].numel(),
            }
        )

    return observe
