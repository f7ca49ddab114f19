"""Sweeps with the real W&B client and agents, at a stand-in for the server on this machine."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_cohort import poison
from test_tracking import expected, sent
from tiny_runs import PAIR, PLAIN, RESIDUAL, info
from wandb_server import SECONDS, Json, Server, StoredRun, resnet_lab, start, wait_for

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.wandb_flags import from_wandb, text_flags
from resnet_lab.configuration.config import Config
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.errors import UserError
from resnet_lab.runs.owner import Owner
from resnet_lab.sweeps import wandb_agents
from resnet_lab.sweeps.wandb_agents import AgentsOutcome
from resnet_lab.sweeps.wandb_points import HandedOut, Point
from resnet_lab.training.train import train

# Flags as agents write them


def as_an_agent_writes(parameters: Json) -> list[str]:
    """The flags that the client makes of a sweep's point."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    command = {"args": {name: {"value": parameters[name]} for name in sorted(parameters)}}
    flags: list[str] = create_sweep_command_args(command)["args"]
    return flags


PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner | st.text(), max_size=3),
    max_leaves=5,
)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
INNER = st.recursive(
    PLAIN_VALUES | st.text(),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=8,
)
"""Texts among nested parameters are quoted; on the top they cannot be told from other values."""
NESTED = PLAIN_VALUES | st.dictionaries(NAMES, INNER, min_size=1, max_size=3)


def flat(parameters: Json, prefix: str = "") -> Json:
    """Nested parameters by their dotted names."""
    found: Json = {}
    for name, value in parameters.items():
        nested = isinstance(value, dict)
        found |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


@given(st.dictionaries(NAMES, NESTED, max_size=3))
def test_any_nested_parameters_come_back_equal(parameters: Json) -> None:
    wanted = flat(parameters)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    for name, value in wanted.items():
        parser.add_argument(f"--{name}", type=str if isinstance(value, str) else Any)
    flags = from_wandb(as_an_agent_writes(parameters), texts=())
    assert flat(parser.parse_args(flags).as_dict()) == wanted


TEXT = st.text(min_size=1, max_size=30).filter(lambda text: text not in ("None", ".", ".."))


@given(
    network=st.sampled_from([PLAIN, ",".join(PAIR)]),
    study=TEXT.filter(
        lambda text: "/" not in text and text.isprintable() and text.lower() not in ("null", "~")
    ),
    tags=st.lists(st.text(max_size=10), max_size=3),
    recipe=st.fixed_dictionaries(
        {},
        optional={
            "lr": st.floats(1e-6, 1e3) | st.integers(1, 3),
            "clip": st.none() | st.floats(1e-3, 1e3),
            "drops": st.lists(st.integers(1, 999), max_size=3, unique=True).map(sorted),
            "nesterov": st.booleans(),
            "precision": st.sampled_from(["float32", "bfloat16"]),
            "iterations": st.just(1000),
        },
    ),
    seed=st.integers(0, 2**31),
)
def test_a_run_gets_exactly_the_configuration_of_its_point(
    network: str, study: str, tags: list[str], recipe: Json, seed: int
) -> None:
    parameters = {
        "network": network,
        "study": study,
        "wandb": {"tags": tags},
        "recipe": recipe,
        "seed": seed,
    }
    config = parse_config(from_wandb(as_an_agent_writes(parameters)))
    assert (config.network, config.study, config.seed) == (network, study, seed)
    assert config.wandb.tags == tuple(tags)
    assert config.recipe == RecipeConfig(**recipe)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["--recipe.clip=None"], ["--recipe.clip=null"]),
        (["--flag=False"], ["--flag=False"]),
        (["--recipe.drops=[10, 20]"], ["--recipe.drops=[10, 20]"]),
        (["--x=['it\\'s', None]"], ['--x=["it\'s", null]']),
        (
            ["--recipe={'lr': 0.1, 'clip': None, 'a': {'b': True}}"],
            ["--recipe.lr=0.1", "--recipe.clip=null", "--recipe.a.b=true"],
        ),
        (["--recipe={lr: 0.1}"], ["--recipe={lr: 0.1}"]),
        (["--study={'a': 1}"], ["--study={'a': 1}"]),
        (["--data-dir=[x]", "--data_dir=[x]"], ["--data-dir=[x]", "--data_dir=[x]"]),
        (["--seed", "None", "file"], ["--seed", "None", "file"]),
    ],
)
def test_flags_are_rewritten_where_python_differs(written: list[str], read: list[str]) -> None:
    assert from_wandb(written) == read


def test_a_configuration_file_is_read_before_the_flags_beside_it() -> None:
    Path("a.yaml").write_text("seed: 1\nrecipe:\n  lr: 0.5\n  momentum: 0.5\n")
    flags = as_an_agent_writes({"config": "a.yaml", "recipe.lr": 0.25, "Seed": 1})
    assert from_wandb(["--runs-dir=x", *flags])[0] == "--config=a.yaml"
    config = parse_config(from_wandb(["--seed=2", "--config=a.yaml", "--recipe.lr=0.25"]))
    assert (config.seed, config.recipe.lr, config.recipe.momentum) == (2, 0.25, 0.5)
    typed = ["--seed", "2", "--config", "a.yaml"]
    assert from_wandb(typed) == typed
    files = ["--config", "a.yaml", "--seed=2", "--config=b.yaml", "--config=c.yaml"]
    assert from_wandb(files) == [*files[:2], *files[3:], "--seed=2"]


def test_the_flags_that_hold_text_are_those_of_the_configuration() -> None:
    assert {"--config", "--network", "--study", "--data.name", "--runs-dir"} < text_flags()
    assert "--recipe.precision" not in text_flags()
    assert Config().study is None


# Sweeps


SHORT: Json = {
    "recipe": {
        "parameters": {
            "iterations": {"value": 4},
            "batch_size": {"value": 16},
            "log_every": {"value": 2},
            "clip": {"value": None},
        }
    },
    "recording.probe_size": {"value": 16},
    "trainer.device": {"value": "cpu"},
}


def content(parameters: Json) -> Json:
    """A grid, as the files in sweeps/ have it."""
    return {
        "program": "resnet-lab",
        "name": "study",
        "method": "grid",
        "metric": {"name": "validation_error", "goal": "minimize"},
        "parameters": {**SHORT, **parameters},
        "command": ["resnet-lab", "train", "--tracking=wandb", "${args}"],
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
    assert not server.errors


def client(environment: dict[str, str], home: Path, *command: str) -> subprocess.Popen[str]:
    """Start a command of the real client."""
    return start(environment, home, "-m", "wandb", *command)


def agent(environment: dict[str, str], home: Path, sweep: str) -> subprocess.Popen[str]:
    """Start `wandb agent`."""
    return client(environment, home, "agent", "--forward-signals", sweep)


def told_by(process: subprocess.Popen[str]) -> str:
    """What a process that must succeed has printed, in the end as an error."""
    code, output, errors = wait_for(process)
    assert code == 0, output + errors
    return output + errors


def create(environment: dict[str, str], home: Path, sweep: Json) -> str:
    """`wandb sweep FILE`; returns entity/project/id."""
    (home / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    told = told_by(client(environment, home, "sweep", "--project=grids", "sweep.yaml"))
    return told.split("wandb agent ")[1].split()[0]


def directories(home: Path) -> dict[str, Path]:
    """Run directories by the id of their W&B run."""
    files = (home / "runs").rglob("run.json")
    return {info(file.parent)["tracking"]["id"]: file.parent for file in files}


def assert_mirrored(run: StoredRun, folder: Path) -> None:
    """The W&B run has every row of the run directory once, and its maps with the last."""
    assert (run.state, run.exit_code, run.name) == ("finished", 0, folder.name)
    found = sent(run)
    assert found[-1].pop("layer_maps")["_type"] == "image-file"
    assert found == expected(folder)


def settings(run: StoredRun, saved: Json) -> Json:
    """A W&B run's settings by the sections of config.yaml; none may be there twice."""
    found = deepcopy({key: run.config[key] for key in saved})
    for key, value in run.config.items():
        section, dot, name = key.partition(".")
        if dot:
            assert name not in found[section], f"{key} is there twice"
            found[section][name] = value
    return found


def test_two_agents_train_each_point_of_a_grid_once(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    grid = content({"network": {"values": [PLAIN, RESIDUAL]}, "seed": {"values": [0, 1]}})
    sweep = create(environment, tmp_path, grid)
    for told in map(told_by, [agent(environment, tmp_path, sweep) for _ in range(2)]):
        assert "Running runs" in told
        assert "WARNING" not in told
        assert "locked" not in told
    assert len(server.agents) == 2
    assert all(agent.runs for agent in server.agents)
    points = [(run.config["network"], run.config["seed"]) for run in server.runs.values()]
    assert sorted(points) == [(name, seed) for name in (PLAIN, RESIDUAL) for seed in (0, 1)]
    folders = directories(tmp_path)
    assert folders.keys() == server.runs.keys()
    for run in server.runs.values():
        folder = folders[run.id]
        assert_mirrored(run, folder)
        assert [row["_step"] for row in run.rows] == [0, 1, 2, 3, 4]
        assert (run.project, run.sweep) == ("grids", sweep.split("/")[-1])
        saved = yaml.safe_load((folder / "config.yaml").read_text())
        assert saved["recipe"]["iterations"] == 4
        assert settings(run, saved) == saved
        assert run.summary["validation_error"] == run.summary["final/validation_error"]
        [member] = info(folder)["networks"]
        for key in ("family", "depth", "parameters"):
            assert run.config[key] == member[key]


ENDLESS: Json = {
    **SHORT["recipe"]["parameters"],
    "iterations": {"value": 1_000_000},
    "log_every": {"value": 50},
}


@pytest.mark.slow
def test_a_run_that_is_stopped_in_wandb_ends_cleanly(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    endless = {"recipe": {"parameters": ENDLESS}, "seed": {"values": [0, 1]}}
    sweep = create(environment, tmp_path, content({**endless, "network": {"value": PLAIN}}))
    working = agent(environment, tmp_path, sweep)
    for point in ("point0", "point1"):
        server.wait(lambda point=point: point in server.runs and len(server.runs[point].rows) > 3)
        server.runs[point].stopping = True
    told_by(working)
    for run_id, folder in directories(tmp_path).items():
        run, step = server.runs[run_id], info(folder)["step"]
        assert (run.state, run.exit_code) == ("finished", 0)
        assert (run.summary["status"], info(folder)["status"]) == ("interrupted", "interrupted")
        assert [path.name for path in (folder / "checkpoints").iterdir()] == [
            f"step-{step:09d}.ckpt"
        ]
        found, wanted = sent(run), expected(folder)
        assert len(found) > 3
        assert found == wanted[: len(found)]
        assert all(row["_step"] == step for row in wanted[len(found) :])


# Agents of our own

RUN_AGENTS = """
    import json, sys
    from pathlib import Path
    from resnet_lab.sweeps.wandb_agents import run_agents

    flags = ["--runs-dir=runs", "--study=mine", "--trainer.progress=false"]
    content, workers, count = json.loads(sys.argv[1])
    study = Path("runs/mine")
    outcome = run_agents(content, workers=workers, count=count, flags=flags, study=study)
    print(json.dumps(vars(outcome)))
"""


def run_agents(
    environment: dict[str, str], home: Path, sweep: Json, workers: int, count: int | None = None
) -> subprocess.Popen[str]:
    """Start a process that works on a sweep."""
    argument = json.dumps([sweep, workers, count])
    return start(environment, home, "-c", textwrap.dedent(RUN_AGENTS), argument)


def outcome(process: subprocess.Popen[str]) -> AgentsOutcome:
    """What such a process has found."""
    code, output, errors = wait_for(process)
    assert code == 0, output + errors
    found = json.loads(output.splitlines()[-1])
    return AgentsOutcome(**{**found, "failed": tuple(map(tuple, found["failed"]))})


@pytest.mark.slow
def test_agents_work_on_a_sweep_until_it_is_done_and_say_what_failed(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    sizes = {**SHORT["recipe"]["parameters"], "batch_size": {"values": [16, 5000, 32]}}
    sweep = content({"recipe": {"parameters": sizes}, "network": {"value": PLAIN}})
    name = "researcher/resnet_lab/sweep0"

    first = outcome(run_agents(environment, tmp_path, sweep, workers=2, count=1))
    assert first == AgentsOutcome(name, 1, ())
    assert len(server.agents) == 1
    second = outcome(run_agents(environment, tmp_path, sweep, workers=2))
    assert second == AgentsOutcome(name, 2, (("point1", "failed"),))
    assert (
        second.reasons["point1"]
        == server.runs["point1"].summary["error"]
        == ("batch size 5000 is larger than the training part, 1294 images; use at most 1294")
    )
    command = server.sweeps["sweep0"].config["command"]
    flags = ["--runs-dir=runs", "--study=mine", "--trainer.progress=false"]
    assert command == ["resnet-lab", "train", "--tracking=wandb", "${args}", *flags]
    folders = directories(tmp_path)
    assert sorted(folders) == ["point0", "point2"]
    for run_id, folder in folders.items():
        assert_mirrored(server.runs[run_id], folder)
        assert folder.parent == tmp_path / "runs" / "mine"

    # Another sweep asks for a run that is there: it is not trained again, but W&B gets all of it.
    trained = {
        folder: (folder / "metrics.parquet").stat().st_mtime_ns for folder in folders.values()
    }
    sizes["batch_size"] = {"value": 32}
    third = outcome(run_agents(environment, tmp_path, sweep, workers=1))
    assert third == AgentsOutcome("researcher/resnet_lab/sweep1", 1, ())
    assert_mirrored(server.runs["point3"], folders["point2"])
    for folder, stamp in trained.items():
        assert (folder / "metrics.parquet").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_the_sweep_command_with_wandb_as_its_engine(server: Server, tmp_path: Path) -> None:
    environment = server.environment(tmp_path)
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump(content({"network": {"value": PLAIN}, "seed": {"values": [0, 1]}}))
    )
    line = ("sweep", "study.yaml", "--engine", "wandb", "--workers", "2")
    changed = ("--", "--recipe.momentum=0.5", "--recipe.clip=0.25", "--wandb.project=depth")
    code, output, errors = wait_for(
        start(environment, tmp_path, "-m", "resnet_lab", *line, *changed)
    )
    assert code == 0, output + errors
    assert output.splitlines()[-2:] == [
        "2 runs finished in the sweep researcher/depth/sweep0",
        "next: resnet-lab report runs/study --out report",
    ]
    folders = directories(tmp_path)
    assert sorted(info(folder)["seed"] for folder in folders.values()) == [0, 1]
    for run_id, folder in folders.items():
        assert folder.parent == tmp_path / "runs" / "study"
        recipe = yaml.safe_load((folder / "config.yaml").read_text())["recipe"]
        assert (recipe["momentum"], recipe["clip"], recipe["iterations"]) == (0.5, 0.25, 4)
        assert_mirrored(server.runs[run_id], folder)


@pytest.mark.slow
def test_runs_that_were_cut_off_are_continued_before_others_begin(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    long = {**ENDLESS, "iterations": {"value": 3000}}
    points = {"recipe": {"parameters": long}, "seed": {"values": [0, 1, 2]}}
    sweep = content({**points, "network": {"value": PLAIN}})

    process = run_agents(environment, tmp_path, sweep, workers=1)
    server.wait(lambda: "point0" in server.runs and len(server.runs["point0"].rows) > 3)
    killed = directories(tmp_path)["point0"]
    os.kill(info(killed)["tracking"]["pid"], signal.SIGKILL)
    server.wait(lambda: "point1" in server.runs and len(server.runs["point1"].rows) > 3)
    process.send_signal(signal.SIGINT)
    first = outcome(process)
    assert first == AgentsOutcome(
        "researcher/resnet_lab/sweep0", 0, ((killed.name, "crashed"),), interrupted=True
    )
    assert info(directories(tmp_path)["point1"])["status"] == "interrupted"
    assert len(server.runs) == 2

    second = outcome(run_agents(environment, tmp_path, sweep, workers=2, count=2))
    assert second == AgentsOutcome("researcher/resnet_lab/sweep0", 2, ())
    assert len(server.runs) == 2
    third = outcome(run_agents(environment, tmp_path, sweep, workers=2))
    assert third == AgentsOutcome("researcher/resnet_lab/sweep0", 3, ())
    for run_id, folder in directories(tmp_path).items():
        assert_mirrored(server.runs[run_id], folder)
        assert info(folder)["provenance"].get("resumed", []) == [] or run_id == "point1"


def trainings(home: Path) -> list[int]:
    """Processes of `resnet-lab train` in a folder that handle SIGTERM by now."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            if (folder / "cwd").readlink() != home or b"train" not in (
                folder / "cmdline"
            ).read_bytes().split(b"\0"):
                continue
            lines = (folder / "status").read_text().splitlines()
            caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
            if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
                found.append(int(folder.name))
    return found


def until(met: Callable[[], object]) -> None:
    """Wait for what the server is not told of."""
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline, f"not within {SECONDS} seconds"
        time.sleep(0.05)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def is_gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["command", "agent"])
def test_nothing_outlives_a_command_or_an_agent_that_is_killed(
    victim: str, server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    long = {**ENDLESS, "iterations": {"value": 1000}}
    sweep = content({"recipe": {"parameters": long}, "network": {"value": PLAIN}})
    process = run_agents(environment, tmp_path, sweep, workers=1)
    server.wait(lambda: "point0" in server.runs and len(server.runs["point0"].rows) > 3)
    folder = directories(tmp_path)["point0"]
    training = int(info(folder)["tracking"]["pid"])
    agent = parent_of(training)
    assert parent_of(agent) == process.pid
    os.kill(process.pid if victim == "command" else agent, signal.SIGKILL)
    until(lambda: is_gone(training) and is_gone(agent))
    assert info(folder)["status"] == "interrupted"
    name = "researcher/resnet_lab/sweep0"
    if victim == "agent":
        assert outcome(process) == AgentsOutcome(name, 0, (), interrupted=True)
    else:
        process.communicate()
    second = outcome(run_agents(environment, tmp_path, sweep, workers=1))
    assert second == AgentsOutcome(name, 1, ())
    assert_mirrored(server.runs["point0"], folder)
    assert info(folder)["provenance"]["resumed"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_in_wandb_that_is_stopped_while_its_run_starts_continues_it(
    number: signal.Signals, server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    points = {"network": {"value": PLAIN}, "seed": {"values": [0, 1]}}
    process = run_agents(environment, tmp_path, content(points), workers=1)
    until(lambda: trainings(tmp_path))
    [training] = trainings(tmp_path)
    assert not list(tmp_path.rglob("run.json")), "it still imports"
    process.send_signal(number)
    name = "researcher/resnet_lab/sweep0"
    assert outcome(process) == AgentsOutcome(name, 0, (), interrupted=True)
    assert is_gone(training)
    [folder] = directories(tmp_path).values()
    assert (info(folder)["status"], info(folder)["step"]) == ("interrupted", 1)
    again = outcome(run_agents(environment, tmp_path, content(points), workers=1))
    assert again == AgentsOutcome(name, 2, ())
    for run_id, folder in directories(tmp_path).items():
        assert_mirrored(server.runs[run_id], folder)


STRAYS: list[Json] = [{}, {"status": 3}, {"status": "running", "tracking": [1]}, {"tracking": {}}]


def folder_with(study: Path, **runs: Json) -> Path:
    """A study's folder with these contents of run.json."""
    for name, known in runs.items():
        (study / name).mkdir(parents=True)
        (study / name / "run.json").write_text(json.dumps({"format": 1, **known}))
    return study


def here(run: str, state: str, started: str | None = None) -> Json:
    """What run.json has of a W&B run, of this process or of one with its number before."""
    owner = Owner.here()
    owner = owner if started is None else replace(owner, started=started)
    return {"status": state, "tracking": {"id": run, **asdict(owner)}}


def test_points_are_trained_again_that_were_lost_killed_or_cut_off_here(tmp_path: Path) -> None:
    known = {
        "failed": here("failed", "failed"),
        "finished": here("finished", "finished"),
        "alive": here("alive", "running"),
        "killed": here("killed", "running", started="1"),
        "cut_off": here("cut_off", "interrupted"),
        "stopped": here("stopped", "interrupted"),
    }
    strays = {f"stray{number}": stray for number, stray in enumerate(STRAYS)}
    study = folder_with(tmp_path / "study", **known, **strays)
    ended = {
        **dict.fromkeys(("failed", "finished", "alive", "elsewhere"), "lost"),
        **dict.fromkeys(("cut_off", "stopped", "other"), "interrupted"),
        "killed": "running",
        "done": "finished",
    }
    points = tuple(Point(run, run, "", how, "", {}) for run, how in ended.items())
    handed = HandedOut("e/p/s", {}, points, None)
    again = wandb_agents._points_again(handed, study, {"stopped"})
    # What is finished here, the server was not told: it hears of it now.
    assert [one.run for one in again] == ["failed", "finished", "elsewhere", "cut_off", "killed"]


def test_a_study_of_an_earlier_version_knows_what_was_stopped_on_purpose(tmp_path: Path) -> None:
    study = folder_with(tmp_path / "study", a=here("1", "interrupted"), b=here("2", "finished"))
    file = study / "wandb_sweep.json"
    for memory, stopped in (
        ({"waiting": ["a"]}, []),
        ({"waiting": []}, ["1"]),
        ({"waiting": ["b"], "at_rest": ["a"]}, ["1"]),
        ({"waiting": [], "at_rest": []}, []),
        ({"stopped": ["x"]}, ["x"]),
    ):
        file.write_text(json.dumps({"sweep": "e/p/s", "content": {}, **memory}))
        assert wandb_agents._recall(study, {})["stopped"] == stopped


@pytest.mark.parametrize(
    ("count", "workers", "shares"),
    [(None, 2, [None, None]), (5, 2, [3, 2]), (1, 3, [1]), (0, 2, []), (4, 4, [1, 1, 1, 1])],
)
def test_runs_are_dealt_out_evenly(count: int | None, workers: int, shares: list[Any]) -> None:
    assert wandb_agents._shares(count, workers) == shares


def test_a_sweep_needs_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_agents, "connect", lambda: "offline")
    with pytest.raises(UserError, match="a W&B sweep needs the server, but W&B is offline: unset"):
        wandb_agents.run_agents({}, workers=1, count=None, flags=(), study=Path("study"))
    assert not Path("study").exists()
    with pytest.raises(UserError, match="workers is 0: give 1 or more"):
        wandb_agents.run_agents({}, workers=0, count=None, flags=(), study=Path("study"))


# Points without a finished run


def images(home: Path) -> None:
    """Put a data set of two classes where a run of `imagefolder` looks for it."""
    for part in ("train", "val"):
        for label, colour in enumerate(("red", "blue")):
            folder = home / "images" / part / colour
            folder.mkdir(parents=True)
            for number in range(20):
                picture = np.full((8, 8, 3), 40 * label + number, dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{number}.png")


FOLDERS: Json = {
    **content({"network": {"value": PLAIN}, "seed": {"values": [0, 1, 2]}}),
    "command": ["resnet-lab", "train", "--tracking=wandb", "--study=folders", "${args}"],
}
FOLDERS["parameters"] |= {
    "data.name": {"value": "imagefolder"},
    "data.validation_size": {"value": 8},
    "data_dir": {"value": "images"},
}
LACK = "data: imagefolder has no folder images/train; it must hold train/CLASS/*.jpg and "


@pytest.mark.slow
def test_without_its_data_a_machine_fails_once_and_the_point_is_trained_when_they_are_there(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    sweep = create(environment, tmp_path, FOLDERS)
    resume = ("sweep", "--resume", sweep)
    code, _, errors = wait_for(client(environment, tmp_path, "agent", sweep))
    assert (code, list(server.runs)) == (-signal.SIGTERM, ["point0"])
    assert f"resnet-lab: {LACK}" in errors
    assert "this agent ends: any other point would fail on this machine as well" in errors
    lost = server.runs["point0"]
    assert (lost.state, lost.exit_code) == ("preempted", 1)
    assert lost.summary["error"].startswith(LACK)

    told = resnet_lab(environment, tmp_path, *resume, "--dry-run")
    first, point = told.stdout.splitlines()
    assert first == f"{sweep}: 1 points handed out, 1 without a finished run"
    assert point.startswith(f"  point0: preempted: {LACK}")
    told = resnet_lab(environment, tmp_path, *resume, code=2)
    assert told.stderr.startswith(f"resnet-lab: {LACK}")
    assert list(server.runs) == ["point0"]

    images(tmp_path)
    told = resnet_lab(environment, tmp_path, *resume)
    assert told.stdout.splitlines()[-1] == f"1 runs finished in the sweep {sweep}"
    folder = directories(tmp_path)["point0"]
    assert_mirrored(lost, folder)
    assert (folder.parent.name, lost.group, lost.sweep) == ("folders", "folders", "sweep0")
    assert "error" not in lost.summary
    told_by(agent(environment, tmp_path, sweep))
    assert [run.state for run in server.runs.values()] == ["finished"] * 3
    assert {run.group for run in server.runs.values()} == {"folders"}
    assert [run.config["seed"] for run in server.runs.values()] == [0, 1, 2]
    told = resnet_lab(environment, tmp_path, *resume)
    assert told.stdout == f"{sweep}: 3 points handed out, 0 without a finished run\n"


@pytest.mark.slow
def test_points_are_trained_again_with_other_flags_after_a_mistake_in_theirs(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    grid = content({"network": {"value": PLAIN}, "seed": {"values": [0, 1]}})
    sizes = {**SHORT["recipe"]["parameters"], "batch_size": {"value": 5000}}
    grid["parameters"]["recipe"] = {"parameters": sizes}
    sweep = create(environment, tmp_path, grid)
    told_by(agent(environment, tmp_path, sweep))
    assert [run.state for run in server.runs.values()] == ["failed", "failed"]
    told = resnet_lab(environment, tmp_path, "sweep", "--resume", sweep, code=1)
    why = "batch size 5000 is larger than the training part, 1294 images; use at most 1294"
    assert [line for line in told.stdout.splitlines() if line.startswith("failed")] == [
        f"failed: point{number}: {why}" for number in (0, 1)
    ]
    smaller = ("--", "--recipe.batch_size=16", "--study=again")
    told = resnet_lab(
        environment, tmp_path, "sweep", "--resume", sweep, "--workers=2", "--count=2", *smaller
    )
    assert told.stdout.splitlines()[-1] == f"2 runs finished in the sweep {sweep}"
    for run_id, folder in directories(tmp_path).items():
        assert_mirrored(server.runs[run_id], folder)
        assert folder.parent.name == "again"


def test_a_sweep_whose_data_are_missing_hands_out_no_point(server: Server, tmp_path: Path) -> None:
    (tmp_path / "folders.yaml").write_text(yaml.safe_dump({**FOLDERS, "name": "folders"}))
    told = resnet_lab(
        server.environment(tmp_path), tmp_path, "sweep", "folders.yaml", "--engine=wandb", code=2
    )
    assert told.stderr.startswith(f"resnet-lab: {LACK}")
    assert {**server.sweeps, **server.runs} == {}


@pytest.mark.slow
def test_a_sweep_goes_on_where_points_diverge_and_does_not_train_them_again(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    del environment["WANDB_AGENT_DISABLE_FLAPPING"]  # three failures in a minute end an agent
    sizes = {**SHORT["recipe"]["parameters"], "lr": {"value": 1e30}}
    points = {"recipe": {"parameters": sizes}, "seed": {"values": [0, 1, 2, 3]}}
    sweep = create(environment, tmp_path, content({**points, "network": {"value": PLAIN}}))
    told_by(agent(environment, tmp_path, sweep))
    assert len(server.runs) == 4
    for run in server.runs.values():
        assert (run.state, run.exit_code, run.summary["status"]) == ("failed", 3, "diverged")
        assert "validation_error" not in run.summary
        assert "diverged" in run.tags
    told = resnet_lab(environment, tmp_path, "sweep", "--resume", sweep)
    assert told.stdout == f"{sweep}: 4 points handed out, 0 without a finished run\n"


@pytest.mark.slow
def test_a_cohort_counts_by_the_network_that_the_sweeps_metric_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {PLAIN: 3})
    grid = content({"network": {"value": ",".join(PAIR)}, "seed": {"value": 0}})
    flags = as_an_agent_writes(
        {name: entry.get("value") for name, entry in grid["parameters"].items() if name != "recipe"}
    )
    recipe = [
        f"--recipe.{key}={one['value']}" for key, one in SHORT["recipe"]["parameters"].items()
    ]
    train(parse_config(from_wandb([*recipe, *flags])))
    environment, ended = server.environment(tmp_path), {}
    for name in PAIR:
        grid["metric"]["name"] = f"{name}/validation_error"
        told_by(agent(environment, tmp_path, create(environment, tmp_path, grid)))
    for name, run in zip(PAIR, server.runs.values(), strict=True):
        ended[name] = (run.state, run.exit_code, run.summary["status"])
        assert run.summary["diverged"] == f"{PLAIN} at step 3"
        assert f"{PLAIN}/validation_error" not in run.summary
        assert math.isfinite(run.summary[f"{RESIDUAL}/validation_error"])
    assert ended == {PLAIN: ("failed", 3, "diverged"), RESIDUAL: ("finished", 0, "finished")}


@pytest.mark.slow
def test_the_local_engine_shows_its_runs_to_wandb_where_it_is_told_to(
    server: Server, tmp_path: Path
) -> None:
    environment = server.environment(tmp_path)
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump(content({"network": {"value": PLAIN}, "seed": {"values": [0, 1]}}))
    )
    line = ("sweep", "study.yaml", "--", "--wandb.project=depth", "--trainer.progress=false")
    told = resnet_lab(environment, tmp_path, *line[:2], "--dry-run", *line[2:])
    assert told.stderr == (
        "resnet-lab: wandb.project is not heeded: nothing goes to W&B without --tracking wandb; "
        "give it after --\n"
    )
    told = resnet_lab(environment, tmp_path, *line, "--tracking=wandb")
    assert "not heeded" not in told.stderr
    folders = directories(tmp_path)
    assert len(folders) == len(server.runs) == 2
    for run in server.runs.values():
        assert (run.project, run.group, run.sweep) == ("depth", "study", None)
        assert_mirrored(run, folders[run.id])
