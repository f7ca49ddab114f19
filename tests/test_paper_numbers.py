from __future__ import annotations

import math

import pytest

from analysis.paper import Architecture, Result, load_paper
from resnet_lab.networks.complexity import Complexity, complexity
from resnet_lab.networks.spec import NetworkSpec

IMAGES = {"cifar10": (32, 10), "cifar100": (32, 100), "imagenet": (224, 1000)}
ARCHITECTURES = load_paper().architectures
ROUNDED = [one for one in ARCHITECTURES if one.rounded is not None]


def computed(architecture: Architecture) -> Complexity:
    size, classes = IMAGES[architecture.data]
    spec = NetworkSpec.parse(architecture.network)
    return complexity(spec, num_classes=classes, image_size=size)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.network)
def test_counts_equal_those_computed_from_the_depth_table(architecture: Architecture) -> None:
    counts = computed(architecture)
    assert counts.parameters == architecture.parameters
    if architecture.multiply_adds is not None:
        assert counts.multiply_adds == architecture.multiply_adds


@pytest.mark.parametrize("architecture", ROUNDED, ids=lambda one: one.network)
def test_printed_counts_are_those_numbers_rounded(architecture: Architecture) -> None:
    assert architecture.rounded is not None
    counts = computed(architecture)
    if architecture.rounded.parameters is not None:
        assert counts.parameters == pytest.approx(architecture.rounded.parameters, rel=0.02)
    if architecture.rounded.multiply_adds is not None:
        assert counts.multiply_adds == pytest.approx(architecture.rounded.multiply_adds, rel=0.02)


def test_growth_of_the_theory_is_its_formula() -> None:
    assert load_paper().gradient_growth == round(math.sqrt(math.pi / (math.pi - 1)), 4)


def test_every_result_names_a_network_canonically_and_a_known_source() -> None:
    paper = load_paper()
    for result in paper.results:
        assert NetworkSpec.parse(result.network).name == result.network
        assert result.source.split()[0] in paper.sources
    for architecture in paper.architectures:
        assert NetworkSpec.parse(architecture.network).name == architecture.network
        assert architecture.source in paper.sources


def test_a_network_has_at_most_one_primary_result_a_data_set() -> None:
    primary = [(one.network, one.data) for one in load_paper().results if one.primary]
    assert len(primary) == len(set(primary))


@pytest.mark.parametrize(
    ("network", "data", "text"),
    [
        ("resnet-20", "cifar10", "8.75"),
        ("resnet-56", "cifar10", "6.97"),
        ("resnet-110", "cifar10", "6.61 ± 0.16"),
        ("plain-56", "cifar10", "12.95 ± 0.22"),
        ("plain-44", "cifar10", "about 12"),
        ("plain-110", "cifar10", "> 60"),
        ("plain-34", "imagenet", "28.54"),
        ("resnet-34", "imagenet", "25.03"),
        ("resnet-34-B", "imagenet", "24.52"),
        ("resnet-152", "imagenet", "21.43"),
        ("resnet-1001-preact", "cifar100", "median 22.71 of 5"),
        ("resnet-110-C", "cifar10", "median 12.22 of 5"),
        ("plain-56-x8", "cifar10", "8.70"),
    ],
)
def test_the_result_beside_a_network_is_the_papers(network: str, data: str, text: str) -> None:
    result = load_paper().result(network, data)
    assert result is not None
    assert result.text == text


@pytest.mark.parametrize(
    ("network", "data"),
    [("resnet-20", "digits"), ("resnet-20-x0.5", "cifar10"), ("resnet-20", "cifar100")],
)
def test_no_result_stands_beside_what_the_paper_did_not_train(network: str, data: str) -> None:
    assert load_paper().result(network, data) is None


def test_a_result_without_spread_is_two_decimals() -> None:
    assert Result("resnet-20", "cifar10", 7.4, "64k iterations", "R").text == "7.40"


def test_every_result_was_obtained_by_a_known_protocol_and_every_protocol_is_used() -> None:
    paper = load_paper()
    assert {one.protocol for one in paper.results} == set(paper.protocols)
    for protocol in paper.protocols.values():
        assert bool(protocol.never) != bool(protocol.settings)


def test_deep_cifar_networks_were_warmed_up_and_shallow_ones_were_not() -> None:
    paper = load_paper()
    for result in paper.results:
        settings = paper.protocols[result.protocol].settings
        if result.data != "imagenet" and settings:
            deep = NetworkSpec.parse(result.network).depth >= 110
            assert (settings["warmup_until_error"] != (None,)) == deep
            assert settings.get("warmup_lr") == ((0.01,) if deep else None)


def test_variants_name_known_sources_and_data() -> None:
    for variant in load_paper().variants:
        assert variant.source.split()[0] in load_paper().sources
        assert variant.data in IMAGES
