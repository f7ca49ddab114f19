"""The command of a sweep file, as the local engine takes it and as W&B's agents would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_runs import PLAIN, info
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.study import Study
from resnet_lab.cli.sweep import sweep_parser
from resnet_lab.cli.train import train_illustrated
from resnet_lab.cli.wandb_flags import from_wandb
from resnet_lab.configuration.config import Config
from resnet_lab.sweeps.sweep_file import read_sweep

POINT = "${args}"
TRAIN = ["resnet-lab", "train"]
PARAMETERS: dict[str, Any] = {
    "network": {"value": PLAIN},
    "recipe.lr": {"value": 0.1},
    "recipe.iterations": {"value": 4},
}


def sweep_file(command: Any = None, **more: Any) -> Path:
    content = {"program": "resnet-lab", "method": "grid", "parameters": PARAMETERS, **more}
    file = Path("study.yaml")
    file.write_text(yaml.safe_dump({**content, **({"command": command} if command else {})}))
    return file


def trained_here(file: Path) -> Config:
    """The configuration of the file's only run."""
    given = sweep_parser().parse_args([str(file)])
    [config] = Study.of(given, read_sweep(file), (), train_illustrated).configs.values()
    return config


def trained_by_an_agent(file: Path) -> Config:
    """The same as W&B's client writes the flags after `resnet-lab train`."""
    content = yaml.safe_load(file.read_text())
    point = {name: {"value": entry["value"]} for name, entry in content["parameters"].items()}
    flags = create_sweep_command_args({"args": dict(sorted(point.items()))})["args"]
    words: list[str] = []
    for word in content["command"]:
        words += flags if word == POINT else [str(word)]
    return parse_config(from_wandb(words[words.index("train") + 1 :]))


@pytest.mark.parametrize(
    ("command", "parameters", "wanted"),
    [
        (["--recipe.momentum=0.5", POINT], {}, {"momentum": 0.5, "lr": 0.1}),
        (["--recipe.momentum", "0.5", POINT], {}, {"momentum": 0.5, "lr": 0.1}),
        (["--recipe.lr=0.05", POINT], {}, {"lr": 0.1}),
        ([POINT, "--recipe.lr", 0.05], {}, {"lr": 0.05}),
        ([POINT, "--recipe.clip=None"], {}, {"clip": None}),
        (["--config=other.yaml", POINT], {}, {"momentum": 0.25, "lr": 0.1}),
        (["--config", "other.yaml", POINT], {}, {"momentum": 0.25, "lr": 0.1}),
        ([POINT, "--config", "other.yaml"], {}, {"momentum": 0.25, "lr": 0.75}),
        ([POINT, "--config=other.yaml"], {}, {"momentum": 0.25, "lr": 0.1}),
        (["--recipe.momentum=0.5", POINT], {"config": {"value": "other.yaml"}}, {"momentum": 0.5}),
        (["--recipe.momentum", "0.5", POINT], {"config": {"value": "other.yaml"}}, {"lr": 0.1}),
    ],
)
def test_fixed_flags_count_as_they_do_to_an_agent(
    command: list[Any], parameters: dict[str, Any], wanted: dict[str, Any]
) -> None:
    Path("other.yaml").write_text("recipe:\n  momentum: 0.25\n  lr: 0.75\n")
    file = sweep_file([*TRAIN, *command], parameters={**PARAMETERS, **parameters})
    here, there = trained_here(file), trained_by_an_agent(file)
    assert here.identity() == there.identity()
    assert {name: getattr(here.recipe, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    "start",
    [
        ["${env}", "resnet-lab", "train"],
        ["/usr/bin/env", "${program}", "train"],
        ["${env}", "${interpreter}", "-m", "resnet_lab", "train"],
        ["python3", "-u", "-m", "resnet_lab", "train"],
        ["/opt/venv/bin/resnet-lab", "train"],
    ],
)
def test_the_program_may_be_started_in_any_way(start: list[str]) -> None:
    file = sweep_file([*start, "--tracking=wandb", "--recipe.momentum=0.5", POINT])
    config = trained_here(file)
    assert (config.recipe.momentum, config.tracking) == (0.5, "none")


def test_a_variable_of_the_environment_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUM", "0.5")
    file = sweep_file([*TRAIN, "--recipe.momentum=${envvar:MOMENTUM}", POINT])
    assert trained_here(file).recipe.momentum == 0.5


def test_without_a_command_the_parameters_are_all() -> None:
    for program in ("resnet-lab", "resnet_lab"):
        assert trained_here(sweep_file(program=program)).recipe.iterations == 4


def test_fixed_flags_reach_the_runs_of_grids_and_searches() -> None:
    small = ["--recipe.batch_size=16", "--recording.enabled=false", "--trainer.device=cpu"]
    command = [*TRAIN, *small, POINT, "--recipe.iterations", "2"]
    search = {"method": "random", "run_cap": 1}
    search["parameters"] = {**PARAMETERS, "data.test": {"value": False}}
    for method in ({}, search):
        file = sweep_file(command, **method)
        assert main(["sweep", str(file), "--study", method.get("method", "grid")]) == 0
    steps = {run.parent.parent.name: info(run.parent)["step"] for run in Path().rglob("run.json")}
    assert steps == {"grid": 2, "random": 2}


MACROS = ("args_no_boolean_flags", "args_no_hyphens", "args_json", "args_json_file", "args_x")
REFUSED: list[tuple[Any, str]] = [
    *(([*TRAIN, f"${{{m}}}"], f"study.yaml: command has ${{{m}}}: the local ") for m in MACROS),
    ("resnet-lab train ${args}", "study.yaml: command is 'resnet-lab train ${args}': give a list"),
    (TRAIN, "study.yaml: command is without ${args}: it stands once"),
    ([*TRAIN, POINT, POINT], "study.yaml: command is with more than one ${args}: it stands once"),
    ([*TRAIN, {"lr": 1}, POINT], "study.yaml: command holds {'lr': 1}: write each of its words"),
    (["srun", *TRAIN, POINT], "study.yaml: command is srun resnet-lab train ${args}: the local "),
    (["${env}", "OMP_NUM_THREADS=1", *TRAIN, POINT], "study.yaml: command is ${env} OMP_NUM_TH"),
    (["python", "train.py", POINT], "study.yaml: command is python train.py ${args}: the local "),
    ([*TRAIN, "${envvar:NOT_SET}", POINT], "study.yaml: command uses ${envvar:NOT_SET}, but the "),
    ([*TRAIN, "--help", POINT], "study.yaml: command has --help, with which nothing is trained"),
    ([*TRAIN, "--recipe.lrr=1", POINT], "unknown argument '--recipe.lrr', did you mean '--recip"),
    (
        [*TRAIN, "--study=other", POINT],
        "the file's command sets --study to other, but the sweep itself has --study study: leave ",
    ),
    (
        [*TRAIN, POINT, "--runs-dir", "there"],
        "the file's command sets --runs-dir to there, but the sweep itself has --runs-dir runs: ",
    ),
]


@pytest.mark.parametrize(("command", "message"), REFUSED)
def test_what_cannot_be_done_exactly_is_refused(
    command: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(sweep_file(command))]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert told.count("\n") == 1
    assert not Path("runs").exists()


def test_another_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (None, ["${program}", "train", POINT]):
        assert main(["sweep", str(sweep_file(command, program="train.py"))]) == 2
        assert "program is 'train.py': the local engine trains by" in capsys.readouterr().err


def test_a_search_does_not_go_on_with_other_fixed_flags(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["--recipe.batch_size=16", "--recording.enabled=false", "--trainer.device=cpu"]
    search: dict[str, Any] = {"method": "random", "run_cap": 2}
    search["parameters"] = {**PARAMETERS, "data.test": {"value": False}}
    for momentum, code in (("0.5", 0), ("0.5", 0), ("0.6", 2)):
        command = [*TRAIN, *small, f"--recipe.momentum={momentum}", POINT]
        assert main(["sweep", str(sweep_file(command, **search)), "--count", "1"]) == code
    assert "study 'study' was begun with other parameters" in capsys.readouterr().err


def test_a_flag_that_overrides_what_is_drawn_is_told_as_it_was_trained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["--recipe.batch_size=16", "--recording.enabled=false", "--trainer.device=cpu"]
    search: dict[str, Any] = {"method": "random", "run_cap": 1}
    drawn = {"recipe.lr": {"min": 0.1, "max": 0.2}, "data.test": {"value": False}}
    search["parameters"] = {**PARAMETERS, **drawn}
    file = sweep_file([*TRAIN, *small, POINT, "--recipe.lr=0.05"], **search)
    assert main(["sweep", str(file)]) == 0
    told = capsys.readouterr()
    assert "\n  --recipe.lr=0.05\n" in told.out
    assert "the file's command gives every run recipe.lr 0.05, but the sweep varies it" in told.err


# Places


@pytest.mark.parametrize(
    ("parameters", "flags", "message"),
    [
        (
            {"study": {"value": "other"}},
            [],
            "the parameter 'study' is other, but the sweep itself has --study study: leave the "
            "first out, and say it by the sweep's own --study alone",
        ),
        (
            {"study": {"values": ["study", "b"]}},
            [],
            "the parameter 'study' is study, b, but the sweep itself has --study study: ",
        ),
        (
            {"runs_dir": {"value": "there"}},
            ["--runs-dir", "here"],
            "the parameter 'runs_dir' is there, but the sweep itself has --runs-dir here: ",
        ),
        (
            {"data-dir": {"value": "there"}},
            ["--data-dir", "here"],
            "the parameter 'data-dir' is there, but the sweep itself has --data-dir here: ",
        ),
        (
            {},
            ["--", "--study=b"],
            "what follows -- sets --study to b, but the sweep itself has --study study: ",
        ),
    ],
)
def test_a_place_is_said_once(
    parameters: Any, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file(parameters={**PARAMETERS, **parameters})
    assert main(["sweep", str(file), *flags]) == 2
    assert capsys.readouterr().err.startswith(f"resnet-lab: {message}")


def test_the_same_place_may_be_said_for_agents_too() -> None:
    places = {"study": {"value": "study"}, "runs_dir": {"value": "runs"}}
    config = trained_here(sweep_file(parameters={**PARAMETERS, **places}))
    assert (config.study, config.runs_dir) == ("study", "runs")
