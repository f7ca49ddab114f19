from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import own_files
from tiny_runs import ROOT

from resnet_lab.cli.parsing import build_config, config_parser
from resnet_lab.configuration.config import Config
from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.sweeps.fixed_flags import FixedFlags, read_command
from resnet_lab.sweeps.sweep_file import read_sweep

FILES = own_files("sweeps/*.yaml")
CONTENT: dict[str, dict[str, Any]] = {
    file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES
}
HEADER = {
    file.stem: [line for line in file.read_text().splitlines() if line.startswith("#")]
    for file in FILES
}
GRIDS = [stem for stem, content in CONTENT.items() if content["method"] == "grid"]
SEARCHES = [stem for stem in CONTENT if stem not in GRIDS]
KEYS = [
    "program",
    "name",
    "description",
    "method",
    "run_cap",
    "metric",
    "early_terminate",
    "parameters",
]
NAMED = [
    *("demo_digits", "cifar10_quick", "cifar10_freeze", "plain34_vs_resnet34"),
    *("plain34_vs_resnet34_cifar", "paper_fig1", "paper_fig4", "paper_fig6"),
    *("paper_table3_shortcuts", "paper_table6", "identity_mappings_table2"),
    *("search_lr", "search_digits", "fair_tuning", "fair_tuning_digits"),
]
SHAPES = {
    "digits": (10, 1, 8),
    "cifar10": (10, 3, 32),
    "cifar10-16px": (10, 3, 16),
    "imagenet": (1000, 3, 224),
}
"""Classes, channels and side of the images."""
PARSER = config_parser()
LABELS = ["Question", "Run", "Cost", "Expected", "Recorded"]
COST = re.compile(r"([\d,]+) runs? of ([\d,]+) iterations, ([\d.]+e\d+) multiply-adds forward")


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's `config` is relative to the repository's root, where agents are started."""
    monkeypatch.chdir(ROOT)


@cache
def runs(stem: str) -> list[Config]:
    """Every run of a grid; of a search the runs at the ends of its ranges."""
    return parsed(stem)


def parsed(stem: str) -> list[Config]:
    sweep = read_sweep(ROOT / "sweeps" / f"{stem}.yaml")
    points = sweep.points() if stem in GRIDS else sweep.corners()
    return [build_config(PARSER.parse_args(point)) for point in points]


def names(stem: str) -> set[str]:
    return {config.network for config in runs(stem)}


def seeds(stem: str) -> set[int]:
    return {config.seed for config in runs(stem)}


# What all files share


def test_every_study_that_the_documents_name_has_its_file() -> None:
    assert set(NAMED) <= set(CONTENT)


@pytest.mark.parametrize("stem", CONTENT)
def test_a_file_is_a_sweep_of_this_project_named_as_it_is(stem: str) -> None:
    content = CONTENT[stem]
    assert [key for key in content if key not in (*KEYS, "command")] == []
    assert list(content) == [key for key in [*KEYS, "command"] if key in content]
    assert content["program"] == "resnet-lab"
    assert content["name"] == stem
    told = ["--tracking=wandb", f"--study={stem}"]
    assert content["command"] == ["resnet-lab", "train", *told, "${args}"]
    assert read_command(content) == FixedFlags(), "the local engine has its own word for these"
    assert re.fullmatch(r".{40,}[?.]( \(.*\))?", content["description"])


@pytest.mark.parametrize("stem", CONTENT)
def test_flags_reach_the_command_in_an_order_that_keeps_them(stem: str) -> None:
    """W&B gives a run's parameters sorted by name: the file comes first, as later flags win."""
    parameters = CONTENT[stem]["parameters"]
    if "config" in parameters:
        assert min(parameters) == "config"
        entry = parameters["config"]
        assert all(Path(one).exists() for one in entry.get("values", [entry.get("value")]))


@pytest.mark.parametrize("stem", CONTENT)
def test_a_file_begins_with_its_entry_in_the_laboratory_notebook(stem: str) -> None:
    head = HEADER[stem]
    text = (ROOT / "sweeps" / f"{stem}.yaml").read_text().splitlines()
    assert text[: len(head)] == head, "a comment further down"
    assert re.fullmatch(r"# \S.*[.?]", head[0])
    labels = [line[2:13].strip() for line in head if re.match(r"# [A-Z][a-z]+ {2,}\S", line)]
    assert [one for one in labels if one in LABELS] == LABELS
    assert any(f"resnet-lab sweep sweeps/{stem}.yaml" in line for line in head)
    assert any(f"wandb sweep --project resnet_lab sweeps/{stem}.yaml" in line for line in head)
    assert any("wandb agent ENTITY/PROJECT/ID" in line for line in head)
    assert all(len(line) <= 100 for line in head)


@pytest.mark.parametrize("stem", CONTENT)
def test_the_cost_in_the_header_is_the_cost(stem: str) -> None:
    stated = COST.search(" ".join(line[1:].strip() for line in HEADER[stem]))
    assert stated is not None
    configs = runs(stem)
    cost = sum(forward(config) for config in configs)
    count = len(configs)
    if stem in SEARCHES:
        cost, count = forward(configs[0]) * CONTENT[stem]["run_cap"], CONTENT[stem]["run_cap"]
    assert int(stated[1].replace(",", "")) == count
    assert {int(stated[2].replace(",", ""))} == {one.recipe.iterations for one in configs}
    assert float(stated[3]) == pytest.approx(cost, rel=0.05)


def forward(config: Config) -> int:
    classes, channels, side = SHAPES[config.data.result_name]
    image = sum(
        complexity(spec, num_classes=classes, in_channels=channels, image_size=side).multiply_adds
        for spec in config.specs()
    )
    return image * config.recipe.batch_size * config.recipe.iterations


@pytest.mark.parametrize("stem", CONTENT)
def test_runs_are_different_ones(stem: str) -> None:
    if stem in GRIDS:
        assert len({config.run_id() for config in runs(stem)}) == len(runs(stem)) > 0


@pytest.mark.parametrize("stem", CONTENT)
def test_who_chooses_does_so_by_validation_images(stem: str) -> None:
    """A metric is named where there are validation images, and only there."""
    protocols = {config.data.protocol for config in runs(stem)}
    metric = CONTENT[stem].get("metric")
    if protocols == {"validation"}:
        assert metric == {"name": "validation_error", "goal": "minimize"}
    else:
        assert (protocols, metric) == ({"full"}, None)


# Searches


def test_there_are_searches_and_grids() -> None:
    assert {"search_lr", "search_digits"} <= set(SEARCHES)
    assert {"fair_tuning", "fair_tuning_digits"} <= set(GRIDS)


@pytest.mark.parametrize("stem", SEARCHES)
def test_a_search_reads_no_test_images_and_has_an_end(stem: str) -> None:
    content = CONTENT[stem]
    assert content["parameters"]["data.test"] == {"value": False}
    assert content["run_cap"] >= 10
    assert not any(config.data.test for config in runs(stem))


@pytest.mark.parametrize("stem", SEARCHES)
def test_a_search_varies_rates_on_a_log_scale_for_one_network(stem: str) -> None:
    parameters = CONTENT[stem]["parameters"]
    for name in ("recipe.lr", "recipe.weight_decay"):
        entry = parameters[name]
        assert entry["distribution"] == "log_uniform_values"
        assert 0 < entry["min"] < entry["max"]
        assert isinstance(entry["min"], float), "YAML read it as text"
    assert parameters["recipe.warmup_lr"]["value"] <= parameters["recipe.lr"]["min"]
    assert len(names(stem)) == len(seeds(stem)) == 1
    assert "," not in names(stem).pop()


@pytest.mark.parametrize("stem", SEARCHES)
def test_hyperband_has_evaluations_to_stop_runs_at(stem: str) -> None:
    stopping = CONTENT[stem]["early_terminate"]
    assert stopping["type"] == "hyperband"
    recipe = runs(stem)[0].recipe
    judged = (recipe.iterations - 1) // recipe.evaluate_every
    rungs = [stopping["min_iter"] * stopping["eta"] ** k for k in range(10)]
    assert sum(rung <= judged for rung in rungs) == 2
    longest = CONTENT[stem]["parameters"]["recipe.warmup_steps"]["max"]
    assert longest <= stopping["min_iter"] * recipe.evaluate_every, "it looks during the warm-up"


# What the paper's files hold


def test_figure_1_is_plain_20_and_56() -> None:
    assert names("paper_fig1") == {"plain-20", "plain-56"}


def test_figure_4_is_18_and_34_layers_followed_by_their_centre_crop() -> None:
    assert names("paper_fig4") == {f"{f}-{d}" for f in ("plain", "resnet") for d in (18, 34)}
    for config in runs("paper_fig4"):
        assert (config.data.name, config.data.test_view) == ("imagenet", "centre")
        assert config.recipe.test_curve


def test_figure_6_has_all_depths_and_warms_up_those_that_the_paper_does() -> None:
    shallow, deep, deepest = "paper_fig6", "paper_fig6_110", "paper_fig6_1202"
    depths = (20, 32, 44, 56)
    assert names(shallow) == {f"{f}-{d}" for f in ("plain", "resnet") for d in depths}
    assert names(deep) == {"plain-110", "resnet-110"}
    assert names(deepest) == {"resnet-1202"}
    assert {config.recipe.warmup_until_error for config in runs(shallow)} == {None}
    for config in runs(deep) + runs(deepest):
        assert (config.recipe.warmup_until_error, config.recipe.warmup_lr) == (80.0, 0.01)


def test_table_6_has_five_seeds_of_every_residual_network() -> None:
    rest = names("paper_table6_110") | names("paper_fig6_1202")
    assert names("paper_table6") == {f"resnet-{depth}" for depth in (20, 32, 44, 56)}
    assert rest == {"resnet-110", "resnet-1202"}
    assert seeds("paper_table6") == seeds("paper_table6_110") == {0, 1, 2, 3, 4}
    [warmup] = {config.recipe.warmup_until_error for config in runs("paper_table6_110")}
    assert warmup == 80.0


def test_table_3_is_34_layers_with_each_shortcut() -> None:
    specs = [spec for config in runs("paper_table3_shortcuts") for spec in config.specs()]
    assert {spec.shortcut for spec in specs} == {"none", "A", "B", "C"}
    assert {spec.depth for spec in specs} == {34}


def test_the_second_papers_table_2_is_two_depths_with_five_orderings() -> None:
    specs = [spec for config in runs("identity_mappings_table2") for spec in config.specs()]
    orderings = {(spec.depth, spec.ordering) for spec in specs}
    assert len(orderings) == 10
    assert {depth for depth, _ in orderings} == {110, 164}
    assert {spec.block for spec in specs if spec.depth == 164} == {"bottleneck"}
    assert seeds("identity_mappings_table2") == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "stem",
    [stem for stem in GRIDS if stem.startswith(("paper_fig1", "paper_fig6", "paper_table6", "id"))],
)
def test_the_papers_cifar_files_train_as_the_paper_did(stem: str) -> None:
    for config in runs(stem):
        recipe = config.recipe
        assert (config.data.name, config.data.protocol) == ("cifar10", "full")
        assert (recipe.iterations, recipe.drops) == (64_000, (32_000, 48_000))
        assert (recipe.batch_size, recipe.ghost_batch, recipe.lr) == (128, 64, 0.1)


@pytest.mark.parametrize("stem", ["plain34_vs_resnet34", "paper_fig4", "paper_table3_shortcuts"])
def test_imagenet_gives_the_same_run_on_any_number_of_gpus(
    stem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for gpus in (1, 2, 4, 8):
        monkeypatch.setattr("resnet_lab.configuration.config._gpus", lambda gpus=gpus: gpus)
        configs = parsed(stem)
        assert {config.trainer.processes for config in configs} == {gpus}
        found[gpus] = [config.run_id() for config in configs]
    assert found[1] == found[2] == found[4] == found[8]
    assert {config.recipe.ghost_batch for config in configs} == {32}


@pytest.mark.parametrize("stem", ["plain34_vs_resnet34", "plain34_vs_resnet34_cifar"])
def test_the_34_layer_pair_is_matched_and_has_three_seeds(stem: str) -> None:
    plain, residual = sorted(NetworkSpec.parse(name).twin.name for name in names(stem))[::-1]
    assert {plain, residual} == names(stem)
    assert seeds(stem) == {0, 1, 2}


# Fair tuning


@pytest.mark.parametrize("stem", ["fair_tuning", "fair_tuning_digits"])
def test_fair_tuning_crosses_rates_pairs_and_seeds(stem: str) -> None:
    configs = runs(stem)
    rates = {config.recipe.lr for config in configs}
    assert (len(rates), len(names(stem)), len(seeds(stem))) == (5, 3, 3)
    assert len(configs) == 45
    for config in configs:
        plain, residual = config.specs()
        assert plain.twin == residual
        assert config.recipe.warmup_lr <= min(rates), "the warm-up would fall"
        assert config.data.protocol == "validation"
        assert config.data.test, "the chosen rate's test error is wanted"


def test_fair_tuning_differs_in_nothing_but_rate_network_and_seed() -> None:
    for stem in ("fair_tuning", "fair_tuning_digits"):
        others = []
        for config in runs(stem):
            same = dataclasses.replace(config.recipe, lr=0.1)
            alike = dataclasses.replace(config, recipe=same, network="plain-8", seed=0)
            others.append(alike.identity())
        assert all(one == others[0] for one in others)


def test_digits_are_cheap_enough_for_a_demonstration() -> None:
    for stem in ("fair_tuning_digits", "search_digits"):
        for config in runs(stem):
            assert (config.data.name, config.recipe.iterations) == ("digits", 192)
            assert {spec.width for spec in config.specs()} == {0.5}
