from __future__ import annotations

import json
import math
import shlex
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from test_data_cifar import SMALL10, write
from tiny_runs import PLAIN, RESIDUAL, at_step, info, interrupt, member, resumed, series, tiny

from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.data.dataset import DATASETS
from resnet_lab.sweeps.local import outcome
from resnet_lab.sweeps.metric import (
    RESULTS,
    cohort_value,
    final_value,
    has_result,
    result_in_words,
    results,
)
from resnet_lab.sweeps.pruning import TrialJudge, pruner
from resnet_lab.sweeps.queue import FLAGS, RUN, SLOT, Queue, Slot, open_study
from resnet_lab.sweeps.sampler import sampler
from resnet_lab.sweeps.storage import open_storage
from resnet_lab.sweeps.sweep import Hyperband, Metric, Sweep
from resnet_lab.sweeps.sweep_file import read_sweep
from resnet_lab.sweeps.worker import target_reached

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
    storage = open_storage(None, Path(name))
    opened = open_study(name, storage, None)
    opened.sampler = sampler(sweep.method, seed)
    return closing(Queue(opened, storage))


def trials(name: str = "search") -> list[Any]:
    """The trials of a study, in order of their slots."""
    storage = open_storage(None, Path("runs", name))
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


def test_a_cohort_is_worth_the_number_of_one_network_and_a_diverged_one_has_none() -> None:
    scores = {PLAIN: {"error": 20.0, "loss": 1.0}, RESIDUAL: {"error": 4.0, "loss": 0.5}}
    assert cohort_value(scores, [PLAIN, RESIDUAL], "validation_error") == 20
    assert cohort_value(scores, [PLAIN, RESIDUAL], f"{RESIDUAL}/validation_error") == 4
    assert cohort_value(scores, [PLAIN, RESIDUAL], f"{RESIDUAL}/validation_loss") == 0.5
    alone = {PLAIN: {"error": 90.0, "loss": math.nan}}
    for metric in ("validation_error", "validation_loss"):
        assert cohort_value(scores, ["plain-56", PLAIN], metric) == math.inf
        assert cohort_value(alone, [PLAIN], metric) == math.inf


def of_a_run(*members: dict[str, Any], names: tuple[str, ...] = (PLAIN, RESIDUAL)) -> Any:
    """run.json of a finished run."""
    return {"networks": [{"network": n, **m} for n, m in zip(names, members, strict=False)]}


def test_each_network_of_a_run_has_a_number_of_its_own() -> None:
    plain = {"final": {"train_error": 60.0, "validation_error": 51.75, "validation_loss": 1.5}}
    residual = {"final": {"train_error": 0.1, "validation_error": 0.7, "validation_loss": 0.01}}
    lost = {"final": {}, "status": "diverged", "diverged_at": 12}
    pair, half = of_a_run(plain, residual), of_a_run(lost, residual)
    assert final_value(pair, "validation_error") == 51.75
    assert final_value(pair, f"{RESIDUAL}/validation_error") == 0.7
    assert results(pair, "validation_error") == {PLAIN: 51.75, RESIDUAL: 0.7}
    assert result_in_words(pair, "validation_error") == (
        f"validation error: {PLAIN} 51.75 %, {RESIDUAL} 0.70 %"
    )
    assert final_value(half, "validation_error") == math.inf
    assert final_value(half, f"{RESIDUAL}/validation_loss") == 0.01
    assert results(half, "validation_loss") == {PLAIN: "diverged", RESIDUAL: 0.01}
    assert result_in_words(half, "validation_loss") == (
        f"validation loss: {PLAIN} diverged at step 12, {RESIDUAL} 0.01"
    )
    assert result_in_words(of_a_run(lost), "validation_error") == "diverged at step 12"


def test_results_that_are_no_numbers_are_none() -> None:
    """The last update may lose a network whose training loss was finite throughout."""
    for nothing in (None, math.nan, math.inf):
        run = of_a_run({"final": {"validation_error": 90.0, "validation_loss": nothing}})
        for metric in ("validation_error", "validation_loss"):
            assert final_value(run, metric) == math.inf
            assert result_in_words(run, metric) == "diverged"


def test_a_number_that_stands_in_for_another_is_named() -> None:
    blind = of_a_run({"final": {"train_error": 4.0}})
    assert final_value(blind, "validation_loss") == 4
    assert result_in_words(blind, "validation_loss") == "train error 4.00 %"
    few = of_a_run({"final": {"train_error": 4.0, "validation_error": 6.0}})
    assert result_in_words(few, "validation_top5_error") == "validation error 6.00 %"


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
    assert out[1].startswith("random search search, seed 0: 4 trials: 4 finished; ")
    assert out[2] == "  drawn: recipe.lr 0.001 to 1 (log); recipe.momentum 0 to 0.9"
    wrong = round(best.value * 143 / 100)
    assert out[3] == (
        f"best: validation error {best.value:.2f} % ({wrong} of 143 images), "
        f"trial {best.user_attrs[SLOT]}"
    )
    assert out[4].strip() == best.user_attrs[FLAGS]
    assert out[5].strip() == f"runs/search/{best.user_attrs[RUN]}"
    assert out[-1] == (
        "to confirm the best with other seeds: resnet-lab sweep search.yaml --confirm 3 --seeds "
        "1,2,3"
    )
    assert main(["sweep", str(search_file()), "--dry-run"]) == 0
    plan = capsys.readouterr().out.splitlines()
    assert plan[1] == "4 runs: 4 finished"
    for trial in done:
        run = Path("runs/search", trial.user_attrs[RUN])
        curve = series(run, PLAIN, "validation", "error")
        assert trial.intermediate_values == {step // 2: curve[step] for step in (2, 4, 6)}
        assert f"--recipe.lr={trial.params['recipe.lr']!r}" in trial.user_attrs[FLAGS].split()


DIVERGING = {"distribution": "categorical", "values": [1e30, 1e31, 1e32, 0.05]}


def metric(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "goal": "minimize", **more}


@pytest.mark.parametrize("name", ["validation_error", "validation_loss"])
def test_a_run_that_diverged_is_never_the_best(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = {"metric": metric(name), "parameters": {"recipe.lr": DIVERGING}}
    lost = {**sweep, "parameters": {"recipe.lr": {**DIVERGING, "values": [1e30, 1e31]}}}
    assert main(["sweep", str(search_file(**lost)), "--study", "lost"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == "4 of 4 runs finished; in 4 of them a network diverged"
    assert lines[1].startswith("random search lost, seed 0: 4 trials: 4 diverged")
    assert lines[3] == "no run is recommended: none came to its end without diverging"
    assert "diverged at step " in told.err
    assert [trial.value for trial in trials("lost")] == [math.inf] * 4

    assert main(["sweep", str(search_file(**sweep, run_cap=8)), "--study", "some"]) == 0
    out = capsys.readouterr().out.splitlines()
    sound = [trial for trial in trials("some") if math.isfinite(trial.value)]
    assert 1 <= len(sound) < 8
    best = min(sound, key=lambda trial: (trial.value, trial.number))
    finals = member(Path("runs/some", best.user_attrs[RUN]), PLAIN)["final"]
    assert best.value == finals[name]
    assert "--recipe.lr=0.05" in best.user_attrs[FLAGS].split()
    text = f"{best.value:.2f} %" if name == "validation_error" else f"{best.value:.4f}"
    assert f"8 trials: {len(sound)} finished, {8 - len(sound)} diverged" in out[1]
    assert out[3].startswith(f"best: {name.replace('_', ' ')} {text}")


def test_a_value_that_stood_for_a_diverged_run_in_an_older_study_is_no_result() -> None:
    storage = optuna.storages.InMemoryStorage()
    opened = optuna.create_study(study_name="s", storage=storage)
    queue = Queue(opened, storage)
    queue.fill([Slot(str(number), {}) for number in range(4)])
    for value, noted in ((100.0, None), (130.0, None), (100.0, {PLAIN: 100.0}), (2.3, None)):
        trial = queue.take()
        assert trial is not None
        if noted is not None:
            queue.note(trial, RESULTS, noted)
        opened.tell(trial, value)
    assert [has_result(trial) for trial in queue.trials()] == [False, True, True, True]
    result = outcome(queue, ["0", "1", "2", "3"])
    assert (result.finished, result.diverged) == (4, 1)


def test_a_target_is_not_reached_by_what_diverged_or_was_stopped() -> None:
    storage = optuna.storages.InMemoryStorage()
    opened = optuna.create_study(study_name="s", storage=storage)
    work: Any = SimpleNamespace(sweep=SimpleNamespace(metric=Metric(target=50.0)))
    queue = Queue(opened, storage)
    queue.fill([Slot(str(number), {}) for number in range(3)])
    for value, state in ((math.inf, TrialState.COMPLETE), (40.0, TrialState.PRUNED)):
        trial = queue.take()
        assert trial is not None
        trial.report(value, 1)
        opened.tell(trial, None if state == TrialState.PRUNED else value, state)
        assert not target_reached(work, queue)
    opened.tell(queue.take(), 45.0)
    assert target_reached(work, queue)


def test_a_cohort_is_searched_by_the_network_that_the_metric_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = {"network": {"value": f"{PLAIN},{RESIDUAL}"}}
    named = {"metric": metric(f"{RESIDUAL}/validation_error"), "parameters": pair}
    assert main(["sweep", str(search_file(**named))]) == 0
    told = capsys.readouterr()
    finals = [
        {one: member(Path("runs/search", t.user_attrs[RUN]), one)["final"] for one in pair_names()}
        for t in trials()
    ]
    wanted = [final[RESIDUAL]["validation_error"] for final in finals]
    assert [trial.value for trial in trials()] == wanted
    assert told.out.splitlines()[3].startswith(
        f"best: validation error of {RESIDUAL} {min(wanted):.2f} % ("
    )
    for final in finals:
        numbers = [f"{one} {final[one]['validation_error']:.2f} %" for one in pair_names()]
        assert f": validation error: {', '.join(numbers)}\n" in told.err


def pair_names() -> tuple[str, str]:
    return PLAIN, RESIDUAL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"parameters": {"network": {"value": f"{PLAIN},{RESIDUAL}"}}},
            f"metric is 'validation_error', but each run trains 2 networks, {PLAIN},{RESIDUAL}: "
            f"name the one that decides ({PLAIN}/validation_error, {RESIDUAL}/validation_error), "
            "or train one network a run",
        ),
        (
            {"metric": metric(f"{PLAIN}/validation_error")},
            f"metric is '{PLAIN}/validation_error', but a run trains {PLAIN}: give "
            "validation_error",
        ),
        (
            {
                "metric": metric("plain-14/validation_loss"),
                "parameters": {"network": {"value": f"{PLAIN},{RESIDUAL}"}},
            },
            f"metric is 'plain-14/validation_loss', but a run trains {PLAIN},{RESIDUAL}: give one "
            f"of {PLAIN}/validation_loss, {RESIDUAL}/validation_loss",
        ),
        (
            {"metric": metric("Plain-8/validation_loss")},
            "search.yaml: metric is 'Plain-8/validation_loss': write plain-8/validation_loss",
        ),
        (
            {"metric": metric("validation_top5_error")},
            "metric is 'validation_top5_error', but digits has only 10 classes: choose ",
        ),
        (
            {"parameters": {"data.protocol": {"value": "full"}}},
            "metric is 'validation_error', but data.protocol 'full' holds no validation images ",
        ),
    ],
)
def test_a_metric_that_is_no_number_of_one_network_is_refused(
    changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(search_file(**changes))]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert told.count("\n") == 1
    assert not Path("runs").exists()


def test_the_commands_that_are_printed_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    parameters = {"seed": {"value": 2}, "recipe.drops": {"values": [[2, 4], [6]]}}
    file = search_file(parameters=parameters, run_cap=1)
    assert main(["sweep", str(file), "--study", "a b"]) == 0
    out = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(out) if line.startswith("best: "))
    config = f"{out[place + 2].strip()}/config.yaml"
    read = parse_config(shlex.split(out[place + 1])).recipe
    assert read.drops == parse_config(["--config", config]).recipe.drops
    words = shlex.split(out[-1].split("other seeds: ")[1])
    assert words[:3] == ["resnet-lab", "sweep", str(file)]
    assert words[words.index("--seeds") + 1] == "0,1,3"  # 2 is the search's own
    assert words[words.index("--study") + 1] == "a b"
    assert main([*words[1:], "--dry-run"]) == 0


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
    monkeypatch.setitem(DATASETS._known, "cifar10", SMALL10)
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
