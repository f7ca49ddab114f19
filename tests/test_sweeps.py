from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import own_files
from optuna.storages.journal import JournalFileBackend
from tiny_runs import PLAIN, RESIDUAL, ROOT, at_step, info, interrupt, member

from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.runs.lock import RunLock
from resnet_lab.sweeps import local
from resnet_lab.sweeps.queue import Queue
from resnet_lab.sweeps.sweep_file import read_sweep
from resnet_lab.training.train import train

EXPERIMENTS = own_files("experiments/*.yaml")
SHORT = {
    "recipe.iterations": {"value": 2},
    "recipe.batch_size": {"value": 16},
    "recording.probe_size": {"value": 16},
    "trainer.device": {"value": "cpu"},
}


def sweep_file(parameters: dict[str, Any], stem: str = "study", **more: Any) -> Path:
    file = Path(f"{stem}.yaml")
    content = {"program": "resnet_lab", "method": "grid", "parameters": parameters, **more}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def points(parameters: dict[str, Any]) -> list[list[str]]:
    return list(read_sweep(sweep_file(parameters)).points())


# The format


def test_the_grid_is_the_product_and_the_last_parameter_varies_fastest() -> None:
    parameters = {
        "network": {"values": ["plain-8", "resnet-8"]},
        "recipe.lr": {"value": 0.1},
        "seed": {"values": [0, 1]},
    }
    assert points(parameters) == [
        ["--network=plain-8", "--recipe.lr=0.1", "--seed=0"],
        ["--network=plain-8", "--recipe.lr=0.1", "--seed=1"],
        ["--network=resnet-8", "--recipe.lr=0.1", "--seed=0"],
        ["--network=resnet-8", "--recipe.lr=0.1", "--seed=1"],
    ]


def test_nested_parameters_are_joined_by_dots() -> None:
    recipe = {"lr": {"values": [0.1, 0.2]}, "batch_size": {"value": 64}}
    nested = {"recipe": {"parameters": recipe}, "seed": {"value": 1}}
    assert points(nested) == [
        ["--recipe.lr=0.1", "--recipe.batch_size=64", "--seed=1"],
        ["--recipe.lr=0.2", "--recipe.batch_size=64", "--seed=1"],
    ]


def test_values_of_any_kind_reach_the_configuration() -> None:
    parameters = {
        "recipe.drops": {"value": [10, 20]},
        "recipe.nesterov": {"value": True},
        "recipe.clip": {"value": None},
        "recipe.weight_decay": {"value": 1e-5},
        "data.name": {"value": "cifar10"},
        "study": {"value": "2024"},
    }
    config = parse_config(points(parameters)[0])
    recipe = config.recipe
    assert (recipe.drops, recipe.nesterov, recipe.clip) == ((10, 20), True, None)
    assert (recipe.weight_decay, config.data.name, config.study) == (1e-5, "cifar10", "2024")


def test_a_configuration_file_is_read_first_wherever_it_stands() -> None:
    Path("recipe.yaml").write_text("recipe:\n  lr: 0.5\n  momentum: 0.5\n")
    parameters = {"recipe.lr": {"value": 0.1}, "config": {"value": "recipe.yaml"}}
    config = parse_config(points(parameters)[0])
    assert (config.recipe.lr, config.recipe.momentum) == (0.1, 0.5)


def test_a_sweep_is_named_by_its_file_unless_it_has_a_name() -> None:
    assert read_sweep(sweep_file({"seed": {"value": 0}}, "depths")).name == "depths"
    assert read_sweep(sweep_file({"seed": {"value": 0}}, "depths", name="other")).name == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parameters: [", "file.yaml is no YAML: while parsing a flow node"),
        ("- 1", "file.yaml is no sweep file: it has no 'parameters'"),
        ("method: grid", "file.yaml is no sweep file: it has no 'parameters'"),
        (
            "metod: grid\nparameters: {}",
            "file.yaml: unknown key 'metod', did you mean 'method'? (known: program, name, ",
        ),
        (
            "method: grit\nparameters: {seed: {value: 0}}",
            "file.yaml: method is 'grit', did you mean 'grid'?: give one of grid, random, bayes",
        ),
        ("method: grid\nparameters: {}", "file.yaml: parameters: give names with values"),
        (
            "method: grid\nparameters: {recipe: {parameters: 3}}",
            "file.yaml: parameters of recipe: give names with values",
        ),
        (
            "method: grid\nparameters: {seed: 0}",
            "file.yaml: parameter 'seed' is 0: write {value: 0}",
        ),
        (
            "method: grid\nparameters: {recipe.lr: [0.1, 0.01]}",
            "file.yaml: parameter 'recipe.lr' is [0.1, 0.01]: write {values: [0.1, 0.01]}, or "
            "{value: [0.1, 0.01]} where the list is one value",
        ),
        (
            "method: grid\nparameters: {recipe.clip: null}",
            "file.yaml: parameter 'recipe.clip' is None: write {value: null}",
        ),
        (
            "method: grid\n"
            "parameters: {recipe.lr: {value: 1}, recipe: {parameters: {lr: {value: 2}}}}",
            "file.yaml: the parameter 'recipe.lr' is there twice, as 'recipe.lr' and as 'lr' in "
            "'recipe': leave one of them out",
        ),
        (
            "method: grid\nparameters: {data-dir: {value: a}, data_dir: {value: b}}",
            "file.yaml: the parameter 'data_dir' is there twice, as 'data-dir' and as 'data_dir'",
        ),
        (
            "method: grid\nscheduler: optuna\nparameters: {seed: {value: 0}}",
            "file.yaml: scheduler is 'optuna': give its keys, such as {engine: wandb}, or leave ",
        ),
        (
            "method: grid\ncontroller: {type: local}\nparameters: {seed: {value: 0}}",
            "file.yaml: 'controller' means nothing here (it says which W&B process draws the ",
        ),
        (
            "method: grid\nparameters: {seed: {value: 0, values: [1]}}",
            "file.yaml: parameter 'seed': unknown key 'values', did you mean 'value'? (constant ",
        ),
        (
            "method: grid\nparameters: {seed: {values: []}}",
            "file.yaml: parameter 'seed': values is []: give a list with at least one value",
        ),
        (
            "method: grid\nparameters: {seed: {values: [1, 2, 1]}}",
            "file.yaml: parameter 'seed': the value 1 is there twice",
        ),
        (
            "method: grid\nparameters: {recipe.lr: {min: 0.1, max: 0.2}}",
            "file.yaml: parameter 'recipe.lr' has endlessly many values: a grid needs value, ",
        ),
        (
            "method: random\nparameters: {recipe.lr: {min: 0.1, max: 0.2}}",
            "file.yaml: a search must not read test images, or they would choose: add to its ",
        ),
        (
            "method: bayes\nparameters: {data.test: {value: true}}",
            "file.yaml: a search must not read test images",
        ),
        (
            "method: grid\nearly_terminate: {type: hyperband, min_iter: 2}\n"
            "parameters: {seed: {values: [1]}}",
            "file.yaml: a search must not read test images",
        ),
        (
            "method: random\nmetric: {name: test_error}\nparameters: {data.test: {value: false}}",
            "file.yaml: metric is 'test_error': runs are chosen by what the validation images say",
        ),
        (
            "method: random\nmetric: {name: validation_error, goal: maximize}\n"
            "parameters: {data.test: {value: false}}",
            "file.yaml: goal is 'maximize': validation_error is to be minimized",
        ),
        (
            "method: random\nrun_cap: 0\nparameters: {data.test: {value: false}}",
            "file.yaml: run_cap is 0: give a whole number, 1 or more",
        ),
        (
            "method: random\nparameters: {data.test: {value: false}}",
            "file.yaml is a search without an end: give it a run_cap, or --count",
        ),
        (
            "method: random\nrun_cap: 3\nearly_terminate: {type: median}\n"
            "parameters: {data.test: {value: false}}",
            "file.yaml: early_terminate is {'type': 'median'}: give type: hyperband",
        ),
        (
            "method: random\nrun_cap: 3\nearly_terminate: {type: hyperband, eta: 1}\n"
            "parameters: {data.test: {value: false}}",
            "file.yaml: early_terminate: eta is 1: give a whole number, 2 or more",
        ),
        (
            "method: random\nrun_cap: 3\nearly_terminate: {type: hyperband, max_iter: 9}\n"
            "parameters: {data.test: {value: false}}",
            "file.yaml: early_terminate: give either min_iter, or max_iter and s",
        ),
        (
            "method: random\nrun_cap: 3\nearly_terminate: {type: hyperband, min_iter: 64}\n"
            "parameters: {data.test: {value: false}}",
            "early_terminate would stop runs at evaluation 64, but a run has only 63 before its ",
        ),
    ],
)
def test_a_wrong_sweep_file_is_refused(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file.yaml").write_text(text)
    assert main(["sweep", "file.yaml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert told.count("\n") == 1


def test_a_scheduler_is_wandbs_and_the_local_engine_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sweep_file({"network": {"value": PLAIN}}, scheduler={"engine": "optuna"})
    assert main(["sweep", str(file), "--dry-run"]) == 0
    told = capsys.readouterr()
    assert told.err == "the file's scheduler is W&B's: the local engine needs none\n"
    assert "1 runs: 1 to do" in told.out


def test_a_mistake_in_any_run_is_found_before_the_first_is_trained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sweep_file({**SHORT, "network": {"values": [PLAIN, "plain-9"]}})
    assert main(["sweep", str(file)]) == 2
    assert "depth 9: CIFAR networks have 6n+2 layers" in capsys.readouterr().err
    assert not Path("runs").exists()


# Running


def runs(study: str = "runs/study") -> list[Path]:
    return sorted(file.parent for file in Path(study).glob("*/run.json"))


def statuses() -> dict[str, str]:
    return {run.name.split("_")[0]: info(run)["status"] for run in runs()}


def test_a_sweep_trains_what_is_not_finished_and_then_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sweep_file({**SHORT, "network": {"values": [PLAIN, RESIDUAL]}})
    assert main(["sweep", str(file), "--dry-run"]) == 0
    plan = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in plan[:2]] == [["to", "do", "2", "iterations"]] * 2
    size = complexity(NetworkSpec.parse(PLAIN), num_classes=10, in_channels=1, image_size=8)
    work = f"{2 * 2 * 16 * size.multiply_adds:.3g} multiply-adds forward"
    assert plan[2:] == [
        "2 runs: 2 to do",
        f"remaining: 2 runs, 4 iterations, {work}",
        f"time: nothing was measured yet of {PLAIN}, {RESIDUAL} with these settings",
    ]
    assert not Path("runs").exists()

    assert main(["sweep", str(file), "--count", "1"]) == 0
    first = capsys.readouterr()
    assert first.out.splitlines() == [
        "1 of 2 runs finished",
        "next: the other 1 run, and then resnet-lab report runs/study --out report",
    ]
    assert first.err.splitlines()[2].startswith("1 run is left, about ")
    assert statuses() == {PLAIN: "finished"}
    written = [path for path in Path("runs").rglob("*.*") if path.suffix != ".journal"]
    stamps = {path: path.stat().st_mtime_ns for path in written}

    assert main(["sweep", str(file)]) == 0
    second = capsys.readouterr()
    assert second.out.splitlines()[0] == "2 of 2 runs finished"
    begun, ended = second.err.splitlines()
    assert begun.startswith(f"run 2 of 2: {RESIDUAL}_digits_seed0_")
    error = member(runs()[1], RESIDUAL)["final"]["validation_error"]
    assert ended.endswith(f": validation error {error:.2f} %")
    assert statuses() == {PLAIN: "finished", RESIDUAL: "finished"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    assert main(["sweep", str(file)]) == 0
    assert capsys.readouterr() == (second.out, "")
    assert main(["sweep", str(file), "--dry-run"]) == 0
    plan = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in plan[:2]] == ["finished"] * 2
    assert plan[3] == "remaining: 0 runs, 0 iterations, 0 multiply-adds forward"


def test_a_run_that_fails_does_not_keep_the_others_from_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down() -> None:
        raise RuntimeError("cosmic ray")

    at_step(monkeypatch, 1, break_down)
    file = sweep_file({**SHORT, "network": {"values": [PLAIN, RESIDUAL]}})
    assert main(["sweep", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "1 of 2 runs finished"
    assert printed.out.splitlines()[1].startswith(f"failed: {PLAIN}_digits_seed0_")
    assert printed.out.endswith("RuntimeError: cosmic ray\n")
    assert statuses() == {PLAIN: "failed", RESIDUAL: "finished"}

    assert main(["sweep", str(file)]) == 0
    assert statuses() == {PLAIN: "finished", RESIDUAL: "finished"}


def test_bad_input_that_comes_up_late_costs_its_own_run_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parameters = {**SHORT, "network": {"value": PLAIN}}
    for sizes, code in (([16, 5000, 32], 1), ([5000, 64], 2)):
        file = sweep_file({**parameters, "recipe.batch_size": {"values": sizes}})
        assert main(["sweep", str(file)]) == code
    assert "is larger than the training part, 1294 images" in capsys.readouterr().err
    assert len(runs()) == 2


def test_a_run_that_another_process_trains_is_left_to_it_and_looked_at_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sweep_file({**SHORT, "network": {"values": [PLAIN, RESIDUAL]}})
    assert main(["sweep", str(file), "--count", "1"]) == 0
    [done] = runs()
    undisturbed = (done / f"weights/{PLAIN}.pt").read_bytes()
    shutil.rmtree("runs")
    done.mkdir(parents=True)
    capsys.readouterr()
    with ExitStack() as held:
        held.enter_context(RunLock(done))
        timer = threading.Timer(4, held.close)
        timer.start()
        assert main(["sweep", str(file)]) == 0
        timer.join()
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "2 of 2 runs finished"
    first, left, second, *ended = printed.err.splitlines()
    ended = [line for line in ended if not line.startswith("1 run is left")]
    assert first == f"run 1 of 2: {done.name}"
    assert left.startswith(f"left until later: {done.name}: {done} is being trained by process ")
    assert second.startswith(f"run 1 of 2: {RESIDUAL}_digits_seed0_")
    assert [line.split(":")[0] for line in ended] == ["finished"] * 2
    assert statuses() == {PLAIN: "finished", RESIDUAL: "finished"}
    assert (done / f"weights/{PLAIN}.pt").read_bytes() == undisturbed


def test_a_mistake_is_one_although_another_worker_is_about_to_find_it_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file({**SHORT, "data.name": {"value": "cifar10"}, "seed": {"values": [0, 1]}})
    take = Queue.take

    def take_both(self: Queue, *given: Any) -> Any:
        trial = take(self, *given)
        take(self)
        return trial

    monkeypatch.setattr(Queue, "take", take_both)
    assert main(["sweep", str(file), "--data-dir", "nowhere"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("resnet-lab: data: cifar10 is not")


def test_a_journal_without_room_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = sweep_file({**SHORT, "network": {"value": PLAIN}})
    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", refuse)
        assert main(["sweep", str(file)]) == 1
    assert capsys.readouterr().err == (
        "resnet-lab: No space left on device: make room, and give the command again\n"
    )
    assert main(["sweep", str(file)]) == 0


def test_a_line_has_a_number_for_each_network(capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file({**SHORT, "network": {"value": f"{PLAIN},{RESIDUAL}"}})
    assert main(["sweep", str(file)]) == 0
    [run] = runs()
    plain, residual = (member(run, one)["final"]["validation_error"] for one in (PLAIN, RESIDUAL))
    ended = capsys.readouterr().err.splitlines()[-1]
    assert ended == (
        f"finished: {run.name}: validation error: {PLAIN} {plain:.2f} %, {RESIDUAL} "
        f"{residual:.2f} %"
    )


def test_workers_that_keep_dying_leave_no_sweep_that_looks_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "run_worker", lambda *_: None)
    file = sweep_file({**SHORT, "network": {"values": [PLAIN, RESIDUAL]}})
    assert main(["sweep", str(file)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "0 of 2 runs finished",
        "2 runs are left: the same command continues",
    ]


def test_an_interruption_ends_the_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_step(monkeypatch, 0, interrupt)
    file = sweep_file({**SHORT, "network": {"values": [PLAIN, RESIDUAL]}})
    assert main(["sweep", str(file)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "0 of 2 runs finished",
        "interrupted: the same command continues",
    ]
    assert statuses() == {PLAIN: "interrupted"}


def test_folders_and_study_are_those_of_the_command_line() -> None:
    file = sweep_file({**SHORT, "network": {"value": PLAIN}, "seed": {"values": [4]}})
    assert main(["sweep", str(file), "--runs-dir", "elsewhere", "--study", "mine"]) == 0
    [run] = runs("elsewhere/mine")
    assert (info(run)["study"], info(run)["seed"]) == ("mine", 4)


def test_a_run_whose_directory_is_gone_is_trained_again() -> None:
    file = sweep_file({**SHORT, "network": {"value": PLAIN}, "seed": {"values": [0, 1]}})
    assert main(["sweep", str(file)]) == 0
    gone, kept = runs()
    shutil.rmtree(gone)
    stamp = (kept / "run.json").stat().st_mtime_ns
    assert main(["sweep", str(file)]) == 0
    assert info(gone)["status"] == "finished"
    assert (kept / "run.json").stat().st_mtime_ns == stamp


def test_a_grid_may_grow() -> None:
    for seeds in ([0], [1, 0]):
        file = sweep_file({**SHORT, "network": {"value": PLAIN}, "seed": {"values": seeds}})
        assert main(["sweep", str(file)]) == 0
    assert sorted(info(run)["seed"] for run in runs()) == [0, 1]


def test_equal_points_are_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file({**SHORT, "network": {"values": ["plain-8-x0.25", " Plain-8-x0.25"]}})
    assert main(["sweep", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 of 1 runs finished",
        "next: resnet-lab report runs/study --out report",
    ]


def test_what_follows_two_dashes_is_given_to_every_run() -> None:
    file = sweep_file({**SHORT, "network": {"value": PLAIN}, "recipe.lr": {"values": [0.1, 0.2]}})
    assert main(["sweep", str(file), "--", "--recipe.momentum", "0.5"]) == 0
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs()]
    recipes = [config["recipe"] for config in configs]
    assert sorted((recipe["lr"], recipe["momentum"]) for recipe in recipes) == [
        (0.1, 0.5),
        (0.2, 0.5),
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers", "0"], "--workers is 0: give 1 or more"),
        (["--count", "-1"], "--count is -1: give 0 or more"),
        (["--worker", "2"], "unknown argument '--worker', did you mean '--workers'?"),
        (["--storage", "sqlite:///a.db"], "storage 'sqlite:///a.db': sqlite locks when several"),
        (
            ["--storage", "postgresql://me:secret@127.0.0.1:1/x"],
            "storage 'postgresql://me@127.0.0.1:1/x' cannot be used: ",
        ),
    ],
)
def test_bad_flags_are_refused(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file({**SHORT, "network": {"value": PLAIN}})
    assert main(["sweep", str(file), *flags]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert "secret" not in told


def test_processes_started_side_by_side_train_runs_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under `srun -n 8` each has a rank, which training takes for a part of one network's."""
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert main(["sweep", str(sweep_file({**SHORT, "network": {"value": PLAIN}}))]) == 0
    assert statuses() == {PLAIN: "finished"}


def test_smoke_is_short_and_keeps_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    parameters = {"config": {"value": str(ROOT / "experiments/digits.yaml")}}
    parameters |= {"network": {"value": PLAIN}, "trainer.device": {"value": "cpu"}}
    assert main(["sweep", str(sweep_file(parameters)), "--smoke"]) == 0
    [run] = runs("runs/study-smoke")
    assert (info(run)["step"], "test" in info(run)["data"]["counts"]) == (10, False)


# The files of the project


def test_the_demonstration_is_three_depths_of_twins_and_three_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(ROOT / "sweeps" / "demo_digits.yaml")
    configs = [parse_config(point) for point in sweep.points()]
    found = {(config.network, config.seed) for config in configs}
    pairs = [f"plain-{depth}-x0.5,resnet-{depth}-x0.5" for depth in (8, 20, 56)]
    assert found == set(itertools.product(pairs, (0, 1, 2)))
    assert {config.data.name for config in configs} == {"digits"}


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_every_experiment_of_the_project_trains(file: Path) -> None:
    """All but the length, the batch and, where they are not digits, the images is as written."""
    written = parse_config(["--config", str(file)])
    shorter = ["--recipe.iterations=3", "--recipe.drops=[]", "--recipe.warmup_steps=0"]
    shorter += ["--recipe.log_every=1", "--recipe.evaluate_every=2", "--recipe.compile=false"]
    shorter += ["--recipe.precise_bn=64", "--network=plain-8-x0.25,resnet-8-x0.25"]
    digits = ["--data.name=digits", "--data.test_view=centre", "--trainer.device=cpu"]
    digits += ["--data.pixels=null"]
    config = parse_config(["--config", str(file), *shorter, *digits])
    assert config.recipe.batch_size == written.recipe.batch_size
    run = train(config)
    assert info(run)["status"] == "finished"
    assert [member["status"] for member in info(run)["networks"]] == ["finished"] * 2


def test_the_paper_recipe_is_the_papers() -> None:
    for name in ("cifar10_paper", "cifar100_paper"):
        config = parse_config(["--config", str(ROOT / "experiments" / f"{name}.yaml")])
        recipe = config.recipe
        assert (recipe.iterations, recipe.drops) == (64_000, (32_000, 48_000))
        assert (recipe.batch_size, recipe.lr, recipe.drop_factor) == (128, 0.1, 0.1)
        assert (recipe.momentum, recipe.weight_decay) == (0.9, 1e-4)
        assert not recipe.nesterov
        assert (config.data.normalise, config.data.augment) == ("pixel-mean", "paper")
        assert config.data.name == name.removesuffix("_paper")
