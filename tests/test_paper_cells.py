"""Every published number in `paper.yaml` against the papers' tables, copied here a second time."""

from __future__ import annotations

import re

import pytest

from analysis.paper import Result, Variant, load_paper
from resnet_lab.networks.spec import NetworkSpec

# network | top-1 or test error % [/ top-5] [± sd], as printed; ~ is read off a curve, - is none.
TABLES = {
    ("R Table 6", "cifar10", "1 mean"): """
        resnet-20 8.75; resnet-32 7.51; resnet-44 7.17; resnet-56 6.97; resnet-1202 7.93""",
    ("R Table 6", "cifar10", "5 mean"): "resnet-110 6.61 ± 0.16",
    ("R Table 6", "cifar10", "5 best"): "resnet-110 6.43",
    ("R Figure 6", "cifar10", "1 mean"): """
        plain-20 ~9; plain-32 ~10; plain-44 ~12; plain-56 ~13; plain-110 >60""",
    ("nabla0001", "cifar10", "5 mean"): """
        resnet-20 8.51 ± 0.22; resnet-56 7.40 ± 0.27; resnet-110 7.14 ± 0.20;
        plain-20 9.78 ± 0.13; plain-56 12.95 ± 0.22""",
    ("akamaster", "cifar10", "1 mean"): """
        resnet-20 8.27; resnet-32 7.37; resnet-44 6.90; resnet-56 6.61; resnet-110 6.32;
        resnet-1202 6.18""",
    ("Li", "cifar10", "1 mean"): """
        plain-20 8.18; plain-56 13.31; plain-56-x8 8.70; plain-110 16.44;
        resnet-20 7.37; resnet-56 5.89; resnet-110 5.79; plain-156 untrainable""",
    (
        "Huang",
        "cifar10",
        "1 mean",
    ): "resnet-110-stochdepth0.5 5.25; resnet-1202-stochdepth0.5 4.91",
    ("R Table 2", "imagenet", "1 mean"): "plain-18 27.94; resnet-18 27.88",
    ("R Tables 2, 3", "imagenet", "1 mean"): "plain-34 28.54/10.02; resnet-34 25.03/7.76",
    ("R Table 3", "imagenet", "1 mean"): """
        resnet-34-B 24.52/7.46; resnet-34-C 24.19/7.40; resnet-50 22.85/6.71;
        resnet-101 21.75/6.05; resnet-152 21.43/5.71""",
    ("R Table 4", "imagenet", "1 mean"): """
        resnet-34-B 21.84/5.71; resnet-34-C 21.53/5.60; resnet-50 20.74/5.25;
        resnet-101 19.87/4.60; resnet-152 19.38/4.49""",
    ("R Table 5", "imagenet", "1 mean"): "residual networks -/3.57",
    ("A", "imagenet", "1 mean"): "resnet-50 24.7/7.8; resnet-101 23.6/7.1; resnet-152 23.0/6.7",
    ("I Table 1", "cifar10", "5 median"): """
        plain-110 >20; resnet-110-C 12.22; resnet-110-lambda0.5 >20;
        resnet-110-scaling0.5 12.35; resnet-110-dropshortcut0.5 >20;
        resnet-110-shortcutgate0 12.86; resnet-110-shortcutgate6 6.91;
        resnet-110-exclusivegate0 >20; resnet-110-exclusivegate1 >20; resnet-110-exclusivegate2 >20;
        resnet-110-exclusivegate3 >20; resnet-110-exclusivegate4 >20; resnet-110-exclusivegate5 >20;
        resnet-110-exclusivegate6 8.70; resnet-110-exclusivegate7 9.81""",
    ("I Tables 1, 2, 3", "cifar10", "5 median"): "resnet-110 6.61",
    ("I Table 2", "cifar10", "5 median"): """
        resnet-110-bnafter 8.17; resnet-110-relubefore 7.84; resnet-110-relupre 6.71;
        resnet-164-bnafter 6.50; resnet-164-relubefore 6.14; resnet-164-relupre 5.91""",
    ("I Tables 2, 3", "cifar10", "5 median"): "resnet-110-preact 6.37; resnet-164 5.93",
    ("I Tables 2, 3, 4", "cifar10", "5 median"): "resnet-164-preact 5.46",
    ("I Table 3", "cifar10", "5 median"): """
        resnet-1001 7.61; resnet-110 [one layer a block] 9.90;
        resnet-110-preact [one layer a block] 8.91""",
    ("I Table 3", "cifar100", "5 median"): """
        resnet-164 25.16; resnet-164-preact 24.33; resnet-1001 27.82""",
    ("I Tables 3, 4", "cifar10", "5 median"): "resnet-1001-preact 4.92 ± 0.14",
    ("I Tables 3, 4", "cifar100", "5 median"): "resnet-1001-preact 22.71 ± 0.22",
    ("I Table 4", "cifar10", "5 median"): "resnet-1001-preact 4.62 ± 0.20",
    (
        "I Table 4",
        "cifar10",
        "5 mean",
    ): "resnet-1001-preact 4.89 ± 0.14; resnet-1001-preact 4.69 ± 0.20",
    ("I Table 4", "cifar100", "5 mean"): "resnet-1001-preact 22.68 ± 0.22",
    ("I Table 5", "imagenet", "1 mean"): """
        resnet-152 21.3/5.5; resnet-152-preact 21.1/5.5;
        resnet-200 [ImageNet, bottlenecks] 21.8/6.0;
        resnet-200-preact [ImageNet, bottlenecks] 20.7/5.3;
        resnet-200-preact [ImageNet, bottlenecks, scale and aspect augmentation] 20.1/4.8""",
    ("I section 4.1", "imagenet", "1 mean"): "resnet-101-bnafter 24.6/7.5",
}
UNSAID = {
    "R Table 5": "ensemble of six",
    "Li": "depth that no 6n+2 gives",
}
"""Variants of sources all of whose variants are of one kind."""

CELL = re.compile(
    r"(?P<network>[\w. -]*[\w])\s(?:\[(?P<variant>.*)\] )?"
    r"(?P<value>-|untrainable|[~>]?[\d.]+)(?:/(?P<top5>[\d.]+))?(?: ± (?P<sd>[\d.]+))?"
)

Cell = tuple[object, ...]


def printed() -> list[Cell]:
    cells = []
    for (source, data, runs), text in TABLES.items():
        n, statistic = runs.split()
        for part in " ".join(text.split()).split("; "):
            found = CELL.fullmatch(part)
            assert found, part
            sd = float(found["sd"]) if found["sd"] else None
            top5 = float(found["top5"]) if found["top5"] else None
            row = (found["network"], found["variant"], found["value"], top5, sd, int(n), statistic)
            cells.append((source, data, *row))
    return cells


def value(one: Result | Variant) -> str:
    """The error as the table above writes it."""
    if one.error is None:
        return getattr(one, "outcome", "") or "-"
    mark = ">" if one.lower_bound else "~" if getattr(one, "approximate", False) else ""
    return f"{mark}{one.error:g}"


def shipped() -> list[Cell]:
    cells = []
    for one in (*load_paper().results, *load_paper().variants):
        variant = getattr(one, "variant", None)
        if variant == UNSAID.get(one.source):
            variant = None
        row = (one.network, variant, value(one), one.top5_error, getattr(one, "sd", None))
        cells.append((one.source, one.data, *row, one.n or 1, one.statistic))
    return cells


def alike(cell: Cell) -> Cell:
    """A cell whose value has one spelling, 7.4 for 7.40."""
    mark, number = re.fullmatch(r"([~>]?)(.*)", str(cell[4])).groups()  # type: ignore[union-attr]
    text = number if number in ("-", "untrainable") else f"{float(number):g}"
    return (*cell[:4], mark + text, *cell[5:])


def test_every_published_number_is_the_papers_and_none_is_missing() -> None:
    ours = sorted(map(repr, map(alike, shipped())))
    assert ours == sorted(map(repr, map(alike, printed())))


@pytest.mark.parametrize("network", sorted({one.network for one in load_paper().results}))
def test_a_network_with_a_result_of_its_own_can_be_built(network: str) -> None:
    assert NetworkSpec.parse(network).name == network


LI, PLAIN_LI = "recipe of Li", "recipe of Li, lr 0.01"


@pytest.mark.parametrize(
    ("network", "value", "protocol"),
    [
        ("resnet-110", 6.61, "64k iterations, warm-up"),
        ("resnet-110-preact", 6.37, "64k iterations, 400 steps of warm-up"),
        ("resnet-110", 7.14, "64k iterations, 400 steps of warm-up, channel normalisation"),
        ("resnet-1001-preact", 4.89, "64k iterations, 400 steps of warm-up"),
        ("resnet-1001-preact", 4.62, "batch 64"),
        ("plain-56", 13.31, PLAIN_LI),
        ("plain-110", 16.44, PLAIN_LI),
        ("plain-56-x8", 8.70, LI),
        ("resnet-152-preact", 21.1, "one crop of 320 pixels"),
        ("resnet-101-bnafter", 24.6, "view not stated"),
    ],
)
def test_how_a_number_was_obtained(network: str, value: float, protocol: str) -> None:
    rows = load_paper().results
    assert protocol in {
        one.protocol for one in rows if (one.network, one.error) == (network, value)
    }


def test_all_of_the_pre_activation_paper_on_cifar_was_warmed_up_for_400_fixed_steps() -> None:
    paper = load_paper()
    for one in paper.results:
        settings = paper.protocols[one.protocol].settings
        if one.source.startswith("I ") and one.data != "imagenet" and settings:
            assert settings["warmup_window"] == (400,)
            assert settings["warmup_until_error"] == (100.0,)  # no training error is above
            assert settings["warmup_lr"] == (0.01,)
        elif one.source.startswith("R ") and settings:
            assert settings["warmup_until_error"] in ((None,), (80.0,))


def test_what_the_papers_say_names_the_networks_that_they_say_it_about() -> None:
    said = load_paper().statements
    assert (said["longer training"].about, said["longer training"].source) == (
        "plain-34 on ImageNet",
        "R footnote 3",
    )
    assert "healthy norms" in said["gradients"].says
    assert "addressed" in said["normalisation"].says
    assert {one.source.split()[0] for one in said.values()} <= set(load_paper().sources)
