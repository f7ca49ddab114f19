from __future__ import annotations

import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from test_data_cifar import SMALL10, write
from tiny_runs import PLAIN, RESIDUAL, at_step, info, interrupt, member, resumed, series, tiny

from resnet_lab.cli import main
from resnet_lab.data.cifar import VERSIONS
from resnet_lab.sweeps.queue import FLAGS, RUN, SLOT, Queue, Slot, open_study
from resnet_lab.sweeps.sampling import pruner, sampler
from resnet_lab.sweeps.space import Hyperband, Sweep, read_sweep
from resnet_lab.sweeps.storage import open_storage
from resnet_lab.sweeps.verdict import TrialJudge, cohort_value, final_value

SEARCH: dict[str, Any] = {
    "program": "resnet-lab",
    "method": "random",
    "run_cap": 4,
    "metric": {"name": "validation_error", "goal": "minimize"},
    "parameters": {
        "network": {"value": PLAIN},
        "data.test": {"value": False},
        "recipe.lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0},
        "recipe.momentum": {"min": 0.0, "max": 0.9},
        "recipe.iterations": {"value": 8},
        "recipe.evaluate_every": {"value": 2},
        "recipe.batch_size": {"value": 16},
        "recording.enabled": {"value": False},
        "trainer.device": {"value": "cpu"},
    },
}


def search_file(**changes: Any) -> Path:
    file = Path("search.yaml")
    parameters = SEARCH["parameters"] | changes.pop("parameters", {})
    file.write_text(yaml.safe_dump({**SEARCH, **changes, "parameters": parameters}))
    return file


def study(sweep: Sweep, seed: int, name: str = "study") -> closing[Queue]:
    storage = open_storage(None, Path(name), 60)
    opened = open_study(name, storage, None)
    opened.sampler = sampler(sweep.method, seed)
    return closing(Queue(opened, storage))


def trials(name: str = "search") -> list[Any]:
    """The trials of a study, in order of their slots."""
    storage = open_storage(None, Path("runs", name), 60)
    with closing(Queue(optuna.load_study(study_name=name, storage=storage), storage)) as queue:
        return sorted(queue.attempts().values(), key=lambda trial: int(trial.user_attrs[SLOT]))


def quality(flags: list[str]) -> float:
    """A made-up validation error, best at a learning rate of 0.1."""
    lr = next(float(flag.split("=")[1]) for flag in flags if flag.startswith("--recipe.lr="))
    return 50 + 10 * abs(math.log10(lr) + 1)


def drawn(sweep: Sweep, seed: int, name: str, count: int = 16) -> list[list[str]]:
    """What a search draws one run after the other, were their errors as `quality` says."""
    points = []
    with study(sweep, seed, name) as queue:
        queue.fill([Slot(str(number), {}) for number in range(count)])
        while (trial := queue.take()) is not None:
            points.append(sweep.draw(trial))
            queue.study.tell(trial, quality(points[-1]))
    return points


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_repeats_itself_by_its_seed(method: str) -> None:
    sweep = read_sweep(search_file(method=method))
    first = drawn(sweep, 0, "first")
    assert len({tuple(flags) for flags in first}) == len(first)
    assert drawn(sweep, 0, "second") == first
    assert drawn(sweep, 1, "third") != first


def test_a_random_draw_depends_on_its_place_alone() -> None:
    """As many workers take the places in whatever order, nothing else would be repeatable."""
    sweep = read_sweep(search_file())
    straight = drawn(sweep, 0, "straight", 6)
    with study(sweep, 0, "crooked") as queue:
        queue.fill([Slot(str(number), {}) for number in range(6)])
        taken = [queue.take() for _ in range(6)]
        crooked = {t.user_attrs[SLOT]: sweep.draw(t) for t in reversed(taken) if t is not None}
    assert [crooked[str(number)] for number in range(6)] == straight


def test_bayes_learns_from_results_and_random_does_not() -> None:
    after = {}
    for method in ("random", "bayes"):
        points = drawn(read_sweep(search_file(method=method)), 0, method, 40)
        errors = [quality(flags) for flags in points]
        after[method] = sum(errors[20:]) / 20
    assert after["bayes"] < after["random"] - 3


# Early termination


def judged(values: list[float], others: list[list[float]], halving: Hyperband) -> list[bool]:
    """What the judge says of a run with these errors, after others have had theirs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna_study = optuna.create_study(pruner=pruner(halving))
    config = tiny(network=PLAIN, evaluate_every=5, iterations=100)

    def listen(errors: list[float]) -> list[bool]:
        judge = TrialJudge(optuna_study.ask(), config, "validation_error", stops=True)
        said = []
        for number, error in enumerate(errors, start=1):
            said.append(judge(5 * number, {PLAIN: {"error": error, "loss": 1.0}}))
            if said[-1]:
                break
        return said

    for errors in others:
        listen(errors)
    return listen(values)


def test_hyperband_lets_the_best_part_pass_each_rung() -> None:
    halving = Hyperband(first=2, eta=2)
    others = [[50.0, 40.0, 30.0, 20.0, 10.0], [50.0, 30.0, 25.0, 15.0], [50.0, 60.0]]
    # Rungs are evaluations 2, 4, 8, ...; of four at the first, 2 pass; of three at the second, 1.
    assert judged([90.0, 35.0, 90.0, 14.0, 90.0, 90.0, 90.0], others, halving) == [False] * 7
    assert judged([90.0, 45.0], others, halving) == [False, True]
    assert judged([90.0, 35.0, 10.0, 16.0], others, halving) == [False, False, False, True]


def test_a_resumed_run_is_not_judged_twice_for_the_same_evaluation() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna_study = optuna.create_study(pruner=pruner(Hyperband(1, 2)))
    trial, config = optuna_study.ask(), tiny(network=PLAIN, evaluate_every=5, iterations=100)
    TrialJudge(trial, config, "validation_error", stops=True)(5, {PLAIN: {"error": 5.0}})
    again = TrialJudge(trial, config, "validation_error", stops=True)
    assert not again(5, {PLAIN: {"error": 99.0}})
    assert optuna_study.trials[0].intermediate_values == {1: 5.0}


def test_a_storage_that_is_away_does_not_stop_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trial, config = optuna.create_study().ask(), tiny(network=PLAIN)
    judge = TrialJudge(trial, config, "validation_error", stops=True)

    def report(value: float, step: int) -> None:
        raise optuna.exceptions.StorageInternalError("the server is restarting")

    monkeypatch.setattr(trial, "report", report)
    assert not judge(6, {PLAIN: {"error": 5.0}})
    assert "the server is restarting" in capsys.readouterr().err


def test_a_cohort_is_worth_the_mean_and_a_diverged_network_the_worst() -> None:
    scores = {PLAIN: {"error": 20.0, "loss": 1.0}}
    assert cohort_value(scores, [PLAIN], "validation_error") == 20
    assert cohort_value(scores, [PLAIN, RESIDUAL], "validation_error") == 60
    assert cohort_value(scores, [PLAIN, RESIDUAL], "validation_loss") == math.inf
    finals: list[dict[str, float]] = [{"train_error": 4.0, "validation_error": 10.0}, {}]
    run = {"networks": [{"final": final} for final in finals]}
    assert final_value(run, "validation_error") == 55
    blind = {"networks": [{"final": {"train_error": 4.0}}]}
    assert final_value(blind, "validation_error") == 4


# The command


def test_a_search_trains_its_runs_and_names_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(search_file())]) == 0
    done = trials()
    finals = {t.user_attrs[RUN]: info(Path("runs/search", t.user_attrs[RUN])) for t in done}
    errors = {name: run["networks"][0]["final"]["validation_error"] for name, run in finals.items()}
    assert [trial.value for trial in done] == [errors[trial.user_attrs[RUN]] for trial in done]
    best = min(done, key=lambda trial: trial.value)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "4 of 4 runs finished"
    assert out[1] == f"best of 4 that came to their end: validation error {best.value:.2f} %"
    assert out[2].strip() == best.user_attrs[FLAGS]
    assert out[3].strip() == f"runs/search/{best.user_attrs[RUN]}"
    assert main(["sweep", str(search_file()), "--dry-run"]) == 0
    plan = capsys.readouterr().out.splitlines()
    assert plan[1] == "4 runs: 4 finished"
    for trial in done:
        run = Path("runs/search", trial.user_attrs[RUN])
        curve = series(run, PLAIN, "validation", "error")
        assert trial.intermediate_values == {step // 2: curve[step] for step in (2, 4, 6)}
        assert f"--recipe.lr={trial.params['recipe.lr']!r}" in trial.user_attrs[FLAGS].split()


def test_runs_stopped_early_count_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    halving = {"type": "hyperband", "min_iter": 1, "eta": 2}
    assert main(["sweep", str(search_file(early_terminate=halving, run_cap=6))]) == 0
    states = [trial.state.name for trial in trials()]
    stopped = states.count("PRUNED")
    assert 1 <= stopped <= 5
    assert f"6 of 6 runs finished, {stopped} of them stopped early" in capsys.readouterr().out
    for trial in trials():
        run = info(Path("runs/search", trial.user_attrs[RUN]))
        assert (run["status"] == "stopped") == (trial.state.name == "PRUNED")
        if run["status"] == "stopped":
            assert run["step"] == 2 * max(trial.intermediate_values) < 8


def test_a_grid_whose_runs_are_stopped_early_is_done_with_them() -> None:
    grid = {
        **SEARCH,
        "method": "grid",
        "early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2},
        "parameters": {
            **SEARCH["parameters"],
            "recipe.lr": {"values": [0.1, 0.00001]},
            "recipe.momentum": {"value": 0.9},
            "recipe.iterations": {"value": 32},
            "recipe.evaluate_every": {"value": 8},
        },
    }
    Path("search.yaml").write_text(yaml.safe_dump(grid))
    assert main(["sweep", "search.yaml"]) == 0
    found = {file: file.stat().st_mtime_ns for file in Path("runs/search").glob("*/run.json")}
    assert "stopped" in {info(file.parent)["status"] for file in found}
    assert main(["sweep", "search.yaml"]) == 0
    assert {file: file.stat().st_mtime_ns for file in found} == found


def test_a_search_without_a_cap_grows_by_what_is_asked_for() -> None:
    endless = {key: value for key, value in SEARCH.items() if key != "run_cap"}
    Path("search.yaml").write_text(yaml.safe_dump(endless))
    for known in (1, 3):
        assert main(["sweep", "search.yaml", "--count", str(1 if known == 1 else 2)]) == 0
        assert [trial.state.name for trial in trials()] == ["COMPLETE"] * known


def test_a_search_never_reads_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 without its test file: whoever opened it would fail."""
    write(SMALL10, tmp_path)
    (tmp_path / SMALL10.folder / "test_batch.bin").unlink()
    monkeypatch.setitem(VERSIONS, "cifar10", SMALL10)
    cifar = {"data.name": {"value": "cifar10"}, "data.validation_size": {"value": 8}}
    cifar |= {"recording.probe_size": {"value": 16}, "recipe.test_curve": {"value": True}}
    file = search_file(parameters=cifar)
    assert main(["sweep", str(file), "--data-dir", str(tmp_path), "--runs-dir", "runs"]) == 0
    for trial in trials():
        run = Path("runs/search", trial.user_attrs[RUN])
        assert set(member(run, PLAIN)["final"]) == {
            *("train_error", "train_loss", "validation_error", "validation_loss"),
        }
        assert not series(run, PLAIN, "test", "error")
    assert main(["sweep", str(file), "--data-dir", str(tmp_path), "--", "--data.test=true"]) == 2


def test_a_search_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["sweep", str(search_file()), "--study", "whole"]) == 0
    at_step(monkeypatch, 3, interrupt)
    assert main(["sweep", str(search_file()), "--study", "parted"]) == 1
    assert main(["sweep", str(search_file()), "--study", "parted", "--count", "2"]) == 0
    assert [trial.state.name for trial in trials("parted")].count("COMPLETE") == 2
    assert main(["sweep", str(search_file()), "--study", "parted"]) == 0
    first, second = (
        [(trial.params, trial.value, trial.intermediate_values) for trial in trials(name)]
        for name in ("whole", "parted")
    )
    assert first == second
    found = Path("runs/parted").glob("*/run.json")
    assert sorted(resumed(file.parent) for file in found) == [[], [], [], [4]]


def test_a_target_that_is_reached_ends_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    metric = {"name": "validation_error", "goal": "minimize", "target": 100}
    assert main(["sweep", str(search_file(metric=metric))]) == 0
    assert capsys.readouterr().out.startswith("1 of 4 runs finished\n")


def test_another_space_needs_another_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(search_file()), "--count", "1"]) == 0
    wider = {"recipe.momentum": {"min": 0.0, "max": 0.95}}
    assert main(["sweep", str(search_file(parameters=wider)), "--count", "1"]) == 2
    assert "study 'search' was begun with other parameters" in capsys.readouterr().err


def test_a_range_that_training_refuses_is_found_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    beyond = {"recipe.momentum": {"min": 0.5, "max": 1.5}}
    assert main(["sweep", str(search_file(parameters=beyond))]) == 2
    assert "recipe.momentum is 1.5: give a number in [0, 1)" in capsys.readouterr().err
    unknown = {"recipe.learning_rate": {"min": 0.5, "max": 1.5}}
    assert main(["sweep", str(search_file(parameters=unknown))]) == 2
    assert "unknown argument '--recipe.learning_rate'" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_the_journal_is_plain_text_lines() -> None:
    """So that a study can be kept, copied and read without a server."""
    assert main(["sweep", str(search_file()), "--count", "1"]) == 0
    lines = Path("runs/search/study.journal").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
