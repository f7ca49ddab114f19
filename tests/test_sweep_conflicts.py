"""Nothing overrides in silence what a sweep varies, and no bound is taken for what it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from resnet_lab.cli import main

FIXED: dict[str, Any] = {
    "data.name": {"value": "digits"},
    "data.test": {"value": False},
    "recipe.iterations": {"value": 8},
    "recipe.evaluate_every": {"value": 4},
    "recording.enabled": {"value": False},
}
VARIED: dict[str, Any] = {
    "network": {"values": ["plain-8", "resnet-8"]},
    "recipe": {"parameters": {"lr": {"values": [0.1, 0.2, 0.3]}}},
}


def sweep_file(method: str = "grid", parameters: dict[str, Any] = VARIED, **more: Any) -> str:
    content = {"program": "resnet-lab", "method": method, "parameters": {**FIXED, **parameters}}
    content |= {} if method == "grid" else {"run_cap": 2}
    Path("a.yaml").write_text(yaml.safe_dump({**content, **more}))
    return "a.yaml"


def plan(*flags: str) -> int:
    after = ["--", *flags] if flags else []
    return main(["sweep", "a.yaml", "--dry-run", *after])


@pytest.mark.parametrize("method", ["grid", "random"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--network", "plain-20"], "network plain-20, but the sweep varies it (plain-8, resnet-8"),
        (["--network=plain-20"], "network plain-20, but the sweep varies it (plain-8, resnet-8"),
        (["--recipe.lr", "0.5"], "recipe.lr 0.5, but the sweep varies it (0.1, 0.2, 0.3"),
        (["--config", "nested.yaml"], "recipe.lr 0.5, but the sweep varies it (0.1, 0.2, 0.3"),
        (["--config=dotted.yaml"], "network plain-20, but the sweep varies it (plain-8, resnet-8"),
    ],
)
def test_a_flag_that_overrides_what_the_sweep_varies_is_refused(
    method: str, flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nested.yaml").write_text("recipe: {lr: 0.5}\n")
    Path("dotted.yaml").write_text("network: plain-20\n")
    sweep_file(method)
    assert plan(*flags) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"resnet-lab: what follows -- gives every run {told}")
    assert said.count("\n") == 1


def test_a_flag_that_the_sweep_does_not_vary_counts_for_every_point(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep_file()
    assert plan("--recipe.iterations", "16") == 0
    assert "6 runs: 6 to do" in capsys.readouterr().out


def test_what_the_files_own_command_overrides_is_said_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep_file(command=["resnet-lab", "train", "${args}", "--network=plain-20"])
    assert plan() == 0
    said = capsys.readouterr()
    assert said.err == (
        "the file's command gives every run network plain-20, but the sweep varies it (plain-8, "
        "resnet-8): those values are not used\n"
    )
    assert "3 runs: 3 to do" in said.out
    sweep_file(command=["resnet-lab", "train", "--network=plain-20", "${args}"])
    assert plan() == 0
    assert capsys.readouterr().err == ""


def test_flags_that_make_different_files_alike_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, lr in (("one.yaml", 0.1), ("two.yaml", 0.2)):
        Path(name).write_text(f"recipe: {{lr: {lr}}}\n")
    sweep_file(
        parameters={"network": {"value": "plain-8"}, "config": {"values": ["one.yaml", "two.yaml"]}}
    )
    assert plan("--recipe.momentum", "0.5") == 0
    assert plan("--recipe.lr", "0.5") == 2
    assert "of 2 different runs 1 would be left" in capsys.readouterr().err


def test_smoke_may_make_points_alike(capsys: pytest.CaptureFixture[str]) -> None:
    sweep_file(parameters={**VARIED, "recipe.iterations": {"values": [8, 16]}})
    assert main(["sweep", "a.yaml", "--dry-run", "--smoke"]) == 0
    assert main(["sweep", "a.yaml", "--dry-run", "--smoke", "--", "--network=plain-20"]) == 2
    assert "varies it (plain-8, resnet-8)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            {"distribution": "log_uniform", "min": 0.001, "max": 1.0},
            "values would lie between 1.001 and 2.718; for values between 0.001 and 1 write "
            "distribution: log_uniform_values",
        ),
        (
            {"distribution": "q_log_uniform", "min": 16, "max": 512},
            "values would lie between 8.886e+06 and 2.284e+222; for values between 16 and 512 "
            "write distribution: q_log_uniform_values",
        ),
        (
            {"distribution": "inv_log_uniform", "min": 0.001, "max": 1.0},
            "values would lie between 0.3679 and 0.999; for values between 0.001 and 1 write "
            "distribution: inv_log_uniform_values",
        ),
        (
            {"distribution": "log_normal", "mu": 0.01, "sigma": 0.5},
            "the median would be e to the power of 0.01, 1.01; for a median of 0.01 write mu: "
            "-4.605",
        ),
    ],
)
def test_exponents_that_are_meant_as_values_are_refused(
    entry: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_file("random", {"network": {"value": "plain-8"}, "recipe.lr": entry})
    assert plan() == 2
    said = capsys.readouterr().err
    assert said.startswith("resnet-lab: a.yaml: parameter 'recipe.lr': ")
    assert said.endswith(f"{told}\n")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"distribution": "log_uniform", "min": -7, "max": 0}, ""),
        ({"distribution": "log_uniform", "min": 0, "max": 1.0}, "lie between 1 and 2.718 ("),
        ({"distribution": "log_normal", "mu": 0.5, "sigma": 0.1}, "the median is 1.649"),
    ],
)
def test_exponents_that_are_merely_odd_are_told_and_drawn(
    entry: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_file("random", {"network": {"value": "plain-8"}, "recipe.lr": entry})
    assert plan() == 0
    said = capsys.readouterr().err
    assert told in said
    assert bool(said) == bool(told)


@pytest.mark.parametrize("name", ["seed", "data.split_seed"])
def test_a_search_that_would_choose_a_lucky_seed_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in ({"values": [0, 1]}, {"min": 0, "max": 9}):
        sweep_file("bayes", {**VARIED, name: entry})
        assert plan() == 2
        said = capsys.readouterr().err
        assert f"a search must not draw {name}, or it would choose a lucky one" in said
        assert "resnet-lab sweep a.yaml --confirm 3 --seeds 1,2,3" in said
    sweep_file("bayes", {**VARIED, name: {"value": 4}})
    assert plan() == 0
    sweep_file("grid", {**VARIED, name: {"values": [0, 1]}})
    assert plan() == 0
