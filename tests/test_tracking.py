"""Tracking with the real W&B client, at a stand-in for its server on this machine."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_cohort import poison
from test_load_wandb import COMPARE, python
from tiny_runs import (
    PAIR,
    PLAIN,
    RESIDUAL,
    ROOT,
    assert_same_result,
    info,
    member,
    resumed,
    rows,
    tiny,
)
from wandb_server import SECONDS, Json, Server, StoredRun, resnet_lab, start, wait_for

from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.runs.rows import LAYERS, METRICS
from resnet_lab.tracking.history import history
from resnet_lab.tracking.link import (
    is_cut_off,
    is_mirrored,
    link,
    link_offline,
    unlink_elsewhere,
)
from resnet_lab.tracking.mirror import Mirror
from resnet_lab.tracking.outcome import outcome
from resnet_lab.tracking.session import connect
from resnet_lab.training.train import train

TINY = [
    f"--network={','.join(PAIR)}",
    "--recipe.iterations=12",
    "--recipe.batch_size=16",
    "--recipe.log_every=4",
    "--recipe.evaluate_every=6",
    "--recording.probe_size=16",
    "--trainer.device=cpu",
    "--trainer.progress=false",
    "--tracking=wandb",
]
"""The flags of `tiny()`, tracked."""
STEPS = [0, 1, 2, 4, 6, 8, 11, 12]
"""Steps of `tiny()` that have rows: recordings, logging, evaluations."""
ADDED = {"_runtime", "_timestamp", "_wandb"}
"""Keys that the client adds to every row."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
    assert not server.errors


def sent(run: StoredRun) -> list[Json]:
    """Rows as the server has them, without what the client adds."""
    return [{k: v for k, v in row.items() if k not in ADDED} for row in run.rows]


def expected(run: Path) -> list[Json]:
    """The rows that W&B should have of a run, from its files."""
    names = [member["network"] for member in info(run)["networks"]]
    before = {name: f"{name}/" if len(names) > 1 else "" for name in names}
    found: dict[int, Json] = {}
    for _, m in rows(run, "metrics").iterrows():
        key = "lr" if m["metric"] == "lr" else f"{m['split']}_{m['metric']}"
        row = found.setdefault(m["step"], {"_step": m["step"]})
        row.update({"epoch": m["epoch"], f"{before[m['network']]}{key}": m["value"]})
    groups = rows(run, "layers").groupby(["step", "network", "quantity"], sort=False)
    for (step, network, quantity), group in groups:
        row = found.setdefault(step, {"_step": step})
        if group["layer"].iloc[0] == 0:
            [row[f"{before[network]}network/{quantity}"]] = group["value"]
            continue
        values = row[f"{before[network]}layers/{quantity}"] = group["value"].tolist()
        if quantity in ("gradient_norm", "relative_update"):
            assert (group["name"].iloc[0], group["name"].iloc[-1]) == (
                "stem.conv",
                "head.classifier",
            )
            row[f"{before[network]}stem/{quantity}"] = values[0]
            row[f"{before[network]}last_layer/{quantity}"] = values[-1]
    return [found[step] for step in sorted(found)]


def the_run(home: Path) -> Path:
    """The only run directory."""
    [file] = (home / "runs").rglob("run.json")
    return file.parent


# A whole run


@dataclass(frozen=True)
class Tracked:
    """A run that was tracked from beginning to end."""

    server: Server
    home: Path
    run: Path
    told: subprocess.CompletedProcess[str]

    @property
    def stored(self) -> StoredRun:
        return self.server.run


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    home = tmp_path_factory.mktemp("tracked")
    with Server() as server:
        flags = ["--study=depths", '--wandb.tags=["first", "digits"]', "--wandb.project=lab"]
        told = resnet_lab(server.environment(home), home, "train", *TINY, *flags)
        yield Tracked(server, home, the_run(home), told)
        assert not server.errors


def test_a_tracked_run_is_complete_in_wandb(tracked: Tracked) -> None:
    stored, run = tracked.stored, tracked.run
    assert (stored.state, stored.exit_code) == ("finished", 0)
    assert (stored.project, stored.group, stored.job_type) == ("lab", "depths", "train")
    assert stored.name == run.name
    assert stored.tags == ["plain", "residual", "digits", "1294/143", "first"]
    assert stored.id == info(run)["tracking"]["id"]
    assert info(run)["tracking"]["next"] == 13


def test_its_configuration_is_that_of_the_run_and_says_what_was_trained(tracked: Tracked) -> None:
    config, told = dict(tracked.stored.config), info(tracked.run)
    assert config.pop("run") == told["run"]
    assert config.pop("networks") == list(PAIR)
    for one, family in zip(told["networks"], ("plain", "residual"), strict=True):
        name = one["network"]
        described = {key: config.pop(f"{name}/{key}") for key in ("family", "depth", "parameters")}
        assert described == {"family": family, "depth": 8, "parameters": one["parameters"]}
    assert config.pop("protocol") == "1294/143"
    given = tiny(study="depths").as_dict()
    given |= {"tracking": "wandb", "wandb": {**given["wandb"], "project": "lab"}}
    given["wandb"]["tags"] = ["first", "digits"]
    assert config == given


def test_it_has_one_row_a_step_with_the_values_of_the_run_directory(tracked: Tracked) -> None:
    found = sent(tracked.stored)
    assert [row["_step"] for row in found] == STEPS
    picture = found[-1].pop("layer_maps")
    assert found == expected(tracked.run)
    assert f"{PLAIN}/layers/gradient_norm" in found[0]
    assert len(found[0][f"{PLAIN}/layers/gradient_norm"]) == 8
    assert picture["_type"] == "image-file"
    assert tracked.stored.files[picture["path"]].startswith(b"\x89PNG")


def test_its_summary_holds_final_numbers_and_no_lists(tracked: Tracked) -> None:
    summary = tracked.stored.summary
    assert summary["status"] == "finished"
    for one in info(tracked.run)["networks"]:
        for metric, value in one["final"].items():
            assert summary[f"{one['network']}/final/{metric}"] == value
    assert not [key for key, value in summary.items() if isinstance(value, list)]


def test_its_files_are_those_of_the_run_directory(tracked: Tracked) -> None:
    for name in ("config.yaml", "metrics.parquet", "layers.parquet"):
        assert tracked.stored.files[f"run_directory/{name}"] == (tracked.run / name).read_bytes()
    uploaded = json.loads(tracked.stored.files["run_directory/run.json"])
    assert uploaded.pop("sha256")
    assert {**uploaded, "tracking": None} == {**info(tracked.run), "tracking": None}
    assert not [name for name in tracked.stored.files if "output" in name or ".pt" in name]


def test_the_client_says_nothing_but_where_the_run_is(tracked: Tracked) -> None:
    assert tracked.told.stderr == f"W&B: {tracked.server.url}/researcher/lab/runs/" + (
        f"{tracked.stored.id}\n"
    )
    assert "W&B" not in tracked.told.stdout


def test_tracking_changes_no_bit_of_the_result(tracked: Tracked) -> None:
    reference = train(tiny(study="depths"))
    assert info(reference)["networks"] == info(tracked.run)["networks"]
    assert_same_result(tracked.run, reference, *PAIR)


def test_it_is_read_back_exactly(tracked: Tracked) -> None:
    environment = tracked.server.environment(tracked.home)
    [found] = python(environment, tracked.home, COMPARE, [{}])
    assert json.loads(found) == [[f"researcher/lab/{tracked.stored.id}"] * 2, []]


LATE = ["--recipe.warmup_until_error=100", "--recipe.warmup_window=7", "--recipe.lr=1e30"]
"""Flags of a run that has an evaluation, a good one perhaps, before it diverges."""
NUMBERS = ("validation_error", "validation_loss", "train_error", "train_loss")


def test_what_diverged_has_failed_in_wandb_and_has_no_number_there(
    server: Server, tmp_path: Path
) -> None:
    """A search of the server takes a finished run's lowest number, and the worst for a failed."""
    environment = server.environment(tmp_path)
    told = resnet_lab(environment, tmp_path, "train", *TINY, *LATE)
    assert "diverged at step" in told.stdout
    stored, summary, rows = server.run, server.run.summary, sent(server.run)
    assert (stored.state, stored.exit_code) == ("failed", 3)
    steps = [member(the_run(tmp_path), name)["diverged_at"] for name in PAIR]
    words = ", ".join(f"{name} at step {step}" for name, step in zip(PAIR, steps, strict=True))
    assert (summary["status"], summary["diverged"]) == ("diverged", words)
    assert "diverged" in stored.tags
    for name in PAIR:
        for key in NUMBERS:
            assert any(math.isfinite(row.get(f"{name}/{key}", math.nan)) for row in rows)
            assert f"{name}/{key}" not in summary
        assert f"{name}/final/validation_error" not in summary
        assert math.isfinite(summary[f"{name}/lr"])
    assert "NaN" not in json.dumps(summary)

    calls = len(server.operations)
    again = resnet_lab(environment, tmp_path, "train", *TINY, *LATE)
    assert "the same run is not trained twice" in again.stdout
    assert len(server.operations) == calls


def test_of_two_networks_of_which_one_diverged_the_other_keeps_its_numbers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {PLAIN: 8})
    run = train(tiny())
    resnet_lab(server.environment(tmp_path), tmp_path, "train", *TINY)
    stored, summary = server.run, server.run.summary
    assert (stored.state, stored.exit_code) == ("failed", 3)
    assert (summary["status"], summary["diverged"]) == ("diverged", f"{PLAIN} at step 8")
    for key in NUMBERS:
        assert any(f"{PLAIN}/{key}" in row for row in sent(stored))
        assert f"{PLAIN}/{key}" not in summary
        assert summary[f"{RESIDUAL}/final/{key}"] == member(run, RESIDUAL)["final"][key]


def told_of(status: str, *lost: str) -> Json:
    """run.json of a pair whose members named in `lost` diverged."""
    members = [{"network": name, "diverged_at": 7 if name in lost else None} for name in PAIR]
    return {"status": status, "error": "E" if status == "failed" else None, "networks": members}


@pytest.mark.parametrize(
    ("status", "lost", "metric", "stopped_by", "code", "said"),
    [
        ("finished", [], None, "user", 0, "finished"),
        ("finished", [PLAIN], None, "user", 3, "diverged"),
        ("finished", [PLAIN], f"{PLAIN}/validation_error", "wandb", 3, "diverged"),
        ("finished", [PLAIN], f"{RESIDUAL}/validation_error", "wandb", 0, "finished"),
        ("finished", [PLAIN], "validation_error", "wandb", 3, "diverged"),
        ("interrupted", [], None, "wandb", 0, "interrupted"),
        ("interrupted", [], None, "user", 1, "interrupted"),
        ("interrupted", [PLAIN], None, "wandb", 3, "interrupted"),
        ("stopped", [PLAIN], None, "user", 3, "stopped"),
        ("failed", [PLAIN], None, "wandb", 1, "failed"),
    ],
)
def test_how_a_run_came_out_decides_its_exit_code_in_wandb(
    status: str, lost: list[str], metric: str | None, stopped_by: str, code: int, said: str
) -> None:
    found = outcome(told_of(status, *lost), metric, stopped_by=stopped_by)
    assert (found.exit_code, found.summary["status"]) == (code, said)
    assert found.summary.get("diverged") == (f"{PLAIN} at step 7" if lost else None)
    assert found.summary.get("error") == ("E" if status == "failed" else None)


# What the client would refuse, offline only when the training is over


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        pytest.param(
            '--wandb.tags=[""]',
            "wandb.tags has '', of 0 characters: W&B takes tags of 1 to 64 ",
            marks=pytest.mark.slow,
        ),
        (f'--wandb.tags=["{65 * "x"}"]', f"wandb.tags has '{65 * 'x'}', of 65 characters: W&B "),
        ("--wandb.project=a/b", "wandb.project is 'a/b', which W&B refuses: "),
    ],
)
def test_what_the_client_refuses_is_said_before_training(
    flag: str, message: str, server: Server, tmp_path: Path
) -> None:
    environment = {**server.environment(tmp_path), "WANDB_MODE": "offline"}
    told = resnet_lab(environment, tmp_path, "train", *TINY, flag, code=2)
    assert told.stderr.startswith(f"resnet-lab: {message}")
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# Without a login


def test_without_a_login_nothing_is_trained_or_written(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    del environment["WANDB_API_KEY"]
    told = resnet_lab(environment, tmp_path, "train", *TINY, code=2)
    assert told.stderr == (
        "resnet-lab: nobody is logged in to W&B: run `wandb login`, or set WANDB_API_KEY; "
        "WANDB_MODE=offline keeps everything on this machine, and --tracking none trains without "
        "W&B\n"
    )
    assert not (tmp_path / "runs").exists()
    assert not server.runs


# Rows


def metrics(*entries: tuple[str, int, str, str, float]) -> pa.Table:
    """Rows of metrics.parquet; 10 steps to an epoch."""
    names = ("network", "step", "split", "metric", "value")
    found = [dict(zip(names, entry, strict=True)) for entry in entries]
    return pa.Table.from_pylist([{**e, "epoch": e["step"] / 10} for e in found], schema=METRICS)


def layers(*entries: tuple[str, int, str, float]) -> pa.Table:
    """Rows of layers.parquet."""
    found = [
        {"network": network, "step": step, "quantity": quantity, "value": value}
        for network, step, quantity, value in entries
    ]
    place = {"layer": 1, "name": "stem.conv", "stage": 0, "block": 0}
    return pa.Table.from_pylist([{**entry, **place} for entry in found], schema=LAYERS)


def test_a_single_network_has_plain_keys() -> None:
    table = metrics(("a", 5, "train", "loss", 1.5), ("a", 5, "train", "lr", 0.1))
    recorded = layers(("a", 0, "gradient_norm", 3.0), ("a", 0, "gradient_norm", 2.0))
    assert list(history(table, recorded, ["a"])) == [
        {
            "_step": 0,
            "layers/gradient_norm": [3.0, 2.0],
            "stem/gradient_norm": 3.0,
            "last_layer/gradient_norm": 2.0,
        },
        {"_step": 5, "epoch": 0.5, "train_loss": 1.5, "lr": 0.1},
    ]


def test_each_network_of_a_cohort_has_numbers_of_its_own_and_no_mean_stands_beside() -> None:
    table = metrics(
        ("a", 5, "validation", "error", 10.0),
        ("b", 5, "validation", "error", 20.0),
        ("b", 5, "validation", "top5_error", 2.0),
        ("b", 8, "validation", "error", 30.0),
    )
    first, second = history(table, layers(), ["a", "b"])
    assert first == {
        **{"_step": 5, "epoch": 0.5},
        **{"a/validation_error": 10.0, "b/validation_error": 20.0, "b/validation_top5_error": 2.0},
    }
    assert second == {"_step": 8, "epoch": 0.8, "b/validation_error": 30.0}


def test_numbers_that_are_not_finite_stay_what_they_are() -> None:
    table = metrics(("a", 1, "train", "loss", math.inf), ("b", 1, "train", "loss", math.nan))
    [row] = history(table, layers(("a", 1, "gradient_norm", math.nan)), ["a", "b"])
    assert row["a/train_loss"] == math.inf
    assert math.isnan(row["b/train_loss"])
    assert math.isnan(row["a/layers/gradient_norm"][0])


# What run.json keeps


def test_a_run_keeps_its_id_online() -> None:
    told: dict[str, Any] = {"status": "running", "step": 12}
    first = link(told)
    assert len(first) == 12
    assert told["tracking"]["next"] is None
    assert link(told) == first
    assert link(told, "point7", "sweep3") == link(told) == "point7"
    assert told["tracking"]["sweep"] == "sweep3"
    assert link({}) != first


def test_offline_rows_go_on_where_it_is_known_how_far_they_are() -> None:
    told: dict[str, Any] = {}
    run_id, first = link_offline(told)
    assert first == 0
    told["tracking"]["next"] = 9
    assert link_offline(told) == (run_id, 9)
    link(told)  # an online client begins, and is cut off
    other, first = link_offline(told)
    assert (other != run_id, first) == (True, 0)


def test_a_finished_run_is_mirrored_when_its_last_row_is() -> None:
    told: dict[str, Any] = {"step": 12}
    assert not is_mirrored(told)
    for following, mirrored in ((None, False), (12, False), (13, True)):
        told["tracking"] = {"next": following}
        assert is_mirrored(told) is mirrored


@pytest.mark.parametrize(
    ("entity", "project", "known"),
    [
        ("me", "lab", True),
        (None, "lab", True),
        ("us", "lab", False),
        ("me", "other", False),
        (None, "other", False),
    ],
)
def test_a_wandb_run_is_known_in_its_own_project_only(
    entity: str | None, project: str, known: bool
) -> None:
    told: dict[str, Any] = {"tracking": {"entity": "me", "project": "lab"}}
    unlink_elsewhere(told, entity, project)
    assert ("tracking" in told) is known
    unlink_elsewhere(told, entity, project)
    untold: dict[str, Any] = {"tracking": {"entity": None, "project": project}}
    unlink_elsewhere(untold, entity, project)
    assert untold["tracking"]


def test_other_processes_and_a_switched_off_client_track_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(tiny(), tracking="wandb")
    run = RunDirectory.of(config)
    monkeypatch.setattr("resnet_lab.tracking.mirror.connect", lambda: "disabled")
    assert Mirror.of(config, run) is None
    monkeypatch.setattr("resnet_lab.tracking.mirror.connect", lambda: "online")
    assert Mirror.of(tiny(), run) is None
    assert Mirror.of(config, run) is not None
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Mirror.of(config, run) is None


def test_without_the_client_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError) as refused:
        connect()
    assert str(refused.value) == (
        "wandb is not installed: `pip install wandb`; --tracking none trains without it"
    )


def test_a_run_is_cut_off_when_its_process_is_gone() -> None:
    told: dict[str, Any] = {"status": "running"}
    assert not is_cut_off(told)
    link(told)
    assert not is_cut_off(told)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told["tracking"]["pid"] = gone.pid
    assert is_cut_off(told)
    assert not is_cut_off({**told, "status": "finished"})
    told["tracking"]["host"] = "another"
    assert not is_cut_off(told)


# Runs that end before their end

PLAN = """
    import json, os, signal, sys
    import pytest
    from tiny_runs import at_step
    from resnet_lab.cli import main

    def pause():
        signal.sigwait([signal.SIGUSR1])

    def fail():
        raise RuntimeError("the disk is full")

    def act(name):
        send = lambda: os.kill(os.getpid(), signal.Signals[name])
        return {"PAUSE": pause, "FAIL": fail}.get(name, send)

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    for step, name in json.loads(sys.argv[1]):
        if name:
            at_step(pytest.MonkeyPatch(), step, act(name))
        code = main(sys.argv[2:])
    sys.exit(code)
"""
"""Train one after the other, each time doing something in the midst of a step."""


def planned(
    environment: dict[str, str], home: Path, plan: list[tuple[int, str]], *flags: str
) -> subprocess.Popen[str]:
    """Start a process that trains `tiny()` as often as `plan` has entries."""
    script = [textwrap.dedent(PLAN), json.dumps(plan), "train", *TINY, *flags]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return start({**environment, "PYTHONPATH": path}, home, "-c", *script)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error of a process that is waited for."""
    code, _, told = wait_for(process)
    return code, told


def assert_whole(run: StoredRun, folder: Path) -> None:
    """Every row is there once, with the values of the run directory, and so are the files."""
    found = sent(run)
    assert found[-1].pop("layer_maps")["_type"] == "image-file"
    assert found == expected(folder)
    assert [row["_step"] for row in found] == STEPS
    assert run.files["run_directory/layers.parquet"] == (folder / "layers.parquet").read_bytes()
    assert (run.state, run.summary["status"]) == ("finished", "finished")


@pytest.mark.slow
def test_sigterm_sends_all_complete_rows_and_the_same_command_the_rest(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    code, _ = ended(planned(environment, tmp_path, [(7, "SIGTERM")]))
    assert code == 1
    assert (server.run.state, server.run.exit_code) == ("failed", 1)
    assert server.run.summary["status"] == "interrupted"
    # Step 8 is logged, but its recordings come with the update that was not made any more.
    assert [row["_step"] for row in sent(server.run)] == [0, 1, 2, 4, 6]
    run = the_run(tmp_path)
    assert info(run)["tracking"]["next"] == 7
    resnet_lab(environment, tmp_path, "train", *TINY)
    assert resumed(run) == [8]
    assert_whole(server.run, run)
    calls = len(server.operations)
    resnet_lab(environment, tmp_path, "train", *TINY)
    assert len(server.operations) == calls, "everything is there: W&B need not be asked"
    resnet_lab(environment, tmp_path, "train", *TINY, "--wandb.project=other")
    first, second = server.runs.values()
    assert (first.project, second.project) == ("resnet_lab", "other")
    assert_whole(second, run)


@pytest.mark.slow
def test_the_first_of_two_processes_speaks_alone(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    resnet_lab(environment, tmp_path, "train", *TINY, "--trainer.devices=2")
    assert_whole(server.run, the_run(tmp_path))
    assert server.operations.count("RunResumeStatus") == 1


@pytest.mark.slow
def test_a_run_can_be_stopped_from_its_page(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    process = planned(environment, tmp_path, [(0, "")], "--recipe.iterations=1000000")
    server.wait(lambda: len(server.runs) == 1 and len(server.run.rows) > 6)
    server.run.stopping = True
    code, told = ended(process)
    assert code == 1, told
    run = the_run(tmp_path)
    assert (info(run)["status"], server.run.summary["status"]) == ("interrupted", "interrupted")
    assert list((run / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_seconds", ["300", "1e-9"])
def test_a_killed_run_goes_on_in_its_own_wandb_run(
    server: Server, tmp_path: Path, checkpoint_seconds: str
) -> None:
    environment = server.environment(tmp_path)
    seconds = f"--trainer.checkpoint_seconds={checkpoint_seconds}"
    process = planned(environment, tmp_path, [(9, "PAUSE")], seconds)
    server.wait(lambda: len(server.runs) == 1 and len(server.run.rows) == 6)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    run = the_run(tmp_path)
    assert info(run)["tracking"] | {"next": None} == info(run)["tracking"]
    resnet_lab(environment, tmp_path, "train", *TINY)
    assert ("resumed" in info(run)["provenance"]) == (checkpoint_seconds == "1e-9")
    assert_whole(server.run, run)


@pytest.mark.slow
def test_rows_that_a_kill_kept_from_wandb_are_sent_again(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    patient = {**environment, "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1000"}
    each_step = "--trainer.checkpoint_seconds=1e-9"
    code, _ = ended(planned(patient, tmp_path, [(9, "SIGKILL")], each_step))
    assert code == -signal.SIGKILL
    assert len(server.run.rows) < 6
    resnet_lab(environment, tmp_path, "train", *TINY)
    [step] = resumed(the_run(tmp_path))
    assert step in (8, 9), "the checkpoint of step 9 was perhaps still being written"
    assert_whole(server.run, the_run(tmp_path))


@pytest.mark.slow
def test_a_server_that_dies_keeps_nobody_from_training(server: Server, tmp_path: Path) -> None:
    environment = {**server.environment(tmp_path), "WANDB_FINISH_TIMEOUT": "2"}
    process = planned(environment, tmp_path, [(9, "PAUSE")])
    server.wait(lambda: len(server.runs) == 1 and len(server.run.rows) == 6)
    server.close()
    process.send_signal(signal.SIGUSR1)
    code, told = ended(process)
    assert code == 0
    assert "W&B: the server did not take everything in time" in told
    run = the_run(tmp_path)
    assert info(run)["status"] == "finished"
    assert info(run)["tracking"]["next"] is None
    assert server.run.state == "running"
    server.restart()
    resnet_lab(environment, tmp_path, "train", *TINY)
    assert_whole(server.run, run)


@pytest.mark.slow
def test_a_failure_is_one_in_wandb_too(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    code, told = ended(planned(environment, tmp_path, [(5, "FAIL")]))
    assert code == 1
    assert told.endswith("RuntimeError: the disk is full\n")
    assert (server.run.state, server.run.exit_code) == ("failed", 1)
    assert server.run.summary["status"] == "failed"
    assert server.run.summary["error"] == "RuntimeError: the disk is full"
    assert [row["_step"] for row in sent(server.run)] == [0, 1, 2, 4]
    resnet_lab(environment, tmp_path, "train", *TINY)
    assert_whole(server.run, the_run(tmp_path))


def comparable(value: Any) -> Any:
    """With all numbers as text, so that NaN equals NaN and 2 equals 2.0."""
    if isinstance(value, dict):
        return {key: comparable(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [comparable(entry) for entry in value]
    return repr(float(value))


@pytest.mark.slow
def test_numbers_that_are_not_finite_arrive(server: Server, tmp_path: Path) -> None:
    flags = [*TINY, "--recipe.lr=1e30", "--recipe.log_every=1"]
    resnet_lab(server.environment(tmp_path), tmp_path, "train", *flags)
    run = the_run(tmp_path)
    assert [m["status"] for m in info(run)["networks"]] == ["diverged", "diverged"]
    assert (server.run.state, server.run.summary["status"]) == ("failed", "diverged")
    found = [{k: v for k, v in row.items() if k != "layer_maps"} for row in sent(server.run)]
    assert comparable(found) == comparable(expected(run))
    assert "nan" in json.dumps(comparable(found))


# Offline


def sync(environment: dict[str, str], home: Path) -> None:
    """Upload every offline folder that has not been uploaded, as a user does."""
    command = [sys.executable, "-m", "wandb", "sync", "--yes"]
    subprocess.run(
        command, env=environment, cwd=home, check=True, timeout=SECONDS, capture_output=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("sync_between", [True, False])
def test_offline_parts_of_a_run_become_one_run_when_they_are_synced(
    server: Server, tmp_path: Path, sync_between: bool
) -> None:
    online = server.environment(tmp_path)
    offline = {**online, "WANDB_MODE": "offline", "WANDB_API_KEY": ""}
    assert ended(planned(offline, tmp_path, [(3, "SIGTERM")]))[0] == 1
    if sync_between:
        sync(online, tmp_path)
        assert [row["_step"] for row in sent(server.run)] == [0, 1, 2]
    assert ended(planned(offline, tmp_path, [(6, "SIGKILL")]))[0] == -signal.SIGKILL
    assert ended(planned(offline, tmp_path, [(7, "SIGTERM"), (0, "")]))[0] == 0
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3
    assert bool(server.runs) == sync_between
    sync(online, tmp_path)
    assert_whole(server.run, the_run(tmp_path))


@pytest.mark.slow
def test_offline_rows_that_were_never_synced_are_sent_online(
    server: Server, tmp_path: Path
) -> None:
    online = server.environment(tmp_path)
    offline = {**online, "WANDB_MODE": "offline"}
    assert ended(planned(offline, tmp_path, [(7, "SIGTERM")]))[0] == 1
    resnet_lab(online, tmp_path, "train", *TINY)
    assert_whole(server.run, the_run(tmp_path))
    assert not list((tmp_path / "wandb").glob("offline-run-*"))
