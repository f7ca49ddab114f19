"""Sweeps as a user runs them: processes, real storages, and workers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from tiny_runs import PLAIN, RESIDUAL, ROOT, assert_same_result, at_step, info

from resnet_lab.cli import main
from resnet_lab.sweeps.queue import ERROR, OWNER, RUN, Queue
from resnet_lab.sweeps.storage import open_storage
from resnet_lab.sweeps.study_name import FILE

PATIENCE = 120.0
"""Seconds after which a test gives up on what it waits for."""
ITERATIONS = 60
"""So many that a run which is seen to train still trains when its worker is killed."""
GRID: dict[str, Any] = {
    "program": "resnet-lab",
    "name": "study",
    "method": "grid",
    "parameters": {
        "network": {"values": [PLAIN, RESIDUAL]},
        "seed": {"values": [0, 1, 2]},
        "recipe.iterations": {"value": ITERATIONS},
        "recipe.batch_size": {"value": 16},
        "recipe.evaluate_every": {"value": 20},
        "recording.probe_size": {"value": 16},
        "trainer.device": {"value": "cpu"},
        "trainer.checkpoint_seconds": {"value": 0.001},
    },
}


def grid(**parameters: Any) -> str:
    Path("grid.yaml").write_text(
        yaml.safe_dump({**GRID, "parameters": GRID["parameters"] | parameters})
    )
    return "grid.yaml"


@contextmanager
def sweeping(*arguments: str, paths: Sequence[Path] = ()) -> Iterator[subprocess.Popen[str]]:
    """`resnet-lab sweep` in a process group of its own, killed as a whole at the end."""
    path = os.pathsep.join(map(str, [*paths, ROOT]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "resnet_lab", "sweep", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} s for {what.__name__}")


@contextmanager
def study(url: str | None, name: str = "study") -> Iterator[Queue]:
    storage = open_storage(url, Path("runs", name))
    if url is not None:  # in a shared storage a study is called by what it is, too
        name = json.loads(Path("runs", name, FILE).read_text())["study"]
    with closing(Queue(optuna.load_study(study_name=name, storage=storage), storage)) as queue:
        yield queue


def runs(folder: str = "runs/study") -> dict[str, Path]:
    return {file.parent.name: file.parent for file in Path(folder).glob("*/run.json")}


def checkpointed_worker(queue: Queue) -> tuple[str, int] | None:
    """A run that is being trained and has come far enough to be continued; and its process."""
    for trial in queue.running():
        run = Path("runs/study", trial.user_attrs.get(RUN, "none"))
        if any(int(file.stem[5:]) >= 10 for file in run.glob("checkpoints/step-*.ckpt")):
            return run.name, int(trial.user_attrs[OWNER].split()[-2])
    return None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The grid trained in this process, one run after the other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump(GRID))
    assert main(["sweep", str(file), "--runs-dir", str(folder)]) == 0
    return runs(str(folder / "study"))


@pytest.mark.slow  # test_sweep_queue has silent workers on PostgreSQL, and killed ones are below
def test_on_postgresql_a_worker_that_is_killed_loses_nothing(
    postgresql: str, undisturbed: dict[str, Path]
) -> None:
    file = grid()
    with sweeping(file, "--workers", "2", "--storage", postgresql, "--heartbeat", "1") as process:
        until(lambda: any(Path("runs/study").glob("*/run.json")))
        with study(postgresql) as queue:
            killed, pid = until(lambda: checkpointed_worker(queue))
            os.kill(pid, signal.SIGKILL)
        code, out, err = ended(process)
    assert (code, out.splitlines()[0]) == (0, "6 of 6 runs finished"), err
    assert "a worker died (exit code -9): starting another" in err
    assert set(runs()) == set(undisturbed)
    for name, run in runs().items():
        resumed = info(run)["provenance"].get("resumed", [])
        assert (info(run)["status"], info(run)["step"]) == ("finished", ITERATIONS)
        assert bool(resumed) == (name == killed), name
        assert_same_result(run, undisturbed[name], name.split("_")[0])
    with study(postgresql) as queue:
        attempts = [t for t in queue.study.trials if t.state.name == "COMPLETE"]
        assert sorted(t.user_attrs[RUN] for t in attempts) == sorted(undisturbed)
        dead = [t for t in queue.study.trials if t.state.name != "COMPLETE"]
        assert [(t.user_attrs[RUN], t.state.name) for t in dead] == [(killed, "FAIL")]


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_sweep_that_is_stopped_continues_by_the_same_command(
    number: signal.Signals, undisturbed: dict[str, Path]
) -> None:
    file = grid()
    with sweeping(file, "--workers", "2") as process:
        until(lambda: Path("runs/study/study.journal").exists())
        with study(None) as queue:
            until(lambda: checkpointed_worker(queue))
        if number == signal.SIGINT:  # Ctrl-C goes to all of the terminal's processes
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        code, out, err = ended(process)
    assert code == 1, err
    assert out.endswith("interrupted: the same command continues\n")
    assert "Traceback" not in err
    assert {info(run)["status"] for run in runs().values()} <= {"finished", "interrupted"}
    assert main(["sweep", file]) == 0
    for name, run in runs().items():
        assert_same_result(run, undisturbed[name], name.split("_")[0])
    assert set(runs()) == set(undisturbed)
    with study(None) as queue:
        assert [trial.state.name for trial in queue.study.trials] == ["COMPLETE"] * 6


def test_a_killed_command_leaves_a_study_that_the_same_command_finishes(
    undisturbed: dict[str, Path],
) -> None:
    file = grid()
    with sweeping(file) as process:
        until(lambda: Path("runs/study/study.journal").exists())
        with study(None) as queue:
            killed, _ = until(lambda: checkpointed_worker(queue))
        os.killpg(process.pid, signal.SIGKILL)
    assert main(["sweep", file]) == 0
    assert info(runs()[killed])["provenance"]["resumed"]
    for name, run in runs().items():
        assert_same_result(run, undisturbed[name], name.split("_")[0])


@pytest.mark.slow
def test_two_commands_share_a_study(undisturbed: dict[str, Path], postgresql: str) -> None:
    arguments = (grid(), "--storage", postgresql, "--study", "shared")
    with sweeping(*arguments) as one, sweeping(*arguments) as other:
        outcomes = [ended(process) for process in (one, other)]
    assert [code for code, _, _ in outcomes] == [0, 0], outcomes
    assert {out.splitlines()[0] for _, out, _ in outcomes} == {"6 of 6 runs finished"}
    begun = [line for _, _, err in outcomes for line in err.splitlines() if line[:4] == "run "]
    assert sorted(line.split()[-1] for line in begun) == sorted(undisturbed)
    for name, run in runs("runs/shared").items():
        assert_same_result(run, undisturbed[name], name.split("_")[0])


@pytest.mark.slow
def test_count_is_shared_by_all_workers(capsys: pytest.CaptureFixture[str]) -> None:
    file = grid(**{"recipe.iterations": {"value": 2}})
    assert main(["sweep", file, "--workers", "2", "--count", "3"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "3 of 6 runs finished"
    begun = [line.split(":")[0] for line in told.err.splitlines() if line.startswith("run ")]
    assert sorted(begun) == ["run 1 of 6", "run 2 of 6", "run 3 of 6"]
    assert len(runs()) == 3


def test_the_plan_calls_no_run_running_whose_worker_is_dead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = grid(seed={"value": 0})
    assert main(["sweep", file, "--count", "0"]) == 0
    show = "from resnet_lab.runs.owner import Owner; print(Owner.here())"
    ended = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    for owner, state in ((None, "1 running, 1 to do"), (ended.stdout.strip(), "2 to do")):
        with study(None) as queue:
            trial = queue.take() if owner is None else queue.running()[0]
            assert trial is not None
            if owner is not None:
                queue.note(trial, OWNER, owner)
        capsys.readouterr()
        assert main(["sweep", file, "--dry-run"]) == 0
        assert f"\n2 runs: {state}\n" in capsys.readouterr().out


def test_a_run_that_raises_is_retried_as_often_as_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down() -> None:
        raise RuntimeError("cosmic ray")

    file = grid(seed={"value": 0}, **{"recipe.iterations": {"value": 2}})
    at_step(monkeypatch, 1, break_down)
    assert main(["sweep", file, "--retries", "1"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "2 of 2 runs finished"
    assert "RuntimeError: cosmic ray (trying again, 1 of 1)" in told.err
    with study(None) as queue:
        failed = [t for t in queue.study.trials if t.state.name == "FAIL"]
        assert [t.user_attrs[ERROR] for t in failed] == ["RuntimeError: cosmic ray"]


def test_missing_data_is_one_message_whatever_the_workers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = grid(**{"data.name": {"value": "cifar10"}})
    for workers in ("1", "2"):
        assert main(["sweep", file, "--workers", workers, "--data-dir", str(tmp_path)]) == 2
        told = capsys.readouterr().err.splitlines()
        assert told[-1].startswith("resnet-lab: data: cifar10 is not complete: data_batch_1.bin")


@pytest.mark.slow
def test_processes_that_train_together_stop_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Hyperband under data parallelism: the first process judges, all obey, runs end whole."""
    content = {**GRID, "method": "random", "run_cap": 4, "name": "study"}
    content["metric"] = {"name": "validation_error", "goal": "minimize"}
    content["early_terminate"] = {"type": "hyperband", "min_iter": 1, "eta": 2}
    content["parameters"] = {
        **GRID["parameters"],
        "network": {"value": PLAIN},
        "seed": {"value": 0},
        "data.test": {"value": False},
        "trainer.devices": {"value": 2},
        "recipe.evaluate_every": {"value": 5},
        "recipe.iterations": {"value": 40},
        "recipe.lr": {"distribution": "log_uniform_values", "min": 0.0001, "max": 1.0},
    }
    Path("grid.yaml").write_text(yaml.safe_dump(content))
    assert main(["sweep", "grid.yaml"]) == 0
    with study(None) as queue:
        states = {t.user_attrs[RUN]: t for t in queue.attempts().values()}
    stopped = [name for name, trial in states.items() if trial.state.name == "PRUNED"]
    assert 1 <= len(stopped) < 4
    for name, trial in states.items():
        run = info(runs()[name])
        assert run["status"] == ("stopped" if name in stopped else "finished")
        assert run["step"] == (5 * max(trial.intermediate_values) if name in stopped else 40)


@pytest.mark.slow
def test_a_mistake_that_a_group_of_processes_finds_is_one_message() -> None:
    file = grid(seed={"value": 0}, network={"value": PLAIN}, **{"trainer.devices": {"value": 2}})
    with sweeping(file, "--", "--data.name=cifar10", "--data-dir=nowhere") as process:
        code, out, err = ended(process)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("resnet-lab: data: cifar10 is not complete: data_batch")
    assert "Traceback" not in err
