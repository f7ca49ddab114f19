from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from network_specs import specs

from resnet_lab.errors import UserError
from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.names import PAPER_NETWORKS
from resnet_lab.networks.spec import NetworkSpec, Stage


@given(specs())
def test_a_name_says_everything_about_a_network(spec):
    assert NetworkSpec.parse(spec.name) == spec
    assert NetworkSpec.parse(spec.name.upper()) == spec
    assert NetworkSpec.parse(spec.name.lower()).name == spec.name


@given(specs())
def test_the_depth_counts_the_stem_the_blocks_layers_and_the_classifier(spec):
    layers = 2 if spec.block == "basic" else 3
    assert spec.depth == 2 + layers * sum(stage.blocks for stage in spec.stages)


@given(specs())
def test_the_twin_differs_in_its_shortcuts_only(spec):
    assert {spec.family, spec.twin.family} == {"plain", "residual"}
    assert replace(spec.twin, shortcut=spec.shortcut) == spec
    sizes = [complexity(one, num_classes=10).parameters for one in (spec, spec.twin)]
    assert (sizes[0] == sizes[1]) == spec.twin_is_exact


@pytest.mark.parametrize(
    ("name", "twin", "exact"),
    [
        ("plain-56", "resnet-56", True),
        ("resnet-56", "plain-56", True),
        ("resnet-56-B", "plain-56", False),
        ("resnet-34-C", "plain-34", False),
        ("plain-50", "resnet-50-A", True),
        ("resnet-50", "plain-50", False),
        ("plain-1001-preact", "resnet-1001-A-preact", True),
        ("resnet-164-preact-x0.5", "plain-164-preact-x0.5", False),
    ],
)
def test_twins_by_name(name, twin, exact):
    spec = NetworkSpec.parse(name)
    assert (spec.twin.name, spec.twin_is_exact) == (twin, exact)


@pytest.mark.parametrize(
    ("name", "layout", "block", "shortcut", "stem"),
    [
        ("plain-8", "cifar", "basic", "none", "3x3"),
        ("resnet-110", "cifar", "basic", "A", "3x3"),
        ("resnet-110-bottleneck", "cifar", "bottleneck", "B", "3x3"),
        ("resnet-164", "cifar", "bottleneck", "B", "3x3"),
        ("resnet-164-basic", "cifar", "basic", "A", "3x3"),
        ("resnet-1001", "cifar", "bottleneck", "B", "3x3"),
        ("resnet-1202", "cifar", "basic", "A", "3x3"),
        ("resnet-18", "imagenet", "basic", "A", "7x7"),
        ("plain-34", "imagenet", "basic", "none", "7x7"),
        ("plain-34-stem3x3", "imagenet", "basic", "none", "3x3"),
        ("resnet-50", "imagenet", "bottleneck", "B", "7x7"),
        ("resnet-50-cifar", "cifar", "basic", "A", "3x3"),
        ("resnet-101-cifar", "cifar", "bottleneck", "B", "3x3"),
        ("resnet-152", "imagenet", "bottleneck", "B", "7x7"),
        ("resnet-56-stem7x7", "cifar", "basic", "A", "7x7"),
    ],
)
def test_what_a_name_leaves_out_follows_from_the_depth(name, layout, block, shortcut, stem):
    spec = NetworkSpec.parse(name)
    assert (spec.layout, spec.block, spec.shortcut, spec.stem) == (layout, block, shortcut, stem)
    assert spec.name == name


@pytest.mark.parametrize(
    ("said", "canonical"),
    [
        ("resnet-56-A", "resnet-56"),
        ("ResNet-56-b", "resnet-56-B"),
        (" plain-20 ", "plain-20"),
        ("resnet-50-stride1x1-B-imagenet", "resnet-50"),
        ("resnet-110-preact-B", "resnet-110-B-preact"),
        ("resnet-20-fanout-nonorm-x0.50", "resnet-20-x0.5-nonorm-fanout"),
        ("plain-20-x1.0-postact-batchnorm-fanin", "plain-20"),
        ("resnet-50-x2", "resnet-50-x2"),
    ],
)
def test_the_canonical_name_keeps_only_what_is_not_default_in_order(said, canonical):
    assert NetworkSpec.parse(said).name == canonical


def test_the_names_of_the_papers_networks_are_canonical():
    assert [NetworkSpec.parse(name).name for name in PAPER_NETWORKS] == list(PAPER_NETWORKS)


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("bnafter", "ordering", "bn-after-addition"),
        ("relubefore", "ordering", "relu-before-addition"),
        ("relupre", "ordering", "relu-preactivation"),
        ("preact", "ordering", "preactivation"),
        ("stride3x3", "stride_in", "3x3"),
        ("groupnorm", "norm", "group"),
        ("nonorm", "norm", "none"),
        ("fanout", "init", "fan-out"),
        ("x0.25", "width", 0.25),
    ],
)
def test_each_option_sets_its_field_and_no_other(option, field, value):
    default = NetworkSpec.parse("resnet-164")
    assert NetworkSpec.parse(f"resnet-164-{option}") == replace(default, **{field: value})


def test_overrides_replace_what_the_name_states_before_defaults_are_chosen():
    assert NetworkSpec.parse("resnet-56", block="bottleneck").name == "resnet-56-bottleneck"
    assert NetworkSpec.parse("resnet-56-x2", width=0.5, norm="group").name == (
        "resnet-56-x0.5-groupnorm"
    )
    assert NetworkSpec.parse("plain-56", shortcut="C").name == "resnet-56-C"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plian-56", "unknown network 'plian-56', did you mean 'plain-56'"),
        ("resnet56", "did you mean 'resnet-56'"),
        ("rsnet-56-B", "did you mean 'resnet-56-B'"),
        ("vgg", "unknown network 'vgg'. A name is plain-<depth> or resnet-<depth>"),
        ("", "unknown network ''"),
        ("plain-", "unknown network"),
        ("plain-1e3", "unknown network"),
        ("plain-57", r"depth 57: CIFAR networks have 6n\+2 layers; nearest: 56, 62"),
        ("resnet-33", "nearest: 32, 38 .ImageNet networks: 18, 34, 50, 101, 152"),
        ("resnet-2", "nearest: 8 "),
        ("resnet-0", "nearest: 8 "),
        ("resnet-18-cifar", "nearest: 14, 20 "),
        ("resnet-28-bottleneck", r"9n\+2 layers with bottleneck blocks; nearest: 20, 29 "),
        ("resnet-33-imagenet", "basic blocks have 18, 34 layers .R Table 1.; nearest: 34"),
        ("resnet-50-basic", "basic blocks have 18, 34 layers .R Table 1.; nearest: 34"),
        ("resnet-56-imagenet", "bottleneck blocks have 50, 101, 152 .*; nearest: 50"),
        ("resnet-56-preactivation", "unknown option 'preactivation', did you mean 'preact'"),
        ("resnet-56-d", "unknown option 'd'. Known: A, B, C, "),
        ("plain-56-B", "a plain network has no shortcut.*'resnet-56-B'"),
        ("resnet-56-A-B", "states its shortcut twice"),
        ("resnet-56-x0.5-x2", "states its width twice"),
        ("resnet-56-x0", "width x0.0: it must lie in 0.0625 to 16"),
        ("resnet-56-x17", "width x17.0"),
        ("resnet-56-stride3x3", "inside a bottleneck"),
    ],
)
def test_a_bad_name_is_told_the_rule_and_the_way_out(name, message):
    with pytest.raises(UserError, match=message):
        NetworkSpec.parse(name)


def test_an_unknown_override_names_the_nearest_known_one():
    with pytest.raises(UserError, match="unknown network option 'widht', did you mean 'width'"):
        NetworkSpec.parse("resnet-56", widht=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 57}, "nearest: 56, 62"),
        ({"depth": -3}, "nearest: 8 "),
        ({"depth": 56.0}, "depth 56.0 is not a whole number"),
        ({"depth": True}, "depth True is not a whole number"),
        ({"shortcut": "D"}, "unknown shortcut 'D'. Known: A, none, B, C"),
        ({"layout": "imagnet"}, "unknown layout 'imagnet', did you mean 'imagenet'"),
        ({"ordering": "preact"}, "unknown ordering 'preact', did you mean"),
        ({"norm": None}, "unknown norm 'None', did you mean 'none'"),
        ({"width": float("nan")}, "width xnan"),
        ({"width": "0.5"}, "width '0.5' is not a number"),
        ({"width": True}, "width True is not a number"),
    ],
)
def test_a_bad_value_is_refused_at_construction(change, message):
    with pytest.raises(UserError, match=message):
        NetworkSpec(**{"depth": 56, "shortcut": "A", **change})


def test_a_spec_is_a_frozen_value():
    spec = NetworkSpec.parse("plain-56")
    with pytest.raises(FrozenInstanceError):
        spec.depth = 20
    assert {spec: 1}[NetworkSpec.parse("plain-56")] == 1
    assert isinstance(replace(spec, width=2).width, float)


def test_stages_halve_the_map_and_double_the_filters():
    assert NetworkSpec.parse("resnet-56-x0.5").stages == (
        Stage(index=1, blocks=9, channels=8, out_channels=8, stride=1),
        Stage(index=2, blocks=9, channels=16, out_channels=16, stride=2),
        Stage(index=3, blocks=9, channels=32, out_channels=32, stride=2),
    )
    stages = NetworkSpec.parse("plain-101").stages
    assert [stage.blocks for stage in stages] == [3, 4, 23, 3]
    assert [stage.channels for stage in stages] == [64, 128, 256, 512]
    assert [stage.out_channels for stage in stages] == [256, 512, 1024, 2048]
    assert [stage.stride for stage in stages] == [1, 2, 2, 2]


def test_names_sizes_and_costs_need_no_torch():
    code = (
        "import sys, resnet_lab.networks.table, resnet_lab.networks.complexity;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
